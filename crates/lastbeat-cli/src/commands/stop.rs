//! `lastbeat stop`: ask a worker to stop, wait until it has, say how it ended.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use lastbeat_wire::RunId;
use lastbeat_wire::report::{AskedReport, Class, RunDetail, RunReport, RunState, WorkerReport};

use crate::args::{Stop, WorkerPath};
use crate::collector::Collector;
use crate::commands::ask::{Wish, ask, say};
use crate::commands::{phrase, report};
use crate::failure::{Answer, EXIT_UNREACHABLE, Failure};
use crate::render::{self, Progress};

/// How often the collector is asked how far it is.
const POLL_EVERY: Duration = Duration::from_millis(200);
/// How long a run may take to say that it was asked, and the collector to learn of the end after the run's own stop
/// deadline: a witness takes up to 10 s to give up on one that said goodbye and lives on.
const PATIENCE: Duration = Duration::from_secs(15);
/// How long, beyond the goodbye, the exit is waited for; a witness tells of it within a second, unless it is gone.
const EXIT_PATIENCE: Duration = Duration::from_secs(5);

pub(crate) fn stop(typed: &Stop) -> Result<Answer, Failure> {
    let collector = Collector::at(&typed.ask.collector)?;
    let wish = if typed.force { Wish::ForcedStop } else { Wish::Stop };
    let asked = ask(&collector, wish, &typed.ask)?;
    if typed.no_wait {
        say(wish, &typed.ask, &asked);
        return Ok(Answer::Yes);
    }
    let seen = wait(&collector, &typed.ask.worker, &asked, typed.timeout)?;
    if seen.run.ending.is_none() {
        return Err(seen.too_late(&typed.ask.worker, wish));
    }
    render::line(&format!("{}: {}", typed.ask.worker, render::clean(&seen.words)));
    Ok(if seen.ended_as(wish) { Answer::Yes } else { Answer::No })
}

/// The run that was asked, as it is now.
struct Seen {
    run: RunReport,
    words: String,
    /// How long ago it was asked.
    waited: Duration,
}

/// Waits for an end that is certain. What was seen last when the time is up may be none, or a presumed one.
fn wait(
    collector: &Collector,
    worker: &WorkerPath,
    asked: &AskedReport,
    timeout: Option<Duration>,
) -> Result<Seen, Failure> {
    let begun = Instant::now();
    let mut progress = Progress::new();
    let mut limit = timeout.unwrap_or(PATIENCE);
    let mut ended = None;
    loop {
        let seen = look(collector, worker, asked.run_id, begun);
        let waited = begun.elapsed();
        match seen {
            Ok(seen) => {
                if seen.ending_is_certain() {
                    let since = *ended.get_or_insert(waited);
                    if !seen.awaits_exit() || waited.saturating_sub(since) >= EXIT_PATIENCE {
                        return Ok(seen);
                    }
                }
                if let (None, Some(deadline)) = (timeout, seen.run.stop_deadline_at) {
                    limit = patience(asked.at, deadline);
                }
                if waited >= limit {
                    return Ok(seen);
                }
                progress.show(&format!("{worker}: {}", seen.words));
            }
            // A collector that restarts meanwhile comes back; whatever else was refused stays refused.
            Err(failure) if waited >= limit || failure.exit != EXIT_UNREACHABLE => return Err(failure),
            Err(failure) => progress.show(&format!("{}: {}", failure.what, failure.why)),
        }
        std::thread::sleep(POLL_EVERY.min(limit.saturating_sub(waited)));
    }
}

/// From the ask to the end of all patience, when the run means to have stopped by a deadline.
fn patience(asked: Timestamp, deadline: Timestamp) -> Duration {
    let ms = deadline.as_millisecond().saturating_sub(asked.as_millisecond());
    Duration::from_millis(u64::try_from(ms).unwrap_or(0)) + PATIENCE
}

fn look(collector: &Collector, worker: &WorkerPath, run_id: RunId, begun: Instant) -> Result<Seen, Failure> {
    let shown: WorkerReport = report("the worker", collector.get(&format!("/v1/workers/{worker}"))?)?;
    let waited = begun.elapsed();
    let is_ours = |run: &RunReport| run.run_id == run_id;
    // The worker's words are of its newest run; an older one has those of its ending.
    if let Some(run) = shown.run.filter(is_ours) {
        return Ok(Seen { run, words: shown.words, waited });
    }
    let run = match shown.last_ended.filter(is_ours) {
        Some(run) => run,
        None => report::<RunDetail>("the run", collector.get(&format!("/v1/runs/{run_id}"))?)?.run,
    };
    let words = run.ending.as_ref().map_or_else(|| run.state.to_string(), |ending| ending.words.clone());
    Ok(Seen { run, words, waited })
}

impl Seen {
    fn ending_is_certain(&self) -> bool {
        self.run.ending.as_ref().is_some_and(|ending| !ending.provisional)
    }

    /// It said goodbye, and its witness has not told of the exit: the process may still be there.
    fn awaits_exit(&self) -> bool {
        self.run.witnessed && self.run.ending.as_ref().is_none_or(|ending| ending.exit.is_none())
    }

    /// A presumed end is none yet.
    fn ended_as(&self, wish: Wish) -> bool {
        let ending = self.run.ending.as_ref().filter(|_| self.ending_is_certain());
        ending.is_some_and(|ending| match ending.class {
            // One that had finished its work is as gone as one that was stopped.
            Class::Shutdown | Class::Completed => true,
            Class::ShutdownAborted => wish == Wish::ForcedStop,
            Class::Superseded
            | Class::ShutdownDegraded
            | Class::ExitedSilently
            | Class::ShutdownTimeout
            | Class::Crashed
            | Class::Killed
            | Class::OomKilled
            | Class::Watchdog
            | Class::StartFailed
            | Class::Lost
            | Class::HostLost
            | Class::HostRebooted => false,
        })
    }

    fn too_late(&self, worker: &WorkerPath, wish: Wish) -> Failure {
        let waited = phrase::span(u64::try_from(self.waited.as_millis()).unwrap_or(u64::MAX));
        let what = format!("{worker} has not stopped");
        if self.run.state != RunState::Stopping {
            let why = format!("asked {waited} ago, it has not answered; it is shown as: {}", self.words);
            return Failure::failed(what, why).hint(format!("lastbeat explain {worker}"));
        }
        let failure = Failure::failed(what, format!("asked {waited} ago, it is shown as: {}", self.words));
        match (wish, self.run.pid) {
            (Wish::ForcedStop, Some(pid)) => {
                let host = self.run.host.as_deref().unwrap_or("its host");
                failure.hint(format!("kill -KILL {pid}   # on {host}"))
            }
            _ => {
                failure.hint(format!("lastbeat stop {worker} --force   # skips what is left of its cleanup"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_waited_for_until_fifteen_seconds_after_its_own_deadline() {
        let at = |text: &str| text.parse::<Timestamp>().expect("a time");
        let asked = at("2026-01-05T12:03:00Z");
        assert_eq!(patience(asked, at("2026-01-05T12:03:30Z")), Duration::from_secs(45));
        // It was asked before, by somebody else, and its time is up.
        assert_eq!(patience(asked, at("2026-01-05T12:02:30Z")), Duration::from_secs(15));
    }
}
