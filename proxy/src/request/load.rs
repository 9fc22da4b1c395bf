//! What a response says of its endpoint's load: an ORCA report, or when to come again.

use std::time::Duration;

use evenkeel_balance::orca::{self, LoadReport};
use http::{HeaderMap, HeaderName, StatusCode, header::RETRY_AFTER};

use crate::{clock, metrics::PoolMetrics};

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

/// Takes the report of a response, and out of it unless clients are to have it: it tells them what is none of their
/// business. One that is not in order counts as none, and is counted.
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

/// When an endpoint that has too much to do wants to be asked again (RFC 9110, 10.2.3): in so many seconds, or at a
/// date by the time of day.
pub(crate) fn retry_after(status: StatusCode, headers: &HeaderMap) -> Option<Duration> {
    if status != StatusCode::TOO_MANY_REQUESTS && !status.is_server_error() {
        return None;
    }
    let said = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let seconds = said.parse().ok().map(Duration::from_secs);
    seconds.or_else(|| Some(clock::until(httpdate::parse_http_date(said).ok()?)))
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

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
    }

    /// What is said, and the least and the most that it may be by now, in seconds.
    fn check_said(said: &str, expect: Option<(u64, u64)>) {
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, said.parse().unwrap());
        let after = retry_after(StatusCode::TOO_MANY_REQUESTS, &headers);
        let seconds = |seconds| Duration::from_secs(seconds);
        let fits = match (after, expect) {
            (Some(after), Some((least, most))) => (seconds(least)..=seconds(most)).contains(&after),
            (after, expect) => after.is_none() && expect.is_none(),
        };
        assert!(fits, "{said}: {after:?}");
    }

    #[test]
    fn when_may_be_said_in_seconds_or_as_a_date() {
        check_said(" 7 ", Some((7, 7)));
        let ahead = SystemTime::now() + Duration::from_secs(3_600);
        // A date is in whole seconds.
        check_said(&httpdate::fmt_http_date(ahead), Some((3_000, 3_600)));
        check_said("Fri, 31 Dec 1999 23:59:59 GMT", Some((0, 0)));
        check_said("Friday, 31-Dec-99 23:59:59 GMT", Some((0, 0)));
        check_said("Fri Dec 31 23:59:59 1999", Some((0, 0)));
        check_said("Fri, 32 Dec 1999 23:59:59 GMT", None);
        check_said("soon", None);
        check_said("-1", None);
    }
}
