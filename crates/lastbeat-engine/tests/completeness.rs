//! Nothing is forgotten: each rule id stands at the one place that keeps it, and the table of what each fact does in
//! each state is the one in the documentation.
#![expect(clippy::disallowed_methods, reason = "it reads this crate's own files")]

mod stage;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use lastbeat_engine::ending::{AgentEnd, ClassHint, Exit, StepOutcome};
use lastbeat_engine::fact::{
    Away, Deadline, Expired, Final, Forget, LeftBehind, MassSilence, Notify, Phase, PhaseTo, Plan, PlanEnd,
    PlanKind,
};
use lastbeat_engine::{RunId, Source, What};
use stage::*;

const RULES: [&str; 15] =
    ["D1", "D2", "D3", "D4", "D5", "D6", "D7", "M1", "M2", "M3", "M4", "M5", "M6", "M7", "M8"];

fn texts_of(folder: &Path) -> Vec<(PathBuf, String)> {
    let entries = std::fs::read_dir(folder).expect("a folder of this crate");
    let mut texts = Vec::new();
    for path in entries.map(|entry| entry.expect("an entry").path()) {
        if path.is_dir() {
            texts.extend(texts_of(&path));
        } else {
            texts.push((path.clone(), std::fs::read_to_string(&path).expect("text")));
        }
    }
    texts
}

fn places(texts: &[(PathBuf, String)], id: &str) -> Vec<String> {
    let is_word = |text: &str, at: usize| {
        let around = [text[..at].chars().next_back(), text[at + id.len()..].chars().next()];
        around.into_iter().flatten().all(|near| !near.is_alphanumeric() && near != '_')
    };
    let mut found = Vec::new();
    for (path, text) in texts {
        for (number, line) in text.lines().enumerate() {
            let hits = line.match_indices(id).filter(|(at, _)| is_word(line, *at)).count();
            found.extend((0..hits).map(|_| format!("{}:{}", path.display(), number + 1)));
        }
    }
    found
}

#[test]
fn each_rule_stands_at_one_place_in_the_code_and_is_shown_by_data() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (code, data) = (texts_of(&here.join("src")), texts_of(&here.join("../../tests/endings")));
    for id in RULES {
        assert_eq!(places(&code, id).len(), 1, "{id} in the code: {:?}", places(&code, id));
        let shown: Vec<_> =
            places(&data, &format!("\"{id}\"")).into_iter().filter(|at| at.contains(".toml")).collect();
        assert!(!shown.is_empty(), "no entry of the endings shows {id}");
    }
}

/// Every fact there is, as one is said; a new one breaks the build in [`said_by`].
fn every_what() -> Vec<What> {
    let expired = |which| What::Expired(Expired { which, due: stage_now().plus(90_000), last_seen: None });
    let plan = |kind| {
        let id = format!("{kind:?}").into();
        let (service, worker, who, why, deploy) = ("s".into(), None, None, None, None);
        What::Plan(Plan { id, kind, service, worker, for_ms: 60_000, who, why, deploy })
    };
    vec![
        start(),
        What::Ready,
        What::Phase(Phase { to: PhaseTo::Running, count: None }),
        What::Phase(Phase { to: PhaseTo::Paused, count: None }),
        What::Phase(Phase { to: PhaseTo::Reloading, count: None }),
        What::Phase(Phase { to: PhaseTo::Draining, count: None }),
        agent_ended("a", AgentEnd::Crashed),
        asked(by_signal("SIGTERM")),
        extend(5_000, 1),
        What::Step(step("flush", Some(StepOutcome::Ok))),
        panic_of("x"),
        clean_goodbye(by_signal("SIGTERM"), None),
        witness_start(None),
        seen(by_signal("SIGTERM")),
        seen(by_signal("SIGHUP")),
        What::Notify(Notify { ready: true, ..Notify::default() }),
        What::Stopped,
        What::Continued,
        What::Oom,
        What::OutputTail(vec!["last words".into()]),
        What::LeftBehind(LeftBehind { children: vec![(7, "sh".into())], ..LeftBehind::default() }),
        exit_code(0),
        exit_code(1),
        exit_signal("SIGTERM"),
        exit_signal("SIGKILL"),
        exit_signal("SIGSEGV"),
        What::LinkClosed(Source::Own),
        expired(Deadline::Silence),
        expired(Deadline::Link),
        expired(Deadline::Stop),
        expired(Deadline::Start),
        expired(Deadline::Promise),
        expired(Deadline::Goodbye),
        expired(Deadline::Progress),
        expired(Deadline::Host),
        What::Seen,
        What::Away(Away { from: stage_now(), to: stage_now().plus(60_000) }),
        What::MassSilence(MassSilence { members: vec![RunId(1)], of: 8 }),
        plan(PlanKind::Restart),
        plan(PlanKind::Stop),
        plan(PlanKind::Maintenance),
        What::PlanEnd(PlanEnd { id: "Stop".into() }),
        What::Forget(Forget { service: "s".into(), worker: "w".into() }),
    ]
}

