//! The story of a run in sentences: what happened, was it an error, who asked, what was cleaned up, what
//! it rests on, what to do next.
//!
//! Invariant: pure, from the collector's report alone. It explains a verdict and never makes one.
//!
//! Read [`super::phrase`] next.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use lastbeat_wire::report::{Amendment, Class, EndingReport, Evidence, EvidenceKind, RunReport};
use lastbeat_wire::signal::{AgentEnd, Cause, CauseKind, Sender};

use super::cleanup;
use super::phrase::{ago, clock, moment, span, who};

/// What became of a restart promise, as far as the worker's condition tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Promise {
    /// None is at stake.
    None,
    /// It can still be kept, until then.
    Open(Timestamp),
    /// No successor was ready in time.
    Broken,
}

/// What a story needs to know beside the run.
pub(crate) struct Telling<'a> {
    /// `service/worker`.
    pub(crate) subject: &'a str,
    /// The collector's clock.
    pub(crate) now: Timestamp,
    /// The reader's time zone.
    pub(crate) zone: TimeZone,
    /// The worker's restart promise.
    pub(crate) promise: Promise,
}

impl Telling<'_> {
    /// The sentences for one run, in the order a tired person asks for them.
    pub(crate) fn of(&self, run: &RunReport, amendments: &[Amendment]) -> Vec<String> {
        let mut said = vec![self.life(run)];
        match &run.ending {
            Some(ending) => {
                said.push(verdict(ending));
                said.push(asked(ending));
                if let Some(panic) = &ending.panic {
                    let at = panic.location.as_ref().map(|at| format!(" at {at}")).unwrap_or_default();
                    said.push(format!("It panicked{at}: “{}”.", panic.message));
                }
                said.push(cleanup::told(run, ending));
                said.push(exit(run, ending));
                said.push(evidence(&ending.evidence, ending.provisional));
            }
            None => {
                if let Some(cause) = &run.cause {
                    said.push(format!("It is on its way out. {}", cause_sentence(cause)));
                }
            }
        }
        said.extend(agents(run));
        for amendment in amendments.iter().filter(|amendment| amendment.run_id == run.run_id) {
            said.push(format!(
                "At {} its verdict changed from {} to {}: {}.",
                moment(amendment.at, self.now, &self.zone),
                amendment.from,
                amendment.to,
                amendment.because
            ));
        }
        if let Some(ending) = &run.ending {
            let next = match self.promise {
                Promise::None => next(self.subject, run, ending, self.now),
                Promise::Open(until) => {
                    format!("nothing yet: it promised to be back by {}.", moment(until, self.now, &self.zone))
                }
                Promise::Broken => {
                    "start it: it promised to be back, and no successor was ready in time.".into()
                }
            };
            said.push(format!("Next: {next}"));
        }
        said.retain(|sentence| !sentence.is_empty());
        said
    }

    fn life(&self, run: &RunReport) -> String {
        let place = match (run.pid, &run.host) {
            (Some(pid), Some(host)) => format!(" (pid {pid} on {host})"),
            (Some(pid), None) => format!(" (pid {pid})"),
            (None, Some(host)) => format!(" (on {host})"),
            (None, None) => String::new(),
        };
        let ready = match run.ready_at {
            // The witness takes a program that runs for ready, unless a client says otherwise.
            Some(at) if at <= run.started_at => "was ready at once".into(),
            Some(at) => format!("was ready after {}", between(run.started_at, at)),
            None => "was never ready".into(),
        };
        let end = match &run.ending {
            Some(ending) => format!(
                "and ended at {}, after {}",
                moment(ending.at, self.now, &self.zone),
                between(run.started_at, ending.at)
            ),
            None => format!("and was last heard {}", ago(run.last_beat_at, self.now)),
        };
        let started = moment(run.started_at, self.now, &self.zone);
        format!("Run {}{place} started at {started}, {ready} {end}.", run.run_id)
    }
}

fn between(from: Timestamp, to: Timestamp) -> String {
    span(to.as_millisecond().saturating_sub(from.as_millisecond()).max(0).unsigned_abs())
}

