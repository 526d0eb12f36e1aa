//! One file per verb.

mod ask;
mod author;
mod cleanup;
#[cfg(feature = "collector")]
mod demo;
#[cfg(feature = "collector")]
mod demo_worker;
mod explain;
mod forget;
mod phrase;
mod plan;
mod run;
#[cfg(feature = "collector")]
mod serve;
mod status;
mod stop;
mod story;

use std::time::Duration;

use lastbeat::witness::Config;

use crate::args::{PROMISE_MAX, Verb};
use crate::failure::{Answer, Failure};
use crate::render;

/// Does what was typed.
pub(crate) fn dispatch(verb: Verb) -> Result<Answer, Failure> {
    match verb {
        #[cfg(feature = "collector")]
        Verb::Serve(typed) => serve::serve(&typed),
        Verb::Run(typed) => run::run(typed),
        Verb::Status(typed) => status::status(&typed),
        Verb::Explain(typed) => explain::explain(&typed),
        Verb::Stop(typed) => stop::stop(&typed),
        Verb::Pause(typed) => ask::pause(&typed),
        Verb::Resume(typed) => ask::resume(&typed),
        Verb::Plan(typed) => plan::plan(&typed),
        Verb::Forget(typed) => forget::forget(&typed),
        #[cfg(feature = "collector")]
        Verb::Demo(typed) => demo::demo(&typed),
        #[cfg(feature = "collector")]
        Verb::DemoWorker(typed) => demo_worker::work(&typed),
    }
}

/// Reads the settings; one that cannot be used is told to a person.
fn settings() -> Result<Config, Failure> {
    Config::from_env()
        .map_err(|error| Failure::usage("cannot read the environment", error).hint("env | grep ^LASTBEAT_"))
}

/// The promise that counts for a typed `--back-by`; says so when that is a shorter one.
fn kept_promise(typed: Option<Duration>) -> Option<Duration> {
    typed.map(|promised| {
        if promised > PROMISE_MAX {
            render::warning("--back-by is more than 10m and counts as 10m; a longer absence is planned work");
        }
        promised.min(PROMISE_MAX)
    })
}

/// Takes the API's JSON as the report it is.
fn report<T: serde::de::DeserializeOwned>(what: &str, value: serde_json::Value) -> Result<T, Failure> {
    serde_json::from_value(value).map_err(|error| {
        Failure::failed(
            format!("cannot read {what}"),
            format!("the collector speaks another version: {error}"),
        )
        .hint("compare `lastbeat --version` with the version in the page's footer; --json shows what it sent")
    })
}
