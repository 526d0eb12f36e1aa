//! What may be typed.
//!
//! Order everywhere: flags, then `LASTBEAT_*`, then defaults.

mod ask;

use std::ffi::OsString;
#[cfg(feature = "collector")]
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use clap::{CommandFactory as _, Parser, Subcommand};
use lastbeat_wire::{Name, RunId};

pub(crate) use self::ask::{Ask, Pause, Resume, Stop};

/// Where a collector listens unless told otherwise.
#[cfg(feature = "collector")]
pub(crate) const DEFAULT_LISTEN: &str = "127.0.0.1:5278";
/// Where a collector is looked for unless told otherwise.
pub(crate) const DEFAULT_COLLECTOR: &str = "http://127.0.0.1:5278";

const EXIT_CODES: &str = "\
Exit codes:
  0  ok
  1  the answer is no, or the work failed
  2  the command line cannot be used
  4  no collector answers
  `run` passes on the exit status of its program: 128+n for signal n,
  126 and 127 when it cannot start";

/// Know how and why every process ended.
#[derive(Debug, Parser)]
#[command(name = "lastbeat", version, max_term_width = 100, subcommand_required = true)]
#[command(arg_required_else_help = true, after_help = EXIT_CODES, infer_subcommands = false)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

/// Whether what clap has to say is help, asked for or given to a command line with nothing in it.
pub(crate) fn is_help(answer: &clap::Error) -> bool {
    use clap::error::ErrorKind::{DisplayHelp, DisplayHelpOnMissingArgumentOrSubcommand, DisplayVersion};
    matches!(answer.kind(), DisplayHelp | DisplayHelpOnMissingArgumentOrSubcommand | DisplayVersion)
}

/// The command that shows what can be typed behind the verbs that were.
pub(crate) fn help_for(typed: impl IntoIterator<Item = OsString>) -> String {
    let root = Args::command();
    let mut said = vec![root.get_name().to_owned()];
    let mut at = &root;
    for word in typed.into_iter().skip(1) {
        let Some(verb) = word.to_str().and_then(|word| at.find_subcommand(word)) else { break };
        said.push(verb.get_name().to_owned());
        at = verb;
    }
    said.push("--help".to_owned());
    said.join(" ")
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Start the collector: status page, API and metrics, with no configuration
    #[cfg(feature = "collector")]
    Serve(Serve),
    /// Run a program and report its life and its real end
    Run(Run),
    /// Show what every worker is doing, and how those that ended came to it
    Status(Status),
    /// Tell the story of one ending: was it an error, who asked, what was cleaned up
    Explain(Explain),
    /// Ask a worker to stop, and wait until it has
    Stop(Stop),
    /// Ask a worker to hold still
    Pause(Pause),
    /// Ask a worker that holds still to go on
    Resume(Resume),
    /// Announce planned work: a restart, a stop, maintenance; end it, list it
    Plan(Plan),
    /// Take a worker that is gone off the list, with its alerts
    Forget(Forget),
    /// See workers live, stop, restart, break a promise, panic and get killed
    #[cfg(feature = "collector")]
    Demo(Demo),
    /// One of the worker processes of the demo
    #[cfg(feature = "collector")]
    #[command(hide = true)]
    DemoWorker(DemoWorker),
}

/// `lastbeat serve`
#[cfg(feature = "collector")]
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  lastbeat serve
  lastbeat serve --listen 127.0.0.1:0    any free port; the real one is printed
  lastbeat serve --back-by 30s           its own stop is a restart, and says so

Stop it with Ctrl+C or SIGTERM; a second one, a second later, ends it at once.

Environment:
  LASTBEAT_SPOOL_DIR        where facts wait that could not be delivered; must be
                            the same here and where workers run (default:
                            /var/lib/lastbeat/spool for root, else
                            $XDG_STATE_HOME/lastbeat/spool)
  LASTBEAT_DEADLINES_SCALE  multiplies every deadline (default: 1)
  LASTBEAT_LOG              what is logged to standard error (default: info)")]