fn verdict(ending: &EndingReport) -> String {
    let text = match ending.class {
        Class::Completed => "It was no error: its work was done.",
        // Without a plan nobody knows what there was to do.
        Class::Shutdown if ending.cleanup.steps.is_empty() => {
            "It was no error: it ended because a stop was asked."
        }
        Class::Shutdown => {
            "It was no error: a stop was asked, nothing was left undone, and it ended inside its deadline."
        }
        Class::Superseded => "A successor took its place before any ending of it was known.",
        Class::ShutdownDegraded => "It stopped as asked and in time, but not cleanly.",
        Class::ShutdownAborted => {
            "It stopped as asked, but a second request forced it and its cleanup was cut short."
        }
        Class::ExitedSilently => "It ended with exit 0 and said no goodbye: look at it in office hours.",
        Class::ShutdownTimeout => {
            "It was an error: a stop was asked, and it did not end inside its deadline."
        }
        Class::Crashed => "It was an error: it came down by its own doing.",
        Class::Killed => "It was an error: a KILL ended it that nobody had announced.",
        Class::OomKilled => "It was an error: the kernel killed it because memory had run out.",
        Class::Watchdog => "It was an error: it hung past its limit and was killed for it.",
        Class::StartFailed => "It was an error: it never got ready.",
        Class::Lost => {
            "It has to be taken for dead: it fell silent, and nobody saw it end. Should it be heard again, this \
             verdict is amended."
        }
        Class::HostLost => "It has to be taken for dead: its whole host fell silent.",
        Class::HostRebooted => "Its host was booted anew, and nothing had said goodbye.",
    };
    match &ending.during {
        Some(during) => format!("{text} It happened during its {during}."),
        None => text.into(),
    }
}

fn asked(ending: &EndingReport) -> String {
    let killed = ending.exit.as_ref().is_some_and(|exit| exit.signal.as_deref() == Some("SIGKILL"));
    match &ending.cause {
        Some(cause) if !(killed && cause.kind == CauseKind::Unknown) => cause_sentence(cause),
        Some(_) => {
            "Nobody asked it to stop. Who sent the KILL cannot be known: the kernel names the sender to the \
             receiver only, and a KILL leaves it no time to tell."
                .into()
        }
        None => "Nobody asked it to stop.".into(),
    }
}

fn cause_sentence(cause: &Cause) -> String {
    let signal = cause.signal.as_deref().unwrap_or("signal");
    let by_sender = |lead: String| match &cause.sender {
        None => format!("{lead}; who sent it was not to be seen."),
        Some(sender) => format!("{lead} sent by {}", sender_sentence(sender)),
    };
    match cause.kind {
        CauseKind::Api => "The program itself asked for it.".into(),
        CauseKind::Keyboard => format!("Somebody at its terminal pressed {}.", who(cause)),
        CauseKind::TerminalHangup => "Its terminal was closed.".into(),
        CauseKind::Signal => by_sender(format!("It was asked by a {signal}")),
        CauseKind::Supervisor => by_sender(format!("Its supervisor asked by a {signal}")),
        CauseKind::HostShutdown => "Its host was going down.".into(),
        CauseKind::Deploy => format!("It was asked by {}.", who(cause)),
        CauseKind::Itself => match &cause.reason {
            Some(reason) => format!("It asked itself: {reason}."),
            None => "It asked itself.".into(),
        },
        CauseKind::Dependency => match &cause.name {
            Some(name) => format!("It could not go on without {name}."),
            None => "It could not go on without something it depends on.".into(),
        },
        CauseKind::Operator => match &cause.why {
            Some(why) => format!("It was asked by {}: {why}.", who(cause)),
            None => format!("It was asked by {}.", who(cause)),
        },
        CauseKind::Unknown => "A stop was asked, but by whom cannot be known.".into(),
    }
}

fn sender_sentence(sender: &Sender) -> String {
    if sender.outside_namespace {
        return "a process outside its pid namespace, which nobody inside can name.".into();
    }
    let tty = sender.tty.as_ref().map(|tty| format!(", at {tty}")).unwrap_or_default();
    let facts = format!("pid {}, uid {}{tty}", sender.pid, sender.uid);
    match (&sender.comm, &sender.cmdline) {
        (Some(comm), Some(cmdline)) if comm != cmdline => {
            format!("{comm} ({facts}), started as “{cmdline}”.")
        }
        (Some(comm), _) => format!("{comm} ({facts})."),
        (None, _) if sender.gone => {
            format!("a process that was gone before its name could be read ({facts}).")
        }
        (None, _) => format!("a process whose name could not be read ({facts})."),
    }
}

