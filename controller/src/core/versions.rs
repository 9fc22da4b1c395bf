//! What each class is to know: versions made of the pools' documents, and what outlives a pool or a leader for a while.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Instant,
};

use evenkeel_api::channel::{ListenerDocument, PoolDocument, PoolUid, ReceivedSnapshot};

use super::{
    Core,
    pools::{PoolState, text},
};
use crate::{
    compile::Mode,
    event::ObjectName,
    index::Changes,
    ports::{Claim, ListenerKey, Ports},
    published::{Published, PublishedPool},
    services,
};

/// A class as far as it was published.
#[derive(Debug, Default)]
pub(super) struct ClassState {
    pub(super) ports: Ports,
    /// Listeners for which there is no port.
    pub(super) exhausted: BTreeSet<ListenerKey>,
    pub(super) revision: u64,
    pub(super) published: Option<Arc<Published>>,
}

impl ClassState {
    pub(super) fn begin_epoch(&mut self) {
        self.revision = 0;
    }

    /// The version published.
    pub(super) fn version(&self) -> Option<(u64, u64)> {
        self.published.as_ref().map(|published| (published.epoch, published.revision))
    }
}

/// A pool that is gone, while its ports are still bound.
#[derive(Debug)]
pub(super) struct Leaving {
    pool: PublishedPool,
    listeners: Vec<ListenerKey>,
}

/// Pools by UID, for each class.
type ByClass = BTreeMap<String, BTreeMap<PoolUid, PublishedPool>>;

impl Core {
    /// Forgets a pool, but for what its ports still need.
    pub(super) fn remove(&mut self, name: &ObjectName) {
        let Some(state) = self.pools.remove(name) else { return };
        self.adopted.remove(&state.uid);
        let Some(class) = state.class().map(str::to_owned) else { return };
        let Some(document) = state.document else { return };
        self.leave(&state.uid, class, document);
    }

    /// Keeps serving a document that no pool stands behind any more, until its ports are unbound.
    pub(super) fn leave(&mut self, uid: &str, class: String, mut document: PoolDocument) {
        if matches!(self.mode, Mode::Files(_)) {
            return;
        }
        let key = |listener: &String| ListenerKey { pool: uid.to_owned(), listener: listener.clone() };
        let listeners = document.listeners.keys().map(key).collect();
        for listener in document.listeners.values_mut() {
            listener.hostnames.clear();
        }
        if let Some(pool) = published(&document) {
            self.leaving.insert((class, uid.to_owned()), Leaving { pool, listeners });
        }
    }

    /// Takes over what the proxies have.
    pub(super) fn adopt(&mut self, snapshots: &[ReceivedSnapshot]) {
        let known: BTreeMap<_, _> =
            self.index.pools().iter().map(|(name, pool)| (pool.uid.as_str(), name.clone())).collect();
        let mut gone = Vec::new();
        for snapshot in snapshots {
            for (uid, received) in &snapshot.pools {
                let active = snapshot.active.get(uid).unwrap_or(received);
                let Ok(document) = serde_json::from_value::<PoolDocument>(active.clone()) else { continue };
                match known.get(uid.as_str()) {
                    // Its newest version cannot be read, or is refused: this one serves on.
                    Some(name) if self.pools.get(name).is_none_or(|state| state.good.is_none()) => {
                        self.adopted.entry(uid.clone()).or_insert_with(|| active.clone());
                    }
                    Some(_) => {}
                    None => gone.push((uid.clone(), document)),
                }
            }
        }
        // Pools that went while nobody led: their Services are swept, their ports stay bound for as long as ever. A
        // proxy does not say its class, so the pool goes to the classes that have proxies; there it harms nobody.
        for (uid, document) in gone {
            let classes: BTreeSet<_> =
                self.index.proxies().values().map(|proxy| proxy.class.clone()).collect();
            for class in classes {
                let claims = document.listeners.iter().map(|(listener, of)| Claim {
                    key: ListenerKey { pool: uid.clone(), listener: listener.clone() },
                    created: i64::MAX,
                    port: of.port,
                });
                self.classes.entry(class.clone()).or_default().ports.adopt(claims.collect());
                self.leave(&uid, class, document.clone());
            }
        }
    }

    /// Takes over the ports that Services record, as far as they changed.
    pub(super) fn adopt_services(&mut self, changes: &Changes) {
        let mut claims: BTreeMap<String, Vec<Claim>> = BTreeMap::new();
        for name in &changes.services {
            let Some(service) = self.index.services().get(name) else { continue };
            let Some(uid) = services::made_for(service) else { continue };
            let Some(class) = services::class_of(service) else { continue };
            let created =
                self.pools.values().find(|state| state.uid == uid).map_or(i64::MAX, |state| state.created);
            let claim = |(listener, port): (&String, u16)| Claim {
                key: ListenerKey { pool: uid.to_owned(), listener: listener.clone() },
                created,
                port,
            };
            let ports = service.ports.iter().filter_map(|port| Some((&port.name, port.target_port?)));
            claims.entry(class.to_owned()).or_default().extend(ports.map(claim));
        }
        for (class, claims) in claims {
            self.classes.entry(class).or_default().ports.adopt(claims);
        }
    }

