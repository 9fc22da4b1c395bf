//! A pick with all that it counts, beside what `pingora-load-balancing` and `tower` do for the same choice, over the
//! same 1,000 endpoints, in one run. Pingora's selection counts nothing; tower counts requests in flight as ours does,
//! and needs `&mut`.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    hint::black_box,
    net::SocketAddr,
    sync::Arc,
    task::{Context, Poll},
};

use criterion::{Criterion, criterion_group, criterion_main};
use evenkeel_balance::{
    Algorithm, Backend, Balancer, ConsistentHash, Endpoint, HashFunction, Key, PoolSpec, PoolState, Query,
    Table, Time,
};
use futures::FutureExt as _;
use pingora_load_balancing::{
    LoadBalancer,
    selection::{Consistent, RoundRobin},
};
use rand::{SeedableRng as _, rngs::SmallRng};
use tower::{
    Service,
    balance::p2c::Balance,
    discover::ServiceList,
    load::{CompleteOnResponse, PendingRequests},
};

const ENDPOINTS: u16 = 1_000;

fn addresses() -> impl Iterator<Item = SocketAddr> {
    (0..ENDPOINTS).map(|index| SocketAddr::from(([10, 0, 0, 1], 1024 + index)))
}

fn key(number: u64) -> [u8; 8] {
    number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes()
}

fn ours(algorithm: Algorithm) -> Balancer {
    let endpoints = addresses().map(|address| Endpoint::new(&address.to_string(), address)).collect();
    let backend = Backend { key: "b".to_owned(), weight: 1, endpoints };
    let state = Arc::new(PoolState::new(1, &mut SmallRng::seed_from_u64(1)));
    Balancer::new(&PoolSpec::new(algorithm, vec![backend]), &state)
}

fn pick(balancer: &Balancer, number: u64, rng: &mut SmallRng) {
    let key = key(number);
    let query = Query { key: Some(Key::Bytes(&key)), ..Query::at(Time::from_nanos(number * 10_000), 0) };
    black_box(balancer.pick(&query, rng));
}

/// A service that has answered before it was asked.
#[derive(Clone, Debug)]
struct Done;

impl Service<()> for Done {
    type Response = ();
    type Error = Infallible;
    type Future = Ready<Result<(), Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, (): ()) -> Self::Future {
        ready(Ok(()))
    }
}

fn selection(c: &mut Criterion) {
    let mut rng = SmallRng::seed_from_u64(1);
    let mut number = 0;

    let mut group = c.benchmark_group("round robin");
    let balancer = ours(Algorithm::RoundRobin);
    group.bench_function("evenkeel", |bencher| {
        bencher.iter(|| {
            number += 1;
            pick(&balancer, number, &mut rng);
        });
    });
    let pingora: LoadBalancer<RoundRobin> = LoadBalancer::try_from_iter(addresses()).expect("addresses");
    group.bench_function("pingora", |bencher| bencher.iter(|| black_box(pingora.select(b"", 256))));
    group.finish();

    let mut group = c.benchmark_group("consistent hash");
    let ring = Algorithm::ConsistentHash(ConsistentHash {
        table: Table::default(),
        function: HashFunction::XxHash64,
        bounded_load: None,
    });
    let balancer = ours(ring);
    group.bench_function("evenkeel", |bencher| {
        bencher.iter(|| {
            number += 1;
            pick(&balancer, number, &mut rng);
        });
    });
    let pingora: LoadBalancer<Consistent> = LoadBalancer::try_from_iter(addresses()).expect("addresses");
    group.bench_function("pingora", |bencher| {
        bencher.iter(|| {
            number += 1;
            black_box(pingora.select(&key(number), 256))
        });
    });
    group.finish();

    let mut group = c.benchmark_group("two choices");
    let balancer = ours(Algorithm::PowerOfTwoChoices { choices: 2 });
    group.bench_function("evenkeel", |bencher| {
        bencher.iter(|| {
            number += 1;
            pick(&balancer, number, &mut rng);
        });
    });
    let services = addresses().map(|_| PendingRequests::new(Done, CompleteOnResponse::default()));
    let mut tower = Balance::new(ServiceList::new::<()>(services.collect::<Vec<_>>()));
    group.bench_function("tower", |bencher| {
        bencher.iter(|| {
            std::future::poll_fn(|context| tower.poll_ready(context)).now_or_never().expect("ready").expect("no error");
            black_box(tower.call(()).now_or_never()).is_some()
        });
    });
    group.finish();
}

criterion_group!(benches, selection);
criterion_main!(benches);
