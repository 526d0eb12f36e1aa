//! What the steps of a row mean: facts, beats, links and absences, each at its moment.
//!
//! Invariant: nothing in a step is passed over. A key that a step does not know, a name that the cast does not know
//! or a word that the engine does not know is an error that names the row.

use lastbeat_engine::ending::{AgentEnd, Cause, ClassHint, Cleanup, Exit, Panic, Step, StepOutcome};
use lastbeat_engine::fact::{
    Agent, AgentState, AgentStatus, Asked, Extend, Final, Forget, LeftBehind, Notify, Phase, PhaseTo, Plan,
    PlanEnd, PlanKind, Process, SignalSeen, Start, WitnessStart,
};
use lastbeat_engine::{RunId, Source, What};
use toml::{Table, Value};

use crate::rows::{Cast, Row, ms, names, word};

/// Something that happens at a moment.
pub(crate) struct Act {
    pub(crate) at_ms: u64,
    /// The run and the worker it belongs to; the worker is said with the run's first step.
    pub(crate) run: String,
    pub(crate) worker: Option<String>,
    pub(crate) does: Does,
}

pub(crate) enum Does {
    /// A fact; `age_ms` of one that lay in a spool.
    Say {
        source: Source,
        age_ms: u64,
        /// By how much its live speaker is wrong about its age.
        lie_ms: u64,
        what: Box<What>,
    },
    /// The newest fact of this voice is delivered once more.
    Repeat(Source),
    Beat {
        source: Source,
        counters: Vec<(String, u64)>,
    },
    Link {
        voice: Source,
        open: bool,
    },
    /// The observer is away this long.
    Away {
        for_ms: u64,
    },
    /// A fact about no single run.
    Announce {
        source: Source,
        what: Box<What>,
    },
}

/// The steps of a row in their order in time; steps of one moment keep the order of the file.
pub(crate) fn acts(row: &Row, cast: &Cast) -> (Vec<Act>, RunIds) {
    let mut ids = RunIds::default();
    let mut all: Vec<Act> =
        row.steps.iter().flat_map(|step| Args::of(row, step, cast).acts(&mut ids)).collect();
    all.sort_by_key(|act| act.at_ms);
    (all, ids)
}

/// Runs are numbered in the order the file names them.
#[derive(Default)]
pub(crate) struct RunIds(Vec<String>);

impl RunIds {
    pub(crate) fn of(&mut self, name: &str) -> RunId {
        let known = self.0.iter().position(|known| known == name);
        let place = known.unwrap_or_else(|| {
            self.0.push(name.to_owned());
            self.0.len() - 1
        });
        RunId(place as u128 + 1)
    }
}

/// One step's arguments, taken out one by one; what is left in the end is an error.
struct Args<'a> {
    row: String,
    step: &'a Table,
    left: Table,
    cast: &'a Cast,
}

const VOICES: [(&str, Source); 4] = [
    ("self", Source::Own),
    ("witness", Source::Witness),
    ("operator", Source::Operator),
    ("observer", Source::Observer),
];

fn voice(name: &str) -> Source {
    let found = VOICES.iter().find(|(word, _)| *word == name);
    found.unwrap_or_else(|| panic!("{name:?} is no voice")).1
}

impl<'a> Args<'a> {
    fn of(row: &Row, step: &'a Table, cast: &'a Cast) -> Self {
        Self { row: row.label(), step, left: step.clone(), cast }
    }

    fn wrong(&self, what: &str) -> ! {
        panic!("row {}: {what} in {}", self.row, self.step)
    }

    fn text(&mut self, key: &str) -> Option<String> {
        match self.left.remove(key)? {
            Value::String(text) => Some(text),
            other => self.wrong(&format!("{key} = {other} is no text")),
        }
    }

    fn need(&mut self, key: &str) -> String {
        self.text(key).unwrap_or_else(|| self.wrong(&format!("no {key}")))
    }

    fn time(&mut self, key: &str) -> Option<u64> {
        self.text(key).map(|text| ms(&text))
    }

    fn number(&mut self, key: &str) -> Option<u64> {
        match self.left.remove(key)? {
            Value::Integer(number) => Some(number.unsigned_abs()),
            other => self.wrong(&format!("{key} = {other} is no number")),
        }
    }

