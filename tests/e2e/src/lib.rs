//! The cluster as seen from outside of Evenkeel: what end-to-end tests and benchmarks share.

pub mod wait;

pub mod fetch;

pub mod cluster;

pub mod leader;
pub mod proxies;
