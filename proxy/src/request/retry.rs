//! Whether a request goes to another endpoint. Built in: once, if nothing of it was ever sent. What a pool says of
//! retries stands in the place of that.

use std::sync::Arc;

use evenkeel_api::object::{Retries, RetryOn};
use http::StatusCode;

use super::{
    budget::Budget,
    error::{RequestError, Retry},
};
use crate::clock;

/// When a pool's requests are sent again.
#[derive(Debug)]
pub(crate) struct Policy {
    attempts: usize,
    on: Vec<RetryOn>,
    codes: Vec<u16>,
    budget: Option<Arc<Budget>>,
}

impl Default for Policy {
    fn default() -> Self {
        Self { attempts: 1, on: vec![RetryOn::NotSent], codes: Vec::new(), budget: None }
    }
}

impl Policy {
    pub(crate) fn new(retries: &Retries, budget: Arc<Budget>) -> Self {
        Self {
            attempts: retries.attempts.into(),
            on: retries.on.clone(),
            codes: retries.codes.clone(),
            budget: Some(budget),
        }
    }

    /// A request has come.
    pub(crate) fn requested(&self) {
        if let Some(budget) = &self.budget {
            budget.requested(clock::now());
        }
    }

    /// Whether one that was sent may be sent again after `retries` of it, so that it must be kept.
    pub(crate) fn keeps(&self, retries: usize) -> bool {
        let after_sending = !self.codes.is_empty() || self.on.iter().any(|on| *on != RetryOn::NotSent);
        retries < self.attempts && after_sending
    }

    /// Whether one that has failed may be sent again, as far as this error goes.
    pub(crate) fn allows(&self, error: &RequestError, retries: usize) -> bool {
        let on = match (error, error.retry()) {
            (_, Retry::Never) => return false,
            (_, Retry::Safe) => RetryOn::NotSent,
            (RequestError::EndpointTimeout { .. }, Retry::IfIdempotent) => RetryOn::Timeout,
            (_, Retry::IfIdempotent) => RetryOn::Closed,
        };
        retries < self.attempts && self.on.contains(&on)
    }

    /// Whether another response is wanted than one of this status.
    pub(crate) fn refuses(&self, status: StatusCode) -> bool {
        self.codes.contains(&status.as_u16())
    }

    /// Takes a retry out of the budget.
    pub(crate) fn take(&self) -> bool {
        self.budget.as_ref().is_none_or(|budget| budget.take(clock::now()))
    }

    /// One that was taken is not made.
    pub(crate) fn give_back(&self) {
        if let Some(budget) = &self.budget {
            budget.give_back(clock::now());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{io, time::Duration};

    use super::*;

    #[track_caller]
    fn check(policy: &Policy, retries: usize, expect: [bool; 4]) {
        let address = "127.0.0.1:1".parse().unwrap();
        let after = Duration::from_secs(1);
        let source = io::ErrorKind::ConnectionRefused.into();
        let errors = [
            RequestError::ConnectFailed { address, source },
            RequestError::EndpointClosed { address, source: "reset".into() },
            RequestError::EndpointTimeout { address, after },
            RequestError::NoEndpoint,
        ];
        assert_eq!(errors.map(|error| policy.allows(&error, retries)), expect, "{policy:?}");
    }

    fn policy(text: &str) -> Policy {
        let retries: Retries = serde_json::from_str(text).unwrap();
        Policy::new(&retries, Arc::new(Budget::new(retries.budget, retries.min_retry_rate)))
    }

    #[test]
    fn only_what_was_never_sent_and_once() {
        check(&Policy::default(), 0, [true, false, false, false]);
        check(&Policy::default(), 1, [false; 4]);
        let address = "127.0.0.1:1".parse().unwrap();
        let after = Duration::from_secs(1);
        assert!(Policy::default().allows(&RequestError::ConnectTimeout { address, after }, 0));
        assert!(Policy::default().allows(&RequestError::NotSent { address, source: "closed".into() }, 0));
        assert!(!Policy::default().keeps(0));
    }

    #[test]
    fn what_a_pool_says_stands_in_its_place() {
        check(&policy("{}"), 0, [true, true, false, false]);
        check(&policy(r#"{"attempts": 2, "on": ["Timeout"]}"#), 1, [false, false, true, false]);
        check(&policy(r#"{"attempts": 0}"#), 0, [false; 4]);
        let codes = policy(r#"{"on": [], "codes": [503]}"#);
        check(&codes, 0, [false; 4]);
        assert!(codes.keeps(0) && !codes.keeps(1));
        assert!(codes.refuses(StatusCode::SERVICE_UNAVAILABLE) && !codes.refuses(StatusCode::BAD_GATEWAY));
    }
}
