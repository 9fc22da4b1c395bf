//! What came of a load.

use std::{collections::BTreeMap, error::Error, fmt, time::Duration};

use anyhow::{bail, ensure};
use serde::{Deserialize, Serialize};

use super::client::Answer;

/// Failures that are kept with their cause; more are only counted.
const MAX_KEPT: usize = 10_000;
/// Failures that a message lists.
const SHOWN: usize = 20;

/// All that was counted.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Counts {
    /// Requests that ended, well or not.
    pub(crate) sent: u64,
    /// Good answers, by the endpoint that gave them.
    pub(crate) by_endpoint: BTreeMap<String, u64>,
    /// Good answers to POST by the client's address as the endpoint got it, which nodes may have changed, and the
    /// endpoint.
    pub(crate) by_client: BTreeMap<String, BTreeMap<String, u64>>,
    /// Requests that a closed connection gave back unsent, and that went over another one.
    pub(crate) reopened: u64,
    /// Requests without a good answer.
    pub(crate) failed: u64,
    /// The first of them.
    pub(crate) failures: Vec<Failure>,
}

impl Counts {
    pub(super) fn answered(&mut self, answer: Answer) {
        if let Some(client) = answer.client {
            *self.by_client.entry(client).or_default().entry(answer.endpoint.clone()).or_default() += 1;
        }
        *self.by_endpoint.entry(answer.endpoint).or_default() += 1;
    }

    pub(super) fn failed(&mut self, failure: Failure) {
        self.failed += 1;
        if self.failures.len() < MAX_KEPT {
            self.failures.push(failure);
        }
    }

    /// What came since `before`, by endpoint.
    pub(crate) fn since(&self, before: &Self) -> BTreeMap<String, u64> {
        let grown = self.by_endpoint.iter().map(|(endpoint, count)| {
            (endpoint.clone(), count - before.by_endpoint.get(endpoint).copied().unwrap_or_default())
        });
        grown.filter(|(_, count)| *count > 0).collect()
    }

    /// # Errors
    /// If a client had several endpoints, or no client is known.
    pub(crate) fn one_endpoint_each(&self) -> anyhow::Result<()> {
        let is_so = self.by_client.values().all(|endpoints| endpoints.len() == 1);
        ensure!(
            is_so && !self.by_client.is_empty(),
            "not one endpoint for each client: {:?}",
            self.by_client
        );
        Ok(())
    }

    /// In a line.
    pub(crate) fn line(&self) -> String {
        let Self { sent, failed, reopened, by_endpoint, .. } = self;
        let kinds = self.failures.iter().fold(BTreeMap::<_, u64>::new(), |mut kinds, failure| {
            *kinds.entry(failure.cause.kind()).or_default() += 1;
            kinds
        });
        let kinds: Vec<_> = kinds.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
        let kinds = if kinds.is_empty() { String::new() } else { format!(" ({})", kinds.join(", ")) };
        let endpoints = by_endpoint.len();
        format!(
            "{sent} requests, {failed} failed{kinds}, {endpoints} endpoints answered, {reopened} reopened"
        )
    }

    /// # Errors
    /// If a request failed: with times and causes.
    pub(crate) fn none_failed(&self) -> anyhow::Result<()> {
        self.none_failed_but(|_| false)
    }

    /// # Errors
    /// If a request failed that is not `excused`: with times and causes.
    pub(crate) fn none_failed_but(&self, excused: impl Fn(&Failure) -> bool) -> anyhow::Result<()> {
        let bad: Vec<_> = self.failures.iter().filter(|failure| !excused(failure)).collect();
        if self.sent == 0 {
            bail!("no request was sent");
        }
        if bad.is_empty() && self.failures.len() < MAX_KEPT {
            return Ok(());
        }
        let list: Vec<_> = bad.iter().take(SHOWN).map(ToString::to_string).collect();
        bail!("{} of {} requests failed:\n      {}", bad.len(), self.sent, list.join("\n      "))
    }
}

/// A request without a good answer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Failure {
    /// When it began, since the load did.
    pub(crate) started: Duration,
    /// When it ended.
    pub(crate) ended: Duration,
    /// What it was like.
    pub(crate) request: String,
    /// Why.
    pub(crate) cause: Cause,
}

impl Failure {
    pub(super) fn new(started: Duration, ended: Duration, request: &str, cause: Cause) -> Self {
        Self { started, ended, request: request.to_owned(), cause }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { started, ended, request, cause } = self;
        write!(f, "{:.3} to {:.3} s, {request}: {cause:?}", started.as_secs_f64(), ended.as_secs_f64())
    }
}

/// Why there is no good answer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Cause {
    /// No connection.
    Connect(String),
    /// A connection broke before the end of the answer.
    Transport(String),
    /// No answer in time.
    TimedOut,
    /// Another status than 200.
    Answer {
        /// The status.
        status: u16,
        /// Its reason, if a proxy made it.
        reason: String,
        /// The beginning of its body.
        said: String,
    },
    /// An answer that does not fit its request.
    Wrong(String),
    /// Too many requests are under way, this one was not sent.
    Overload,
}

impl Cause {
    pub(super) fn transport(error: impl Error) -> Self {
        Self::Transport(chain(&error))
    }

    #[expect(clippy::needless_pass_by_value, reason = "for map_err")]
    pub(super) fn connect(error: std::io::Error) -> Self {
        Self::Connect(chain(&error))
    }

    fn kind(&self) -> String {
        match self {
            Self::Connect(_) => "no connection".to_owned(),
            Self::Transport(_) => "connection broken".to_owned(),
            Self::TimedOut => "no answer in time".to_owned(),
            Self::Answer { status, reason, .. } => format!("{status} {reason}"),
            Self::Wrong(_) => "wrong answer".to_owned(),
            Self::Overload => "not sent".to_owned(),
        }
    }

    /// Whether no proxy had a say in it: the connection to it, or it itself, was lost.
    pub(crate) const fn is_lost_connection(&self) -> bool {
        matches!(self, Self::Connect(_) | Self::Transport(_) | Self::TimedOut)
    }

    /// Whether a proxy says that the endpoint at `address` gave no answer.
    pub(crate) fn names(&self, address: &str) -> bool {
        matches!(self, Self::Answer { reason, said, .. } if !reason.is_empty() && said.contains(&format!("{address}:")))
    }
}

fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(&format!(": {cause}"));
        next = cause.source();
    }
    text
}