fn exit(run: &RunReport, ending: &EndingReport) -> String {
    match &ending.exit {
        None if run.witnessed => "Its witness has not reported its exit.".into(),
        None => "Nobody saw its exit: it ran without a witness.".into(),
        Some(exit) => {
            let status = match (&exit.signal, exit.code) {
                (Some(signal), _) => format!("it was ended by {signal}"),
                (None, Some(code)) => format!("it exited with {code}"),
                (None, None) => return String::new(),
            };
            let by =
                if exit.killed_by_witness { ", sent by the witness when its grace was over" } else { "" };
            let core = if exit.core_dumped { ", leaving a core" } else { "" };
            format!("Its witness saw the end: {status}{by}{core}.")
        }
    }
}

fn evidence(evidence: &[Evidence], provisional: bool) -> String {
    let kinds: Vec<String> = evidence
        .iter()
        .map(|row| {
            let lead = match row.kind {
                EvidenceKind::Own => "its own word",
                EvidenceKind::Witness => "what its witness saw",
                EvidenceKind::Inferred => "what silence suggests",
            };
            if row.facts.is_empty() { lead.into() } else { format!("{lead} ({})", row.facts.join(", ")) }
        })
        .collect();
    if kinds.is_empty() {
        return String::new();
    }
    let doubt =
        if provisional { " It is provisional: its exit or its final beat may still amend it." } else { "" };
    format!("This verdict rests on {}.{doubt}", kinds.join(" and "))
}

/// Agents that came to an end nobody expected; those that ended as they should are no news.
fn agents(run: &RunReport) -> Vec<String> {
    run.agents
        .iter()
        .filter_map(|agent| {
            let what = match agent.end? {
                AgentEnd::Completed | AgentEnd::CancelledExpected | AgentEnd::Abandoned => {
                    return None;
                }
                AgentEnd::CancelledUnexpected => "was cancelled although no stop was asked",
                AgentEnd::Crashed => "crashed",
            };
            let why = agent.error.as_ref().map(|error| format!(": {error}")).unwrap_or_default();
            Some(format!("Its agent {} {what}{why}.", agent.name))
        })
        .collect()
}

fn next(subject: &str, run: &RunReport, ending: &EndingReport, now: Timestamp) -> String {
    let host = run.host.as_deref().unwrap_or("its host");
    let at = clock(ending.at, now);
    match ending.class {
        Class::Completed | Class::Shutdown | Class::Superseded => "nothing.".into(),
        Class::ShutdownDegraded => "see to what was not cleaned up before it is started again.".into(),
        Class::ShutdownAborted => {
            "see to what its cleanup would have done; one Ctrl+C is enough, a second one forces.".into()
        }
        Class::ExitedSilently => {
            format!("read what {subject} printed just before {at} UTC, and why it left.")
        }
        Class::ShutdownTimeout => {
            "find out what hung; if it only needs longer, allow more with `lastbeat run --grace` or \
             LASTBEAT_STOP_DEADLINE."
                .into()
        }
        Class::Crashed => match ending.panic.as_ref().and_then(|panic| panic.location.as_ref()) {
            Some(location) => format!("look at {location}, then start it again."),
            None => format!("read what {subject} printed just before {at} UTC, then start it again."),
        },
        Class::Killed => format!(
            "look for who sends KILL on {host}: a supervisor's stop timeout, a script, a person; then start it again."
        ),
        Class::OomKilled => format!("give it more memory or find what eats it (`journalctl -k` on {host})."),
        Class::Watchdog => "find out what it was waiting for, then start it again.".into(),
        Class::StartFailed => "start it by hand and read what it says.".into(),
        Class::Lost => {
            let process = run.pid.map_or_else(|| "the process".into(), |pid| format!("pid {pid}"));
            let witness =
                if run.witnessed { "" } else { " Under `lastbeat run` its real end would have been seen." };
            format!("look whether {process} lives on {host} and reaches the collector.{witness}")
        }
        Class::HostLost | Class::HostRebooted => format!("look at {host} first."),
    }
}

