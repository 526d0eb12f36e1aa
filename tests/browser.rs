//! Promise: the page says of every ending what it was, and of its collector how it went, in a real browser.

use std::time::Duration;

use lastbeat_tests::browser::Page;
use lastbeat_tests::{Browser, Collector, PATIENCE, Worker, scenes};

/// Deadlines a fifth of the contract's.
const SCALE: f64 = 0.2;
/// "Loading" is said for this long at most.
const LOADING_MAX: Duration = Duration::from_secs(3);
/// Workers that live while their collector goes and comes back.
const FLEET: usize = 20;
/// The line on top in which the page speaks of itself and of its collector.
const BAR: &str = "[role=status]";

/// The row of a worker on the overview.
fn row(who: &str) -> String {
    format!(r#"tr:has(a[href="/workers/{who}"])"#)
}

/// The stop of [`scenes::CLEAN_PLAN`], step by step, on the page of a worker.
fn page_shows_the_steps(browser: &mut Browser, collector: &Collector, who: &str) {
    let page = browser.open(&format!("{}/workers/{who}", collector.url()));
    browser.wait_for(page, "#steps tbody tr", "flush", PATIENCE);
    assert_eq!(browser.texts(page, "#steps tbody th"), ["cancel-orders", "flush"]);
    assert_eq!(browser.texts(page, "#steps tbody td.st"), ["ok, 3 of 3", "ok"]);
    page_is_sound(browser, page);
}

fn page_is_sound(browser: &mut Browser, page: Page) {
    assert_eq!(browser.complaints(page), Vec::<String>::new(), "the browser complains");
    let loading = browser.longest_loading(page);
    assert!(loading <= LOADING_MAX, "the page said Loading for {loading:?}");
}

/// Waits for `words` in a worker's row of an open overview, then opens the worker's own page and finds them there.
fn both_pages_say(browser: &mut Browser, collector: &Collector, overview: Page, who: &str, words: &[&str]) {
    for word in words {
        browser.wait_for(overview, &row(who), word, PATIENCE);
    }
    let page = browser.open(&format!("{}/workers/{who}", collector.url()));
    for word in words {
        browser.wait_for(page, "main", word, PATIENCE);
    }
    browser.picture(page, &format!("worker-{}", who.replace('/', "-")));
    page_is_sound(browser, page);
}

#[test]
fn an_open_page_says_how_each_worker_ended() {
    let collector = Collector::start_scaled(SCALE);
    let mut browser = Browser::start();
    let overview = browser.open(&format!("{}/", collector.url()));
    browser.wait_for(overview, "main", "No worker has reported yet", PATIENCE);
    let says = |browser: &mut Browser, who: &str, words: &[&str]| {
        both_pages_say(browser, &collector, overview, who, words);
    };

    scenes::stopped_by_ctrl_c(&collector, "trader/keyboard");
    says(&mut browser, "trader/keyboard", &["System stopped ", " by Ctrl+C; cleanup complete"]);
    page_shows_the_steps(&mut browser, &collector, "trader/keyboard");

    let _shell = scenes::stopped_from_a_shell(&collector, "trader/shell", scenes::CLEAN_PLAN);
    says(&mut browser, "trader/shell", &["System stopped ", " by kill from bash; cleanup complete"]);
    page_shows_the_steps(&mut browser, &collector, "trader/shell");

    scenes::leaves_with_a_promise(&collector, "trader/restarts", "30s");
    says(&mut browser, "trader/restarts", &["Restarting, back by "]);
    let _successor = Worker::start(&collector, "trader/restarts", &[]);
    says(&mut browser, "trader/restarts", &["Live"]);

    scenes::leaves_with_a_promise(&collector, "trader/overdue", "2s");
    says(&mut browser, "trader/overdue", &["Failed: restart overdue since "]);

    scenes::panics(&collector, "trader/panics");
    says(&mut browser, "trader/panics", &["Failed: panic", "the till is empty"]);
    let page = browser.open(&format!("{}/workers/trader/panics", collector.url()));
    browser.wait_for(page, "#account", "worker.rs:", PATIENCE);

    let (_witness, _) = scenes::killed_under_its_witness(&collector, "trader/killed");
    says(&mut browser, "trader/killed", &["Failed: killed (SIGKILL)"]);

    scenes::killed_alone(&collector, "trader/lost");
    browser.wait_for(overview, &row("trader/lost"), "Unreachable ", PATIENCE);
    says(&mut browser, "trader/lost", &["Failed: lost contact "]);

    let failed = collector.status().counts["failed"];
    browser.wait_for(overview, "h1", "failed", PATIENCE);
    assert_eq!(failed, 3, "panicked, killed, lost");
    browser.picture(overview, "overview");
    page_is_sound(&mut browser, overview);
}

#[test]
fn the_page_says_the_same_without_script() {
    let collector = Collector::start_scaled(SCALE);
    scenes::stopped_by_ctrl_c(&collector, "trader/keyboard");
    scenes::panics(&collector, "trader/panics");
    let stopped = |report: &lastbeat_wire::report::WorkerReport| report.words.starts_with("System stopped");
    collector.wait_for("trader/keyboard", "stopped", PATIENCE, stopped);
    let mut browser = Browser::start();
    let page = browser.open_without_script(&format!("{}/", collector.url()));
    for (who, words) in
        [("trader/keyboard", " by Ctrl+C; cleanup complete"), ("trader/panics", "Failed: panic")]
    {
        browser.wait_for(page, &row(who), words, PATIENCE);
        let own = browser.open_without_script(&format!("{}/workers/{who}", collector.url()));
        browser.wait_for(own, "main", words, PATIENCE);
    }
    let whole = browser.texts(page, "body").concat();
    assert!(!whole.contains("Loading"), "a page without script has nothing to wait for: {whole}");
}

#[test]
fn who_is_unreachable_is_so_on_both_pages_before_it_is_lost() {
    // Half of the contract's: 5 s from the closed link to the loss, in which both pages are read.
    let collector = Collector::start_scaled(0.5);
    let mut worker = Worker::start(&collector, "trader/lost", &[]);
    let mut browser = Browser::start();
    let overview = browser.open(&format!("{}/", collector.url()));
    let own = browser.open(&format!("{}/workers/trader/lost", collector.url()));
    browser.wait_for(overview, &row("trader/lost"), "Live", PATIENCE);
    browser.wait_for(own, "#say", "Live", PATIENCE);

    worker.process().kill();
    browser.wait_for(overview, &row("trader/lost"), "Unreachable ", PATIENCE);
    browser.wait_for(own, "#say", "Unreachable ", PATIENCE);
    for page in [overview, own] {
        browser.wait_for(page, "main", "Failed: lost contact ", PATIENCE);
        page_is_sound(&mut browser, page);
    }
}

/// The open pages of a fleet: the list of all, and the page of its first worker.
struct OpenPages {
    list: Page,
    first: Page,
}

impl OpenPages {
    fn open(browser: &mut Browser, collector: &Collector) -> Self {
        Self {
            list: browser.open(&format!("{}/", collector.url())),
            first: browser.open(&format!("{}/workers/fleet/w00", collector.url())),
        }
    }

    /// They hear their collector: they say so, nothing is grey, every worker is live.
    fn are_live(&self, browser: &mut Browser) {
        for n in 0..FLEET {
            browser.wait_for(self.list, &row(&format!("fleet/w{n:02}")), "Live", PATIENCE);
        }
        browser.wait_for(self.first, "main:not(.stale) #say", "Live", PATIENCE);
        for page in [self.list, self.first] {
            browser.wait_for(page, BAR, "Live, ", PATIENCE);
            assert_eq!(browser.texts(page, "main.stale").len(), 0, "a page that is heard is not grey");
        }
    }

    /// They do not hear their collector: they say `words`, all is grey, nobody is said to be live.
    fn are_away(&self, browser: &mut Browser, words: &[&str], picture: &str) {
        for page in [self.list, self.first] {
            for word in words {
                browser.wait_for(page, BAR, word, PATIENCE);
            }
            browser.wait_for(page, "main.stale", "", PATIENCE);
        }
        let rows = browser.texts(self.list, r#"tr:has(a[href^="/workers/fleet/"])"#);
        assert_eq!(rows.len(), FLEET);
        for row in rows {
            assert!(row.contains("Was live"), "{row:?} in a list that nobody keeps up to date");
        }
        browser.wait_for(self.first, "#say", "Was live", PATIENCE);
        browser.picture(self.list, picture);
    }
}

#[test]
fn open_pages_of_a_fleet_say_how_their_collector_went_and_recover_by_themselves() {
    let mut collector = Collector::start_scaled(SCALE);
    let fleet: Vec<Worker> =
        (0..FLEET).map(|n| Worker::launch(&collector, &format!("fleet/w{n:02}"), &[])).collect();
    for worker in &fleet {
        lastbeat_tests::worker::live(&collector, worker.who());
    }
    let mut browser = Browser::start();
    let pages = OpenPages::open(&mut browser, &collector);
    pages.are_live(&mut browser);

    collector.stop();
    pages.are_away(&mut browser, &["lastbeat was stopped at ", "data as of "], "collector-stopped");
    collector.come_back_with(&["--back-by=30s"]);
    pages.are_live(&mut browser);

    collector.stop();
    let words = ["lastbeat is restarting, back by ", "data as of "];
    pages.are_away(&mut browser, &words, "collector-restarting");
    collector.come_back();
    pages.are_live(&mut browser);

    collector.kill();
    let words = ["Collector unreachable since ", "data as of ", "retry "];
    pages.are_away(&mut browser, &words, "collector-unreachable");
    collector.come_back();
    pages.are_live(&mut browser);

    for page in [pages.list, pages.first] {
        browser.go_offline(page);
    }
    pages.are_away(&mut browser, &["You are offline", "data as of "], "browser-offline");
    for page in [pages.list, pages.first] {
        browser.go_online(page);
    }
    pages.are_live(&mut browser);
    for page in [pages.list, pages.first] {
        assert_eq!(browser.longest_loading(page), Duration::ZERO, "it had data all along");
        page_is_sound(&mut browser, page);
    }
    assert_eq!(collector.alerts(), [], "nobody was taken for dead");
}