pub(crate) struct Serve {
    /// Address and port to listen on
    #[arg(long, value_name = "ADDRESS", value_parser = listen, default_value = DEFAULT_LISTEN)]
    pub(crate) listen: SocketAddr,
    /// Where the journal lives [default: /var/lib/lastbeat for root, else $XDG_STATE_HOME/lastbeat]
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// A stop is a restart: back within this time (30s, 2m; at most 10m)
    #[arg(long, value_name = "TIME", value_parser = promise)]
    pub(crate) back_by: Option<Duration>,
    /// Listen beyond loopback although nothing protects the collector there
    #[arg(long)]
    pub(crate) insecure_listen: bool,
    /// Stop when standard input closes, so that a parent that vanished leaves nothing behind
    #[arg(long, hide = true)]
    pub(crate) until_stdin_closes: bool,
}

/// `lastbeat run`
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  lastbeat run --worker shop/api -- uvicorn shop:app --port 8000
  lastbeat run --worker shop/api --back-by 30s -- ./api    its stop is a restart
  lastbeat run --worker nightly/report --accept-exit 3 -- ./report

Its exit status is the program's: its code, or 128+n when signal n ended it;
127 when there is no such program, 126 when it may not be run. The program never
suffers when no collector answers: what was seen waits on disk for one.

Environment:
  LASTBEAT_COLLECTOR        where to report (default: http://127.0.0.1:5278)
  LASTBEAT_SPOOL_DIR        where facts wait that could not be delivered; must be
                            the same here and for `lastbeat serve` (default:
                            /var/lib/lastbeat/spool for root, else
                            $XDG_STATE_HOME/lastbeat/spool)
  LASTBEAT_SERVICE, LASTBEAT_WORKER
                            which worker this is, without --worker
  LASTBEAT_ENVIRONMENT      where it runs, such as production; told with it
  LASTBEAT_BEAT_INTERVAL    time between two heartbeats (default: 5s)
  LASTBEAT_STOP_DEADLINE    how long a stop may take, without --grace (default: 30s)
  LASTBEAT_FLUSH_BUDGET     how long an ending is offered to the collector before
                            it is left on disk (default: 2s)
  LASTBEAT_DEADLINES_SCALE  multiplies every deadline, but not what flags say
                            (default: 1)")]
pub(crate) struct Run {
    /// Which worker this is [default: LASTBEAT_SERVICE and LASTBEAT_WORKER]
    #[arg(long, value_name = "SERVICE/WORKER")]
    pub(crate) worker: Option<WorkerPath>,
    /// How long a stop may take before the program is killed [default: 30s]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(crate) grace: Option<Duration>,
    /// A stop is a restart: back within this time (at most 10m)
    #[arg(long, value_name = "TIME", value_parser = promise)]
    pub(crate) back_by: Option<Duration>,
    /// Exit codes beside 0 that are fine, as in 3,4
    #[arg(long, value_name = "CODE", value_delimiter = ',', value_parser = clap::value_parser!(i32).range(0..=255))]
    pub(crate) accept_exit: Vec<i32>,
    /// Where the program starts
    #[arg(long, value_name = "DIR")]
    pub(crate) cwd: Option<PathBuf>,
    /// The program and its arguments
    #[arg(required = true, trailing_var_arg = true, value_name = "CMD")]
    pub(crate) command: Vec<OsString>,
}

/// Which collector a reading verb asks.
#[derive(Debug, clap::Args)]
pub(crate) struct Reading {
    /// The collector to ask
    #[arg(long, value_name = "URL", env = "LASTBEAT_COLLECTOR", default_value = DEFAULT_COLLECTOR)]
    pub(crate) collector: String,
    /// Print the API's JSON instead of text
    #[arg(long)]
    pub(crate) json: bool,
}

/// `lastbeat status`
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  lastbeat status
  lastbeat status shop
  lastbeat status shop/api --json

Exits 0, or 1 while an alert of severity `page` is open among the workers shown;
4 when no collector answers.

Environment:
  LASTBEAT_COLLECTOR  the collector to ask (default: http://127.0.0.1:5278)
  NO_COLOR            not empty: no colour")]
pub(crate) struct Status {
    /// Only this service, or only this worker
    #[arg(value_name = "SERVICE[/WORKER]")]
    pub(crate) only: Option<Selection>,
    #[command(flatten)]
    pub(crate) reading: Reading,
}

/// `lastbeat explain`
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  lastbeat explain shop/api
  lastbeat explain 0190d1f0-0000-7000-8000-000000000001
  lastbeat explain shop/api --json

Exits 0 when there is something to tell, 1 when the worker or run is not known,
4 when no collector answers.

Environment:
  LASTBEAT_COLLECTOR  the collector to ask (default: http://127.0.0.1:5278)
  NO_COLOR            not empty: no colour")]
pub(crate) struct Explain {
    /// A worker, or one run of it
    #[arg(value_name = "SERVICE/WORKER|RUN_ID")]
    pub(crate) subject: Subject,
    #[command(flatten)]
    pub(crate) reading: Reading,
}

/// `lastbeat plan`
#[derive(Debug, clap::Args)]
#[command(
    subcommand_required = true,
    arg_required_else_help = true,
    after_help = "\
Examples:
  lastbeat plan restart shop/api --for 5m --why \"new release\" --deploy 42
  lastbeat plan stop shop --for 30m --why \"moving house\"
  lastbeat plan maintenance shop/db --for 2h --why \"new disk\"
  lastbeat plan list
  lastbeat plan end 3f9a1c0b7d42

A plan asks nobody to stop: it says that who stops does so as planned. It excuses
a stop, not a death: only maintenance keeps a kill or a crash from paging, and
what is still down when it ends alerts once.

Environment:
  LASTBEAT_COLLECTOR  the collector to tell (default: http://127.0.0.1:5278)
  NO_COLOR            not empty: no colour"
)]
pub(crate) struct Plan {
    #[command(subcommand)]
    pub(crate) verb: PlanVerb,
}

/// The verbs of `lastbeat plan`.
#[derive(Debug, Subcommand)]
pub(crate) enum PlanVerb {
    /// Processes stop, and are back before the window ends
    #[command(after_help = "\
Examples:
  lastbeat plan restart shop/api --for 5m --why \"new release\" --deploy 42
  lastbeat plan restart shop --for 10m --why \"new kernel\"   every worker of shop")]
    Restart(Announce),
    /// Processes stop
    #[command(after_help = "\
Examples:
  lastbeat plan stop shop --for 30m --why \"moving house\"")]
    Stop(Announce),
    /// Somebody is at work: what happens is shown, and alerts only if it is still down at the end
    #[command(after_help = "\
