//! Where events come from. A source reduces what it reads before it hands it on, and knows nothing of what becomes of
//! it.
//!
//! A source ends when nobody takes its events any more; it waits while the queue is full and drops nothing.

mod convert;
pub mod files;
pub mod kubernetes;
mod proxies;
mod reduce;
mod stored;

pub(crate) use convert::is_marked;

/// Events that wait for the core at most; a source that is faster than the core waits.
pub const EVENT_QUEUE: usize = 1024;