#[cfg(test)]
mod tests {
    use lastbeat_wire::report::RunDetail;
    use serde_json::json;

    use super::*;

    fn told(ending: &serde_json::Value) -> String {
        told_of(true, ending)
    }

    fn told_of(linked: bool, ending: &serde_json::Value) -> String {
        let detail: RunDetail = serde_json::from_value(json!({
            "service": "trader", "worker": "main", "amendments": [{
                "run_id": "0190d1f0-0000-7000-8000-000000000001", "at": "2026-01-05T12:04:00Z",
                "from": "lost", "to": "shutdown", "because": "final beat delivered late"
            }], "facts": [],
            "run": {
                "run_id": "0190d1f0-0000-7000-8000-000000000001", "state": "ended", "flags": [], "pid": 812,
                "host": "h1", "linked": linked, "witnessed": true, "interval_ms": 5000,
                "started_at": "2026-01-05T12:00:00Z", "ready_at": "2026-01-05T12:00:02Z",
                "last_beat_at": "2026-01-05T12:03:06Z", "ending": ending, "agents": []
            }
        }))
        .expect("the sample is a run");
        let telling = Telling {
            subject: "trader/main",
            now: "2026-01-05T12:05:00Z".parse().expect("a time"),
            zone: TimeZone::UTC,
            promise: Promise::None,
        };
        telling.of(&detail.run, &detail.amendments).join("\n")
    }

    #[test]
    fn a_planned_stop_is_told_as_no_error_with_its_asker_and_its_steps() {
        let story = told(&json!({
            "class": "shutdown", "severity": "none", "words": "System stopped", "at": "2026-01-05T12:03:07Z",
            "provisional": false,
            "cause": { "kind": "signal", "signal": "SIGTERM", "sender": {
                "pid": 790, "uid": 1000, "ppid": 788, "comm": "bash", "cmdline": "bash", "tty": "pts/3" } },
            "cleanup": { "outcome": "complete", "duration_ms": 812, "abandoned": [], "untracked": 0,
                "steps": [{ "name": "cancel-orders", "outcome": "ok", "done": 3, "total": 3, "attempts": 1 }],
                "children_left": [], "streams_farewell": 4, "streams_cut": 0, "items_flushed": 120,
                "items_dropped": 0 },
            "exit": { "code": 0, "signal": null, "core_dumped": false },
            "evidence": [{ "kind": "self", "facts": ["final #42"] }, { "kind": "witness", "facts": ["exit #9"] }],
            "output_tail": []
        }));
        assert_eq!(
            story,
            "Run 0190d1f0-0000-7000-8000-000000000001 (pid 812 on h1) started at 12:00:00 UTC, was ready after 2 s \
             and ended at 12:03:07 UTC, after 3 min 7 s.\n\
             It was no error: a stop was asked, nothing was left undone, and it ended inside its deadline.\n\
             It was asked by a SIGTERM sent by bash (pid 790, uid 1000, at pts/3).\n\
             Cleanup was complete in 812 ms: cancel-orders ok (3 of 3). Buffered items written out: 120.\n\
             Its witness saw the end: it exited with 0.\n\
             This verdict rests on its own word (final #42) and what its witness saw (exit #9).\n\
             At 12:04:00 UTC its verdict changed from lost to shutdown: final beat delivered late.\n\
             Next: nothing."
        );
    }

    #[test]
    fn a_kill_says_why_its_sender_cannot_be_known() {
        let story = told(&json!({
            "class": "killed", "severity": "page", "words": "Failed: killed (SIGKILL)",
            "at": "2026-01-05T12:03:07Z", "provisional": false,
            "cause": { "kind": "unknown", "signal": "SIGKILL" },
            "cleanup": { "outcome": "skipped", "steps": [], "abandoned": [], "untracked": 0, "children_left": [],
                "streams_farewell": 0, "streams_cut": 0, "items_flushed": 0, "items_dropped": 0 },
            "exit": { "code": null, "signal": "SIGKILL", "core_dumped": false },
            "evidence": [{ "kind": "witness", "facts": ["exit #3"] }], "output_tail": []
        }));
        assert!(story.contains("a KILL ended it that nobody had announced"), "{story}");
        assert!(story.contains("Who sent the KILL cannot be known"), "{story}");
        assert!(story.contains("it was ended by SIGKILL"), "{story}");
        assert!(story.contains("look for who sends KILL on h1"), "{story}");
    }