    fn flag(&mut self, key: &str) -> Option<bool> {
        match self.left.remove(key)? {
            Value::Boolean(flag) => Some(flag),
            other => self.wrong(&format!("{key} = {other} is no flag")),
        }
    }

    fn list(&mut self, key: &str) -> Vec<Value> {
        match self.left.remove(key) {
            None => Vec::new(),
            Some(Value::Array(list)) => list,
            Some(other) => self.wrong(&format!("{key} = {other} is no list")),
        }
    }

    fn texts(&mut self, key: &str) -> Vec<String> {
        self.list(key).into_iter().map(|value| value.as_str().expect("a list of texts").to_owned()).collect()
    }

    fn by(&mut self) -> Option<Cause> {
        let name = self.text("by")?;
        Some(self.cast.get(&name).unwrap_or_else(|| self.wrong("nobody of the cast")).clone())
    }

    fn asker(&mut self) -> Cause {
        self.by().unwrap_or_else(|| self.wrong("nobody asks"))
    }

    /// One step of the file is one act for each run it names, and for each time it says.
    fn acts(mut self, ids: &mut RunIds) -> Vec<Act> {
        let at_ms = self.time("at").unwrap_or_else(|| self.wrong("no at"));
        let each_ms = self.time("each").unwrap_or(0);
        let (every, until) = (self.time("every"), self.time("until"));
        let runs = self.text("run").map(|run| names(&run));
        let workers = self.text("worker").map(|worker| names(&worker));
        let arguments = self.left.clone();
        let mut acts = Vec::new();
        for (index, run) in runs.clone().unwrap_or_else(|| vec![String::new()]).iter().enumerate() {
            self.left.clone_from(&arguments);
            if runs.is_some() {
                ids.of(run);
            }
            let worker = workers.as_ref().map(|workers| {
                workers.get(index).unwrap_or_else(|| self.wrong("not a worker for each run")).clone()
            });
            let first_ms = at_ms + each_ms * index as u64;
            let times: Vec<u64> = match (every, until) {
                (None, None) => vec![first_ms],
                (Some(every), Some(until)) => {
                    (first_ms..=until).step_by(usize::try_from(every).expect("milliseconds")).collect()
                }
                (Some(_), None) | (None, Some(_)) => self.wrong("every without until"),
            };
            for at_ms in times {
                self.left.clone_from(&arguments);
                let does = self.does(index, worker.as_deref(), ids);
                if !self.left.is_empty() {
                    self.wrong(&format!("{} means nothing", self.left));
                }
                acts.push(Act { at_ms, run: run.clone(), worker: worker.clone(), does });
            }
        }
        acts
    }

    fn does(&mut self, index: usize, worker: Option<&str>, ids: &mut RunIds) -> Does {
        if let Some(link) = self.text("link") {
            let voice = voice(&self.need("of"));
            let open = match link.as_str() {
                "opens" => true,
                "closes" => false,
                _ => self.wrong("a link opens or closes"),
            };
            return Does::Link { voice, open };
        }
        let spoken: Vec<(Source, String)> =
            VOICES.iter().filter_map(|(name, source)| self.text(name).map(|what| (*source, what))).collect();
        let [(source, what)] = spoken.as_slice() else { self.wrong("not one voice") };
        let (source, age_ms) = (*source, self.time("age").unwrap_or(0));
        match what.as_str() {
            "beat" => {
                let counters = self.text("agent").map(|agent| {
                    let counter = self.number("counter").unwrap_or_else(|| self.wrong("no counter"));
                    (agent, counter)
                });
                Does::Beat { source, counters: counters.into_iter().collect() }
            }
            "again" => Does::Repeat(source),
            "away" => Does::Away { for_ms: self.time("for").unwrap_or_else(|| self.wrong("no for")) },
            "plan" | "plan_end" | "forget" => {
                Does::Announce { source, what: Box::new(self.announcement(what, worker)) }
            }
            _ => {
                let lie_ms = self.time("lie").unwrap_or(0);
                Does::Say { source, age_ms, lie_ms, what: Box::new(self.fact(source, what, index, ids)) }
            }
        }
    }

