//! Promise: the page says of every ending what it was, and of its collector how it went, in a real browser.

use std::time::Duration;

use lastbeat_tests::browser::Page;
use lastbeat_tests::{Browser, Collector, PATIENCE, Worker, scenes};

/// Deadlines a fifth of the contract's.
const SCALE: f64 = 0.2;
/// "Loading" is said for this long at most.
const LOADING_MAX: Duration = Duration::from_secs(3);
/// The line on top in which the page speaks of itself and of its collector.
const BAR: &str = "[role=status]";

/// The row of a worker on the overview.
fn row(who: &str) -> String {
    format!(r#"tr:has(a[href="/workers/{who}"])"#)
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

    let _shell = scenes::stopped_from_a_shell(&collector, "trader/shell", scenes::CLEAN_PLAN);
    says(&mut browser, "trader/shell", &["System stopped ", " by kill from bash; cleanup complete"]);

    scenes::leaves_with_a_promise(&collector, "trader/restarts", "30s");
    says(&mut browser, "trader/restarts", &["Restarting, back by "]);
    let _successor = Worker::start(&collector, "trader/restarts", &[]);
    says(&mut browser, "trader/restarts", &["Live"]);

    scenes::leaves_with_a_promise(&collector, "trader/overdue", "2s");
    says(&mut browser, "trader/overdue", &["Failed: restart overdue since "]);

    scenes::panics(&collector, "trader/panics");
    says(&mut browser, "trader/panics", &["Failed: panic", "the till is empty"]);

    let (_witness, _) = scenes::killed_under_its_witness(&collector, "trader/killed");
    says(&mut browser, "trader/killed", &["Failed: killed (SIGKILL)"]);

    scenes::killed_alone(&collector, "trader/lost");
    browser.wait_for(overview, &row("trader/lost"), "Unreachable ", PATIENCE);
    says(&mut browser, "trader/lost", &["Failed: lost contact "]);

    // The steps of a clean stop stand on the worker's page, each with its outcome.
    let page = browser.open(&format!("{}/workers/trader/keyboard", collector.url()));
    for word in ["cancel-orders", "3 of 3", "flush"] {
        browser.wait_for(page, "main", word, PATIENCE);
    }
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

/// The page hears its collector: it says so, nothing is grey, the row is live.
fn is_live(browser: &mut Browser, page: Page) {
    browser.wait_for(page, BAR, "Live, ", PATIENCE);
    browser.wait_for(page, &row("fleet/one"), "Live", PATIENCE);
    assert_eq!(browser.texts(page, "main.stale").len(), 0, "a page that is heard is not grey");
}

/// The page does not hear its collector: it says `words`, all is grey, no row says that it is live.
fn is_away(browser: &mut Browser, page: Page, words: &[&str], picture: &str) {
    for word in words {
        browser.wait_for(page, BAR, word, PATIENCE);
    }
    browser.wait_for(page, "main.stale", "", PATIENCE);
    browser.wait_for(page, &row("fleet/one"), "Was live", PATIENCE);
    browser.picture(page, picture);
}

#[test]
fn an_open_page_says_how_its_collector_went_and_recovers_by_itself() {
    let mut collector = Collector::start_scaled(SCALE);
    let _worker = Worker::start(&collector, "fleet/one", &[]);
    let mut browser = Browser::start();
    let page = browser.open(&format!("{}/", collector.url()));
    is_live(&mut browser, page);

    collector.stop();
    is_away(&mut browser, page, &["lastbeat was stopped at ", "data as of "], "collector-stopped");
    collector.come_back_with(&["--back-by=30s"]);
    is_live(&mut browser, page);

    collector.stop();
    is_away(&mut browser, page, &["lastbeat is restarting, back by ", "data as of "], "collector-restarting");
    collector.come_back();
    is_live(&mut browser, page);

    collector.kill();
    let words = ["Collector unreachable since ", "data as of ", "retry "];
    is_away(&mut browser, page, &words, "collector-unreachable");
    collector.come_back();
    is_live(&mut browser, page);

    browser.go_offline(page);
    is_away(&mut browser, page, &["You are offline", "data as of "], "browser-offline");
    browser.go_online(page);
    is_live(&mut browser, page);
    assert_eq!(browser.longest_loading(page), Duration::ZERO, "it had data all along");
    page_is_sound(&mut browser, page);
}

#[test]
fn a_worker_page_that_is_open_says_how_its_collector_went() {
    let mut collector = Collector::start_scaled(SCALE);
    let _worker = Worker::start(&collector, "fleet/one", &[]);
    let mut browser = Browser::start();
    let page = browser.open(&format!("{}/workers/fleet/one", collector.url()));
    browser.wait_for(page, BAR, "Live, ", PATIENCE);
    collector.stop();
    browser.wait_for(page, BAR, "lastbeat was stopped at ", PATIENCE);
    browser.wait_for(page, "main.stale", "Was live", PATIENCE);
    collector.come_back();
    browser.wait_for(page, BAR, "Live, ", PATIENCE);
    browser.wait_for(page, "main:not(.stale)", "Live", PATIENCE);
    page_is_sound(&mut browser, page);
}
