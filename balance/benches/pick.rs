//! What a pick with its guard costs, at 1,000 endpoints, for each algorithm; on one thread and on two, in a loop of
//! nothing else and with a request's work, beside what counting alone takes; what building takes, and a look of Auto's;
//! and what Pingora's ring takes for the same, which counts nothing.

use std::{
    collections::VecDeque,
    hint::black_box,
    sync::{
        Arc, Barrier,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use evenkeel_balance::{
    Adaptive, Algorithm, Auto, Backend, Balancer, ConsistentHash, Endpoint, HashFunction, Key,
    LeastResponseTime, Outcome, PoolSpec, PoolState, Prequal, Query, SourceIpHash, Status, Table, Time,
    Tuner,
};
use rand::{Rng as _, SeedableRng as _, rngs::SmallRng};

/// A count on a cache line of its own, and on a pair of lines, since some processors fetch two.
#[derive(Default)]
#[repr(align(128))]
struct Line(AtomicU64);

fn algorithms() -> Vec<(&'static str, Algorithm)> {
    let hash = |table, bounded_load| {
        Algorithm::ConsistentHash(ConsistentHash { table, function: HashFunction::XxHash64, bounded_load })
    };
    vec![
        ("RoundRobin", Algorithm::RoundRobin),
        ("WeightedRoundRobin", Algorithm::WeightedRoundRobin),
        ("Random", Algorithm::Random),
        ("PowerOfTwoChoices", Algorithm::PowerOfTwoChoices { choices: 2 }),
        ("LeastRequest", Algorithm::LeastRequest { choices: 16 }),
        ("LeastResponseTime", Algorithm::LeastResponseTime(LeastResponseTime::default())),
        ("SourceIPHash", Algorithm::SourceIpHash(SourceIpHash::default())),
        ("Ring", hash(Table::default(), None)),
        ("Maglev", hash(Table::Maglev { size: 65537 }, None)),
        ("Ring bounded", hash(Table::default(), Some(1.25))),
        ("Rendezvous", hash(Table::Rendezvous, None)),
        ("Prequal", Algorithm::Prequal(Prequal::default())),
        ("Adaptive", Algorithm::Adaptive(Adaptive::default())),
    ]
}

/// Weights from 1 to `weights`.
fn spec(algorithm: &Algorithm, count: u32, weights: u32) -> PoolSpec {
    let address = ([10, 0, 0, 1], 80).into();
    let endpoint = |index: u32| Endpoint {
        weight: 1 + index % weights,
        ..Endpoint::new(&format!("0f8fad5b-d9cb-469f-a165-{index:012}:8080"), address)
    };
    let backend = Backend { key: "b".to_owned(), weight: 1, endpoints: (0..count).map(endpoint).collect() };
    PoolSpec::new(algorithm.clone(), vec![backend])
}

fn balancer(algorithm: &Algorithm, weights: u32) -> Arc<Balancer> {
    let state = Arc::new(PoolState::new(2, &mut SmallRng::seed_from_u64(1)));
    Arc::new(Balancer::new(&spec(algorithm, 1000, weights), &state))
}

/// What a request is besides its pick.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Served {
    /// Nothing: it ends at once, without a word on how.
    Not,
    /// It ends at once, with an outcome.
    AtOnce,
    /// Its work is done before that.
    AfterWork,
}

/// Threads that asked for the same keys at the same time would meet at the same endpoints, as no clients do.
fn key(worker: usize, number: u64) -> [u8; 8] {
    ((worker as u64) << 32 | number).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes()
}

fn query(key: &[u8; 8], worker: usize, number: u64) -> Query<'_> {
    let [a, b, c, d, ..] = *key;
    Query { key: Some(Key::Bytes(key)), client: Some([a, b, c, d].into()), ..Query::at(at(number), worker) }
}

fn at(number: u64) -> Time {
    Time::from_nanos(number * 10_000)
}

