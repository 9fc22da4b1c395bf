//! Who has which host name on the shared ports of a class: the oldest pool that claims it and may.

use std::collections::BTreeMap;

use evenkeel_api::object::{BalancerPoolSpec, ProxyClassSpec};

use crate::{admission, event::ObjectName};

/// Owners by class and host name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hostnames(BTreeMap<(String, String), ObjectName>);

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
        let mut owners = BTreeMap::new();
        for claimant in claimants {
            for hostname in claimant.spec.listeners.iter().flat_map(|listener| &listener.hostnames) {
                if admission::hostname_allowed(claimant.class, claimant.labels, hostname) {
                    let key = (claimant.spec.proxy_class.clone(), hostname.clone());
                    owners.entry(key).or_insert_with(|| claimant.name.clone());
                }
            }
        }
        Self(owners)
    }

    /// The pool that has the name; `None` if no claimant may have it.
    #[must_use]
    pub fn owner(&self, class: &str, hostname: &str) -> Option<&ObjectName> {
        self.0.get(&(class.to_owned(), hostname.to_owned()))
    }

    /// Pools that gained or lost a name.
    pub fn changed<'a>(&'a self, old: &'a Self) -> impl Iterator<Item = &'a ObjectName> {
        let moved = |this: &'a Self, that: &'a Self| {
            this.0.iter().filter(|(key, owner)| that.0.get(*key) != Some(owner)).map(|(_, owner)| owner)
        };
        moved(self, old).chain(moved(old, self))
    }
}
