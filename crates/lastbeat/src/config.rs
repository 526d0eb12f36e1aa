//! Where the client's settings come from: the environment, then defaults; the builder wins over both.
//!
//! Invariant: nothing here fails a host. `connect` logs what it cannot read and goes on with the default;
//! only the command line, which can tell a person, asks for the error.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

/// The collector when nothing is said.
pub const DEFAULT_COLLECTOR: &str = "http://127.0.0.1:5278";
/// The beat interval before scaling, when nothing is said.
pub const DEFAULT_INTERVAL: Duration = Duration::from_secs(5);
/// The stop deadline before scaling, when nothing is said.
pub const DEFAULT_STOP_DEADLINE: Duration = Duration::from_secs(30);
/// The flush budget before scaling, when nothing is said.
pub const DEFAULT_FLUSH_BUDGET: Duration = Duration::from_secs(2);

const INTERVAL_MIN: Duration = Duration::from_millis(500);
const INTERVAL_MAX: Duration = Duration::from_secs(60);
const SILENCE_MIN: Duration = Duration::from_secs(15);
const REDIAL_MAX: Duration = Duration::from_secs(3);
/// A journal's fsync does not shrink with the scale, so the patience for a receipt has its own floor.
const RECEIPT_PATIENCE_MIN: Duration = Duration::from_secs(1);
/// The longest stop deadline and flush budget taken, so that sums of times cannot overflow: a day.
const SPAN_MAX: Duration = Duration::from_secs(24 * 3_600);

/// Why a setting cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// Not a duration such as `5s`, `500ms` or `2m`.
    #[error("{name} is {text:?}, which is no duration (write 500ms, 5s, 2m or 1h)")]
    NotADuration {
        /// The setting.
        name: &'static str,
        /// What it says.
        text: String,
    },
    /// Not a factor between 0.001 and 1,000.
    #[error("{name} is {text:?}, which is no factor between 0.001 and 1000")]
    NotAScale {
        /// The setting.
        name: &'static str,
        /// What it says.
        text: String,
    },
    /// Not the address of a collector.
    #[error("{name} is {text:?}, which is no collector address (write http://HOST:PORT)")]
    NotACollector {
        /// The setting.
        name: &'static str,
        /// What it says.
        text: String,
    },
    /// Not text at all.
    #[error("{name} is not valid UTF-8")]
    NotUnicode {
        /// The setting.
        name: &'static str,
    },
}

/// The settings that the client, the witness and the collector share, already scaled.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// The collector's address, `http://HOST:PORT`.
    pub collector: String,
    /// Where unacknowledged facts wait.
    pub spool_dir: PathBuf,
    /// What every deadline and interval was multiplied by.
    pub scale: f64,
    /// The beat interval T, scaled.
    pub interval: Duration,
    /// How long a stop may take, scaled.
    pub stop_deadline: Duration,
    /// How long the final heartbeat is offered before it is spooled, scaled.
    pub flush_budget: Duration,
    /// `LASTBEAT_SERVICE`.
    pub service: Option<String>,
    /// `LASTBEAT_WORKER`.
    pub worker: Option<String>,
    /// `LASTBEAT_ENVIRONMENT`.
    pub environment: Option<String>,
}

impl Config {
    /// Reads the `LASTBEAT_*` variables of this process.
    ///
    /// # Errors
    /// The first variable that cannot be used.
    pub fn from_env() -> Result<Self, ConfigError> {
        let (config, mut errors) = Self::read(|name| std::env::var_os(name));
        if errors.is_empty() { Ok(config) } else { Err(errors.swap_remove(0)) }
    }

    /// Reads settings by name; what cannot be used keeps its default and is told.
    pub(crate) fn read(lookup: impl Fn(&str) -> Option<OsString>) -> (Self, Vec<ConfigError>) {
        let mut errors = Vec::new();
        let mut text = |name: &'static str| {
            let value = lookup(name).filter(|value| !value.is_empty())?;
            value.into_string().map_err(|_| errors.push(ConfigError::NotUnicode { name })).ok()
        };
        let collector = text("LASTBEAT_COLLECTOR");
        let scale = text("LASTBEAT_DEADLINES_SCALE");
        let interval = text("LASTBEAT_BEAT_INTERVAL");
        let stop_deadline = text("LASTBEAT_STOP_DEADLINE");
        let flush_budget = text("LASTBEAT_FLUSH_BUDGET");
        let service = text("LASTBEAT_SERVICE");
        let worker = text("LASTBEAT_WORKER");
        let environment = text("LASTBEAT_ENVIRONMENT");

