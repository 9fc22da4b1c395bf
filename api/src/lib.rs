//! The objects that people write, the documents that the controller and the proxies exchange, and the one parser of
//! both.
//!
//! Here because both sides must agree to the letter: the schema, the defaults, the canonical form and its hash. There
//! is no I/O in this crate, and nothing in it knows how a pool is carried out.

mod balance;
pub mod channel;
pub mod duration;
pub mod labels;
pub mod manifest;
pub mod object;
pub mod openapi;
pub mod schema;

pub use duration::Duration;
