//! Connections to endpoints: over HTTP/1.1, each thread its own.

pub(crate) mod connect;
pub(crate) mod connections;