fn stage_now() -> lastbeat_engine::Moment {
    Stage::new().now
}

/// Who says a fact of this kind, and its name in the table.
fn said_by(what: &What) -> (Source, String) {
    let name = what.type_name();
    match what {
        What::Start(_)
        | What::Ready
        | What::Agent(_)
        | What::Asked(_)
        | What::Extend(_)
        | What::Step(_)
        | What::Panic(_)
        | What::Final(_) => (Source::Own, name.to_owned()),
        What::Phase(phase) => (Source::Own, format!("{name} {:?}", phase.to).to_lowercase()),
        What::WitnessStart(_)
        | What::Notify(_)
        | What::Stopped
        | What::Continued
        | What::Oom
        | What::OutputTail(_)
        | What::LeftBehind(_) => (Source::Witness, name.to_owned()),
        What::SignalSeen(seen) => {
            (Source::Witness, format!("{name} {}", seen.cause.signal.clone().unwrap_or_default()))
        }
        What::Exit(Exit { code, signal, .. }) => {
            let how = signal.clone().or_else(|| code.map(|code| code.to_string()));
            (Source::Witness, format!("{name} {}", how.unwrap_or_default()))
        }
        What::LinkClosed(_) | What::Seen | What::Away(_) | What::MassSilence(_) => {
            (Source::Observer, name.to_owned())
        }
        What::Expired(expired) => (Source::Observer, format!("{name} {}", expired.which.as_str())),
        What::Plan(plan) => (Source::Operator, format!("{name} {}", plan.kind.as_str())),
        What::PlanEnd(_) | What::Forget(_) => (Source::Operator, name.to_owned()),
    }
}