        let mut or_tell = |read: Result<Duration, ConfigError>, default| {
            read.unwrap_or_else(|error| {
                errors.push(error);
                default
            })
        };
        let mut duration = |name, text: Option<String>, default| match text {
            Some(text) => or_tell(parse_duration(name, &text), default),
            None => default,
        };
        let interval = duration("LASTBEAT_BEAT_INTERVAL", interval, DEFAULT_INTERVAL);
        let stop_deadline = duration("LASTBEAT_STOP_DEADLINE", stop_deadline, DEFAULT_STOP_DEADLINE);
        let flush_budget = duration("LASTBEAT_FLUSH_BUDGET", flush_budget, DEFAULT_FLUSH_BUDGET);
        let scale = scale.map_or(1.0, |text| match text.parse::<f64>() {
            Ok(scale) if (0.001..=1_000.0).contains(&scale) => scale,
            _ => {
                errors.push(ConfigError::NotAScale { name: "LASTBEAT_DEADLINES_SCALE", text });
                1.0
            }
        });
        // An address that cannot be used is kept: to speak to the default one instead would be to tell a
        // stranger. Facts are spooled then.
        let collector = collector.unwrap_or_else(|| DEFAULT_COLLECTOR.to_owned());
        errors.extend(Address::parse("LASTBEAT_COLLECTOR", &collector).err());
        let mut config = Self {
            collector,
            spool_dir: spool_dir_from(&lookup),
            scale,
            interval,
            stop_deadline,
            flush_budget,
            service,
            worker,
            environment,
        };
        config.set_interval(interval);
        config.set_stop_deadline(stop_deadline);
        config.set_flush_budget(flush_budget);
        (config, errors)
    }

    /// Sets the beat interval from its value before scaling.
    pub(crate) fn set_interval(&mut self, interval: Duration) {
        self.interval = interval.clamp(INTERVAL_MIN, INTERVAL_MAX).mul_f64(self.scale);
    }

    /// Sets the stop deadline from its value before scaling.
    pub(crate) fn set_stop_deadline(&mut self, deadline: Duration) {
        self.stop_deadline = deadline.min(SPAN_MAX).mul_f64(self.scale);
    }

    /// Sets the flush budget from its value before scaling.
    pub(crate) fn set_flush_budget(&mut self, budget: Duration) {
        self.flush_budget = budget.min(SPAN_MAX).mul_f64(self.scale);
    }

    /// Keeps the stop, and the flush in it, inside the time that the witness grants; says whether that made
    /// the stop deadline shorter. The grace is no setting to be scaled: the witness has scaled it.
    pub(crate) fn stay_inside(&mut self, grace: Duration) -> bool {
        let is_shorter = grace < self.stop_deadline;
        self.stop_deadline = self.stop_deadline.min(grace);
        self.flush_budget = self.flush_budget.min(self.stop_deadline / 2);
        is_shorter
    }

    /// When silence counts as loss: max(6T, 15 s).
    pub(crate) fn silence(&self) -> Duration {
        (self.interval * 6).max(SILENCE_MIN.mul_f64(self.scale))
    }

    /// The longest pause between two dials: min(silence / 3, 3 s).
    pub(crate) fn redial_max(&self) -> Duration {
        (self.silence() / 3).min(REDIAL_MAX.mul_f64(self.scale))
    }

    /// How long a receipt may take before the link counts as dead: T.
    pub(crate) fn receipt_patience(&self) -> Duration {
        self.interval.max(RECEIPT_PATIENCE_MIN.min(self.silence() / 3))
    }
}