    fn announcement(&mut self, what: &str, worker: Option<&str>) -> What {
        match what {
            "plan" => What::Plan(Plan {
                id: self.need("id").into(),
                kind: match self.need("kind").as_str() {
                    "restart" => PlanKind::Restart,
                    "stop" => PlanKind::Stop,
                    "maintenance" => PlanKind::Maintenance,
                    _ => self.wrong("no kind of plan"),
                },
                service: "s".into(),
                worker: worker.map(Into::into),
                for_ms: self.time("for").unwrap_or_else(|| self.wrong("no for")),
                who: self.text("who"),
                why: self.text("why"),
                deploy: self.text("deploy"),
            }),
            "plan_end" => What::PlanEnd(PlanEnd { id: self.need("id").into() }),
            _ => What::Forget(Forget { service: "s".into(), worker: worker.unwrap_or("w").into() }),
        }
    }

    fn fact(&mut self, source: Source, what: &str, index: usize, ids: &mut RunIds) -> What {
        match (source, what) {
            (Source::Own, "start") => What::Start(self.start(true, index, ids)),
            (Source::Witness, "start") => What::WitnessStart(WitnessStart {
                ready: self.flag("ready").unwrap_or(true),
                back_within_ms: self.time("back_within"),
                start: self.start(false, index, ids),
            }),
            (Source::Own, "ready") => What::Ready,
            (Source::Own, "phase") => What::Phase(Phase {
                to: match self.need("to").as_str() {
                    "running" => PhaseTo::Running,
                    "paused" => PhaseTo::Paused,
                    "reloading" => PhaseTo::Reloading,
                    "draining" => PhaseTo::Draining,
                    _ => self.wrong("no phase"),
                },
                count: self.number("done").zip(self.number("total")),
            }),
            (Source::Own, "agent") => self.agent(),
            (Source::Own, "asked") => {
                What::Asked(Asked { cause: self.asker(), deadline_ms: self.time("deadline") })
            }
            (Source::Own, "extend") => What::Extend(Extend {
                by_ms: self.time("for").unwrap_or_else(|| self.wrong("no for")),
                step: self.text("step").map(Into::into),
                counter: self.number("counter"),
            }),
            (Source::Own, "step") => What::Step(self.step()),
            (Source::Own, "panic") => {
                What::Panic(Panic { message: self.need("message"), location: self.text("place") })
            }
            (Source::Own, "final") => self.last_words(),
            (Source::Witness, "signal_seen") => What::SignalSeen(SignalSeen {
                cause: self.asker(),
                forwarded: self.flag("forwarded").unwrap_or(true),
            }),
            (Source::Witness, "notify") => What::Notify(Notify {
                ready: self.flag("ready").unwrap_or(false),
                reloading: self.flag("reloading").unwrap_or(false),
                stopping: self.flag("stopping").unwrap_or(false),
            }),
            (Source::Witness, "stopped") => What::Stopped,
            (Source::Witness, "continued") => What::Continued,
            (Source::Witness, "oom") => What::Oom,
            (Source::Witness, "output_tail") => What::OutputTail(self.texts("lines")),
            (Source::Witness, "left_behind") => What::LeftBehind(LeftBehind {
                threads: self.number("threads").unwrap_or(0),
                children: self.children(),
                sockets: self.number("sockets").unwrap_or(0),
            }),
            (Source::Witness, "exit") => What::Exit(Exit {
                code: self.number("code").map(|code| i32::try_from(code).expect("an exit code")),
                signal: self.text("signal"),
                core_dumped: self.flag("core_dumped").unwrap_or(false),
                killed_by_witness: self.flag("killed_by_witness").unwrap_or(false),
            }),
            (source, _) => self.wrong(&format!("{} says no {what:?}", source.as_str())),
        }
    }

