//! Whether a request goes to another endpoint. Built in: one retry, of requests of which nothing was ever sent.

use super::error::{RequestError, Retry};
use crate::limits;

/// Whether a request that has failed may be sent to another endpoint. `attempts`: how many there were, this one included.
pub(crate) fn allowed(error: &RequestError, attempts: usize) -> bool {
    attempts < limits::ATTEMPTS && error.retry() == Retry::Safe
}

#[cfg(test)]
mod tests {
    use std::{io, time::Duration};

    use super::*;

    fn check(error: &RequestError, attempts: usize, expect: bool) {
        assert_eq!(allowed(error, attempts), expect, "{error}, {attempts}");
    }

    #[test]
    fn only_what_was_never_sent_and_once() {
        let address = "127.0.0.1:1".parse().unwrap();
        let after = Duration::from_secs(1);
        let refused =
            RequestError::ConnectFailed { address, source: io::ErrorKind::ConnectionRefused.into() };
        check(&refused, 1, true);
        check(&refused, 2, false);
        check(&RequestError::ConnectTimeout { address, after }, 1, true);
        check(&RequestError::NotSent { address, source: "closed".into() }, 1, true);
        check(&RequestError::EndpointClosed { address, source: "reset".into() }, 1, false);
        check(&RequestError::EndpointTimeout { address, after }, 1, false);
        check(&RequestError::NoEndpoint, 1, false);
    }
}
