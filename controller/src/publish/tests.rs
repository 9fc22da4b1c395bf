use std::{
    collections::{BTreeMap, VecDeque},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use evenkeel_api::channel::{
    Acknowledgement, ErrorCode, ErrorReport, PoolText, PoolsReport, ReceivedSnapshot, SNAPSHOT_PATH,
    SnapshotPatch,
};
use futures::{FutureExt, future::BoxFuture};
use http::{Method, Request, Response, StatusCode};
use prometheus::Registry;
use serde_json::json;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep, timeout},
};

use super::*;
use crate::published::{Proxy, ProxyEvent, ProxyId, Published, PublishedPool};

/// What the next push meets.
enum Fate {
    /// It is carried out and the answer is lost.
    AnswerLost,
    /// Nothing comes back.
    Silence,
    Answer(StatusCode, Option<ErrorReport>),
}

/// A proxy that takes whatever it is sent.
#[derive(Default)]
struct Recorder {
    has: (u64, u64, String),
    fates: VecDeque<Fate>,
    /// Milliseconds since the start, and what was asked: `PUT 1.2`.
    log: Vec<(u128, String)>,
}

#[derive(Clone)]
struct Fake(Arc<Mutex<Recorder>>, Instant);

impl Dial for Fake {
    fn dial(&self, _proxy: &Proxy) -> Box<dyn Transport> {
        Box::new(self.clone())
    }
}

impl Transport for Fake {
    fn send(&self, request: Request<Bytes>) -> BoxFuture<'_, Result<Response<Bytes>, TransportError>> {
        async move {
            let (fate, answer) = self.take(&request);
            match fate {
                None => Ok(Response::new(answer.into())),
                Some(Fate::AnswerLost) => Err(TransportError::Gone),
                Some(Fate::Silence) => std::future::pending().await,
                Some(Fate::Answer(status, report)) => {
                    let body = report.map_or_else(Vec::new, |report| serde_json::to_vec(&report).unwrap());
                    Ok(Response::builder().status(status).body(body.into()).unwrap())
                }
            }
        }
        .boxed()
    }
}

impl Fake {
    fn take(&self, request: &Request<Bytes>) -> (Option<Fate>, Vec<u8>) {
        let mut recorder = self.0.lock().unwrap();
        if request.method() == Method::GET {
            let (epoch, revision, hash) = recorder.has.clone();
            let answer = if request.uri() == SNAPSHOT_PATH {
                let has = ReceivedSnapshot { epoch, revision, hash, ..ReceivedSnapshot::default() };
                serde_json::to_vec(&has)
            } else {
                let has = PoolsReport { epoch, revision, hash, ..PoolsReport::default() };
                serde_json::to_vec(&has)
            };
            return (None, answer.unwrap());
        }
        let SnapshotPatch { epoch, revision, hash, .. } = serde_json::from_slice(request.body()).unwrap();
        recorder.log.push((self.1.elapsed().as_millis(), format!("{} {epoch}.{revision}", request.method())));
        let fate = recorder.fates.pop_front();
        if matches!(fate, None | Some(Fate::AnswerLost)) {
            recorder.has = (epoch, revision, hash.clone());
        }
        let acknowledgement = Acknowledgement { epoch, revision, hash, ..Acknowledgement::default() };
        (fate, serde_json::to_vec(&acknowledgement).unwrap())
    }
}

struct World {
    fake: Fake,
    versions: Versions,
    publisher: Publisher,
    events: mpsc::Receiver<(ProxyId, ProxyEvent)>,
}

fn proxy() -> Proxy {
    Proxy {
        id: "uid".to_owned(),
        class: "default".to_owned(),
        name: "proxy-0".to_owned(),
        node: None,
        zone: None,
        address: "10.0.0.1:9443".parse().unwrap(),
        serving: true,
        terminating: false,
    }
}

fn version(epoch: u64, revision: u64) -> Arc<Published> {
    let text = PoolText::new(&json!({"generation": epoch * 100 + revision})).unwrap();
    let pool = PublishedPool { text, generation: 1 };
    Arc::new(Published::new(epoch, revision, BTreeMap::from([("pool".to_owned(), pool)])))
}

