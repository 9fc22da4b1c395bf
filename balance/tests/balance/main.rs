//! The balancer as its callers see it, under a clock and chance of the tests' own.

mod common;

mod adaptive;
mod allocations;
mod around;
mod auto;
mod changes;
mod counting;
mod ejection;
mod estimate;
mod explain;
mod golden;
mod keyed;
mod learning;
mod least;
mod locality;
mod others;
mod picks;
mod prequal;
mod regions;
mod reports;
mod response_time;
mod rotation;
mod rules;
mod shares;
mod slow_start;
mod state;
mod usage;
mod weights;
