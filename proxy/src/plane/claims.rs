//! Who has which port and host name. Pure.
//!
//! A pool whose new version cannot have what it asks for keeps its old version, with the ports and names of that. Of
//! several that ask for the same, the one that has it keeps it, else the first by UID gets it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use evenkeel_api::channel::{PoolDocument, PoolUid, Rejection};

use super::check::rejection;

/// Pools by UID.
pub(super) type Documents = BTreeMap<PoolUid, Arc<PoolDocument>>;
/// Why pools were rejected.
pub(super) type Rejections = BTreeMap<PoolUid, Vec<Rejection>>;

/// How the shared port is bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SharedPort {
    /// There is none; host names lead nowhere.
    None,
    /// From the start.
    Always(u16),
    /// While a pool has host names.
    WhenNamed(u16),
}

impl SharedPort {
    pub(super) const fn number(self) -> Option<u16> {
        match self {
            Self::None => None,
            Self::Always(port) | Self::WhenNamed(port) => Some(port),
        }
    }
}

/// What a listener asks for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Claim {
    Port(u16),
    Hostname(String),
    /// The shared port itself, by whoever has host names. Any number of pools may.
    SharedPort,
}

/// What is to be in use, and what is not.
#[derive(Debug, Default)]
pub(super) struct Settlement {
    /// The version of each pool to use: the one desired, or if that was rejected the current one.
    pub(super) documents: Documents,
    /// Why pools were rejected.
    pub(super) rejected: Rejections,
}

impl Settlement {
    /// The ports to be bound, the shared one apart.
    pub(super) fn ports(&self) -> BTreeSet<u16> {
        self.documents.values().flat_map(|document| document.listeners.values()).map(|l| l.port).collect()
    }

    /// Whether a pool has host names.
    pub(super) fn named(&self) -> bool {
        self.documents.values().any(|document| document.listeners.values().any(|l| !l.hostnames.is_empty()))
    }
}

/// Settles what each pool gets. `rejected` are pools of `desired` that are rejected whatever they claim.
pub(super) fn settle(
    desired: &Documents,
    current: &Documents,
    rejected: Rejections,
    shared: SharedPort,
) -> Settlement {
    let mut settlement = Settlement { documents: Documents::new(), rejected };
    loop {
        settlement.documents = desired
            .iter()
            .filter_map(|(uid, document)| {
                let refused = settlement.rejected.contains_key(uid);
                let document = if refused { current.get(uid)? } else { document };
                Some((uid.clone(), Arc::clone(document)))
            })
            .collect();
        let lost = conflicts(&settlement.documents, current, shared);
        let before = settlement.rejected.len();
        for (uid, rejections) in lost {
            settlement.rejected.entry(uid).or_insert(rejections);
        }
        if settlement.rejected.len() == before {
            return settlement;
        }
    }
}

/// The pools that do not get what they claim.
fn conflicts(documents: &Documents, current: &Documents, shared: SharedPort) -> Rejections {
    let mut claimants: BTreeMap<Claim, Vec<(&PoolUid, String)>> = BTreeMap::new();
    for (uid, document) in documents {
        for (claim, field) in claims(document, shared) {
            claimants.entry(claim).or_default().push((uid, field));
        }
    }
    let mut lost = Rejections::new();
    let mut lose = |uid: &PoolUid, field: &str, message: String| {
        lost.entry(uid.clone()).or_default().push(rejection(field, message));
    };
    let holds = |uid: &PoolUid, claim: &Claim| {
        current.get(uid).is_some_and(|document| claims(document, shared).any(|(held, _)| held == *claim))
    };
    for (claim, asking) in &claimants {
        if let (Claim::Port(port), Some(number)) = (claim, shared.number())
            && *port == number
        {
            let named = claimants.get(&Claim::SharedPort);
            let named_first = matches!(shared, SharedPort::Always(_))
                || named.is_some_and(|named| {
                    let held = |claim: &Claim, asking: &[(&PoolUid, String)]| {
                        asking.iter().any(|(uid, _)| holds(uid, claim))
                    };
                    held(&Claim::SharedPort, named) || !held(claim, asking)
                });
            let message = format!(
                "port {port} is the shared one, where host names select the pool: choose another, or start the proxy with \
                 another --shared-port"
            );
            let losers = if named_first { Some(asking) } else { named };
            losers.into_iter().flatten().for_each(|(uid, field)| lose(uid, field, message.clone()));
            if named_first {
                continue;
            }
        }
        if *claim == Claim::SharedPort {
            continue;
        }
        let winner = asking.iter().find(|(uid, _)| holds(uid, claim)).or_else(|| asking.first());
        let Some((winner, _)) = winner else { continue };
        for (uid, field) in asking.iter().filter(|(uid, _)| uid != winner) {
            let owner = &documents[*winner];
            lose(uid, field, taken(claim, owner));
        }
    }
    lost
}