/// Reads `500ms`, `5s`, `2m` or `1h`; a decimal fraction is allowed. `name` is what the error calls it.
///
/// # Errors
/// [`ConfigError::NotADuration`].
///
/// ```
/// use std::time::Duration;
/// let read = lastbeat::config::parse_duration("--grace", "1.5s").unwrap();
/// assert_eq!(read, Duration::from_millis(1_500));
/// ```
pub fn parse_duration(name: &'static str, text: &str) -> Result<Duration, ConfigError> {
    let wrong = || ConfigError::NotADuration { name, text: text.to_owned() };
    let trimmed = text.trim();
    let unit_at = trimmed.find(|c: char| c.is_ascii_alphabetic()).ok_or_else(wrong)?;
    let (number, unit) = trimmed.split_at(unit_at);
    let unit_s = match unit {
        "ms" => 0.001,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3_600.0,
        _ => return Err(wrong()),
    };
    let number = number.trim_end();
    if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        return Err(wrong());
    }
    let number: f64 = number.parse().map_err(|_| wrong())?;
    // Rounded to whole nanoseconds first: 0.1 s is 100 ms, not 100 ms and a bit.
    Duration::try_from_secs_f64((number * unit_s * 1e9).round() / 1e9).map_err(|_| wrong())
}

/// Where unacknowledged facts wait: `LASTBEAT_SPOOL_DIR`; else for root `/var/lib/lastbeat/spool`; else
/// `$XDG_STATE_HOME/lastbeat/spool`, by default below `~/.local/state`.
#[must_use]
pub fn spool_dir() -> PathBuf {
    spool_dir_from(&|name: &str| std::env::var_os(name))
}

fn spool_dir_from(lookup: &impl Fn(&str) -> Option<OsString>) -> PathBuf {
    let path = |name| lookup(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(dir) = path("LASTBEAT_SPOOL_DIR") {
        return dir;
    }
    if is_root() {
        return PathBuf::from("/var/lib/lastbeat/spool");
    }
    let state = path("XDG_STATE_HOME").filter(|dir| dir.is_absolute());
    let home = || path("HOME").map(|home| home.join(".local/state"));
    state.or_else(home).unwrap_or_else(std::env::temp_dir).join("lastbeat/spool")
}

#[cfg(unix)]
fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

#[cfg(not(unix))]
const fn is_root() -> bool {
    false
}

/// A collector's address, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Address {
    /// Host and port, for dialling.
    pub(crate) authority: String,
    /// The URL of its link.
    pub(crate) link_url: String,
}