fn request(balancer: &Balancer, worker: usize, number: u64, served: Served, rng: &mut SmallRng) {
    let key = key(worker, number);
    let mut pick = balancer.pick(&query(&key, worker, number), rng);
    if served == Served::AfterWork {
        work();
    }
    if let Some(pick) = pick.as_mut().filter(|_| served != Served::Not) {
        let latency = Duration::from_nanos(1_000_000 + number % 1000);
        pick.guard.set_outcome(Outcome::new(Status::Answered(200), at(number), latency));
    }
    black_box(pick);
}

/// About a microsecond that touches nothing shared: a small part of what a proxy does for any request.
fn work() {
    let mix = |value: u64, _| black_box(value ^ (value >> 31)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    black_box((0..800).fold(1, mix));
}

/// `total` requests, divided among threads that begin together.
fn timed(threads: usize, total: u64, request: impl Fn(usize, u64, &mut SmallRng) + Sync) -> Duration {
    let barrier = Barrier::new(threads + 1);
    let run = |worker: usize| {
        let mut rng = SmallRng::seed_from_u64(worker as u64);
        barrier.wait();
        for number in 0..total / threads as u64 {
            request(worker, number, &mut rng);
        }
    };
    std::thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|worker| scope.spawn(move || run(worker))).collect();
        barrier.wait();
        let began = Instant::now();
        running.into_iter().for_each(|thread| thread.join().expect("a thread that ends"));
        began.elapsed()
    })
}

fn picks(c: &mut Criterion) {
    let mut rng = SmallRng::seed_from_u64(1);
    for (group, weights, served) in
        [("pick", 1, Served::Not), ("pick_weighted", 5, Served::Not), ("pick_reported", 1, Served::AtOnce)]
    {
        let mut group = c.benchmark_group(group);
        for (name, algorithm) in algorithms() {
            let balancer = balancer(&algorithm, weights);
            let mut number = 0;
            group.bench_function(name, |bencher| {
                bencher.iter(|| {
                    number += 1;
                    request(&balancer, 0, number, served, &mut rng);
                });
            });
        }
    }
}

/// The same with four requests in flight for each endpoint, of which the oldest ends with each pick.
fn busy(c: &mut Criterion) {
    let mut rng = SmallRng::seed_from_u64(1);
    let mut group = c.benchmark_group("pick_busy");
    for (name, algorithm) in algorithms() {
        let balancer = balancer(&algorithm, 1);
        let mut number = 0;
        let mut guard = || {
            number += 1;
            let key = key(0, number);
            balancer.pick(&query(&key, 0, number), &mut rng).map(|pick| pick.guard)
        };
        let mut in_flight: VecDeque<_> = (0..4000).map(|_| guard()).collect();
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                in_flight.pop_front();
                in_flight.push_back(guard());
            });
        });
    }
}

/// Threads on pools. Two on a pool of each its own share nothing, and are what this machine can do: two of its processors
/// may be one half of the time.
fn threads(c: &mut Criterion) {
    for (group, served) in [("threads", Served::Not), ("threads_served", Served::AfterWork)] {
        let mut group = c.benchmark_group(group);
        for (name, algorithm) in algorithms() {
            let balancers = [balancer(&algorithm, 1), balancer(&algorithm, 1)];
            for (threads, pools) in [(1, 1), (2, 1), (2, 2)] {
                let parameter = format!("{threads} on {pools}");
                group.bench_function(BenchmarkId::new(name, parameter), |bencher| {
                    let of = |worker: usize| &balancers[worker % pools];
                    let one = |worker, number, rng: &mut _| request(of(worker), worker, number, served, rng);
                    bencher.iter_custom(|total| timed(threads, total, one));
                });
            }
        }
    }
}

fn builds(c: &mut Criterion) {
    let mut group = c.benchmark_group("build_10000");
    group.sample_size(10);
    for (name, algorithm) in algorithms() {
        let state = Arc::new(PoolState::new(2, &mut SmallRng::seed_from_u64(1)));
        let spec = spec(&algorithm, 10_000, 1);
        group.bench_function(name, |bencher| bencher.iter(|| Balancer::new(&spec, &state)));
    }
}

