//! The proxy between raw sockets: bytes in, bytes out.

#![expect(clippy::unwrap_used, reason = "a test's way to fail")]

mod common;

mod admin;
mod algorithms;
mod drain;
mod fields;
mod framing;
mod health;
mod limits;
mod locality;
mod overriding;
mod path;
mod plane;
mod prequal;
mod refusals;
mod reports;
mod retry;
mod timeouts;
mod usage;
