//! What endpoints use of CPU and memory, read from their Prometheus pages for Adaptive, apart from requests. Each
//! endpoint has a task of its own on the control runtime; what it read last is kept by the endpoint's identity, and the
//! mutator brings it to the tuner. A page that cannot be had or is not in order is counted, and is as if it had not
//! been read.

mod fetch;
mod page;

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use evenkeel_api::object::{self, AdaptiveSignal, AlgorithmType};
use evenkeel_balance::Usage;
use rand::Rng as _;
use tokio::{
    runtime::Handle,
    task::AbortHandle,
    time::{self, Instant},
};

use self::page::Invalid;
use crate::{
    clock, limits,
    metrics::PoolMetrics,
    room::{PoolRoom, Room},
};

/// What is read, how often, and what of it counts.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Plan {
    address: SocketAddr,
    path: String,
    interval: Duration,
    timeout: Duration,
    /// Names of metrics.
    cpu_seconds: Option<String>,
    memory_bytes: Option<String>,
}

impl Plan {
    /// For an endpoint of a pool with this algorithm; `None` if nothing goes by its page.
    pub(crate) fn new(algorithm: &object::Algorithm, endpoint: SocketAddr) -> Option<Self> {
        let may_adapt = matches!(algorithm.type_, AlgorithmType::Adaptive | AlgorithmType::Auto);
        let adaptive = algorithm.adaptive.as_ref().filter(|_| may_adapt)?;
        let page = adaptive.prometheus.as_ref()?;
        let wanted = |signal, name: &String| adaptive.signals.contains(&signal).then(|| name.clone());
        Some(Self {
            address: SocketAddr::new(endpoint.ip(), page.port.unwrap_or(endpoint.port())),
            path: page.path.clone(),
            interval: adaptive.interval.into(),
            timeout: page.timeout.into(),
            cpu_seconds: wanted(AdaptiveSignal::CPU, &page.cpu_seconds),
            memory_bytes: wanted(AdaptiveSignal::Memory, &page.memory_bytes),
        })
    }
}

/// What became of the reading of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reading {
    /// It shows all that is looked for.
    Read,
    /// Not all of it; what it shows counts.
    Missing,
    /// The CPU's counter has gone back, for the process has begun anew: from here on it counts again.
    Reset,
    /// No 200, or not in order.
    Invalid,
    /// Larger than is read.
    TooLarge,
    /// Not within the time-out.
    Late,
    /// No connection, or no answer.
    Failed,
}

/// What an endpoint was last read to use. Survives pushes.
#[derive(Debug, Default)]
pub(crate) struct LastUsage(Mutex<Option<Usage>>);

impl LastUsage {
    pub(crate) fn read(&self) -> Option<Usage> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, usage: Usage) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(usage);
    }
}

/// A task that reads an endpoint's page, until it is dropped.
#[derive(Debug)]
pub(crate) struct Reader {
    plan: Plan,
    task: AbortHandle,
}

