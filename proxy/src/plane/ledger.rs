//! What the mutator keeps between two changes: pools with what was learned of them, and bound ports.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use evenkeel_api::channel::PoolUid;

use super::{
    Origin, SharedPort,
    check::{check, rejection},
    claims::{Documents, Rejections, Settlement, settle},
    pool::{Owner, PoolEntry},
};
use crate::{
    health::{Checks, Findings},
    listener::Door,
    request::route::Entrance,
    snapshot::{Pool, Snapshot},
    usage::Pages,
    worker::{Shared, Worker},
};

#[derive(Debug)]
pub(super) struct Ledger {
    shared: Arc<Shared>,
    checks: Arc<Checks>,
    pages: Pages,
    workers: Vec<Arc<Worker>>,
    address: IpAddr,
    shared_port: SharedPort,
    pools: BTreeMap<PoolUid, PoolEntry>,
    doors: BTreeMap<u16, Bound>,
    /// No port is bound any more.
    closed: bool,
}

#[derive(Debug)]
struct Bound {
    entrance: Entrance,
    door: Door,
}

impl Ledger {
    pub(super) fn new(
        shared: Arc<Shared>,
        checks: Arc<Checks>,
        workers: Vec<Arc<Worker>>,
        address: IpAddr,
        shared_port: SharedPort,
    ) -> io::Result<Self> {
        let (pools, doors) = (BTreeMap::new(), BTreeMap::new());
        let pages = Pages::new(checks.runtime.clone());
        let mut ledger =
            Self { shared, checks, pages, workers, address, shared_port, pools, doors, closed: false };
        if let SharedPort::Always(port) = shared_port {
            ledger.bind(port, Entrance::Shared)?;
            ledger.open();
        }
        Ok(ledger)
    }

    /// See [`super::Plane::activate`].
    pub(super) async fn activate(&mut self, desired: &Documents, origin: Origin) -> Rejections {
        let current: Documents =
            self.pools.iter().map(|(uid, pool)| (uid.clone(), Arc::clone(pool.document()))).collect();
        let unfit = desired.iter().filter_map(|(uid, document)| {
            let known = current.get(uid).is_some_and(|known| Arc::ptr_eq(known, document));
            let rejections = if known { Vec::new() } else { check(document) };
            (!rejections.is_empty()).then(|| (uid.clone(), rejections))
        });
        let mut rejected: Rejections = unfit.collect();
        let settlement = loop {
            let settlement = settle(desired, &current, rejected.clone(), self.shared_port);
            self.release_for(&settlement).await;
            let failed = self.bind_missing(&settlement);
            let unbound = self.unbound(&settlement, &failed);
            if unbound.is_empty() {
                break settlement;
            }
            rejected = settlement.rejected;
            rejected.extend(unbound);
        };
        let changed = self.carry_out(&settlement.documents, origin);
        self.refresh(&changed);
        self.open();
        self.close_unneeded(&settlement).await;
        for (uid, rejections) in &settlement.rejected {
            for rejection in rejections {
                tracing::warn!(uid, field = rejection.field, message = rejection.message, "pool rejected");
            }
        }
        settlement.rejected
    }

    /// The pools whose new versions name a port that cannot be bound.
    fn unbound(&self, settlement: &Settlement, failed: &BTreeMap<u16, io::Error>) -> Rejections {
        let mut found = Rejections::new();
        for (uid, document) in &settlement.documents {
            // One that is rejected already has its old version here.
            if settlement.rejected.contains_key(uid) {
                continue;
            }
            for (name, listener) in &document.listeners {
                if let Some(error) = failed.get(&listener.port) {
                    let message = cannot_bind(listener.port, error);
                    found
                        .entry(uid.clone())
                        .or_default()
                        .push(rejection(format!("listeners.{name}.port"), message));
                }
                if let Some(port) = self.shared_port.number()
                    && let Some(error) = failed.get(&port)
                    && !listener.hostnames.is_empty()
                {
                    let field = format!("listeners.{name}.hostnames");
                    found.entry(uid.clone()).or_default().push(rejection(field, cannot_bind(port, error)));
                }
            }
        }
        found
    }

    fn needed(&self, settlement: &Settlement) -> BTreeMap<u16, Entrance> {
        let mut needed: BTreeMap<_, _> =
            settlement.ports().into_iter().map(|port| (port, Entrance::Port(port))).collect();
        match self.shared_port {
            SharedPort::Always(port) => _ = needed.insert(port, Entrance::Shared),
            SharedPort::WhenNamed(port) if settlement.named() => _ = needed.insert(port, Entrance::Shared),
            SharedPort::WhenNamed(_) | SharedPort::None => {}
        }
        needed
    }

    /// A port that changes between shared and a pool's own must be let go of before it is bound anew.
    async fn release_for(&mut self, settlement: &Settlement) {
        for (port, entrance) in self.needed(settlement) {
            if self.doors.get(&port).is_some_and(|bound| bound.entrance != entrance)
                && let Some(mut bound) = self.doors.remove(&port)
            {
                bound.door.close().await;
            }
        }
    }