/// A tick in which Auto plays a stretch of requests through each of those that it may choose by default.
fn looks(c: &mut Criterion) {
    let mut group = c.benchmark_group("auto_look");
    group.sample_size(10);
    for count in [10, 1_000, 10_000] {
        let mut rng = SmallRng::seed_from_u64(1);
        let state = Arc::new(PoolState::new(1, &mut rng));
        let mut tuner = Tuner::new(spec(&Algorithm::Auto(Auto::default()), count, 1), state, Time::ZERO);
        let balancer = tuner.balancer();
        let mut number = 0;
        let mut look = || {
            for _ in 0..1_100 {
                number += 1;
                request(&balancer, 0, number, Served::AtOnce, &mut rng);
            }
            // Past the interval of 2 s.
            number += 200_000;
            let began = Instant::now();
            black_box(tuner.tick(Time::from_nanos(number * 10_000), &mut rng));
            began.elapsed()
        };
        group.bench_function(BenchmarkId::from_parameter(count), |bencher| {
            bencher.iter_custom(|total| (0..total).map(|_| look()).sum());
        });
    }
}

/// Pingora's ketama ring, a look-up alone: no guard, no count, no weight that changes.
fn pingora(c: &mut Criterion) {
    let address =
        |index: u32| std::net::SocketAddr::from(([10, 0, 0, 1], 1024 + u16::try_from(index).unwrap_or(0)));
    let buckets: Vec<_> = (0..1000).map(|index| pingora_ketama::Bucket::new(address(index), 1)).collect();
    let ring = pingora_ketama::Continuum::new(&buckets);
    let mut number = 0_u64;
    c.bench_function("pingora_ketama_node", |bencher| {
        bencher.iter(|| {
            number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
            black_box(ring.node(&number.to_le_bytes()));
        });
    });
}

/// What drawing the random numbers of a request costs, to be taken off if one likes.
fn floor(c: &mut Criterion) {
    let mut rng = SmallRng::seed_from_u64(1);
    c.bench_function("two_random_numbers", |bencher| {
        bencher.iter(|| rng.random::<u64>() ^ rng.random::<u64>())
    });
}

/// What two threads lose by counting alone, whatever picks: nothing but one count for each of 1,000 endpoints, shared
/// and exact, raised and lowered at one of them at random, at the lower of two, or together with each thread's part of
/// a total that is read.
fn counting(c: &mut Criterion) {
    let lines = |count| -> Vec<Line> { std::iter::repeat_with(Line::default).take(count).collect() };
    let (endpoints, parts) = (lines(1000), lines(2));
    let one = |rng: &mut SmallRng| &endpoints[rng.random_range(0..endpoints.len())].0;
    let hold = |count: &AtomicU64| {
        count.fetch_add(1, Relaxed);
        black_box(count).fetch_sub(1, Relaxed);
    };
    let lower = |rng: &mut SmallRng| {
        let (a, b) = (one(rng), one(rng));
        if b.load(Relaxed) < a.load(Relaxed) { b } else { a }
    };
    let in_total = |worker: usize, rng: &mut SmallRng| {
        let total: u64 = parts.iter().map(|part| part.0.load(Relaxed)).sum();
        black_box(total);
        parts[worker].0.fetch_add(1, Relaxed);
        hold(one(rng));
        parts[worker].0.fetch_sub(1, Relaxed);
    };
    let mut group = c.benchmark_group("counting");
    for threads in [1, 2] {
        let mut bench = |name: &str, count: &(dyn Fn(usize, u64, &mut SmallRng) + Sync)| {
            group.bench_function(BenchmarkId::new(name, threads), |bencher| {
                bencher.iter_custom(|total| timed(threads, total, count));
            });
        };
        bench("at random", &|_, _, rng| hold(one(rng)));
        bench("lower of two", &|_, _, rng| hold(lower(rng)));
        bench("in a total", &|worker, _, rng| in_total(worker, rng));
    }
}

criterion_group!(benches, picks, busy, threads, builds, looks, pingora, floor, counting);
criterion_main!(benches);
