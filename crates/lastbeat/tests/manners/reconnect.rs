//! A worker comes back soon, and hammers nobody.

use std::time::{Duration, Instant};

use crate::LIMIT;
use crate::process::Start;
use crate::trouble::{Kind, Trouble};

/// Every deadline of the contract times this: T = 1 s, silence = 6 s, the longest pause 0.6 s.
const SCALE: (&str, &str) = ("LASTBEAT_DEADLINES_SCALE", "0.2");
/// A third of the silence timeout.
const THIRD: Duration = Duration::from_secs(2);
/// What a loaded machine may add.
const SLACK: Duration = Duration::from_millis(500);
const DIALS: usize = 9;

/// The least that eight pauses take: half of 50, 100, 200, 400 and 600 ms, and of 600 ms for the rest.
const LEAST: Duration = Duration::from_millis((50 + 100 + 200 + 400 + 4 * 600) / 2);

#[test]
fn no_dial_waits_longer_than_a_third_of_the_silence_timeout_and_none_hammers() {
    let kinds = [
        Kind::HangsUp,
        Kind::HangsUpAfterHandshake,
        Kind::HangsUpAfterReceipt,
        Kind::Status("503 Service Unavailable"),
        Kind::CannotTakeNow,
        Kind::Noise,
        Kind::AcceptsAndIsMute,
        Kind::TricklingHandshake,
        Kind::TricklingReceipts,
    ];
    std::thread::scope(|scope| {
        let hosts: Vec<_> = kinds.iter().map(|kind| scope.spawn(|| dials(*kind))).collect();
        hosts.into_iter().for_each(|host| host.join().expect("see above"));
    });
}

fn dials(kind: Kind) {
    let trouble = Trouble::start(kind);
    let host = Start { env: &[SCALE], ..Start::of("defaults", trouble.url()) }.process();
    host.says("up");
    let until = Instant::now() + LIMIT;
    while trouble.dials().len() < DIALS {
        assert!(Instant::now() < until, "{kind:?}: it is dialled {DIALS} times");
        std::thread::sleep(Duration::from_millis(5));
    }
    let dials = trouble.dials();
    let pauses: Vec<Duration> = dials.windows(2).map(|two| two[1] - two[0]).take(DIALS - 1).collect();
    assert!(pauses.iter().all(|pause| *pause <= THIRD + SLACK), "{kind:?}: {pauses:?}");
    let all: Duration = pauses.iter().sum();
    // Dials are seen with a delay, each with another.
    assert!(all + SLACK / 5 >= LEAST, "{kind:?}: eight pauses took {all:?}: {pauses:?}");
}
