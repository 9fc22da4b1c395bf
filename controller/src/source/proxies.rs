//! The proxies, as the slices of their headless Services tell of them.
//!
//! The Services publish addresses that are not ready, since a proxy is configured before it is ready: `ready` of their
//! endpoints is always true, so only `serving` and `terminating` are read.

use std::{collections::BTreeMap, net::SocketAddr};

use evenkeel_api::labels::PROXIES_PREFIX;

use crate::{
    event::{Event, ObjectName, Relist, Slice},
    published::{Proxy, ProxyId},
};

/// Name of the port, in the slices, at which proxies listen for configuration.
pub const CONFIG_PORT_NAME: &str = "config";
/// The port, where a slice names none.
pub const CONFIG_PORT: u16 = 9443;

/// The proxies of a slice; `None` if the slice is of another Service.
pub(crate) fn of_slice(slice: &Slice) -> Option<Vec<Proxy>> {
    let class = slice.service.strip_prefix(PROXIES_PREFIX)?;
    let port = slice.ports.get(CONFIG_PORT_NAME).copied().unwrap_or(CONFIG_PORT);
    let proxies = slice.endpoints.iter().filter_map(|endpoint| {
        let pod = endpoint.pod.as_ref()?;
        Some(Proxy {
            id: pod.uid.clone(),
            class: class.to_owned(),
            name: pod.name.clone(),
            node: endpoint.node.clone(),
            zone: endpoint.zone.clone(),
            address: SocketAddr::new(endpoint.address?, port),
            serving: endpoint.serving,
            terminating: endpoint.terminating,
        })
    });
    Some(proxies.collect())
}

/// All proxies by slice. A pod is in several slices while it moves from one to another, and with two IP families
/// always.
#[derive(Debug, Default)]
pub(crate) struct Proxies {
    slices: BTreeMap<ObjectName, Vec<Proxy>>,
    known: BTreeMap<ProxyId, Proxy>,
}

impl Proxies {
    /// Takes what a slice holds now (nothing, if it is gone), and tells what is new.
    pub(crate) fn apply(&mut self, slice: ObjectName, proxies: Vec<Proxy>) -> Vec<Event> {
        if proxies.is_empty() {
            self.slices.remove(&slice);
        } else {
            self.slices.insert(slice, proxies);
        }
        let now = self.union();
        let gone = self.known.keys().filter(|id| !now.contains_key(*id)).cloned().map(Event::ProxyDeleted);
        let new = now.iter().filter(|(id, proxy)| self.known.get(*id) != Some(proxy));
        let events = gone.chain(new.map(|(_, proxy)| Event::Proxy(proxy.clone()))).collect();
        self.known = now;
        events
    }

    /// Takes all slices anew, and tells all proxies.
    pub(crate) fn relist(&mut self, slices: BTreeMap<ObjectName, Vec<Proxy>>) -> Vec<Event> {
        self.slices = slices;
        self.known = self.union();
        let mut events: Vec<_> = self.known.values().cloned().map(Event::Proxy).collect();
        events.push(Event::Relisted(Relist::Proxies(self.known.keys().cloned().collect())));
        events
    }

    /// Of a pod's addresses an IPv4 one wins, so that the same one is dialled each time.
    fn union(&self) -> BTreeMap<ProxyId, Proxy> {
        let mut union: BTreeMap<ProxyId, Proxy> = BTreeMap::new();
        for proxy in self.slices.values().flatten() {
            let better =
                union.get(&proxy.id).is_none_or(|other| other.address.is_ipv6() && proxy.address.is_ipv4());
            if better {
                union.insert(proxy.id.clone(), proxy.clone());
            }
        }
        union
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxy(id: &str, address: &str, serving: bool) -> Proxy {
        Proxy {
            id: id.to_owned(),
            class: "default".to_owned(),
            name: format!("proxy-{id}"),
            node: None,
            zone: None,
            address: address.parse().unwrap(),
            serving,
            terminating: false,
        }
    }

    fn slice(name: &str) -> ObjectName {
        ObjectName::new("evenkeel-system", name)
    }

    #[test]
    fn a_proxy_that_moves_between_slices_does_not_go() {
        let mut proxies = Proxies::default();
        let a = proxy("a", "10.0.0.1:9443", false);
        assert_eq!(proxies.apply(slice("1"), vec![a.clone()]), [Event::Proxy(a.clone())]);
        assert_eq!(proxies.apply(slice("2"), vec![a.clone()]), []);
        assert_eq!(proxies.apply(slice("1"), vec![]), []);
        assert_eq!(proxies.apply(slice("2"), vec![]), [Event::ProxyDeleted("a".to_owned())]);
    }

    #[test]
    fn tells_only_what_changed() {
        let mut proxies = Proxies::default();
        let (a, b) = (proxy("a", "10.0.0.1:9443", false), proxy("b", "10.0.0.2:9443", true));
        proxies.apply(slice("1"), vec![a, b.clone()]);
        let a = proxy("a", "10.0.0.1:9443", true);
        assert_eq!(proxies.apply(slice("1"), vec![a.clone(), b]), [Event::Proxy(a)]);
    }

    #[test]
    fn dials_ipv4_where_there_are_two_families() {
        let mut proxies = Proxies::default();
        let (v4, v6) = (proxy("a", "10.0.0.1:9443", true), proxy("a", "[fd00::1]:9443", true));
        proxies.apply(slice("0-v6"), vec![v6.clone()]);
        assert_eq!(proxies.apply(slice("1-v4"), vec![v4.clone()]), [Event::Proxy(v4)]);
        assert_eq!(proxies.apply(slice("1-v4"), vec![]), [Event::Proxy(v6)]);
    }

    #[test]
    fn a_relist_tells_all() {
        let mut proxies = Proxies::default();
        proxies.apply(slice("1"), vec![proxy("a", "10.0.0.1:9443", true)]);
        let b = proxy("b", "10.0.0.2:9443", true);
        assert_eq!(
            proxies.relist(BTreeMap::from([(slice("1"), vec![b.clone()])])),
            [Event::Proxy(b), Event::Relisted(Relist::Proxies(vec!["b".to_owned()]))]
        );
    }
}