Examples:
  lastbeat plan maintenance shop/db --for 2h --why \"new disk\"")]
    Maintenance(Announce),
    /// End a plan now
    #[command(after_help = "\
Examples:
  lastbeat plan end 3f9a1c0b7d42

Exits 0 also when it was over already, 1 when there is no such plan.")]
    End(PlanEnd),
    /// Show what is planned, and what was within the last day
    #[command(after_help = "\
Examples:
  lastbeat plan list
  lastbeat plan list --json")]
    List(Reading),
}

/// What is planned.
#[derive(Debug, clap::Args)]
pub(crate) struct Announce {
    /// A whole service, or one worker of it
    #[arg(value_name = "SERVICE[/WORKER]")]
    pub(crate) target: Selection,
    /// How long from now (90s, 10m, 2h; at most 720h)
    #[arg(long = "for", value_name = "TIME", value_parser = window)]
    pub(crate) window: Duration,
    /// Why, for those who read it later
    #[arg(long, value_name = "TEXT", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub(crate) why: String,
    /// The deployment it belongs to: the cause of every stop inside
    #[arg(long, value_name = "ID", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub(crate) deploy: Option<String>,
    /// Who announces it [default: the user and the host, as far as they are known]
    #[arg(long, value_name = "NAME", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub(crate) who: Option<String>,
    #[command(flatten)]
    pub(crate) reading: Reading,
}

