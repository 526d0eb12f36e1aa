//! What a collector is told before it starts.

use std::path::PathBuf;
use std::time::Duration;

/// The configuration of one collector. It is trusted, unlike everything that arrives later.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Where the journal lies; made when it is missing.
    pub data_dir: PathBuf,
    /// Where clients and witnesses of this host leave what no collector took; it may be missing.
    pub spool_dir: PathBuf,
    /// A stop is a restart: the goodbye says that the collector is back within this time.
    pub back_by: Option<Duration>,
    /// Multiplies every deadline (`LASTBEAT_DEADLINES_SCALE`); 1 is real life.
    pub scale: f64,
}

impl Config {
    /// A collector with default deadlines and no promise to be back.
    #[must_use]
    pub fn new(data_dir: impl Into<PathBuf>, spool_dir: impl Into<PathBuf>) -> Self {
        Self { data_dir: data_dir.into(), spool_dir: spool_dir.into(), back_by: None, scale: 1.0 }
    }
}
