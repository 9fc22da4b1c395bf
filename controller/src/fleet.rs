//! What the proxies said: which version each of them uses, what each of them thinks of the endpoints, and who is
//! silent.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use evenkeel_api::channel::{EndpointReport, PoolReport, PoolUid, PoolsReport, Rejection};

use crate::published::{Proxy, ProxyEvent, ProxyId};

/// How long a proxy may be silent, or make no progress towards the newest version, before the status says so.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// The proxies of all classes.
#[derive(Debug, Default)]
pub struct Fleet {
    members: BTreeMap<ProxyId, Member>,
    /// Counts what may have changed an endpoint's health in the eyes of the live proxies.
    opinions: u64,
}

/// What the live proxies hold of the endpoints, as far as one state of it is told from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opinions {
    changes: u64,
    silent: usize,
}

/// A proxy and what it said.
#[derive(Debug)]
pub struct Member {
    /// The proxy.
    pub proxy: Proxy,
    /// The newest version of this leadership that its request path uses.
    pub acknowledged: Option<Acknowledged>,
    /// Its last report.
    pub report: Option<PoolsReport>,
    /// When it last answered, or when it was first seen (by this leadership).
    pub heard: Instant,
    /// Whether it answered at all.
    pub answered: bool,
    /// Why the last attempt failed, if it did.
    pub failure: Option<String>,
    progressed: Instant,
}

/// A version that a proxy uses.
#[derive(Clone, Debug, Default)]
pub struct Acknowledged {
    /// Epoch of the version.
    pub epoch: u64,
    /// Revision of the version.
    pub revision: u64,
    generations: BTreeMap<PoolUid, i64>,
    rejected: BTreeMap<PoolUid, Vec<Rejection>>,
}

impl Fleet {
    /// Takes over the set of proxies.
    pub fn set_proxies(&mut self, proxies: &BTreeMap<ProxyId, Proxy>, now: Instant) {
        self.members.retain(|id, _| proxies.contains_key(id));
        self.opinions += 1;
        for (id, proxy) in proxies {
            let member = self.members.entry(id.clone()).or_insert_with(|| Member {
                proxy: proxy.clone(),
                acknowledged: None,
                report: None,
                heard: now,
                answered: false,
                failure: None,
                progressed: now,
            });
            if member.proxy.is_live() != proxy.is_live() {
                (member.heard, member.progressed) = (now, now);
            }
            member.proxy = proxy.clone();
        }
    }

    /// Forgets what was said to an earlier leadership.
    pub fn begin_epoch(&mut self, now: Instant) {
        self.opinions += 1;
        for member in self.members.values_mut() {
            (member.acknowledged, member.answered) = (None, false);
            (member.heard, member.progressed) = (now, now);
        }
    }

    /// Takes in what a proxy said.
    pub fn tell(&mut self, id: &str, event: ProxyEvent, now: Instant) {
        let Some(member) = self.members.get_mut(id) else { return };
        if member.is_silent(now) && !matches!(event, ProxyEvent::Failed { .. }) {
            self.opinions += 1; // what it says counts again
        }
        match event {
            ProxyEvent::Acknowledged { epoch, revision, generations, rejected } => {
                member.acknowledged = Some(Acknowledged { epoch, revision, generations, rejected });
                (member.heard, member.progressed, member.answered, member.failure) = (now, now, true, None);
            }
            ProxyEvent::Reported(report) => {
                // What it acknowledged is not what it has: it was restarted, or somebody else pushed.
                if member.version().is_some_and(|version| version != (report.epoch, report.revision)) {
                    member.acknowledged = None;
                }
                // It tries again what it rejected: a port may be free by now.
                if let Some(acknowledged) = &mut member.acknowledged {
                    acknowledged.rejected.clone_from(&report.rejected);
                }
                if !member.report.as_ref().is_some_and(|old| same_health(old, &report)) {
                    self.opinions += 1;
                }
                member.report = Some(*report);
                (member.heard, member.answered, member.failure) = (now, true, None);
            }
            ProxyEvent::Failed { message } => member.failure = Some(message),
            ProxyEvent::Superseded { epoch } => {
                member.failure =
                    Some(format!("it has had a push of epoch {epoch}, which is not older than ours"));
            }
        }
    }

    /// As long as this stays the same, so does the health of every endpoint in the eyes of the live proxies.
    #[must_use]
    pub fn opinions(&self, now: Instant) -> Opinions {
        let silent = self.members.values().filter(|member| member.is_silent(now)).count();
        Opinions { changes: self.opinions, silent }
    }

    /// All proxies.
    pub fn members(&self) -> impl Iterator<Item = &Member> {
        self.members.values()
    }