/// `lastbeat plan end`
#[derive(Debug, clap::Args)]
pub(crate) struct PlanEnd {
    /// The plan, as `lastbeat plan list` names it
    #[arg(value_name = "ID")]
    pub(crate) id: Name,
    #[command(flatten)]
    pub(crate) reading: Reading,
}

/// `lastbeat forget`
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  lastbeat forget shop/api

Exits 0, or 1 while a run of it has not ended and when it is not known; 4 when no
collector answers. Its facts stay in the journal; its next run is listed again.

Environment:
  LASTBEAT_COLLECTOR  the collector to tell (default: http://127.0.0.1:5278)")]
pub(crate) struct Forget {
    /// The worker
    #[arg(value_name = "SERVICE/WORKER")]
    pub(crate) worker: WorkerPath,
    /// The collector to tell
    #[arg(long, value_name = "URL", env = "LASTBEAT_COLLECTOR", default_value = DEFAULT_COLLECTOR)]
    pub(crate) collector: String,
}

/// `lastbeat demo`
#[cfg(feature = "collector")]
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  lastbeat demo                      runs until Ctrl+C; open the page it prints
  lastbeat demo --exit-after-tour    exits 1 if an act was not judged rightly

Deadlines are scaled by LASTBEAT_DEADLINES_SCALE, here 0.2 unless set, so that
the tour takes under a minute.")]
pub(crate) struct Demo {
    /// Where the demo's collector listens; a free port if this one is taken
    #[arg(long, value_name = "ADDRESS", value_parser = listen, default_value = DEFAULT_LISTEN)]
    pub(crate) listen: SocketAddr,
    /// End after the last act instead of waiting for Ctrl+C
    #[arg(long)]
    pub(crate) exit_after_tour: bool,
}

/// `lastbeat demo-worker`
#[cfg(feature = "collector")]
#[derive(Debug, clap::Args)]
pub(crate) struct DemoWorker {
    /// Which worker it is
    pub(crate) worker: WorkerPath,
    /// What it does with its life
    #[arg(long, value_enum, default_value = "serve")]
    pub(crate) act: Act,
    /// Its restart promise
    #[arg(long, value_name = "TIME", value_parser = promise)]
    pub(crate) back_by: Option<Duration>,
}

/// What a worker of the demo does.
#[cfg(feature = "collector")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Act {
    /// Works until it is asked to stop
    Serve,
    /// Works until SIGUSR1, then finishes its job
    Job,
    /// Works until SIGUSR1, then panics
    Panic,
}

/// `SERVICE/WORKER`
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WorkerPath {
    pub(crate) service: Name,
    pub(crate) worker: Name,
}

impl std::fmt::Display for WorkerPath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.service, self.worker)
    }
}

impl std::str::FromStr for WorkerPath {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (service, worker) =
            text.split_once('/').ok_or_else(|| "a worker is named SERVICE/WORKER".to_owned())?;
        Ok(Self { service: name(service)?, worker: name(worker)? })
    }
}

/// `SERVICE` or `SERVICE/WORKER`
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Selection {
    Service(Name),
    Worker(WorkerPath),
}

impl std::str::FromStr for Selection {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.contains('/') { text.parse().map(Self::Worker) } else { name(text).map(Self::Service) }
    }
}

/// `SERVICE/WORKER` or a run's identity
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Subject {
    Worker(WorkerPath),
    Run(RunId),
}

impl std::str::FromStr for Subject {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.contains('/') {
            return text.parse().map(Self::Worker);
        }
        text.parse().map(Self::Run).map_err(|_| {
            "neither SERVICE/WORKER nor a run's identity; `lastbeat status` lists the workers, \
             `lastbeat status SERVICE/WORKER` names the run of one"
                .to_owned()
        })
    }
}