impl World {
    fn new() -> Self {
        let fake = Fake(Arc::default(), Instant::now());
        let (sender, events) = mpsc::channel(16);
        let versions = Versions::default();
        let metrics = PublishMetrics::register(&Registry::new()).unwrap();
        let mut publisher = Publisher::new(Arc::new(fake.clone()), versions.clone(), sender, metrics);
        publisher.set_proxies(&[proxy()]);
        Self { fake, versions, publisher, events }
    }

    /// Leads, and has `fates` ahead of its pushes.
    fn leading(fates: impl IntoIterator<Item = Fate>) -> Self {
        let world = Self::new();
        world.publisher.lead(Some(Arc::new(|| true)));
        world.fake.0.lock().unwrap().fates.extend(fates);
        world
    }

    fn publish(&self, version: Arc<Published>) {
        self.versions.publish("default", version);
    }

    /// Waits for the next event, heartbeats left out.
    async fn event(&mut self) -> ProxyEvent {
        loop {
            match self.events.recv().await.unwrap().1 {
                ProxyEvent::Reported(_) => {}
                event => return event,
            }
        }
    }

    async fn acknowledged(&mut self) -> (u64, u64) {
        loop {
            if let ProxyEvent::Acknowledged { epoch, revision, .. } = self.event().await {
                return (epoch, revision);
            }
        }
    }

    /// True if nothing but heartbeats happens for a while.
    async fn quiet(&mut self) -> bool {
        timeout(Duration::from_secs(60), self.event()).await.is_err()
    }

    fn log(&self) -> Vec<String> {
        self.fake.0.lock().unwrap().log.iter().map(|(_, what)| what.clone()).collect()
    }

    fn times(&self) -> Vec<u128> {
        self.fake.0.lock().unwrap().log.iter().map(|(at, _)| *at).collect()
    }
}

