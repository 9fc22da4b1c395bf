//! A proxy under test, between raw sockets: what goes in and what comes out are bytes.

pub(crate) mod client;
pub(crate) mod endpoint;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    num::NonZeroUsize,
    sync::{Arc, Mutex},
    time::Duration,
};

use evenkeel_api::{
    channel::{BackendDocument, EndpointDocument, ListenerDocument, PoolDocument, PoolReport, Rejection},
    object::{Algorithm, AlgorithmType},
};
use evenkeel_proxy::{Origin, Proxy, ProxyConfig, SharedPort, admin};
use http_body_util::BodyExt as _;

/// Time in which whatever is waited for must come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A proxy on loopback.
pub(crate) fn proxy() -> Proxy {
    proxy_with(SharedPort::None)
}

pub(crate) fn proxy_with(shared_port: SharedPort) -> Proxy {
    Proxy::start(config(shared_port)).unwrap()
}

pub(crate) fn config(shared_port: SharedPort) -> ProxyConfig {
    ProxyConfig {
        name: Some("proxy-1".to_owned()),
        threads: NonZeroUsize::new(2).unwrap(),
        address: Ipv4Addr::LOCALHOST.into(),
        shared_port,
        endpoint_metrics: true,
        memory_limit: None,
    }
}

/// A port that nobody has, nor was told of: tests run side by side, and bind what they are told of only later.
pub(crate) fn free_port() -> u16 {
    static TOLD: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    let free = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
    std::iter::repeat_with(free).find(|port| TOLD.lock().unwrap().insert(*port)).unwrap()
}

pub(crate) fn at(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

/// The pool `shop/checkout`, round robin.
pub(crate) fn pool(port: u16, endpoints: &[SocketAddr]) -> PoolDocument {
    let endpoint = |address: &SocketAddr| {
        let document = EndpointDocument::at(*address);
        (address.to_string(), document)
    };
    let backend = BackendDocument { weight: 1, endpoints: endpoints.iter().map(endpoint).collect() };
    PoolDocument {
        namespace: "shop".to_owned(),
        name: "checkout".to_owned(),
        generation: 1,
        listeners: BTreeMap::from([("web".to_owned(), ListenerDocument { port, hostnames: vec![] })]),
        backends: BTreeMap::from([("all".to_owned(), backend)]),
        algorithm: Algorithm { type_: AlgorithmType::RoundRobin, ..Algorithm::default() },
        ..PoolDocument::default()
    }
}

/// Pools by UID.
pub(crate) fn pools(pools: &[(&str, &PoolDocument)]) -> BTreeMap<String, Arc<PoolDocument>> {
    pools.iter().map(|(uid, pool)| ((*uid).to_owned(), Arc::new((*pool).clone()))).collect()
}

pub(crate) async fn activate(
    proxy: &Proxy,
    desired: &[(&str, &PoolDocument)],
) -> BTreeMap<String, Vec<Rejection>> {
    proxy.plane().activate(pools(desired), Origin::Controller).await
}

/// A proxy with one pool of the UID `a`, and the address where it is reached.
pub(crate) async fn serving(endpoints: &[SocketAddr]) -> (Proxy, SocketAddr) {
    serving_as(endpoints, |_| {}).await
}

pub(crate) async fn serving_as(
    endpoints: &[SocketAddr],
    change: impl FnOnce(&mut PoolDocument),
) -> (Proxy, SocketAddr) {
    let proxy = proxy();
    let port = free_port();
    let mut pool = pool(port, endpoints);
    change(&mut pool);
    assert_eq!(activate(&proxy, &[("a", &pool)]).await, BTreeMap::new());
    (proxy, at(port))
}

pub(crate) fn report(proxy: &Proxy, uid: &str) -> PoolReport {
    proxy.plane().report().remove(uid).unwrap()
}

pub(crate) async fn metrics(proxy: &Proxy) -> String {
    let response = admin::answer(proxy, &http::Method::GET, "/metrics");
    String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

/// Waits until `condition` holds.
pub(crate) async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let waiting = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("it never came: {what}"));
}

/// The same, where looking takes a while.
pub(crate) async fn until_async(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("it never came: {what}"));
}

/// Waits until a line is among the metrics.
pub(crate) async fn until_metric(proxy: &Proxy, line: &str) {
    let waiting = async {
        while !metrics(proxy).await.lines().any(|found| found == line) {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    if tokio::time::timeout(PATIENCE, waiting).await.is_err() {
        panic!("{line} is not in {}", metrics(proxy).await);
    }
}