/// `IP:PORT`, or `localhost:PORT`, which is loopback by its definition: no resolver is asked.
#[cfg(feature = "collector")]
fn listen(text: &str) -> Result<SocketAddr, String> {
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    let default_port = DEFAULT_LISTEN.rsplit_once(':').map_or("0", |(_, port)| port);
    if let Ok(ip) = text.parse::<IpAddr>() {
        let shown = if ip.is_ipv6() { format!("[{ip}]") } else { ip.to_string() };
        return Err(format!("the port is missing: write {shown}:{default_port}"));
    }
    // What has no colon is a port alone or a host alone.
    let is_port = text.parse::<u16>().is_ok();
    let alone = if is_port { ("", text) } else { (text, default_port) };
    let (host, port) = text.rsplit_once(':').unwrap_or(alone);
    match port.parse() {
        Ok(port) if host == "localhost" => Ok(SocketAddr::new(IpAddr::from([127, 0, 0, 1]), port)),
        Ok(port) => Err(format!("an address is IP:PORT: write 127.0.0.1:{port}")),
        Err(_) => Err(format!("an address is IP:PORT: write {DEFAULT_LISTEN}")),
    }
}

fn name(text: &str) -> Result<Name, String> {
    Name::new(text).map_err(|refusal| refusal.message)
}

/// `500ms`, `5s`, `2m`, `1h`: a number never stands without its unit.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    lastbeat::witness::parse_duration("the time", text)
        .map_err(|_| "a time is a number with its unit: 500ms, 5s, 2m, 1h".to_owned())
}

/// The longest restart promise there is; a longer absence is planned work.
pub(crate) const PROMISE_MAX: Duration = Duration::from_secs(600);

fn promise(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        Duration::ZERO => Err("a promise of no time cannot be kept".into()),
        promised => Ok(promised),
    }
}

/// The longest window that can be planned.
const WINDOW_MAX: Duration = Duration::from_secs(30 * 24 * 3_600);

fn window(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        window if (Duration::from_secs(1)..=WINDOW_MAX).contains(&window) => Ok(window),
        _ => Err("work is planned for 1s to 720h".into()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn a_time_has_a_unit() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("5s"), Ok(Duration::from_secs(5)));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        assert!(duration("30").is_err());
        assert!(duration("-1s").is_err());
        assert!(promise("0s").is_err());
        assert!(window("1s").is_ok() && window("720h").is_ok());
        assert!(window("999ms").is_err() && window("721h").is_err());
    }

    #[cfg(feature = "collector")]
    #[test]
    fn an_address_to_listen_on_is_an_ip_or_localhost_and_else_says_what_to_write() {
        assert_eq!(listen("localhost:5299"), listen("127.0.0.1:5299"));
        assert_eq!(listen("localhost"), listen(DEFAULT_LISTEN));
        assert!(listen("[::1]:0").is_ok());
        for (typed, written) in [
            (":5299", "127.0.0.1:5299"),
            ("5299", "127.0.0.1:5299"),
            ("box:5299", "127.0.0.1:5299"),
            ("foo", DEFAULT_LISTEN),
            ("127.0.0.1:99999", DEFAULT_LISTEN),
            ("10.0.0.1", "10.0.0.1:5278"),
            ("::1", "[::1]:5278"),
        ] {
            let refusal = listen(typed).expect_err(typed);
            assert!(refusal.ends_with(&format!("write {written}")), "{typed}: {refusal}");
        }
    }

    #[test]
    fn a_worker_has_two_names_from_the_allow_list() {
        assert!("shop/api".parse::<WorkerPath>().is_ok());
        assert!("shop".parse::<WorkerPath>().is_err());
        assert!("shop/a pi".parse::<WorkerPath>().is_err());
        assert!("shop/api/2".parse::<WorkerPath>().is_err());
        assert!(matches!("shop".parse(), Ok(Selection::Service(_))));
        assert!(matches!("0190d1f0-0000-7000-8000-000000000001".parse(), Ok(Subject::Run(_))));
        assert!("nonsense".parse::<Subject>().is_err());
    }

    #[test]
    fn every_verb_shows_examples() {
        let command = Args::command();
        let below = command.get_subcommands().flat_map(|verb| verb.get_subcommands());
        for verb in command.get_subcommands().chain(below).filter(|verb| !verb.is_hide_set()) {
            let help = verb.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.contains("Examples:"), "{} has none", verb.get_name());
        }
    }
}