#[tokio::test(start_paused = true)]
async fn the_first_change_goes_at_once_and_later_ones_together() {
    let mut world = World::leading([]);
    world.publish(version(1, 1));
    assert_eq!(world.acknowledged().await, (1, 1));
    for revision in 2..5 {
        world.publish(version(1, revision));
        sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(world.acknowledged().await, (1, 4));
    assert!(world.quiet().await);
    assert_eq!(world.log(), ["PUT 1.1", "PATCH 1.4"]);
    assert!(world.times()[0] < 5 && (50..60).contains(&world.times()[1]), "{:?}", world.times());
}

#[tokio::test(start_paused = true)]
async fn what_comes_during_a_push_waits_for_its_answer_and_the_newest_goes() {
    let mut world = World::leading([Fate::Silence]);
    world.publish(version(1, 1));
    for revision in 2..9 {
        sleep(Duration::from_millis(100)).await;
        world.publish(version(1, revision));
    }
    assert!(matches!(world.event().await, ProxyEvent::Failed { .. }));
    assert_eq!(world.acknowledged().await, (1, 8));
    assert_eq!(world.log(), ["PUT 1.1", "PUT 1.8"]);
    assert!((4000..4200).contains(&world.times()[1]), "{:?}", world.times());
}

#[tokio::test(start_paused = true)]
async fn an_unknown_base_gets_the_whole_at_once() {
    let mut world = World::leading([]);
    world.publish(version(1, 1));
    world.acknowledged().await;
    world.fake.0.lock().unwrap().fates.push_back(Fate::Answer(StatusCode::PRECONDITION_FAILED, None));
    sleep(Duration::from_secs(1)).await;
    world.publish(version(1, 2));
    assert_eq!(world.acknowledged().await, (1, 2));
    assert_eq!(world.log(), ["PUT 1.1", "PATCH 1.2", "PUT 1.2"]);
    assert_eq!(world.times()[1], world.times()[2]);
}

#[tokio::test(start_paused = true)]
async fn failures_are_repeated_with_growing_pauses_of_at_most_two_seconds() {
    let failures = (0..12).map(|_| Fate::Answer(StatusCode::INTERNAL_SERVER_ERROR, None));
    let mut world = World::leading(failures);
    // Without heartbeats that answer, the pauses alone decide.
    world.publish(version(1, 1));
    assert_eq!(world.acknowledged().await, (1, 1));
    let times = world.times();
    assert_eq!(times.len(), 13);
    assert!(times.windows(2).all(|pair| pair[1] - pair[0] <= 2001), "{times:?}");
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_is_asked_for_again() {
    let mut world = World::leading([Fate::AnswerLost]);
    world.publish(version(1, 1));
    assert!(matches!(world.event().await, ProxyEvent::Failed { .. }));
    assert_eq!(world.acknowledged().await, (1, 1));
    assert_eq!(world.log(), ["PUT 1.1", "PUT 1.1"]);
}

#[tokio::test(start_paused = true)]
async fn a_proxy_that_forgot_gets_the_whole() {
    let mut world = World::leading([]);
    world.publish(version(1, 1));
    world.acknowledged().await;
    world.fake.0.lock().unwrap().has = (0, 0, String::new());
    assert_eq!(world.acknowledged().await, (1, 1));
    assert!(world.times()[1] <= 2100, "{:?}", world.times());
    assert!(world.quiet().await);
    assert_eq!(world.log(), ["PUT 1.1", "PUT 1.1"]);
}

#[tokio::test(start_paused = true)]
async fn another_leader_is_told_of() {
    let stale =
        ErrorReport { code: ErrorCode::Stale, message: String::new(), epoch: Some(7), revision: Some(1) };
    let mut world = World::leading([Fate::Answer(StatusCode::CONFLICT, Some(stale))]);
    world.publish(version(1, 1));
    assert_eq!(world.event().await, ProxyEvent::Superseded { epoch: 7 });
    world.acknowledged().await;
    world.fake.0.lock().unwrap().has = (9, 1, String::new());
    assert_eq!(world.event().await, ProxyEvent::Superseded { epoch: 9 });
}

#[tokio::test(start_paused = true)]
async fn a_new_epoch_gets_the_whole_and_a_followers_is_not_pushed() {
    let mut world = World::leading([]);
    world.publish(version(1, 1));
    world.acknowledged().await;
    world.publish(version(0, 2));
    assert!(world.quiet().await);
    world.publish(version(2, 1));
    assert_eq!(world.acknowledged().await, (2, 1));
    assert_eq!(world.log(), ["PUT 1.1", "PUT 2.1"]);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_sent_without_a_permit() {
    let mut world = World::new();
    world.publish(version(1, 1));
    assert!(world.quiet().await);
    let holds = Arc::new(AtomicBool::new(true));
    let permit = holds.clone();
    world.publisher.lead(Some(Arc::new(move || permit.load(Ordering::Relaxed))));
    world.acknowledged().await;
    // The clock ends it, and nobody says so.
    holds.store(false, Ordering::Relaxed);
    while world.events.try_recv().is_ok() {}
    world.publish(version(1, 2));
    assert!(timeout(Duration::from_secs(60), world.events.recv()).await.is_err());
    assert_eq!(world.log(), ["PUT 1.1"]);
}

#[tokio::test(start_paused = true)]
async fn a_proxy_that_is_gone_is_left_alone_and_one_that_moved_is_new() {
    let mut world = World::leading([]);
    world.publish(version(1, 1));
    world.acknowledged().await;
    world.publisher.set_proxies(&[proxy()]);
    assert!(world.quiet().await);
    world.publisher.set_proxies(&[Proxy { address: "10.0.0.2:9443".parse().unwrap(), ..proxy() }]);
    assert_eq!(world.acknowledged().await, (1, 1));
    world.publisher.set_proxies(&[]);
    world.publish(version(1, 2));
    assert!(world.quiet().await);
    assert_eq!(world.log(), ["PUT 1.1", "PUT 1.1"]);
}

#[tokio::test]
async fn a_new_leader_reads_what_a_proxy_has() {
    let world = World::new();
    world.fake.0.lock().unwrap().has = (4, 2, "h".to_owned());
    let snapshot = world.publisher.fetch(&proxy()).await.unwrap();
    assert_eq!((snapshot.epoch, snapshot.revision, snapshot.hash.as_str()), (4, 2, "h"));
}
