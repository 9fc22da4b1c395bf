//! Both ends of the channel on loopback, with certificates of their own.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, SystemTime},
};

use evenkeel_api::channel::{PoolText, PoolUid, Rejection};
use evenkeel_conformance::{Install, Plane, control, pool, proxy, snapshot};
use evenkeel_controller::{
    publish::{MutualTls, PublishMetrics, Publisher, Versions},
    published::{Proxy, ProxyEvent, ProxyId, Published, PublishedPool},
    pull,
};
use evenkeel_proxy::{
    control::{ChannelArgs, Control, Origin, Puller, Source, boot, start},
    last_good::LastGood,
};
use evenkeel_tls::{Role, bind};
use prometheus::Registry;
use serde_json::{Value, json};
use tokio::sync::mpsc;

fn version(epoch: u64, revision: u64, pools: &[(&str, Value)]) -> Arc<Published> {
    let pools = pools.iter().map(|(uid, pool)| {
        ((*uid).to_owned(), PublishedPool { text: PoolText::new(pool).unwrap(), generation: 1 })
    });
    Arc::new(Published::new(epoch, revision, pools.collect()))
}

fn live(address: SocketAddr) -> Proxy {
    Proxy {
        id: address.to_string(),
        class: "default".to_owned(),
        name: "proxy-0".to_owned(),
        node: None,
        zone: None,
        address,
        serving: true,
        terminating: false,
    }
}

struct Leader {
    publisher: Publisher,
    versions: Versions,
    events: mpsc::Receiver<(ProxyId, ProxyEvent)>,
}

impl Leader {
    fn new(install: &Install, proxies: &[Proxy]) -> Self {
        let (sender, events) = mpsc::channel(64);
        let dial = Arc::new(MutualTls::new(install.identity(&Role::Controller)));
        let versions = Versions::default();
        let metrics = PublishMetrics::register(&Registry::new()).unwrap();
        let mut publisher = Publisher::new(dial, versions.clone(), sender, metrics);
        publisher.set_proxies(proxies);
        publisher.lead(Some(Arc::new(|| true)));
        Self { publisher, versions, events }
    }

    fn publish(&self, version: Arc<Published>) {
        self.versions.publish("default", version);
    }

    async fn event(&mut self, mut wanted: impl FnMut(&ProxyEvent) -> bool) -> ProxyEvent {
        loop {
            let (_, event) = self.events.recv().await.unwrap();
            if wanted(&event) {
                return event;
            }
        }
    }

    async fn acknowledged(&mut self, revision: u64) -> BTreeMap<PoolUid, Vec<Rejection>> {
        let is_it = |event: &ProxyEvent| matches!(event, ProxyEvent::Acknowledged { revision: of, .. } if *of == revision);
        match self.event(is_it).await {
            ProxyEvent::Acknowledged { rejected, .. } => rejected,
            _ => BTreeMap::new(),
        }
    }
}