    /// Makes a new version of each class whose pools differ from the version that it has.
    pub(super) fn publish(&mut self, epoch: u64, now: Instant) -> BTreeMap<String, Arc<Published>> {
        self.published_epoch = Some(epoch);
        self.forget_unbound();
        let mut pools: ByClass =
            self.index.class_names().map(|name| (name.to_owned(), BTreeMap::new())).collect();
        for proxy in self.index.proxies().values() {
            pools.entry(proxy.class.clone()).or_default();
        }
        for ((class, uid), leaving) in &self.leaving {
            pools.entry(class.clone()).or_default().insert(uid.clone(), leaving.pool.clone());
        }
        self.moved(&mut pools);
        let mut homes: BTreeMap<PoolUid, String> = BTreeMap::new();
        for (name, state) in &self.pools {
            if let (Some(class), Some(pool)) = (self.class_of(name, state), published_pool(state)) {
                homes.insert(state.uid.clone(), class.clone());
                pools.entry(class).or_default().insert(state.uid.clone(), pool);
            }
        }
        let mut versions = BTreeMap::new();
        for (name, pools) in pools {
            let class = self.classes.entry(name.clone()).or_default();
            let same = class.published.as_ref().is_some_and(|old| old.epoch == epoch && old.pools == pools);
            if same {
                continue;
            }
            let old = class.published.take();
            class.revision += u64::from(epoch > 0);
            let new = Arc::new(Published::new(epoch, class.revision, pools));
            if let Some(old) = &old {
                self.fleet.published(&name, (old.epoch, old.revision), now);
            }
            let here = self.pools.values_mut().filter(|state| homes.get(&state.uid) == Some(&name));
            mark_changed(here, old.as_deref(), &new);
            class.published = Some(Arc::clone(&new));
            versions.insert(name, new);
        }
        versions
    }

    /// Forgets the pools that left whose ports are unbound by now, or that are back.
    fn forget_unbound(&mut self) {
        let returned: BTreeSet<_> =
            self.pools.values().filter(|state| state.document.is_some()).map(|state| &state.uid).collect();
        self.leaving.retain(|(class, uid), leaving| {
            let ports = self.classes.get(class).map(|class| &class.ports);
            let bound = |key: &ListenerKey| {
                ports.is_some_and(|ports| {
                    ports.port(key).is_some() || ports.lingering().any(|(of, _)| of == key)
                })
            };
            !returned.contains(uid) && leaving.listeners.iter().any(bound)
        });
    }

    /// Pools that another class serves by now, at the ports that they still have here: their Services lead clients here
    /// until every proxy there has bound theirs.
    fn moved(&self, pools: &mut ByClass) {
        let homes: BTreeMap<_, _> = self.pools.values().map(|state| (&state.uid, state)).collect();
        for (name, class) in &self.classes {
            let mut listeners: BTreeMap<&PoolUid, BTreeMap<String, ListenerDocument>> = BTreeMap::new();
            for (key, port) in class.ports.held().chain(class.ports.lingering()) {
                let home = homes.get(&key.pool).and_then(|state| state.class());
                if home.is_some_and(|home| home != name) {
                    let document = ListenerDocument { port, hostnames: Vec::new() };
                    listeners.entry(&key.pool).or_default().insert(key.listener.clone(), document);
                }
            }
            for (uid, listeners) in listeners {
                let Some(document) = homes.get(uid).and_then(|state| state.document.clone()) else {
                    continue;
                };
                if let Some(pool) = published(&PoolDocument { listeners, ..document }) {
                    pools.entry(name.clone()).or_default().insert(uid.clone(), pool);
                }
            }
        }
    }

    /// The class that serves a pool.
    pub(super) fn class_of(&self, name: &ObjectName, state: &PoolState) -> Option<String> {
        state.class().map(str::to_owned).or_else(|| self.class_as_written(name))
    }

    /// The class of a pool that cannot be read (and serves an adopted version): the one that all proxies belong to, if
    /// there is but one.
    fn class_as_written(&self, name: &ObjectName) -> Option<String> {
        if let Some(Ok(spec)) = self.index.pools().get(name).map(|pool| &pool.spec) {
            return Some(spec.proxy_class.clone());
        }
        let classes: BTreeSet<_> = self.index.proxies().values().map(|proxy| &proxy.class).collect();
        (classes.len() == 1).then(|| classes.into_iter().next().cloned()).flatten()
    }
}

fn published(document: &PoolDocument) -> Option<PublishedPool> {
    Some(PublishedPool { text: text(document)?, generation: document.generation })
}

fn published_pool(state: &PoolState) -> Option<PublishedPool> {
    let (text, document) = (state.text.clone()?, state.document.as_ref()?);
    Some(PublishedPool { text, generation: document.generation })
}

/// Notes for each pool of the version in which configuration it last changed. What the status says of the same text
/// stays: a new leader does not make it newer.
fn mark_changed<'a>(
    pools: impl Iterator<Item = &'a mut PoolState>,
    old: Option<&Published>,
    new: &Published,
) {
    for state in pools {
        let Some(pool) = new.pools.get(&state.uid) else { continue };
        let before = old.filter(|old| old.epoch == new.epoch).and_then(|old| old.pools.get(&state.uid));
        if before.is_some_and(|before| before.text.digest() == pool.text.digest()) && state.changed.is_some()
        {
            continue;
        }
        let stored = state.status.as_ref();
        let same_text =
            stored.and_then(|status| status.hash.as_deref()) == Some(&pool.text.digest().to_string());
        let stored =
            stored.filter(|_| same_text).and_then(|status| parse_revision(status.revision.as_deref()?));
        state.changed = stored.or(Some((new.epoch, new.revision)));
    }
}

fn parse_revision(text: &str) -> Option<(u64, u64)> {
    let (epoch, revision) = text.split_once('.')?;
    Some((epoch.parse().ok()?, revision.parse().ok()?))
}
