//! The binary as it is typed: usage, the witness without a collector, the collector's start and stop, the
//! demo's tour.

#[cfg(feature = "collector")]
mod serve;
mod signals;
mod stand;
mod usage;
mod witness;
