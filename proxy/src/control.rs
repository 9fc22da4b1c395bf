//! The proxy's end of the config channel: one state, sent by a leader, pulled from any controller, or kept from before.
//!
//! ```text
//! serve --mTLS--> answer ---\                                  /--> Activate (the data plane)
//! boot: pull, or last good --> Control --Received-> Candidate -
//!                                 |                            \--> keep: last good, on disk
//! ```
//! [`Control`] is the only one to change the state, one push at a time. Deliberately absent: what a pool means, which is the
//! data plane's, behind [`Activate`].

mod limits;

mod received;

mod activate;
mod metrics;
mod state;

mod answer;
mod serve;

mod boot;
mod keep;
mod pull;

mod args;

pub use activate::{Activate, Origin};
pub use args::{ChannelArgs, StartError, start};
pub use boot::boot;
pub use keep::{keep, retry};
pub use metrics::ControlMetrics;
pub use pull::{ControllerUrl, Puller};
pub use received::{Candidate, Received, Refusal, Source, Step};
pub use serve::serve;
pub use state::Control;
