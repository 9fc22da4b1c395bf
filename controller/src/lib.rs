//! The control plane: what the world looks like, what the proxies must know of it, and what people are told.
//!
//! ```text
//! source/{kubernetes,files}  --Event-->  core.apply          core.step  --versions-->  publish  ==HTTP==>  proxies
//!                                          | index              ^   |                     | ProxyEvent
//!                                          v                    |   effects               v
//!                            admission, hostnames, ports,       |   v                   core.tell
//!                            resolve, compile, services, status-+  write
//! ```
//! Everything between the sources and the writers is pure: time comes in as an argument, effects go out as values.

pub mod admin;
pub mod admission;
pub mod app;
pub mod certificates;
pub mod compile;
pub mod core;
pub mod effect;
pub mod election;
pub mod engine;
pub mod event;
pub mod fleet;
pub mod hostnames;
pub mod index;
pub mod metrics;
pub mod ports;
pub mod problem;
pub mod publish;
pub mod published;
pub mod pull;
pub mod regions;
pub mod resolve;
pub mod selector;
pub mod services;
pub mod source;
pub mod status;
pub mod view;
pub mod write;