    fn start(&mut self, goodbye: bool, index: usize, ids: &mut RunIds) -> Start {
        let pid = self.number("pid").map(|pid| u32::try_from(pid).expect("a pid") + index as u32);
        let boot_id = self.text("boot");
        let process = boot_id.clone().zip(pid).map(|(boot_id, pid)| Process {
            boot_id,
            pid_ns: 4_026_531_836,
            pid,
            start_ticks: u64::from(pid) * 100,
        });
        let hosts = self.texts("hosts");
        let host = hosts.get(index % hosts.len().max(1)).cloned();
        Start {
            interval_ms: self.time("interval"),
            grace_ms: self.time("grace"),
            accept_exit: self
                .list("accept_exit")
                .iter()
                .map(|code| i32::try_from(code.as_integer().expect("a code")).expect("an exit code"))
                .collect(),
            goodbye: self.flag("goodbye").unwrap_or(goodbye),
            reload: self.flag("reload").unwrap_or(false),
            stop: self.flag("stop").unwrap_or(false),
            pause: self.flag("pause").unwrap_or(false),
            process,
            boot_id,
            pid,
            host: host.or_else(|| self.text("host")),
            version: self.text("version"),
            environment: self.text("environment"),
            parent_run: self.text("parent").map(|parent| ids.of(&parent)),
        }
    }

    fn agent(&mut self) -> What {
        let end = self.text("end").map(|end| word(AgentEnd::ALL, AgentEnd::as_str, &end));
        let status = end.map_or(AgentStatus::Alive(AgentState::Running), AgentStatus::Ended);
        What::Agent(Agent {
            name: self.need("name").into(),
            status,
            progress_every_ms: self.time("progress_every"),
            error: self.text("error"),
        })
    }

    fn step(&mut self) -> Step {
        Step {
            name: self.need("name").into(),
            outcome: self
                .text("outcome")
                .map(|outcome| word(StepOutcome::ALL, StepOutcome::as_str, &outcome)),
            done: self.number("done"),
            total: self.number("total"),
            skipped: self.number("skipped"),
            attempts: self.number("attempts").map(|attempts| u32::try_from(attempts).expect("few")),
            duration_ms: self.time("took"),
            timeout_ms: self.time("timeout"),
            error: self.text("error"),
            why_skipped: self.text("why_skipped"),
            failed_items: self.texts("failed_items"),
        }
    }

    /// The final beat. With a cause it tells of a stop unless it hints otherwise, and of its cleanup.
    fn last_words(&mut self) -> What {
        let cause = self.by();
        let hint = self.text("hint").map(|hint| word(ClassHint::ALL, ClassHint::as_str, &hint));
        let told = cause.is_some() || self.left.contains_key("plan");
        let steps = match self.left.remove("plan") {
            None => Vec::new(),
            Some(Value::Array(steps)) => steps.iter().map(|step| self.inner(step, Self::step)).collect(),
            Some(_) => self.wrong("a plan is a list of steps"),
        };
        let cleanup = Cleanup {
            duration_ms: None,
            steps,
            abandoned: self.texts("abandoned").into_iter().map(Into::into).collect(),
            untracked: self.number("untracked").unwrap_or(0),
            children_left: self.children(),
            streams_farewell: self.number("streams_farewell").unwrap_or(0),
            streams_cut: self.number("streams_cut").unwrap_or(0),
            items_flushed: self.number("items_flushed").unwrap_or(0),
            items_dropped: self.number("items_dropped").unwrap_or(0),
            forced: self.flag("forced").unwrap_or(false),
        };
        What::Final(Final {
            hint: hint.or_else(|| cause.as_ref().map(|_| ClassHint::Shutdown)),
            cause,
            cleanup: told.then_some(cleanup),
            back_within_ms: self.time("back_within"),
        })
    }

    fn children(&mut self) -> Vec<(u32, String)> {
        let child = |args: &mut Self| {
            (u32::try_from(args.number("pid").unwrap_or(0)).expect("a pid"), args.need("comm"))
        };
        self.list("children").iter().map(|each| self.inner(each, child)).collect()
    }

    /// A table inside the step, as strict as the step.
    fn inner<T>(&self, value: &Value, read: impl Fn(&mut Self) -> T) -> T {
        let Some(table) = value.as_table() else { self.wrong("not a table") };
        let mut args = Self { row: self.row.clone(), step: self.step, left: table.clone(), cast: self.cast };
        let told = read(&mut args);
        if !args.left.is_empty() {
            self.wrong(&format!("{} means nothing", args.left));
        }
        told
    }
}