    /// The live proxies of a class.
    pub fn live<'a>(&'a self, class: &'a str) -> impl Iterator<Item = &'a Member> {
        self.members.values().filter(move |member| member.proxy.is_live() && member.proxy.class == class)
    }

    /// The first time after `now` at which a proxy's silence or lack of progress becomes worth a word.
    #[must_use]
    pub fn next_deadline(&self, now: Instant) -> Option<Instant> {
        let times = self.members.values().flat_map(|member| [member.heard, member.progressed]);
        times.map(|time| time + PATIENCE).filter(|time| *time > now).min()
    }
}

/// Whether two reports of a proxy say the same of the health of the same endpoints. O(endpoints).
fn same_health(old: &PoolsReport, new: &PoolsReport) -> bool {
    fn health(report: &PoolsReport) -> impl Iterator<Item = (&str, &str, bool, bool)> {
        let pools = report.pools.iter();
        let endpoints =
            pools.flat_map(|(uid, pool)| pool.endpoints.iter().map(move |(id, of)| (uid, id, of)));
        endpoints.map(|(uid, id, of)| (uid.as_str(), id.as_str(), of.is_healthy(), of.is_ejected()))
    }
    fn panics(report: &PoolsReport) -> impl Iterator<Item = (&str, &[String])> {
        report.pools.iter().map(|(uid, pool)| (uid.as_str(), pool.panicking.as_slice()))
    }
    health(old).eq(health(new)) && panics(old).eq(panics(new))
}

impl Member {
    /// It has not answered for [`PATIENCE`].
    #[must_use]
    pub fn is_silent(&self, now: Instant) -> bool {
        now.duration_since(self.heard) >= PATIENCE
    }

    /// It does not use `(epoch, revision)` and has made no progress for [`PATIENCE`].
    #[must_use]
    pub fn is_behind(&self, version: (u64, u64), now: Instant) -> bool {
        self.version() != Some(version) && now.duration_since(self.progressed) >= PATIENCE
    }

    /// The version that it uses.
    #[must_use]
    pub fn version(&self) -> Option<(u64, u64)> {
        self.acknowledged.as_ref().map(|acknowledged| (acknowledged.epoch, acknowledged.revision))
    }

    /// It uses this generation of the pool.
    #[must_use]
    pub fn uses(&self, pool: &str, generation: i64) -> bool {
        self.acknowledged.as_ref().is_some_and(|acknowledged| {
            acknowledged.generations.get(pool) == Some(&generation)
                && !acknowledged.rejected.contains_key(pool)
        })
    }

    /// Why it rejected the pool.
    #[must_use]
    pub fn rejection(&self, pool: &str) -> Option<&[Rejection]> {
        self.acknowledged.as_ref()?.rejected.get(pool).map(Vec::as_slice)
    }

    /// How many pools it rejects.
    #[must_use]
    pub fn rejected_count(&self) -> u32 {
        let rejected = self.acknowledged.as_ref().map_or(0, |acknowledged| acknowledged.rejected.len());
        u32::try_from(rejected).unwrap_or(u32::MAX)
    }

    /// Whether it holds the endpoint for healthy, and has not taken it out for how it answers; false if it has not
    /// said, or has been silent since.
    #[must_use]
    pub fn holds_healthy(&self, pool: &str, endpoint: &str, now: Instant) -> bool {
        self.report_of(pool, endpoint, now).is_some_and(EndpointReport::is_healthy)
    }

    /// What it says of an endpoint, unless it is silent.
    #[must_use]
    pub fn report_of(&self, pool: &str, endpoint: &str, now: Instant) -> Option<&EndpointReport> {
        self.pool_report(pool, now)?.endpoints.get(endpoint)
    }

    /// It sends a backend's requests to all endpoints, for too few are healthy. A silent one says nothing.
    #[must_use]
    pub fn is_panicking(&self, pool: &str, backend: &str, now: Instant) -> bool {
        self.pool_report(pool, now).is_some_and(|pool| pool.panicking.iter().any(|key| key == backend))
    }

    fn pool_report(&self, pool: &str, now: Instant) -> Option<&PoolReport> {
        self.report.as_ref().filter(|_| !self.is_silent(now))?.pools.get(pool)
    }
}

impl Fleet {
    /// Tells the members of a class that were up to date with `old` that there is a newer version.
    pub fn published(&mut self, class: &str, old: (u64, u64), now: Instant) {
        for member in self.members.values_mut().filter(|member| member.proxy.class == class) {
            if member.version() == Some(old) {
                member.progressed = now; // lack of progress counts from now
            }
        }
    }
}
