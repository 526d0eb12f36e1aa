//! `lastbeat run`: the witness of one program.

use std::ffi::OsString;
use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

use lastbeat::witness::{Config, Courier, Flushed, Identity};
use lastbeat_wire::signal::{Exit, Start, WitnessStart};
use lastbeat_wire::{Name, RunId, Signal, Source};

use crate::args::{Run, WorkerPath};
use crate::commands::{kept_promise, settings};
use crate::failure::{Answer, Failure};
use crate::render;
use crate::witness::Life;
use crate::witness::child::{self, Child};
use crate::witness::claim::Claim;
use crate::witness::ears::Ears;

/// There is no such program.
const EXIT_NOT_FOUND: u8 = 127;
/// There is one, but it may not be run.
const EXIT_CANNOT_RUN: u8 = 126;

/// Tells a witness below which worker its names came from: `SERVICE/WORKER`.
const WITNESSED: &str = "LASTBEAT_WITNESSED";

pub(crate) fn run(typed: Run) -> Result<Answer, Failure> {
    let config = settings()?;
    let worker = match typed.worker.clone() {
        Some(worker) => worker,
        None => worker_from(&config)?,
    };
    let promise = kept_promise(typed.back_by);
    // What is typed counts as it stands; only defaults and settings are scaled.
    let grace = typed.grace.unwrap_or(config.stop_deadline);
    let run_id = RunId::mint();
    let cannot_watch = |error: std::io::Error| Failure::failed("cannot watch a program", error);
    let ears = Ears::open().map_err(cannot_watch)?;
    let claim = Claim::put(&config.spool_dir, run_id)
        .map_err(|error| {
            let dir = config.spool_dir.display();
            render::warning(&format!(
                "a client linked into the program cannot join this run: cannot write below {dir}: {error}"
            ));
        })
        .ok();
    let courier = Courier::start(
        Identity {
            run_id,
            source: Source::Witness,
            service: worker.service.clone(),
            worker: worker.worker.clone(),
        },
        &config,
    );
    let environment = environment(&config, &worker, grace, claim.as_ref(), run_id);
    let witness_start = |pid, ready| {
        Signal::WitnessStart(WitnessStart {
            start: Start {
                interval_ms: Some(whole_ms(config.interval)),
                grace_ms: Some(whole_ms(grace)),
                accept_exit: typed.accept_exit.clone(),
                environment: config.environment.clone(),
                ..child::identity_of(pid)
            },
            ready,
            back_within_ms: promise.map(whole_ms),
        })
    };
    let child = match Child::start(&typed.command, typed.cwd.as_deref(), &environment, child::attachment()) {
        Ok(child) => child,
        Err(error) => {
            let failure = cannot_start(&typed.command, typed.cwd.as_deref(), &error);
            courier.say(witness_start(None, false));
            courier.say(Signal::Exit(Exit { code: Some(i32::from(failure.exit)), ..Exit::default() }));
            flush(&courier, &config);
            return Err(failure);
        }
    };
    courier.say(witness_start(Some(child.pid()), true));
    courier.keep_beating(config.interval);
    let (status, killed) = Life { child, courier: &courier, grace }.watch(ears).map_err(cannot_watch)?;
    // What a linked child could not deliver itself lies in the spool by now: its last words come before its exit.
    courier.deliver_leftovers_first();
    courier.say(Signal::Exit(child::exit_of(status, killed)));
    flush(&courier, &config);
    Ok(Answer::Status(child::code_of(status)))
}

fn worker_from(config: &Config) -> Result<WorkerPath, Failure> {
    let (Some(service), Some(worker)) = (&config.service, &config.worker) else {
        return Err(Failure::usage(
            "which worker is this?",
            "neither --worker nor LASTBEAT_SERVICE and LASTBEAT_WORKER say it",
        )
        .hint("lastbeat run --worker SERVICE/WORKER -- CMD…"));
    };
    let name = |variable: &str, text: &str| {
        Name::new(text).map_err(|refusal| Failure::usage(format!("{variable} cannot be used"), refusal))
    };
    let named =
        WorkerPath { service: name("LASTBEAT_SERVICE", service)?, worker: name("LASTBEAT_WORKER", worker)? };
    if std::env::var_os(WITNESSED).is_some_and(|above| *above == *named.to_string()) {
        return Err(Failure::usage(
            "which worker is this?",
            format!(
                "{named} is watched by a witness above; as a second run of it this would supersede the first"
            ),
        )
        .hint("lastbeat run --worker SERVICE/WORKER -- CMD…"));
    }
    Ok(named)
}

fn environment(
    config: &Config,
    worker: &WorkerPath,
    grace: Duration,
    claim: Option<&Claim>,
    run_id: RunId,
) -> Vec<(&'static str, OsString)> {
    let mut environment: Vec<(&'static str, OsString)> = vec![
        ("LASTBEAT_SERVICE", worker.service.as_str().into()),
        ("LASTBEAT_WORKER", worker.worker.as_str().into()),
        (WITNESSED, worker.to_string().into()),
        ("LASTBEAT_COLLECTOR", config.collector.clone().into()),
        // So that a linked client is done before we kill it. Scaled already where it is to be.
        ("LASTBEAT_GRACE_MS", whole_ms(grace).to_string().into()),
    ];
    if let Some(claim) = claim {
        environment.extend(claim.environment(run_id));
    }
    environment
}

/// Offers what was said to the collector once more; what it does not take is on disk for it.
fn flush(courier: &Courier, config: &Config) {
    match courier.flush(config.flush_budget) {
        Flushed::Delivered => {}
        // Whether nobody answered or one refused them, the facts wait for whoever reads that directory.
        Flushed::Spooled(count) => render::warning(&format!(
            "no collector at {} took {count} {} of this run, which wait in {} for a `lastbeat serve` with the \
             same LASTBEAT_SPOOL_DIR",
            config.collector,
            if count == 1 { "fact" } else { "facts" },
            config.spool_dir.display()
        )),
        Flushed::Failed => render::warning(&format!(
            "this ending reached no collector and could not be kept below {}",
            config.spool_dir.display()
        )),
    }
}

fn cannot_start(command: &[OsString], cwd: Option<&Path>, error: &std::io::Error) -> Failure {
    let program = command.first().map(|program| program.to_string_lossy().into_owned()).unwrap_or_default();
    let what = format!("cannot start `{program}`");
    if let Some(dir) = cwd.filter(|dir| !dir.is_dir()) {
        return Failure::failed(what, format!("there is no directory {}", dir.display()))
            .hint(format!("mkdir -p {}", dir.display()))
            .exit(EXIT_NOT_FOUND);
    }
    match error.kind() {
        ErrorKind::NotFound => {
            Failure::failed(what, "there is no such program").hint(look_for(&program)).exit(EXIT_NOT_FOUND)
        }
        // The program is looked for from where it would start.
        ErrorKind::PermissionDenied
            if program.contains('/') && cwd.unwrap_or(Path::new("")).join(&program).is_dir() =>
        {
            Failure::failed(what, "it is a directory")
                .hint(format!("ls {program}   # name a program in it"))
                .exit(EXIT_CANNOT_RUN)
        }
        ErrorKind::PermissionDenied => {
            Failure::failed(what, "it may not be run").hint(look_for(&program)).exit(EXIT_CANNOT_RUN)
        }
        _ => Failure::failed(what, error).exit(EXIT_CANNOT_RUN),
    }
}

/// How to see what stands behind a program's name.
fn look_for(program: &str) -> String {
    if program.contains('/') {
        format!("ls -l {program}")
    } else {
        format!("command -v {program} || echo $PATH")
    }
}

fn whole_ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