impl Reader {
    pub(crate) fn is_by(&self, plan: &Plan) -> bool {
        self.plan == *plan
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What all readers share.
#[derive(Clone, Debug)]
pub(crate) struct Pages {
    runtime: Handle,
    room: Room,
}

impl Pages {
    pub(crate) fn new(runtime: Handle) -> Self {
        Self { runtime, room: Room::new(limits::PAGES_AT_ONCE) }
    }
}

/// What the readers of a pool share.
#[derive(Debug)]
pub(crate) struct PoolPages {
    runtime: Handle,
    room: PoolRoom,
    metrics: Arc<PoolMetrics>,
}

impl PoolPages {
    pub(crate) fn new(all: &Pages, metrics: &Arc<PoolMetrics>) -> Self {
        let room = all.room.part(limits::PAGES_OF_POOL_AT_ONCE);
        Self { runtime: all.runtime.clone(), room, metrics: Arc::clone(metrics) }
    }

    /// Starts to read an endpoint's page, the first time at once.
    pub(crate) fn start(self: &Arc<Self>, plan: Plan, usage: &Arc<LastUsage>) -> Reader {
        let (pages, usage) = (Arc::clone(self), Arc::clone(usage));
        let of = plan.clone();
        let task = self.runtime.spawn(async move { pages.run(&of, &usage).await });
        Reader { plan, task: task.abort_handle() }
    }

    async fn run(&self, plan: &Plan, usage: &LastUsage) {
        let mut cpu = Counter::default();
        // After the first page a random part of the interval, so that proxies and endpoints do not march in step.
        let mut pause = plan.interval.mul_f64(rand::rng().random_range(0.0..1.0));
        loop {
            let text = {
                let _place = self.room.place().await;
                fetch::page(plan).await
            };
            let found = text.and_then(|text| Ok(taken(&text, plan, &mut cpu, Instant::now())?));
            let reading = match found {
                Ok((found, reading)) => {
                    usage.set(found);
                    reading
                }
                Err(error) => {
                    tracing::debug!(%error, address = %plan.address, "no metrics of an endpoint");
                    error.reading()
                }
            };
            self.metrics.usage_pages.add(reading as usize);
            time::sleep(pause).await;
            pause = plan.interval.mul_f64(rand::rng().random_range(0.9..1.1));
        }
    }
}

/// What a page shows, read at `now`.
fn taken(text: &str, plan: &Plan, cpu: &mut Counter, now: Instant) -> Result<(Usage, Reading), Invalid> {
    let shown = |name: &Option<String>| name.as_ref().map_or(Ok(None), |name| page::sum(text, name));
    let (seconds, memory) = (shown(&plan.cpu_seconds)?, shown(&plan.memory_bytes)?);
    let is_missing = (plan.cpu_seconds.is_some() && seconds.is_none())
        || (plan.memory_bytes.is_some() && memory.is_none());
    let (cores, was_reset) = seconds.map_or((None, false), |seconds| cpu.rate(seconds, now));
    let reading = match (is_missing, was_reset) {
        (true, _) => Reading::Missing,
        (false, true) => Reading::Reset,
        (false, false) => Reading::Read,
    };
    Ok((Usage { at: clock::of(now.into_std()), cpu: cores, memory }, reading))
}

/// Time between two pages below which they say nothing of a rate: counters of CPU advance in steps of 10 ms.
const MIN_WINDOW: Duration = Duration::from_millis(100);

/// A counter, as it was last taken, and its last rate.
#[derive(Debug, Default)]
struct Counter {
    last: Option<(f64, Instant)>,
    rate: Option<f64>,
}

impl Counter {
    /// By how much it has grown in a second since it was last taken, if it was; and whether it has gone back.
    fn rate(&mut self, value: f64, now: Instant) -> (Option<f64>, bool) {
        let (was_reset, rate) = match self.last {
            None => (false, None),
            Some((last, _)) if value < last => (true, None),
            Some((_, at)) if now.duration_since(at) < MIN_WINDOW => return (self.rate, false),
            Some((last, at)) => (false, Some((value - last) / now.duration_since(at).as_secs_f64())),
        };
        (self.last, self.rate) = (Some((value, now)), rate);
        (rate, was_reset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(signals: &[AdaptiveSignal]) -> Plan {
        let adaptive = object::Adaptive {
            signals: signals.to_vec(),
            prometheus: Some(object::PrometheusPage::default()),
            ..object::Adaptive::default()
        };
        let algorithm = object::Algorithm {
            type_: AlgorithmType::Adaptive,
            adaptive: Some(adaptive),
            ..object::Algorithm::default()
        };
        Plan::new(&algorithm, "10.0.0.1:80".parse().unwrap()).unwrap()
    }

    /// Pages a second apart, and what is known of CPU and memory after each.
    fn check(signals: &[AdaptiveSignal], pages: &[(&str, Option<f64>, Option<f64>, Reading)]) {
        let (plan, mut cpu, start) = (plan(signals), Counter::default(), Instant::now());
        for (number, (page, cores, memory, reading)) in (0..).zip(pages) {
            let now = start + Duration::from_secs(number);
            let (usage, became) = taken(page, &plan, &mut cpu, now).unwrap();
            assert_eq!(
                (usage.cpu, usage.memory, became),
                (*cores, *memory, *reading),
                "page {number}: {page}"
            );
        }
    }

    #[test]
    fn cores_are_what_the_counter_grows_by() {
        let at = |seconds: &str| format!("process_cpu_seconds_total {seconds}").leak() as &str;
        let pages = [
            (at("100"), None, None, Reading::Read),
            (at("100.5"), Some(0.5), None, Reading::Read),
            ("", None, None, Reading::Missing),
            (at("103.5"), Some(1.5), None, Reading::Read),
            (at("0.25"), None, None, Reading::Reset),
            (at("1.25"), Some(1.0), None, Reading::Read),
        ];
        check(&[AdaptiveSignal::CPU], &pages);
    }

    #[test]
    fn pages_in_quick_succession_say_nothing_of_the_rate() {
        let (mut counter, start) = (Counter::default(), Instant::now());
        let at = |milliseconds| start + Duration::from_millis(milliseconds);
        for (value, milliseconds, expect) in [
            (7.0, 0, None),
            (7.01, 2, None),
            (7.1, 200, Some(0.5)),
            (7.2, 210, Some(0.5)),
            (7.3, 300, Some(2.0)),
        ] {
            let (rate, was_reset) = counter.rate(value, at(milliseconds));
            let near = |rate: f64| expect.is_some_and(|expect: f64| (rate - expect).abs() < 1e-9);
            assert!(!was_reset && rate.map_or(expect.is_none(), near), "{milliseconds} ms: {rate:?}");
        }
    }

    #[tokio::test]
    async fn a_pool_whose_endpoints_hang_leaves_room_to_others() {
        let listens = async || tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (hangs, answers) = (listens().await, listens().await);
        let pages = Pages::new(Handle::current());
        let pool = || Arc::new(PoolPages::new(&pages, &Arc::new(PoolMetrics::new())));
        let plan = |of: &tokio::net::TcpListener| Plan {
            address: of.local_addr().unwrap(),
            timeout: Duration::from_secs(60),
            ..plan(&[AdaptiveSignal::Memory])
        };
        let (stuck, usage) = (pool(), Arc::default());
        let _readers: Vec<_> =
            (0..2 * limits::PAGES_AT_ONCE).map(|_| stuck.start(plan(&hangs), &usage)).collect();
        // So many are under way, and no more come.
        let mut asked = Vec::new();
        while asked.len() < limits::PAGES_OF_POOL_AT_ONCE {
            asked.push(hangs.accept().await.unwrap());
        }
        let _reader = pool().start(plan(&answers), &usage);
        let ours = time::timeout(Duration::from_secs(30), answers.accept()).await;
        assert!(ours.is_ok(), "the other pool's page is asked for");
        assert!(futures::future::poll_immediate(hangs.accept()).await.is_none(), "more than its room");
    }

    #[test]
    fn only_what_is_a_signal_is_looked_for() {
        let both = "process_cpu_seconds_total NaN\nprocess_resident_memory_bytes 1.5e+06";
        check(&[AdaptiveSignal::Memory], &[(both, None, Some(1.5e6), Reading::Read)]);
        let all = [AdaptiveSignal::CPU, AdaptiveSignal::Memory];
        check(&all, &[("process_resident_memory_bytes 7", None, Some(7.0), Reading::Missing)]);
        assert_eq!(taken(both, &plan(&all), &mut Counter::default(), Instant::now()), Err(Invalid::Range));
    }
}