    /// Binds what is needed and is not bound, and returns what cannot be.
    fn bind_missing(&mut self, settlement: &Settlement) -> BTreeMap<u16, io::Error> {
        if self.closed {
            return BTreeMap::new();
        }
        let mut failed = BTreeMap::new();
        for (port, entrance) in self.needed(settlement) {
            if !self.doors.contains_key(&port)
                && let Err(error) = self.bind(port, entrance)
            {
                failed.insert(port, error);
            }
        }
        failed
    }

    fn bind(&mut self, port: u16, entrance: Entrance) -> io::Result<()> {
        let door = Door::bind(entrance, SocketAddr::new(self.address, port), self.workers.len())?;
        self.doors.insert(port, Bound { entrance, door });
        Ok(())
    }

    fn open(&mut self) {
        for bound in self.doors.values_mut() {
            bound.door.open(&self.workers);
        }
    }

    async fn close_unneeded(&mut self, settlement: &Settlement) {
        let needed = self.needed(settlement);
        let unneeded: BTreeSet<_> =
            self.doors.keys().copied().filter(|port| !needed.contains_key(port)).collect();
        for port in unneeded {
            if let Some(mut bound) = self.doors.remove(&port) {
                bound.door.close().await;
                tracing::info!(port, "port closed");
            }
        }
    }

    /// Makes the pools those of `documents`, with what was learned of those that stay, and returns those that changed.
    fn carry_out(&mut self, documents: &Documents, origin: Origin) -> BTreeSet<PoolUid> {
        self.pools.retain(|uid, _| documents.contains_key(uid));
        let mut changed = BTreeSet::new();
        for (uid, document) in documents {
            let owner = Owner {
                workers: self.workers.len(),
                name: self.shared.name.clone(),
                checks: &self.checks,
                pages: &self.pages,
            };
            let pool = self
                .pools
                .entry(uid.clone())
                .or_insert_with(|| PoolEntry::new(uid.clone(), Arc::clone(document), &owner));
            if pool.update(Arc::clone(document), origin) {
                changed.insert(uid.clone());
            }
        }
        changed
    }

    /// Lets requests see the pools as they are now. Those in `changed` are built anew.
    pub(super) fn refresh(&mut self, changed: &BTreeSet<PoolUid>) {
        let before = self.shared.snapshot.load_full();
        let instance = self.shared.instance;
        let pools = self.pools.iter_mut().map(|(uid, pool)| {
            let built = before.pools.get(uid).filter(|_| !changed.contains(uid)).map(Arc::clone);
            (uid.clone(), built.unwrap_or_else(|| pool.build(instance)))
        });
        let pools = pools.collect();
        self.show(pools);
    }

    /// Lets requests see what checks have found.
    pub(super) fn take_in(&mut self, findings: &Findings) {
        for (uid, endpoints) in &findings.passed {
            if let Some(pool) = self.pools.get_mut(uid) {
                pool.checks_passed(endpoints);
            }
        }
        self.refresh(&findings.pools);
        if !findings.passed.is_empty() {
            self.tick(false);
        }
    }

    /// Lets requests see the pools that are balanced otherwise by now, because of what was learned. `urgent`: only
    /// those where something was learned that should not wait.
    pub(super) fn tick(&mut self, urgent: bool) {
        let instance = self.shared.instance;
        let pools = self.pools.iter_mut().filter(|(_, pool)| !urgent || pool.is_urgent());
        let ticked = pools.filter_map(|(uid, pool)| Some((uid.clone(), pool.tick(instance)?)));
        let ticked: BTreeMap<_, _> = ticked.collect();
        if ticked.is_empty() {
            // What began before its pool had limits wakes nobody when it ends.
            self.wake();
        } else {
            let mut pools = self.shared.snapshot.load().pools.clone();
            pools.extend(ticked);
            self.show(pools);
        }
    }

    fn show(&self, pools: BTreeMap<PoolUid, Arc<Pool>>) {
        self.shared.snapshot.store(Arc::new(Snapshot::new(pools, self.shared_port.number())));
        self.wake();
    }

    fn wake(&self) {
        self.pools.values().for_each(PoolEntry::wake);
    }

    /// See [`super::Plane::stop_accepting`].
    pub(super) async fn stop_accepting(&mut self) {
        self.closed = true;
        for bound in self.doors.values_mut() {
            bound.door.stop().await;
        }
    }
}

fn cannot_bind(port: u16, error: &io::Error) -> String {
    let hint = match error.kind() {
        io::ErrorKind::AddrInUse => ": another program has it; stop that, or choose another port",
        io::ErrorKind::PermissionDenied => ": ports below 1024 may need a privilege; choose a higher one",
        _ => "",
    };
    format!("port {port} cannot be bound, {error}{hint}")
}