    #[test]
    fn steps_that_nobody_could_name_are_not_said_to_be_missing() {
        let cleanup_of = |linked, own: &[&str], exit: serde_json::Value| {
            let story = told_of(
                linked,
                &json!({
                    "class": "killed", "severity": "page", "words": "Failed", "at": "2026-01-05T12:03:07Z",
                    "provisional": false, "cause": null,
                    "cleanup": { "outcome": "none_declared", "steps": [], "abandoned": [], "untracked": 0,
                        "children_left": [], "streams_farewell": 0, "streams_cut": 0, "items_flushed": 0,
                        "items_dropped": 0 },
                    "exit": exit, "evidence": [{ "kind": "self", "facts": own }], "output_tail": []
                }),
            );
            let lines: Vec<String> =
                story.lines().filter(|line| line.contains("cleanup")).map(str::to_owned).collect();
            lines.join(" ")
        };
        let killed = json!({ "code": null, "signal": "SIGKILL", "core_dumped": false });
        assert_eq!(cleanup_of(true, &["final #4"], killed.clone()), "It had declared no cleanup steps.");
        assert_eq!(cleanup_of(false, &[], killed.clone()), "It had declared no cleanup steps.");
        assert_eq!(cleanup_of(true, &["panic #4"], killed), "Its cleanup did not run.");
        let unheard = "Nothing was heard of its cleanup: take it that it did not run.";
        assert_eq!(cleanup_of(true, &[], serde_json::Value::Null), unheard);
    }

    /// An ending whose final named no step.
    fn ending_without_steps(class: &str, panic: &serde_json::Value) -> serde_json::Value {
        json!({
            "class": class, "severity": "none", "words": "", "at": "2026-01-05T12:03:07Z",
            "provisional": false, "cause": null, "panic": panic,
            "cleanup": { "outcome": "none_declared", "steps": [], "abandoned": [], "untracked": 0,
                "children_left": [], "streams_farewell": 0, "streams_cut": 0, "items_flushed": 0,
                "items_dropped": 0 },
            "exit": { "code": 0, "signal": null, "core_dumped": false },
            "evidence": [{ "kind": "self", "facts": ["panic #3", "final #4"] }], "output_tail": []
        })
    }

    #[test]
    fn the_empty_final_of_a_panic_does_not_say_that_there_was_nothing_to_clean_up() {
        let mut ending =
            ending_without_steps("crashed", &json!({ "message": "NaN", "location": "src/feed.rs:7" }));
        for outcome in ["none_declared", "complete"] {
            ending["cleanup"]["outcome"] = outcome.into();
            let story = told(&ending);
            assert!(
                story.contains("Nothing was heard of its cleanup: take it that it did not run."),
                "{story}"
            );
            assert!(!story.contains("had declared no") && !story.contains("Cleanup was"), "{story}");
        }
        // A stop that came later had its say: what panicked was outlived.
        let outlived = told(&ending_without_steps("shutdown", &json!({ "message": "NaN" })));
        assert!(outlived.contains("It had declared no cleanup steps."), "{outlived}");
    }

    #[test]
    fn without_a_plan_a_stop_is_not_said_to_have_left_nothing_undone() {
        let story = told(&ending_without_steps("shutdown", &serde_json::Value::Null));
        assert!(story.contains("It was no error: it ended because a stop was asked."), "{story}");
        assert!(!story.contains("undone"), "{story}");
    }

    #[test]
    fn that_nobody_asked_is_said_once() {
        for class in ["completed", "exited_silently"] {
            let story = told(&ending_without_steps(class, &serde_json::Value::Null));
            assert_eq!(story.to_lowercase().matches("nobody").count(), 1, "{story}");
            assert!(story.contains("Nobody asked it to stop."), "{story}");
        }
    }
}
