//! What may be typed after `stop`, `pause` and `resume`.

use std::time::Duration;

use clap::builder::NonEmptyStringValueParser;

use super::{DEFAULT_COLLECTOR, WorkerPath, duration};

/// `lastbeat stop`
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  lastbeat stop shop/api
  lastbeat stop trader/main --why \"new disk\"
  lastbeat stop trader/main --force      a second request: what is left of the
                                         cleanup is skipped
  lastbeat stop shop/api --no-wait

The program itself is asked, on its link to the collector, and only if it opted
in: a linked worker does with Builder::stoppable(). Who is not asked can be
stopped by a signal where it runs.

Waits until the run has ended and says how. Exits 0 when it stopped as asked and
cleanly (or finished its work, or was forced to skip its cleanup), 1 when it was
not asked, did not stop in time or came to another end; 4 when no collector
answers.

Environment:
  LASTBEAT_COLLECTOR  the collector to tell (default: http://127.0.0.1:5278)")]
pub(crate) struct Stop {
    #[command(flatten)]
    pub(crate) ask: Ask,
    /// Skip what is left of its cleanup; its steps are lost, what they guard is not safe
    #[arg(long)]
    pub(crate) force: bool,
    /// Do not wait for its end
    #[arg(long)]
    pub(crate) no_wait: bool,
    /// How long to wait for its end [default: until 15s after its own stop deadline]
    #[arg(long, value_name = "TIME", value_parser = duration, conflicts_with = "no_wait")]
    pub(crate) timeout: Option<Duration>,
}

/// `lastbeat pause`
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  lastbeat pause trader/main
  lastbeat pause trader/main --why \"the exchange is down\"
  lastbeat status trader/main       Paused, once it holds still

The program itself is asked, on its link to the collector, and only if it opted
in: a linked worker does with Builder::pausable(). It finishes what it is at, then
holds still; it beats on. Exits 0 when it was asked, 1 when it was not, 4 when no
collector answers.

Environment:
  LASTBEAT_COLLECTOR  the collector to tell (default: http://127.0.0.1:5278)")]
pub(crate) struct Pause {
    #[command(flatten)]
    pub(crate) ask: Ask,
}

/// `lastbeat resume`
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  lastbeat resume trader/main

Asks a worker that holds still to go on. Exits 0 when it was asked, 1 when it was
not, 4 when no collector answers.

Environment:
  LASTBEAT_COLLECTOR  the collector to tell (default: http://127.0.0.1:5278)")]
pub(crate) struct Resume {
    #[command(flatten)]
    pub(crate) ask: Ask,
}

/// Who is asked, by whom, and why.
#[derive(Debug, clap::Args)]
pub(crate) struct Ask {
    /// The worker
    #[arg(value_name = "SERVICE/WORKER")]
    pub(crate) worker: WorkerPath,
    /// Why, for those who read it later
    #[arg(long, value_name = "TEXT", value_parser = NonEmptyStringValueParser::new())]
    pub(crate) why: Option<String>,
    /// Who asks [default: the user and the host, as far as they are known]
    #[arg(long, value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
    pub(crate) who: Option<String>,
    /// The collector to tell
    #[arg(long, value_name = "URL", env = "LASTBEAT_COLLECTOR", default_value = DEFAULT_COLLECTOR)]
    pub(crate) collector: String,
}
