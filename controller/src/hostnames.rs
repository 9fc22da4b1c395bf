//! Who has which host name on the shared ports of a class: the oldest pool that claims it and may.

use std::collections::BTreeMap;

use evenkeel_api::object::{BalancerPoolSpec, ProxyClassSpec};

use crate::{admission, event::ObjectName};

/// Claimants that may have the name, by class and host name; the first owns it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hostnames(BTreeMap<(String, String), Vec<ObjectName>>);

/// A pool that may claim host names.
pub struct Claimant<'a> {
    /// The pool.
    pub name: &'a ObjectName,
    /// Seconds since the epoch at which it was made.
    pub created: i64,
    /// The version of it that serves.
    pub spec: &'a BalancerPoolSpec,
    /// Its class.
    pub class: &'a ProxyClassSpec,
    /// Labels of its namespace, if that is known.
    pub labels: Option<&'a BTreeMap<String, String>>,
}

impl Hostnames {
    /// Gives each host name to the oldest claimant, then the first by namespace and name.
    #[must_use]
    pub fn resolve(mut claimants: Vec<Claimant<'_>>) -> Self {
        claimants.sort_by(|a, b| (a.created, a.name).cmp(&(b.created, b.name)));
        let mut names: BTreeMap<_, Vec<ObjectName>> = BTreeMap::new();
        for claimant in claimants {
            for hostname in claimant.spec.listeners.iter().flat_map(|listener| &listener.hostnames) {
                if admission::hostname_allowed(claimant.class, claimant.labels, hostname) {
                    let key = (claimant.spec.proxy_class.clone(), hostname.clone());
                    let claimants = names.entry(key).or_default();
                    if claimants.last() != Some(claimant.name) {
                        claimants.push(claimant.name.clone());
                    }
                }
            }
        }
        Self(names)
    }

    /// The pool that has the name; `None` if no claimant may have it.
    #[must_use]
    pub fn owner(&self, class: &str, hostname: &str) -> Option<&ObjectName> {
        self.0.get(&(class.to_owned(), hostname.to_owned()))?.first()
    }

    /// Claimants of the names that other pools claim now than before: each is told who owns it.
    pub fn changed<'a>(&'a self, old: &'a Self) -> impl Iterator<Item = &'a ObjectName> {
        let moved = |this: &'a Self, that: &'a Self| {
            this.0.iter().filter(|(key, of)| that.0.get(*key) != Some(of)).flat_map(|(_, of)| of)
        };
        moved(self, old).chain(moved(old, self))
    }
}
