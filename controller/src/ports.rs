//! Which port of the proxies belongs to which listener of which pool, per class.
//!
//! The record of an allotment is the pool's Service, so that a new leader finds it; what is here follows from the
//! Services and from time. A port goes through: allotted (bound by the proxies), published (the Service has it),
//! released (the Service has it no more; still bound for a minute, for clients whose nodes have not heard), resting
//! (nobody gets it for ten).

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::RangeInclusive,
    time::{Duration, Instant},
};

use evenkeel_api::channel::PoolUid;

/// Ports that a class hands out.
pub const RANGE: RangeInclusive<u16> = 10_000..=19_999;
/// How long a port stays bound once no Service has it.
pub const UNBIND_AFTER: Duration = Duration::from_secs(60);
/// How long a port rests before another listener gets it.
pub const REST: Duration = Duration::from_secs(600);

/// A listener of a pool.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ListenerKey {
    /// UID of the pool.
    pub pool: PoolUid,
    /// Name of the listener.
    pub listener: String,
}

/// The allotments of one class.
#[derive(Debug, Default)]
pub struct Ports {
    held: BTreeMap<ListenerKey, u16>,
    /// The ports of `held`.
    taken: BTreeSet<u16>,
    released: BTreeMap<u16, (ListenerKey, Instant)>,
    resting: BTreeMap<u16, Instant>,
    moved: BTreeSet<PoolUid>,
}

/// A port recorded in a Service, or found bound at a proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Whose it is.
    pub key: ListenerKey,
    /// When the pool was made: the older claim keeps a port.
    pub created: i64,
    /// The port.
    pub port: u16,
}

impl Ports {
    /// Takes over what Services (or proxies) record. Of two claims of a port the older pool's stands, then the lower
    /// UID's.
    pub fn adopt(&mut self, mut claims: Vec<Claim>) {
        claims.sort_by(|a, b| (a.created, &a.key).cmp(&(b.created, &b.key)));
        for claim in claims {
            if RANGE.contains(&claim.port)
                && !self.held.contains_key(&claim.key)
                && self.taken.insert(claim.port)
            {
                self.resting.remove(&claim.port);
                self.released.remove(&claim.port);
                self.moved.insert(claim.key.pool.clone());
                self.held.insert(claim.key, claim.port);
            }
        }
    }

    /// The port of a listener, if it has one.
    #[must_use]
    pub fn port(&self, key: &ListenerKey) -> Option<u16> {
        self.held.get(key).copied()
    }

    /// Allots a port to a listener that has none: the one that it had, if it was released just now, else the lowest
    /// free. `None` if there is none.
    pub fn allot(&mut self, key: &ListenerKey) -> Option<u16> {
        if let Some(port) = self.port(key) {
            return Some(port);
        }
        let own = self.released.iter().find(|(_, (of, _))| of == key).map(|(port, _)| *port);
        let port = own.or_else(|| {
            let free = |port: &u16| {
                !self.taken.contains(port)
                    && !self.released.contains_key(port)
                    && !self.resting.contains_key(port)
            };
            RANGE.into_iter().find(free)
        })?;
        self.released.remove(&port);
        self.moved.insert(key.pool.clone());
        self.taken.insert(port);
        self.held.insert(key.clone(), port);
        Some(port)
    }

    /// Releases the ports of listeners that are not wanted any more, unless a Service still has them; unbinds and frees
    /// what has waited long enough.
    pub fn settle(
        &mut self,
        wanted: &BTreeSet<ListenerKey>,
        published: &BTreeSet<(PoolUid, u16)>,
        now: Instant,
    ) {
        let unwanted: Vec<_> = self
            .held
            .iter()
            .filter(|(key, port)| !wanted.contains(*key) && !published.contains(&(key.pool.clone(), **port)))
            .map(|(key, port)| (key.clone(), *port))
            .collect();
        for (key, port) in unwanted {
            self.held.remove(&key);
            self.taken.remove(&port);
            self.moved.insert(key.pool.clone());
            self.released.insert(port, (key, now));
        }
        let (resting, moved, rest) = (&mut self.resting, &mut self.moved, now);
        self.released.retain(|port, (key, since)| {
            let stays = now.duration_since(*since) < UNBIND_AFTER;
            if !stays {
                resting.insert(*port, rest);
                moved.insert(key.pool.clone());
            }
            stays
        });
        self.resting.retain(|_, since| now.duration_since(*since) < REST);
    }

