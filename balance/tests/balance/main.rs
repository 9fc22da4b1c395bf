//! The balancer as its callers see it, under a clock and chance of the tests' own.

mod common;

mod adaptive;
mod allocations;
mod auto;
mod changes;
mod ejection;
mod estimate;
mod explain;
mod golden;
mod keyed;
mod least;
mod locality;
mod picks;
mod prequal;
mod response_time;
mod rotation;
mod slow_start;
mod state;
mod weights;
