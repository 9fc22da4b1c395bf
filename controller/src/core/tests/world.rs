//! A controller with a world around it, for the tests.

use std::{collections::BTreeMap, time::Duration};

use evenkeel_api::{
    channel::{EndpointReport, Health, PoolReport, PoolsReport, Rejection},
    object::{BalancerPoolSpec, ProxyClassSpec},
};

use super::super::*;
use crate::{
    event::{ClassSeen, PodReference, Pool, Service, ServicePort, Slice, SliceEndpoint},
    published::Proxy,
};

/// A controller with a world around it that carries out effects as an API server and proxies would.
pub(super) struct World {
    pub(super) core: Core,
    pub(super) now: Now,
    pub(super) versions: BTreeMap<String, Arc<Published>>,
    pub(super) statuses: BTreeMap<ObjectName, evenkeel_api::object::BalancerPoolStatus>,
    pub(super) effects: Vec<Effect>,
    /// Proxies that do not answer.
    pub(super) deaf: BTreeSet<String>,
    pub(super) rejected: BTreeMap<PoolUid, Vec<Rejection>>,
    /// Zones of what comes from now on, in turn.
    pub(super) zones: Vec<String>,
}

pub(super) const SPEC: &str = r#"{
    "listeners": [{"name": "web", "port": 80, "protocol": "HTTP"}],
    "backends": [{"service": {"name": "app", "port": "http"}}]
}"#;

impl World {
    /// A leader with the class `default`, two live proxies, a Service `app` with two endpoints, and no pool.
    pub(super) fn new() -> Self {
        let mode = Mode::Kubernetes {
            namespace: "evenkeel-system".to_owned(),
            cluster_domain: "cluster.local".to_owned(),
        };
        let now = Now { instant: Instant::now(), time: Timestamp::UNIX_EPOCH };
        let mut world = Self {
            core: Core::new(mode),
            now,
            versions: BTreeMap::new(),
            statuses: BTreeMap::new(),
            effects: Vec::new(),
            deaf: BTreeSet::new(),
            rejected: BTreeMap::new(),
            zones: Vec::new(),
        };
        world.class(ProxyClassSpec::permissive_default());
        world.proxy("p1", true);
        world.proxy("p2", true);
        world.apply(Event::Service(ObjectName::new("shop", "app"), service("http", 80)));
        world.endpoints(&["10.0.0.1", "10.0.0.2"]);
        world.apply(Event::Synced);
        world.core.lead(1, &[], now);
        world.settle();
        world
    }

    pub(super) fn apply(&mut self, event: Event) {
        self.core.apply(event);
    }

    /// Another class, with one live proxy of its own.
    pub(super) fn second_class(&mut self, class: &str, proxy: &str) {
        let spec = Ok(ProxyClassSpec::permissive_default());
        self.apply(Event::Class(class.to_owned(), ClassSeen { spec }));
        self.proxy_of(class, proxy, true);
    }

    pub(super) fn class(&mut self, spec: ProxyClassSpec) {
        self.apply(Event::Class("default".to_owned(), ClassSeen { spec: Ok(spec) }));
    }

    pub(super) fn proxy(&mut self, id: &str, serving: bool) {
        self.proxy_of("default", id, serving);
    }

    fn proxy_of(&mut self, class: &str, id: &str, serving: bool) {
        self.apply(Event::Proxy(Proxy {
            id: id.to_owned(),
            class: class.to_owned(),
            name: id.to_owned(),
            node: None,
            zone: self.zones.first().cloned(),
            address: format!("10.9.0.{}:9443", &id[1..]).parse().unwrap(),
            serving,
            terminating: false,
        }));
    }

    pub(super) fn endpoints(&mut self, addresses: &[&str]) {
        self.slice("shop", "app", addresses);
    }

    /// The one slice of a Service.
    pub(super) fn slice(&mut self, namespace: &str, service: &str, addresses: &[&str]) {
        let endpoints = addresses
            .iter()
            .enumerate()
            .map(|(number, address)| SliceEndpoint {
                address: Some(address.parse().unwrap()),
                pod: Some(PodReference { uid: format!("uid-{address}"), name: format!("app-{address}") }),
                ready: true,
                serving: true,
                terminating: false,
                node: None,
                zone: self.zones.get(number % self.zones.len().max(1)).cloned(),
            })
            .collect();
        let slice = Slice {
            service: service.to_owned(),
            address_type: "IPv4".to_owned(),
            ports: [("http".to_owned(), 8080)].into(),
            endpoints,
        };
        self.apply(Event::Slice(ObjectName::new(namespace, format!("{service}-1")), slice));
    }

    pub(super) fn pool(&mut self, name: &str, generation: i64, spec: &str) {
        let spec = serde_json::from_str::<BalancerPoolSpec>(spec).map_err(|error| error.to_string());
        let name = ObjectName::new("shop", name);
        let (uid, created) = (format!("uid-{}", name.name), i64::from(name.name.as_bytes()[0]));
        self.apply(Event::Pool(name, Box::new(Pool { uid, generation, created, spec, status: None })));
    }

    /// Carries out all that the controller asks for, until it asks for nothing more.
    pub(super) fn settle(&mut self) {
        let mut rests = 0;
        for _ in 0..20 {
            let step = self.core.step(self.now);
            let quiet = step.versions.is_empty() && step.effects.is_empty();
            self.effects.extend(step.effects.iter().cloned());
            for effect in step.effects {
                self.carry_out(effect);
            }
            self.versions.extend(step.versions);
            self.answer();
            rests = if quiet { rests + 1 } else { 0 };
            if rests == 2 {
                return; // nothing to do even after the proxies' answers
            }
        }
        panic!("the controller never rests: {:#?}", self.effects);
    }

