//! Prequal's samples where endpoints give them themselves: in the reports of their responses, or asked for apart from
//! requests.
//!
//! Reports are not fed as they come, for they come from whom Prequal picks, and soon it would know of nobody else: each
//! is kept, and read when its endpoint is drawn. Nobody waits for a probe: what comes after its time-out is dropped,
//! and only its connection is of use.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use evenkeel_api::object::{Prequal, PrequalProbe, PrequalSignals};
use evenkeel_balance::{ProbeAnswer, Time, orca::LoadReport};
use http::{
    HeaderValue, Request, StatusCode, Uri,
    header::{HOST, USER_AGENT},
};
use http_body_util::BodyExt as _;
use hyper::{body::Incoming, client::conn::TrySendError};
use smallvec::SmallVec;
use tokio::time::{self, Instant};

use super::{body::RequestBody, error::Cause, load};
use crate::{
    clock,
    connection::contain,
    endpoint::connect::{DialError, Sender},
    limits,
    metrics::EndpointMetrics,
    room::Taken,
    snapshot::{Choice, Pool},
    worker::Worker,
};

const AGENT: HeaderValue = HeaderValue::from_static("evenkeel-probe");
/// Named metrics of a report that make a sample.
const IN_FLIGHT: &str = "named_metrics.requests_in_flight";
const LATENCY_MS: &str = "named_metrics.latency_ms";

/// Where samples come from.
#[derive(Debug)]
pub(crate) enum Sampling {
    /// Those that are not older than this.
    Reports(Duration),
    Probes(Plan),
}

/// What is asked.
#[derive(Debug)]
pub(crate) struct Plan {
    uri: Uri,
    port: Option<u16>,
    timeout: Duration,
}

impl Sampling {
    /// `None` if the proxy itself sees all that there is.
    pub(crate) fn new(prequal: &Prequal) -> Option<Self> {
        match (prequal.signals, &prequal.probe) {
            (PrequalSignals::LoadReports, _) => Some(Self::Reports(prequal.max_age.into())),
            (PrequalSignals::Probes, Some(probe)) => Plan::new(probe).map(Self::Probes),
            (PrequalSignals::Probes, None) | (PrequalSignals::InBand, _) => None,
        }
    }
}

impl Plan {
    /// The schema lets no other path through.
    fn new(probe: &PrequalProbe) -> Option<Self> {
        let uri = probe.path.parse().ok()?;
        Some(Self { uri, port: probe.port, timeout: probe.timeout.into() })
    }
}

/// What became of probes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Probed {
    /// It is a sample.
    Answered,
    /// The answer came too late.
    Late,
    /// No connection, or no answer.
    Failed,
    /// The answer is no sample.
    Invalid,
    /// It was not made: too many are under way.
    Skipped,
}

/// The last report of an endpoint that is a sample. A torn one counts as the newer: it only informs.
#[derive(Debug, Default)]
pub(crate) struct LastSample {
    /// In nanoseconds; 0 if there is none.
    at: AtomicU64,
    in_flight: AtomicU32,
    latency_nanos: AtomicU64,
}

impl LastSample {
    fn set(&self, sample: ProbeAnswer, now: Time) {
        self.in_flight.store(sample.in_flight, Relaxed);
        self.latency_nanos.store(u64::try_from(sample.latency.as_nanos()).unwrap_or(u64::MAX), Relaxed);
        self.at.store(now.as_nanos(), Relaxed);
    }

    fn read(&self, max_age: Duration, now: Time) -> Option<ProbeAnswer> {
        let at = self.at.load(Relaxed);
        (at > 0 && now.since(Time::from_nanos(at)) <= max_age).then(|| ProbeAnswer {
            in_flight: self.in_flight.load(Relaxed),
            latency: Duration::from_nanos(self.latency_nanos.load(Relaxed)),
        })
    }
}

/// A request has come: brings Prequal the samples that it wants, or sends for them.
pub(crate) fn ask(worker: &Arc<Worker>, pool: &Arc<Pool>) {
    let Some(sampling) = &pool.sampling else { return };
    if let Sampling::Reports(_) = sampling {
        return bring_reports(pool, worker.index);
    }
    for index in wanted(pool) {
        match place(worker, pool, index) {
            Some(place) => {
                let (worker, pool) = (Arc::clone(worker), Arc::clone(pool));
                tokio::spawn(contain(async move { probe(&worker, &pool, index, place).await }));
            }
            None => pool.metrics.probes.add(Probed::Skipped as usize),
        }
    }
}

