//! What the client leaves in its host: nothing that was not asked for.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use lastbeat::Plan;

use crate::LIMIT;
use crate::host::{connect, ordered, say};
use crate::process::Start;
use crate::trouble::{Kind, Trouble};

const SIGINT: u64 = 1 << 1;
const SIGTERM: u64 = 1 << 14;

/// What concerns a whole process, as the kernel sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct State {
    /// Masks by name: caught, ignored, blocked by this thread.
    signals: BTreeMap<String, u64>,
    threads: Vec<String>,
    descriptors: usize,
    children: String,
    /// Working directory, umask and the names in the environment.
    rest: String,
}

impl State {
    fn now() -> Self {
        let status = std::fs::read_to_string("/proc/thread-self/status").expect("it is there");
        let field = |name: &str| {
            let value = status.lines().find_map(|line| line.strip_prefix(name)).expect("a field");
            value.trim_start_matches(':').trim().to_owned()
        };
        let masks = ["SigCgt", "SigIgn", "SigBlk"]
            .map(|name| (name.to_owned(), u64::from_str_radix(&field(name), 16).expect("hexadecimal")));
        let mut threads: Vec<String> = entries("/proc/self/task")
            .iter()
            .filter_map(|task| std::fs::read_to_string(format!("/proc/self/task/{task}/comm")).ok())
            .map(|name| name.trim().to_owned())
            .collect();
        threads.sort();
        let children = entries("/proc/self/task")
            .iter()
            .filter_map(|task| std::fs::read_to_string(format!("/proc/self/task/{task}/children")).ok())
            .collect();
        let environment: Vec<_> = std::env::vars_os().collect();
        let rest = format!("{:?} {} {environment:?}", std::env::current_dir().ok(), field("Umask"));
        Self {
            signals: masks.into(),
            threads,
            // One of them is the directory that is being read.
            descriptors: entries("/proc/self/fd").len(),
            children,
            rest,
        }
    }

    fn mask(&self, name: &str) -> u64 {
        self.signals[name]
    }

    /// Threads that were not there before.
    fn beside(&self, before: &Self) -> Vec<String> {
        let mut left = before.threads.clone();
        let is_new = |name: &&String| match left.iter().position(|known| known == *name) {
            Some(at) => {
                left.remove(at);
                false
            }
            None => true,
        };
        self.threads.iter().filter(is_new).cloned().collect()
    }
}

fn entries(folder: &str) -> Vec<String> {
    let entries = std::fs::read_dir(folder).expect("a folder of /proc");
    entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

static PANICS: AtomicUsize = AtomicUsize::new(0);

/// A host that looks at itself before, while and after it has a worker. It fails by its exit code.
pub(crate) fn host() {
    std::panic::set_hook(Box::new(|info| {
        // What this host finds amiss is to be read where its parent looks.
        say(&format!("panic {info}"));
        PANICS.fetch_add(1, Ordering::SeqCst);
    }));
    let before = State::now();
    let worker = connect();
    worker.ready();
    say("up");
    assert_eq!(ordered(), "look");
    let live = State::now();
    assert_eq!(live.signals, before.signals, "no handler was asked for");
    assert_eq!((&live.children, &live.rest), (&before.children, &before.rest));
    assert_eq!(live.beside(&before), ["lastbeat"], "one thread");
    assert!(live.descriptors <= before.descriptors + 3, "a bell and a socket: {live:?}");

    assert!(std::panic::catch_unwind(|| panic!("on purpose")).is_err());
    assert_eq!(PANICS.load(Ordering::SeqCst), 1, "the hook that was there is called");

    worker.stop("the test");
    worker.run_until_stopped_blocking(Plan::new());
    let stopped = State::now();
    let caught = stopped.mask("SigCgt") & !before.mask("SigCgt");
    assert_eq!(caught, SIGINT | SIGTERM, "what `run_until_stopped` says it hears, and no more");
    assert_eq!(stopped.mask("SigIgn"), before.mask("SigIgn"));
    assert_eq!(stopped.mask("SigBlk"), before.mask("SigBlk"));
    drop(worker);
    let until = Instant::now() + LIMIT;
    while !State::now().beside(&before).is_empty() {
        assert!(Instant::now() < until, "every thread ends: {:?}", State::now().threads);
        std::thread::yield_now();
    }
    let after = State::now();
    assert_eq!((&after.children, &after.rest), (&before.children, &before.rest));
    assert!(after.descriptors <= before.descriptors, "{before:?} {after:?}");
    say("looked");
}

#[test]
fn a_worker_leaves_no_thread_child_descriptor_or_handler_that_nobody_asked_for() {
    for kind in [Kind::Up, Kind::Down, Kind::AcceptsAndIsMute] {
        let trouble = Trouble::start(kind);
        let mut host = Start::of("connects_and_drops", trouble.url()).process();
        host.says("up");
        trouble.has_played(1, LIMIT);
        host.order("look");
        let ended = host.end();
        assert_eq!(ended.code(), Some(0), "{kind:?}: {:#?}", host.said());
        host.says("looked");
    }
}
