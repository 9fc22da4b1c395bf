//! Every bound of the data plane that is not a pool's own, in one place.

use std::time::Duration;

/// Connections from clients, of the whole process.
pub(crate) const CONNECTIONS: usize = 50_000;
/// Connections from clients at one listener.
pub(crate) const CONNECTIONS_PER_LISTENER: usize = 10_000;
/// Connections that the kernel keeps for each thread and listener until they are accepted.
pub(crate) const BACKLOG: i32 = 4096;
/// Pause after a failed accept, such as for want of file descriptors.
pub(crate) const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// From the first byte of a head, or from the accept, to its last byte.
pub(crate) const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// For a client's connection to be idle between two requests.
pub(crate) const KEEP_ALIVE: Duration = Duration::from_secs(75);
/// For a client to send the next bytes of a body before the endpoint has begun to answer, where its pool allows more;
/// and to take what is for it before a pool is known.
pub(crate) const CLIENT_STALL: Duration = Duration::from_secs(60);

/// Bytes of a request's head over HTTP/1, and of the buffer that holds it.
pub(crate) const HEAD_BYTES: usize = 64 << 10;
/// Bytes of a request's target.
pub(crate) const TARGET_BYTES: usize = 32 << 10;
/// Bytes of a request's fields over HTTP/2, each with 32 more (RFC 9113, 6.5.2).
pub(crate) const HTTP2_HEAD_BYTES: usize = 16 << 10;
/// Bytes of them at which h2 itself answers 431, of which nobody hears; those below are refused by us, with a reason.
pub(crate) const HTTP2_READ_BYTES: u32 = 64 << 10;
/// Fields of a request over HTTP/2; over HTTP/1 hyper has the same limit.
pub(crate) const HTTP2_FIELDS: usize = 100;
/// Requests at once on a connection of HTTP/2.
pub(crate) const HTTP2_STREAMS: u32 = 100;
/// Bytes that a client may send ahead on one stream of HTTP/2.
pub(crate) const HTTP2_STREAM_WINDOW: u32 = 64 << 10;
/// Bytes that a client may send ahead on a connection of HTTP/2.
pub(crate) const HTTP2_CONNECTION_WINDOW: u32 = 1 << 20;
/// Bytes of responses held for each stream of HTTP/2.
pub(crate) const HTTP2_SEND_BUFFER: usize = 64 << 10;
/// Streams of HTTP/2 of which, if they end within the time below, no more than half may be reset by the client.
pub(crate) const HTTP2_RESET_WINDOW: usize = 500;
/// See [`HTTP2_RESET_WINDOW`].
pub(crate) const HTTP2_RESET_TIME: Duration = Duration::from_secs(1);
/// Time between two PINGs to a silent client over HTTP/2, and then for its answer.
pub(crate) const HTTP2_PING: Duration = Duration::from_secs(30);
/// Entries of Via after which a request is taken to go in circles.
pub(crate) const HOPS: usize = 32;

/// Bytes of a response's head, and of the buffer that relays its body.
pub(crate) const RESPONSE_BUFFER: usize = 256 << 10;
/// How long a connection to an endpoint is kept idle. Shorter than what common servers allow (Node, uvicorn and Apache
/// close after 5 s), so that it is nearly always this side that closes, and no request is sent into a closing
/// connection.
pub(crate) const ENDPOINT_IDLE: Duration = Duration::from_secs(4);
/// A connection that has been idle for longer is looked at once more before it is used.
pub(crate) const ENDPOINT_FRESH: Duration = Duration::from_millis(10);
/// Idle connections that a thread keeps to one address.
pub(crate) const ENDPOINT_IDLE_CONNECTIONS: usize = 256;
/// Time between two looks for connections that are idle for too long.
pub(crate) const ENDPOINT_SWEEP: Duration = Duration::from_secs(1);

/// Time between two looks at the memory that is left.
pub(crate) const MEMORY_LOOK: Duration = Duration::from_millis(100);
/// Part of the container's memory in use, in per cent, from which requests are refused.
pub(crate) const MEMORY_REQUESTS_PERCENT: u64 = 95;
/// Part of it from which connections are refused too.
pub(crate) const MEMORY_CONNECTIONS_PERCENT: u64 = 98;

/// Health checks at once.
pub(crate) const CHECKS_AT_ONCE: usize = 256;
/// Of those, checks of one pool.
pub(crate) const CHECKS_OF_POOL_AT_ONCE: usize = CHECKS_AT_ONCE / 2;
/// Bytes that are read of the body that answers a health check.
pub(crate) const CHECK_BODY_BYTES: usize = 64 << 10;
/// Time between two checks of an endpoint from disk that has no check of its own, and for each to pass.
pub(crate) const DISK_CHECK: Duration = Duration::from_secs(1);

/// Probes of load that a thread has under way at once.
pub(crate) const PROBES_AT_ONCE: usize = 256;
/// Of which a pool has so many at most: one whose endpoints hang leaves the rest to others.
pub(crate) const PROBES_OF_POOL_AT_ONCE: usize = PROBES_AT_ONCE / 2;
/// And an endpoint so many, from all threads: one that hangs leaves the rest to its pool.
pub(crate) const PROBES_OF_ENDPOINT_AT_ONCE: usize = 32;
/// Time after which a probe is given up, and its connection with it. What counts as a sample is a shorter time, the
/// pool's.
pub(crate) const PROBE: Duration = Duration::from_secs(1);

/// Prometheus pages of endpoints that are read at once.
pub(crate) const PAGES_AT_ONCE: usize = 32;
/// Of those, pages of one pool.
pub(crate) const PAGES_OF_POOL_AT_ONCE: usize = PAGES_AT_ONCE / 2;
/// Bytes of such a page; a larger one counts as none.
pub(crate) const PAGE_BYTES: usize = 1 << 20;

/// Changes of an endpoint's health that are remembered.
pub(crate) const HEALTH_HISTORY: usize = 16;

/// Time between two looks at what was learned of the endpoints.
pub(crate) const TICK: Duration = Duration::from_millis(100);
/// The same of pools of which nothing changes with time.
pub(crate) const OBSERVATION: Duration = Duration::from_secs(1);
/// Time after which what follows load or evidence is made anew, where it is an algorithm that only some requests name.
pub(crate) const OVERRIDES: Duration = Duration::from_secs(1);
/// Between two looks, where something was learned that should not wait, such as that an endpoint has failed as often as
/// is allowed.
pub(crate) const URGENT: Duration = Duration::from_millis(20);

/// Endpoints that have series of their own among the metrics.
pub(crate) const ENDPOINT_SERIES: usize = 1_000;
/// Connections at once to the port of probes and metrics.
pub(crate) const ADMIN_CONNECTIONS: usize = 64;
/// For a worker to be silent before the process counts as stuck.
pub(crate) const HEARTBEAT_TIMEOUT: Duration = Duration::from_secs(30);
/// Time between two signs of life of a worker.
pub(crate) const HEARTBEAT: Duration = Duration::from_secs(1);