fn taken(claim: &Claim, owner: &PoolDocument) -> String {
    let (namespace, name) = (&owner.namespace, &owner.name);
    match claim {
        Claim::Port(port) => format!("port {port} is taken by pool {namespace}/{name}: choose another"),
        Claim::Hostname(host) => {
            format!("{host} is taken by pool {namespace}/{name}: a host name leads to one pool")
        }
        Claim::SharedPort => String::new(),
    }
}

/// What a document asks for, each with its field.
fn claims(document: &PoolDocument, shared: SharedPort) -> impl Iterator<Item = (Claim, String)> + '_ {
    document.listeners.iter().flat_map(move |(name, listener)| {
        let port = (Claim::Port(listener.port), format!("listeners.{name}.port"));
        let field = format!("listeners.{name}.hostnames");
        let mut hostnames: BTreeSet<_> = listener.hostnames.iter().map(|h| h.to_ascii_lowercase()).collect();
        if shared == SharedPort::None {
            hostnames.clear();
        }
        let through_shared = (!hostnames.is_empty()).then(|| (Claim::SharedPort, field.clone()));
        let named = hostnames.into_iter().map(move |hostname| (Claim::Hostname(hostname), field.clone()));
        [port].into_iter().chain(through_shared).chain(named)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::document;

    /// Pools as `uid:port` or `uid:port:hostname`.
    fn documents(pools: &[&str]) -> Documents {
        let parse = |text: &&str| {
            let mut parts = text.split(':');
            let uid = parts.next().unwrap().to_owned();
            let mut pool = document(parts.next().unwrap().parse().unwrap(), &["127.0.0.1:80"]);
            pool.name.clone_from(&uid);
            pool.listeners.get_mut("web").unwrap().hostnames = parts.map(str::to_owned).collect();
            (uid, Arc::new(pool))
        };
        pools.iter().map(parse).collect()
    }

    fn check(current: &[&str], desired: &[&str], expect: &[&str], rejected: &[&str]) {
        let shared = SharedPort::WhenNamed(8080);
        let settled = settle(&documents(desired), &documents(current), Rejections::new(), shared);
        assert_eq!(settled.documents, documents(expect), "documents");
        let fields: Vec<_> = settled
            .rejected
            .iter()
            .flat_map(|(uid, all)| all.iter().map(move |rejection| format!("{uid} {}", rejection.field)))
            .collect();
        assert_eq!(fields, rejected);
    }

    #[test]
    fn the_first_by_uid_gets_a_free_port() {
        check(&[], &["a:1", "b:1", "c:2"], &["a:1", "c:2"], &["b listeners.web.port"]);
    }

    #[test]
    fn who_has_a_port_keeps_it() {
        check(&["b:1"], &["a:1", "b:1"], &["b:1"], &["a listeners.web.port"]);
        check(&["b:1"], &["a:1"], &["a:1"], &[]);
        check(&["a:1", "b:2"], &["a:2", "b:1"], &["a:2", "b:1"], &[]);
    }

    #[test]
    fn a_rejected_pool_keeps_its_old_port_from_others() {
        // b is refused port 1, so it stays at 2, which c then cannot have.
        check(
            &["a:1", "b:2"],
            &["a:1", "b:1", "c:2"],
            &["a:1", "b:2"],
            &["b listeners.web.port", "c listeners.web.port"],
        );
    }

    #[test]
    fn names_belong_to_one() {
        check(
            &["b:2:shop.test"],
            &["a:1:Shop.test", "b:2:shop.test"],
            &["b:2:shop.test"],
            &["a listeners.web.hostnames"],
        );
        check(&[], &["a:1:x.test", "b:2:*.x.test"], &["a:1:x.test", "b:2:*.x.test"], &[]);
    }

    #[test]
    fn the_shared_port_is_taken_or_shared() {
        check(&[], &["a:8080"], &["a:8080"], &[]);
        check(&[], &["a:8080", "b:1:x.test"], &["b:1:x.test"], &["a listeners.web.port"]);
        check(&["a:8080"], &["a:8080", "b:1:x.test"], &["a:8080"], &["b listeners.web.hostnames"]);
        check(&["b:1:x.test"], &["a:8080", "b:1:x.test"], &["b:1:x.test"], &["a listeners.web.port"]);
    }
}