    /// Pools of which a port came, went or was released since the last call.
    pub fn take_moved(&mut self) -> BTreeSet<PoolUid> {
        std::mem::take(&mut self.moved)
    }

    /// Listeners that have a port.
    pub fn held(&self) -> impl Iterator<Item = (&ListenerKey, u16)> {
        self.held.iter().map(|(key, port)| (key, *port))
    }

    /// Listeners whose port is still bound though they are not wanted any more.
    pub fn lingering(&self) -> impl Iterator<Item = (&ListenerKey, u16)> {
        self.released.iter().map(|(port, (key, _))| (key, *port))
    }

    /// When [`Self::settle`] has something to do by time alone.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        self.released.values().map(|(_, since)| *since + UNBIND_AFTER).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(pool: &str) -> ListenerKey {
        ListenerKey { pool: pool.to_owned(), listener: "web".to_owned() }
    }

    #[test]
    fn a_port_lingers_then_rests_then_is_free() {
        let (mut ports, start) = (Ports::default(), Instant::now());
        assert_eq!(ports.allot(&key("a")), Some(10_000));
        assert_eq!(ports.allot(&key("b")), Some(10_001));
        let wanted = [key("b")].into();

        ports.settle(&wanted, &[("b".to_owned(), 10_000)].into(), start - Duration::from_secs(1));
        assert_eq!(ports.lingering().count(), 1, "another pool's Service is another class's");
        assert_eq!(ports.allot(&key("a")), Some(10_000));

        ports.settle(&wanted, &[("a".to_owned(), 10_000)].into(), start);
        assert_eq!(ports.port(&key("a")), Some(10_000), "a Service still has it");

        ports.settle(&wanted, &BTreeSet::new(), start);
        assert_eq!(ports.lingering().collect::<Vec<_>>(), [(&key("a"), 10_000)]);
        assert_eq!(ports.next_deadline(), Some(start + UNBIND_AFTER));

        ports.settle(&wanted, &BTreeSet::new(), start + UNBIND_AFTER);
        assert_eq!(ports.lingering().count(), 0);
        assert_eq!(ports.allot(&key("c")), Some(10_002), "10000 rests");

        ports.settle(&[key("b"), key("c")].into(), &BTreeSet::new(), start + UNBIND_AFTER + REST);
        assert_eq!(ports.allot(&key("d")), Some(10_000));
    }

    #[test]
    fn a_listener_that_returns_gets_its_port_back() {
        let (mut ports, start) = (Ports::default(), Instant::now());
        ports.allot(&key("a"));
        ports.settle(&BTreeSet::new(), &BTreeSet::new(), start);
        ports.allot(&key("b"));
        assert_eq!(ports.allot(&key("a")), Some(10_000));
    }

    #[test]
    fn of_two_claims_the_older_stands() {
        let mut ports = Ports::default();
        let claim = |pool, created| Claim { key: key(pool), created, port: 10_007 };
        ports.adopt(vec![claim("young", 9), claim("old", 5)]);
        assert_eq!(ports.port(&key("old")), Some(10_007));
        assert_eq!(ports.port(&key("young")), None);
        assert_eq!(ports.allot(&key("young")), Some(10_000));
    }

    #[test]
    fn exhausted() {
        let mut ports = Ports::default();
        let claim = |port: u16| Claim { key: key(&port.to_string()), created: 0, port };
        ports.adopt(RANGE.map(claim).collect());
        assert_eq!(ports.allot(&key("one more")), None);
        assert_eq!(ports.allot(&key("10000")), Some(10_000), "it has one");
    }
}
