//! What a response says of its endpoint's load: an ORCA report, or when to come again.

use std::time::Duration;

use evenkeel_balance::orca::{self, LoadReport};
use http::{HeaderMap, HeaderName, StatusCode, header::RETRY_AFTER};

use crate::metrics::PoolMetrics;

const TEXT: HeaderName = HeaderName::from_static(orca::HEADER);
const BINARY: HeaderName = HeaderName::from_static(orca::HEADER_BINARY);

/// The report of a response, if there is one, whether it is in order or not.
pub(crate) fn read(headers: &HeaderMap) -> Option<Result<LoadReport, orca::OrcaError>> {
    let mut texts = headers.get_all(&TEXT).iter();
    let mut binaries = headers.get_all(&BINARY).iter();
    match ((texts.next(), texts.next()), (binaries.next(), binaries.next())) {
        ((None, _), (None, _)) => None,
        ((Some(text), None), (None, _)) => Some(LoadReport::parse(text.as_bytes())),
        ((None, _), (Some(binary), None)) => Some(LoadReport::parse_binary_header(binary.as_bytes())),
        _ => Some(Err(orca::OrcaError::Duplicate)),
    }
}

/// Takes the report of a response, and out of it unless clients are to have it: it tells them what is none of their business. One
/// that is not in order counts as none, and is counted.
pub(crate) fn take(headers: &mut HeaderMap, keep: bool, metrics: &PoolMetrics) -> Option<Box<LoadReport>> {
    let parsed = read(headers)?;
    if !keep {
        headers.remove(&TEXT);
        headers.remove(&BINARY);
    }
    metrics.load_reports.add(parsed.is_ok());
    match parsed {
        Ok(report) => Some(Box::new(report)),
        Err(error) => {
            tracing::debug!(%error, "a load report is not in order");
            None
        }
    }
}

/// When an endpoint that has too much to do wants to be asked again (RFC 9110, 10.2.3), if it says so in seconds.
pub(crate) fn retry_after(status: StatusCode, headers: &HeaderMap) -> Option<Duration> {
    if status != StatusCode::TOO_MANY_REQUESTS && !status.is_server_error() {
        return None;
    }
    headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        fields.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap())).collect()
    }

    #[test]
    fn a_report_is_taken_out_and_a_bad_one_counts_as_none() {
        let metrics = PoolMetrics::new();
        let mut good = headers(&[("endpoint-load-metrics", "TEXT cpu_utilization=0.3"), ("x-a", "1")]);
        assert_eq!(take(&mut good, false, &metrics).unwrap().cpu_utilization, Some(0.3));
        assert_eq!(good.len(), 1);
        let mut bad = headers(&[("endpoint-load-metrics", "TEXT cpu_utilization=NaN")]);
        assert_eq!((take(&mut bad, false, &metrics), bad.len()), (None, 0));
        let mut two = headers(&[("endpoint-load-metrics", "TEXT cpu_utilization=0.3")]);
        two.append("endpoint-load-metrics", "TEXT cpu_utilization=0.4".parse().unwrap());
        assert_eq!((take(&mut two, false, &metrics), two.len()), (None, 0));
        assert_eq!(take(&mut headers(&[]), false, &metrics), None);
        assert_eq!(metrics.load_reports.all(), [("invalid", 2), ("taken", 1)].into());
    }

    #[test]
    fn only_who_is_overloaded_says_when() {
        let after = headers(&[("retry-after", "7")]);
        assert_eq!(retry_after(StatusCode::SERVICE_UNAVAILABLE, &after), Some(Duration::from_secs(7)));
        assert_eq!(retry_after(StatusCode::OK, &after), None);
        let date = headers(&[("retry-after", "Fri, 31 Dec 1999 23:59:59 GMT")]);
        assert_eq!(retry_after(StatusCode::TOO_MANY_REQUESTS, &date), None);
    }
}