/// Among the probes of the endpoint, of its pool, and of all, on this thread.
fn place(worker: &Worker, pool: &Pool, index: usize) -> Option<[Taken; 3]> {
    let of_endpoint = pool.choice.measured.get(index)?.probes.take()?;
    Some([of_endpoint, pool.probes.get(worker.index)?.take()?, worker.probes.take()?])
}

/// Brings Prequal the samples that a request on this thread, by number, would bring it; none where they are no reports.
pub(crate) fn bring_reports(pool: &Pool, thread: usize) {
    let Some(Sampling::Reports(max_age)) = pool.sampling else { return };
    let now = clock::now();
    for index in wanted(pool) {
        if let Some(sample) = reported(&pool.choice, index, max_age, now) {
            pool.choice.balancer.answer(thread, index, sample, now);
        }
    }
}

fn wanted(pool: &Pool) -> SmallVec<[usize; 8]> {
    pool.choice.balancer.to_probe(&mut rand::rng()).collect()
}

/// What an endpoint has reported lately, or else what this proxy sees of it, as with `InBand`. It has as many in flight
/// at least as this proxy has sent it.
fn reported(choice: &Choice, index: usize, max_age: Duration, now: Time) -> Option<ProbeAnswer> {
    let state = choice.balancer.state_of(index)?;
    let own = u32::try_from(choice.balancer.in_flight(index)?).unwrap_or(u32::MAX);
    if let Some(sample) = choice.measured.get(index)?.sample.read(max_age, now) {
        return Some(ProbeAnswer { in_flight: sample.in_flight.max(own), ..sample });
    }
    let nanos = state.expected_nanos(u64::from(own) + 1, now);
    Some(ProbeAnswer { in_flight: own, latency: Duration::try_from_secs_f64(nanos / 1e9).ok()? })
}

/// A response has brought a report, of a pool that learns of load so.
pub(crate) fn learn(endpoint: &EndpointMetrics, report: &LoadReport) {
    if let Some(sample) = sample(report) {
        endpoint.sample.set(sample, clock::now());
    }
}

async fn probe(worker: &Worker, pool: &Pool, index: usize, _place: [Taken; 3]) {
    let (Some(Sampling::Probes(plan)), Some(endpoint)) =
        (&pool.sampling, pool.choice.balancer.endpoint(index))
    else {
        return;
    };
    let address = SocketAddr::new(endpoint.address.ip(), plan.port.unwrap_or(endpoint.address.port()));
    let began = Instant::now();
    let count = |probed: Probed| pool.metrics.probes.add(probed as usize);
    match time::timeout(limits::PROBE, exchange(worker, address, plan)).await {
        Ok(Ok(answer)) => {
            let sample = answer.report.as_ref().and_then(sample);
            match sample.filter(|_| began.elapsed() <= plan.timeout) {
                Some(sample) => {
                    pool.choice.balancer.answer(worker.index, index, sample, clock::now());
                    count(Probed::Answered);
                }
                None => count(if sample.is_some() { Probed::Late } else { Probed::Invalid }),
            }
            // A connection whose answer does not end is closed.
            _ = time::timeout(limits::PROBE, answer.finish(worker, address)).await;
        }
        Ok(Err(error)) => {
            tracing::debug!(%error, %address, "a probe failed");
            count(Probed::Failed);
        }
        Err(_elapsed) => count(Probed::Late),
    }
}

/// An answer of which only the head was read.
struct Answer {
    report: Option<LoadReport>,
    body: Incoming,
    sender: Sender,
}

async fn exchange(worker: &Worker, address: SocketAddr, plan: &Plan) -> Result<Answer, Cause> {
    let mut sender = match worker.endpoints.check_out(address).await {
        Some(sender) => sender,
        None => worker.endpoints.dial(address, limits::PROBE).await.map_err(|error| match error {
            DialError::Failed(error) => Cause::from(error),
            DialError::Timeout => "no connection".into(),
        })?,
    };
    let request = Request::get(plan.uri.clone())
        .header(HOST, address.to_string())
        .header(USER_AGENT, AGENT)
        .body(RequestBody::empty())?;
    let response = sender.send(request).await.map_err(TrySendError::into_error)?;
    let is_answer = response.status() == StatusCode::OK;
    let report = load::read(response.headers()).and_then(Result::ok).filter(|_| is_answer);
    Ok(Answer { report, body: response.into_body(), sender })
}

impl Answer {
    /// Reads the rest, and gives the connection back.
    async fn finish(mut self, worker: &Worker, address: SocketAddr) {
        let mut read = 0;
        while let Some(frame) = self.body.frame().await {
            read += frame.ok().and_then(|frame| frame.into_data().ok()).map_or(0, |data| data.len());
            if read > limits::CHECK_BODY_BYTES {
                return;
            }
        }
        worker.endpoints.check_in(address, self.sender);
    }
}