fn generations(control: &Control<Plane>) -> Vec<(PoolUid, i64)> {
    control.plane().active().into_iter().map(|(uid, (generation, _))| (uid, generation)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_acknowledged_version_is_in_use() {
    let install = Install::default();
    let control = control();
    let mut leader = Leader::new(&install, &[live(install.serve(control.clone()))]);
    leader.publish(version(1, 1, &[("a", pool(1)), ("b", pool(1))]));
    assert_eq!(leader.acknowledged(1).await, BTreeMap::new());
    assert_eq!(generations(&control), [("a".to_owned(), 1), ("b".to_owned(), 1)]);
    leader.publish(version(1, 2, &[("a", pool(2))]));
    leader.acknowledged(2).await;
    assert_eq!(generations(&control), [("a".to_owned(), 2)]);

    // One bad pool, of each kind, hurts no other.
    let mut refused = pool(3);
    refused["name"] = json!("refused");
    let mut unknown = pool(3);
    unknown["field"] = json!("of a newer controller");
    leader.publish(version(1, 3, &[("a", unknown), ("b", refused), ("c", pool(3))]));
    let rejected = leader.acknowledged(3).await;
    assert_eq!(rejected.keys().collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(generations(&control), [("a".to_owned(), 2), ("c".to_owned(), 3)]);
    let heartbeat = leader.event(|event| matches!(event, ProxyEvent::Reported(_))).await;
    let ProxyEvent::Reported(report) = heartbeat else { unreachable!() };
    assert_eq!((report.epoch, report.revision, report.rejected), (1, 3, rejected));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_leader_reads_what_is_there_and_an_old_one_is_refused() {
    let install = Install::default();
    let control = control();
    let proxies = [live(install.serve(control.clone()))];
    let mut old = Leader::new(&install, &proxies);
    old.publish(version(1, 1, &[("a", pool(1))]));
    old.acknowledged(1).await;
    let mut new = Leader::new(&install, &proxies);
    let adopted = new.publisher.fetch(&proxies[0]).await.unwrap();
    assert_eq!((adopted.epoch, &adopted.pools["a"]), (1, &pool(1)));
    new.publish(version(2, 1, &[("a", pool(2))]));
    new.acknowledged(1).await;
    old.publish(version(1, 2, &[]));
    let event = old.event(|event| matches!(event, ProxyEvent::Superseded { .. })).await;
    assert_eq!(event, ProxyEvent::Superseded { epoch: 2 });
    assert_eq!(generations(&control), [("a".to_owned(), 2)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_of_another_class_is_not_pushed_to() {
    let install = Install::default();
    let address = install.serve(control());
    let stranger = Proxy { class: "edge".to_owned(), ..live(address) };
    let mut leader = Leader::new(&install, &[stranger]);
    leader.versions.publish("edge", version(1, 1, &[]));
    let event = leader.event(|event| matches!(event, ProxyEvent::Failed { .. })).await;
    let ProxyEvent::Failed { message } = event else { unreachable!() };
    assert!(message.contains("edge.proxy.evenkeel-system.evenkeel.internal"), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_booting_proxy_pulls_until_a_controller_can_tell() {
    let install = Install::default();
    let listener = bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap()).parse().unwrap();
    let versions = Versions::default();
    tokio::spawn(pull::serve(
        listener,
        install.identity(&Role::Controller),
        versions.clone(),
        std::future::pending(),
    ));
    let control = control();
    let booting =
        tokio::spawn(boot(control.clone(), Some(Puller::new(url, install.identity(&proxy()))), None));
    versions.publish("edge", version(0, 1, &[("not", pool(1))]));
    versions.publish("default", version(0, 1, &[("a", pool(1))]));
    control.ready().await;
    assert_eq!(control.received().source(), Source::Follower);
    assert_eq!(generations(&control), [("a".to_owned(), 1)]);
    booting.await.unwrap();
}

fn args(install: &Install) -> ChannelArgs {
    ChannelArgs {
        tls_dir: install.folder(&proxy()),
        install: evenkeel_conformance::INSTALL.to_owned(),
        class: "default".to_owned(),
        controller_url: None,
        state_dir: install.path().join("state"),
        config_listen: "127.0.0.1:0".parse().unwrap(),
    }
}

/// Time is paused: nothing here waits for a socket.
#[tokio::test(start_paused = true)]
async fn a_restarted_proxy_needs_no_controller() {
    let install = Install::default();
    let args = args(&install);
    let mut unknown = pool(2);
    unknown["field"] = json!(1);
    {
        let (control, _tasks) = start(&args, Plane::default(), &Registry::new()).unwrap();
        control.put(snapshot(4, 1, &[("a", pool(1))])).await.unwrap();
        control.put(snapshot(4, 2, &[("a", unknown.clone()), ("b", pool(2))])).await.unwrap();
        let kept = LastGood::new(&args.state_dir);
        let day = Duration::from_secs(24 * 3600);
        let is_kept =
            || kept.load(SystemTime::now(), day).unwrap().is_some_and(|kept| kept.snapshot.revision == 2);
        while !is_kept() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
    let registry = Registry::new();
    let (control, _tasks) = start(&args, Plane::default(), &registry).unwrap();
    assert!(!control.is_ready());
    // The leader before is refused from the first moment, the one that was acknowledged is not.
    control.put(snapshot(3, 9, &[])).await.unwrap_err();
    control.ready().await;
    let expect = [("a".to_owned(), (1, Origin::Disk)), ("b".to_owned(), (2, Origin::Disk))];
    assert_eq!(control.plane().active().into_iter().collect::<Vec<_>>(), expect);
    let received = control.received();
    assert_eq!((received.position(), received.rejected_pools()), ((4, 2), 1));
    let metric = |name: &str| {
        let family = registry.gather().into_iter().find(|family| family.name() == name);
        family.map(|family| family.get_metric()[0].get_gauge().get_value())
    };
    assert_eq!(metric("evenkeel_config_from_disk"), Some(1.0));
    while metric("evenkeel_config_age_seconds").is_none() {
        tokio::task::yield_now().await;
    }
    control.put(snapshot(4, 2, &[("a", unknown), ("b", pool(2))])).await.unwrap();
    assert_eq!(control.plane().active()["b"].1, Origin::Controller);
    assert_eq!(metric("evenkeel_config_from_disk"), Some(0.0));
}

#[tokio::test]
async fn a_proxy_does_not_start_as_somebody_else() {
    let install = Install::default();
    let args = ChannelArgs { class: "edge".to_owned(), ..args(&install) };
    let error = start(&args, Plane::default(), &Registry::new()).err().unwrap();
    assert!(error.to_string().contains("class edge"), "{error}");
}
