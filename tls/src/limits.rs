//! Every limit of this crate.

use std::time::Duration;

/// How often the files of an identity are read again.
pub(crate) const RELOAD_EVERY: Duration = Duration::from_secs(2);
/// For a connection to open and its handshake to end.
pub(crate) const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// For the head of a request to arrive; also ends connections that say nothing.
pub(crate) const HEAD_TIMEOUT: Duration = Duration::from_secs(60);
/// For the whole of a body to arrive.
pub(crate) const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// Connections that a server holds, handshakes included; more wait in the kernel.
pub(crate) const MAX_CONNECTIONS: usize = 128;
/// How long a server that stops waits for its open requests.
pub(crate) const STOP_TIMEOUT: Duration = Duration::from_secs(5);
/// Pairs of peer and cause remembered as logged.
pub(crate) const MAX_LOGGED_FAILURES: usize = 1024;
/// Connections waiting to be accepted.
pub(crate) const BACKLOG: i32 = 1024;