/// Requests in flight and latency, if a report has both.
fn sample(report: &LoadReport) -> Option<ProbeAnswer> {
    let in_flight = report.metric(IN_FLIGHT)?;
    // 584 years at most, so that nothing overflows; no number of a report is negative.
    let latency = Duration::try_from_secs_f64(report.metric(LATENCY_MS)? / 1e3).ok()?;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a cast of a float stops at the bounds"
    )]
    let in_flight = in_flight.round() as u32;
    Some(ProbeAnswer { in_flight, latency })
}

#[cfg(test)]
mod tests {
    use evenkeel_api::schema;
    use evenkeel_balance::{
        Algorithm, Backend, Balancer, Endpoint, Outcome, PoolSpec, PoolState, Prequal, Query, Status,
    };
    use serde_json::json;

    use super::*;
    use crate::metrics::Metrics;

    const MAX_AGE: Duration = Duration::from_secs(1);

    fn millis(count: u64) -> Duration {
        Duration::from_millis(count)
    }

    /// The only endpoint of a pool.
    fn choice() -> Choice {
        let state = Arc::new(PoolState::new(1, &mut rand::rng()));
        let endpoints = vec![Endpoint::new("a", "10.0.0.1:80".parse().unwrap())];
        let backend = Backend { key: "all".to_owned(), weight: 1, endpoints };
        let algorithm = Algorithm::Prequal(Prequal::default());
        let balancer = Balancer::new(&PoolSpec::new(algorithm, vec![backend]), &state);
        let metrics = Metrics::new(false).unwrap();
        Choice { balancer, measured: vec![Arc::new(metrics.endpoint())] }
    }

    fn check_reported(choice: &Choice, now: Time, expect: (u32, Duration)) {
        let found = reported(choice, 0, MAX_AGE, now).unwrap();
        // Estimates are rounded.
        let (least, most) = (expect.1.mul_f64(0.99), expect.1.mul_f64(1.01));
        assert!(found.in_flight == expect.0 && (least..=most).contains(&found.latency), "{found:?}");
    }

    #[test]
    fn without_a_report_it_is_as_in_band() {
        let (choice, now) = (choice(), Time::from_nanos(1_000_000_000));
        let begin = || choice.balancer.pick(&Query::at(now, 0), &mut rand::rng()).unwrap().guard;
        check_reported(&choice, now, (0, Duration::ZERO));
        // Alone a request takes 10 ms, the third beside two others 90 ms.
        for _ in 0..4 {
            let held = [10, 40, 90].map(|took| (begin(), took));
            for (mut guard, took) in held {
                guard.set_outcome(Outcome::new(Status::Answered(200), now, millis(took)));
            }
        }
        check_reported(&choice, now, (0, millis(10)));
        let _held = [begin(), begin()];
        check_reported(&choice, now, (2, millis(90)));
        choice.measured[0].sample.set(ProbeAnswer { in_flight: 7, latency: millis(5) }, now);
        check_reported(&choice, now, (7, millis(5)));
        check_reported(&choice, now.after(2 * MAX_AGE), (2, millis(90)));
    }

    fn check(report: &str, expect: Option<(u32, u64)>) {
        let report = LoadReport::parse(report.as_bytes()).unwrap();
        let found = sample(&report).map(|sample| (sample.in_flight, sample.latency.as_micros()));
        assert_eq!(found, expect.map(|(in_flight, micros)| (in_flight, u128::from(micros))));
    }

    #[test]
    fn a_sample_is_both_load_and_latency() {
        check("TEXT named_metrics.requests_in_flight=7,named_metrics.latency_ms=2.5", Some((7, 2_500)));
        check("TEXT named_metrics.requests_in_flight=1e30,named_metrics.latency_ms=0", Some((u32::MAX, 0)));
        check("TEXT named_metrics.requests_in_flight=7", None);
        check("TEXT named_metrics.requests_in_flight=7,named_metrics.latency_ms=1e300", None);
        check("TEXT cpu_utilization=0.5", None);
    }

    #[test]
    fn every_path_that_the_schema_lets_through_is_asked_as_it_is() {
        for character in '!'..='~' {
            let path = format!("/a{character}?b={character}");
            let prequal = json!({"signals": "Probes", "probe": {"path": path}});
            if schema::check(&json!({"algorithm": {"type": "Prequal", "prequal": prequal}})).is_empty() {
                let Some(Sampling::Probes(plan)) = Sampling::new(&serde_json::from_value(prequal).unwrap())
                else {
                    panic!("{path}: no probes");
                };
                assert_eq!(plan.uri, *path.as_str());
            }
        }
    }
}