    pub(super) fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Status { pool, status, .. } => drop(self.statuses.insert(pool, *status)),
            Effect::Service(desired) => {
                let ports = desired.ports.iter().map(|(name, port, target)| ServicePort {
                    name: name.clone(),
                    port: *port,
                    protocol: "TCP".to_owned(),
                    target_port: Some(*target),
                });
                let service = Service {
                    uid: desired.name.name.clone(),
                    labels: desired.labels.clone(),
                    annotations: crate::services::annotations(&desired.template),
                    selector: desired.selector.clone(),
                    type_: desired.template.type_.as_str().to_owned(),
                    ports: ports.collect(),
                    ..Service::default()
                };
                self.apply(Event::Service(desired.name.clone(), service));
            }
            Effect::Alias { name, labels, external_name } => {
                let external_name = Some(external_name);
                self.apply(Event::Service(name, Service { labels, external_name, ..Service::default() }));
            }
            Effect::DeleteService { name, .. } => self.apply(Event::ServiceDeleted(name)),
            Effect::DefaultClass => self.class(ProxyClassSpec::permissive_default()),
        }
    }

    pub(super) fn answer(&mut self) {
        let proxies = self.core.index().proxies().values();
        let proxies: Vec<_> = proxies.map(|proxy| (proxy.id.clone(), proxy.class.clone())).collect();
        for (proxy, class) in proxies.iter().filter(|(proxy, _)| !self.deaf.contains(proxy)) {
            let Some(version) = self.versions.get(class).cloned() else { continue };
            let generations =
                version.pools.iter().map(|(uid, pool)| (uid.clone(), pool.generation)).collect();
            let (epoch, revision, rejected) = (version.epoch, version.revision, self.rejected.clone());
            let event = ProxyEvent::Acknowledged { epoch, revision, generations, rejected };
            self.core.tell(proxy, event, self.now);
            let report = PoolsReport { rejected: self.rejected.clone(), ..report(&version) };
            self.core.tell(proxy, ProxyEvent::Reported(Box::new(report)), self.now);
        }
    }

    pub(super) fn wait(&mut self, time: Duration) {
        self.now.instant += time;
        self.settle();
    }

    pub(super) fn version(&self) -> &Published {
        &self.versions["default"]
    }

    /// The class whose proxies the pool's Service selects.
    pub(super) fn selected(&self, pool: &str) -> &str {
        let name = ObjectName::new("evenkeel-system", format!("pool-shop-{pool}"));
        self.core.index().services()[&name].selector[evenkeel_api::labels::PROXY_CLASS].as_str()
    }

    pub(super) fn document(&self, pool: &str) -> serde_json::Value {
        self.version().pools[&format!("uid-{pool}")].text.to_value()
    }

    /// Checks the conditions of a pool, as `Type=Status,Reason`.
    #[track_caller]
    pub(super) fn check(&self, pool: &str, expect: &[&str]) {
        let status = &self.statuses[&ObjectName::new("shop", pool)];
        let found: Vec<_> = status
            .conditions
            .iter()
            .map(|condition| format!("{}={},{}", condition.type_, condition.status, condition.reason))
            .collect();
        for expect in expect {
            assert!(found.iter().any(|found| found == expect), "no {expect} in {:#?}", status.conditions);
        }
    }

    pub(super) fn services(&self) -> Vec<String> {
        let ours = |service: &&Service| crate::services::made_for(service).is_some();
        let services = self.core.index().services().iter().filter(|(_, service)| ours(service));
        services.map(|(name, _)| name.to_string()).collect()
    }
}

pub(super) fn service(port: &str, number: u16) -> Service {
    Service {
        ports: vec![ServicePort {
            name: port.to_owned(),
            port: number,
            protocol: "TCP".to_owned(),
            target_port: None,
        }],
        type_: "ClusterIP".to_owned(),
        ip_families: vec!["IPv4".to_owned()],
        ..Service::default()
    }
}

/// What a proxy with this version would report: every endpoint healthy.
pub(super) fn report(version: &Published) -> PoolsReport {
    let pools = version.pools.iter().map(|(uid, pool)| {
        let document: evenkeel_api::channel::PoolDocument =
            serde_json::from_value(pool.text.to_value()).unwrap();
        let endpoints = document.backends.iter().flat_map(|(backend, of)| {
            of.endpoints.iter().map(|(id, endpoint)| {
                let report = EndpointReport {
                    address: endpoint.address.to_string(),
                    backend: backend.clone(),
                    pod: None,
                    zone: None,
                    region: None,
                    weight: endpoint.weight,
                    draining: false,
                    health: Health::Healthy,
                    unhealthy_reason: None,
                    effective_weight: 1.0,
                    ejection: None,
                    response_time_ms: None,
                    usage: None,
                    recent: None,
                    history: Vec::new(),
                    in_flight: 0,
                    requests: 0,
                    failures: 0,
                };
                (id.clone(), report)
            })
        });
        let algorithm = document.algorithm.type_.as_str().to_owned();
        let report = PoolReport { algorithm, endpoints: endpoints.collect(), ..PoolReport::default() };
        (uid.clone(), report)
    });
    let (epoch, revision) = (version.epoch, version.revision);
    PoolsReport { epoch, revision, pools: pools.collect(), ..PoolsReport::default() }
}