/// A column: its name, and how a run of `s/w` comes there.
type Column = (&'static str, fn(&mut Stage) -> RunId);

const STATES: [Column; 20] = [
    ("starting", |stage| {
        let run = stage.run(1);
        stage.own(run, start());
        run
    }),
    ("running", |stage| stage.live(1)),
    ("running, witnessed", |stage| {
        let run = stage.witnessed(1);
        stage.own(run, start()).own(run, What::Ready);
        run
    }),
    ("unlinked, witnessed", |stage| stage.witnessed(1)),
    ("paused", |stage| in_phase(stage, PhaseTo::Paused)),
    ("reloading", |stage| in_phase(stage, PhaseTo::Reloading)),
    ("draining", |stage| in_phase(stage, PhaseTo::Draining)),
    ("stopping", |stage| {
        let run = stage.live(1);
        stage.own(run, asked(by_signal("SIGTERM")));
        run
    }),
    ("said goodbye, witnessed", |stage| {
        let run = stage.witnessed(1);
        let term = by_signal("SIGTERM");
        stage.own(run, start()).own(run, What::Ready).own(run, asked(term.clone()));
        stage.own(run, clean_goodbye(term, None));
        run
    }),
    ("ended: shutdown", |stage| {
        let run = stage.live(1);
        let term = by_signal("SIGTERM");
        stage.own(run, asked(term.clone())).own(run, clean_goodbye(term, None));
        run
    }),
    ("ended: lost", |stage| {
        let run = stage.live(1);
        stage.pass(60_000);
        run
    }),
    ("ended: killed", |stage| {
        let run = stage.witnessed(1);
        stage.witness(run, exit_signal("SIGKILL"));
        run
    }),
    ("ended: crashed by its own word, witnessed", |stage| {
        let run = stage.witnessed(1);
        stage.own(run, start()).own(run, What::Ready).own(run, panic_of("x"));
        stage.own(run, What::Final(Final { hint: Some(ClassHint::Crashed), ..Final::default() }));
        run
    }),
    ("ended: start_failed by its deadline", |stage| {
        let run = stage.run(1);
        stage.own(run, start()).link(run, Source::Own, 1);
        for _ in 0..7 {
            stage.pass(10_000).beat(run, Source::Own);
        }
        run
    }),
    ("ended: shutdown_timeout by its deadline", |stage| {
        let run = stage.live(1);
        stage.own(run, asked(by_signal("SIGTERM"))).pass(40_000);
        run
    }),
    ("ended: superseded", |stage| {
        let run = stage.live(1);
        stage.pass(1_000).live(2);
        run
    }),
    ("running, hung", |stage| {
        let run = stage.live(1);
        stage.own(run, agent_at_work("work", 1_000)).pass(2_000).beat(run, Source::Own).pass(2_000);
        run
    }),
    ("running, suspended", |stage| {
        let run = stage.witnessed(1);
        stage.own(run, start()).own(run, What::Ready).witness(run, What::Stopped);
        run
    }),
    ("running, unreachable", |stage| {
        let run = stage.live(1);
        stage.unlink(run, Source::Own, 1);
        run
    }),
    ("running, orphaned", |stage| {
        let run = stage.witnessed(1);
        stage.own(run, start()).own(run, What::Ready).link(run, Source::Own, 2);
        stage.unlink(run, Source::Witness, 1).pass(1_000).beat(run, Source::Own);
        run
    }),
];

fn in_phase(stage: &mut Stage, to: PhaseTo) -> RunId {
    let run = stage.live(1);
    stage.own(run, What::Phase(Phase { to, count: None }));
    run
}

/// What is said of the run and of its worker afterwards.
fn told(stage: &Stage, run: RunId) -> String {
    let snapshot = stage.roster.snapshot();
    let Some((worker, run)) = snapshot.run(run) else { return "forgotten".to_owned() };
    let state = match run.verdict().class() {
        Some(class) => class.as_str(),
        None => run.verdict().state.as_str(),
    };
    let condition = worker.standing(stage.now, snapshot.rules()).condition.as_str();
    let flags = run.flags(stage.now, snapshot.rules());
    let flags = flags.into_iter().map(|flag| flag.as_str()).filter(|flag| *flag != condition);
    let flags: String = flags.map(|flag| format!(", {flag}")).collect();
    if state == condition || (state == "running" && condition == "live") {
        format!("{state}{flags}")
    } else {
        format!("{state}{flags} ({condition})")
    }
}

fn table() -> String {
    let mut text = String::from(
        "# What each fact does in each state\n\n\
         Generated by `UPDATE_GOLDEN=1 cargo nextest run -p lastbeat-engine --test completeness`; a test keeps it \
         equal to the engine.\n\nEach cell says what a run is after the fact, with its flags, and in parentheses the \
         condition of its worker where that is another word. `·`: nothing changes.\n\n| fact |",
    );
    for (name, _) in STATES {
        write!(text, " {name} |").expect("a string takes all");
    }
    text.push_str("\n|---|");
    text.push_str(&"---|".repeat(STATES.len()));
    text.push('\n');
    for what in every_what() {
        let (source, name) = said_by(&what);
        write!(text, "| {}: {name} |", source.as_str()).expect("a string takes all");
        for (_, come_there) in STATES {
            let mut stage = Stage::new();
            let run = come_there(&mut stage);
            // What the observer says rests on what it saw of the run: a link that closes, a beat, a silence.
            stage.pass(if source == Source::Observer { 9_000 } else { 0 });
            let before = told(&stage, run);
            match (source, &what) {
                (Source::Operator, _) => stage.operator(what.clone()),
                (Source::Observer, What::LinkClosed(_)) => {
                    stage.unlink(run, Source::Own, 1).unlink(run, Source::Witness, 1)
                }
                (Source::Observer, What::Seen) => stage.beat(run, Source::Own),
                (Source::Observer, _) => stage.observed(run, what.clone()),
                (Source::Own | Source::Witness, _) => stage.spoken(run, source, 0, what.clone()),
            };
            let after = told(&stage, run);
            let cell = if before == after { "·" } else { &after };
            write!(text, " {cell} |").expect("a string takes all");
        }
        text.push('\n');
    }
    text
}

#[test]
fn the_table_in_the_documentation_is_what_the_engine_does() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/states.md");
    let now = table();
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &now).expect("the documentation can be written");
    }
    let kept = std::fs::read_to_string(&path).expect("docs/states.md");
    assert!(now == kept, "docs/states.md is not what the engine does; UPDATE_GOLDEN=1 writes it anew");
}