impl Address {
    /// Reads `http://HOST[:PORT][/PREFIX]`. TLS is not spoken: put a tunnel or a proxy before a far collector.
    pub(crate) fn parse(name: &'static str, text: &str) -> Result<Self, ConfigError> {
        let wrong = || ConfigError::NotACollector { name, text: text.to_owned() };
        let rest = text
            .trim()
            .strip_prefix("http://")
            .or_else(|| text.trim().strip_prefix("ws://"))
            .ok_or_else(wrong)?;
        let (host, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte);
        if host.is_empty() || host.starts_with(':') || !host.bytes().all(allowed) {
            return Err(wrong());
        }
        let port = host.rsplit_once(':').filter(|_| !host.ends_with(']')).map(|(_, port)| port);
        let authority = match port {
            Some(port) if port.parse::<u16>().is_ok() => host.to_owned(),
            Some(_) => return Err(wrong()),
            None => format!("{host}:80"),
        };
        let prefix = prefix.trim_end_matches('/');
        let slash = if prefix.is_empty() { "" } else { "/" };
        let link_url = format!("ws://{authority}{slash}{prefix}/v1/link");
        if link_url.parse::<tungstenite::http::Uri>().is_err() {
            return Err(wrong());
        }
        Ok(Self { authority, link_url })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> (Config, Vec<ConfigError>) {
        Config::read(|name| {
            pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value))
        })
    }

    #[test]
    fn without_settings_the_documented_defaults_hold() {
        let (config, errors) = read(&[("HOME", "/home/somebody")]);
        assert!(errors.is_empty());
        assert_eq!(config.collector, DEFAULT_COLLECTOR);
        assert_eq!(config.interval, DEFAULT_INTERVAL);
        assert_eq!(config.silence(), Duration::from_secs(30));
        assert_eq!(config.redial_max(), Duration::from_secs(3));
        assert_eq!(config.receipt_patience(), DEFAULT_INTERVAL);
    }

    #[test]
    fn the_scale_multiplies_every_deadline_and_the_interval() {
        let (config, errors) = read(&[
            ("LASTBEAT_DEADLINES_SCALE", "0.1"),
            ("LASTBEAT_BEAT_INTERVAL", "2s"),
            ("LASTBEAT_STOP_DEADLINE", "1m"),
        ]);
        assert!(errors.is_empty());
        assert_eq!(config.interval, Duration::from_millis(200));
        assert_eq!(config.stop_deadline, Duration::from_secs(6));
        assert_eq!(config.flush_budget, Duration::from_millis(200));
        assert_eq!(config.silence(), Duration::from_millis(1_500));
        assert_eq!(config.redial_max(), Duration::from_millis(300));
        assert_eq!(config.receipt_patience(), Duration::from_millis(500), "a disk is not scaled");
    }

    #[test]
    fn a_witness_shortens_the_stop_and_the_flush_in_it_and_never_lengthens_them() {
        let (mut config, _) = read(&[]);
        assert!(!config.stay_inside(Duration::from_secs(60)));
        assert_eq!(config.stop_deadline, DEFAULT_STOP_DEADLINE);
        assert_eq!(config.flush_budget, DEFAULT_FLUSH_BUDGET);
        assert!(config.stay_inside(Duration::from_secs(3)));
        assert_eq!(config.stop_deadline, Duration::from_secs(3));
        assert_eq!(config.flush_budget, Duration::from_millis(1_500));
    }

    #[test]
    fn what_cannot_be_used_is_told_and_its_default_holds() {
        let (config, errors) = read(&[
            ("LASTBEAT_BEAT_INTERVAL", "soon"),
            ("LASTBEAT_DEADLINES_SCALE", "0"),
            ("LASTBEAT_COLLECTOR", "https://far.example"),
            ("LASTBEAT_SPOOL_DIR", "/spool"),
        ]);
        assert_eq!(errors.len(), 3, "{errors:?}");
        assert_eq!(
            errors[0].to_string(),
            r#"LASTBEAT_BEAT_INTERVAL is "soon", which is no duration (write 500ms, 5s, 2m or 1h)"#
        );
        assert_eq!((config.interval, config.scale), (DEFAULT_INTERVAL, 1.0));
        assert_eq!(config.collector, "https://far.example");
        assert_eq!(config.spool_dir, PathBuf::from("/spool"));
    }

    #[test]
    fn durations_need_a_number_and_a_unit() {
        let read = |text| parse_duration("it", text).ok();
        assert_eq!(read("500ms"), Some(Duration::from_millis(500)));
        assert_eq!(read(" 0.5 s "), Some(Duration::from_millis(500)));
        assert_eq!(read("2m"), Some(Duration::from_secs(120)));
        assert_eq!(read("1h"), Some(Duration::from_secs(3_600)));
        let huge = "9".repeat(400) + "h";
        for text in ["", "5", "s", "-5s", "5 days", "1e9s", "NaNs", "5s5", huge.as_str()] {
            assert_eq!(read(text), None, "{text:?}");
        }
    }

    #[test]
    fn an_address_is_a_host_a_port_and_perhaps_a_prefix() {
        let parse = |text| Address::parse("it", text).ok().map(|it| (it.authority, it.link_url));
        let expect = |authority: &str, url: &str| Some((authority.to_owned(), url.to_owned()));
        assert_eq!(parse("http://h:5278/"), expect("h:5278", "ws://h:5278/v1/link"));
        assert_eq!(parse("http://h"), expect("h:80", "ws://h:80/v1/link"));
        assert_eq!(parse("http://[::1]:9/p/"), expect("[::1]:9", "ws://[::1]:9/p/v1/link"));
        for text in
            ["", "h:5278", "https://h", "http://", "http://:1", "http://u@h", "http://h:x", "http://h:99999"]
        {
            assert_eq!(parse(text), None, "{text:?}");
        }
    }
}
