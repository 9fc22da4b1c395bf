//! The objects, the source, the writer and the election, against a real API server.

#![expect(clippy::unwrap_used, reason = "what a test cannot do without is its failure")]

/// Leaves the test where there is no API server to be had.
macro_rules! require {
    ($server:expr) => {
        match $server.await {
            Some(server) => server,
            None => return,
        }
    };
}

#[path = "all/election.rs"]
mod election;
#[path = "all/fixture.rs"]
mod fixture;
#[path = "all/install.rs"]
mod install;
#[path = "all/objects.rs"]
mod objects;
#[path = "all/source.rs"]
mod source;
#[path = "all/write.rs"]
mod write;
