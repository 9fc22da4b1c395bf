//! Probation after an ejection: one request alone, by which the endpoint is judged.

use crate::{
    pick::Verdict,
    sync::{AtomicU32, Relaxed},
};

/// Where a probation stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Trial {
    /// There is none.
    Off,
    /// The next request is the one.
    Open,
    /// The request is under way.
    Taken,
    /// It went well.
    Passed,
    /// It did not.
    Failed,
}

/// Shared by all threads; only one of them gets the request.
#[derive(Debug)]
pub(crate) struct Probation(AtomicU32);

impl Probation {
    pub(crate) fn new() -> Self {
        Self(AtomicU32::new(Trial::Off as u32))
    }

    pub(crate) fn stands(&self) -> Trial {
        match self.0.load(Relaxed) {
            1 => Trial::Open,
            2 => Trial::Taken,
            3 => Trial::Passed,
            4 => Trial::Failed,
            _ => Trial::Off,
        }
    }

    /// What it was before does not matter; but a swap has a place among the others' exchanges, so that none of them can
    /// take what is set here for what it replaced.
    pub(crate) fn set(&self, trial: Trial) {
        let _ = self.0.swap(trial as u32, Relaxed);
    }

    /// Whether the caller's request is the one.
    pub(crate) fn take(&self) -> bool {
        self.0.compare_exchange(Trial::Open as u32, Trial::Taken as u32, Relaxed, Relaxed).is_ok()
    }

    /// The request ended; one that says nothing leaves the trial to the next.
    pub(crate) fn end(&self, verdict: Verdict) {
        let to = match verdict {
            Verdict::Cancelled => Trial::Open,
            Verdict::Good | Verdict::Neutral => Trial::Passed,
            Verdict::Overloaded | Verdict::ServerError | Verdict::GatewayError => Trial::Failed,
        };
        // The probation may have been called off meanwhile.
        let _ = self.0.compare_exchange(Trial::Taken as u32, to as u32, Relaxed, Relaxed);
    }
}
