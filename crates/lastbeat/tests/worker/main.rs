//! The client against a real peer on loopback: what a collector hears, and what a host may rely on.

mod agents;
mod asks;
mod link;
mod nested;
mod peer;
mod steps;
mod stop;
#[cfg(feature = "axum")]
mod streams;
