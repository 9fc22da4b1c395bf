//! From a pool's backends to endpoints: Services to their slices, addresses to themselves.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
};

use evenkeel_api::{
    channel::{BackendDocument, EndpointDocument},
    labels,
    object::{BalancerPoolSpec, ServiceReference, StaticAddress, reason},
};
use k8s_openapi::{apimachinery::pkg::util::intstr::IntOrString, jiff::Timestamp};

use crate::{
    compile::Mode,
    event::{ObjectName, Service, ServicePort, Slice, SliceEndpoint},
    index::Index,
    problem::{Problem, Subject},
};

/// Highest weight of an endpoint.
const MAX_WEIGHT: u32 = 1000;

/// A pool's backends with their endpoints.
#[derive(Debug, Default)]
pub struct Resolved {
    /// Backends by key.
    pub backends: BTreeMap<String, BackendDocument>,
    /// What does not exist or cannot be used.
    pub problems: Vec<Problem>,
}

/// What leads to ourselves: never an endpoint, or a request could go round for ever.
#[derive(Debug, Default)]
pub struct Own {
    /// Addresses of pods of ours, whatever the port, and what they are.
    pub pods: BTreeMap<IpAddr, &'static str>,
    /// Where this process listens, with files.
    pub listeners: BTreeSet<SocketAddr>,
}

impl Own {
    /// What of ours is at `address`, if anything.
    fn at(&self, address: SocketAddr) -> Option<&'static str> {
        let ip = address.ip().to_canonical();
        // All of 127.0.0.0/8 is this machine.
        let loopback =
            || self.listeners.iter().any(|own| own.ip().is_loopback() && own.port() == address.port());
        if self.listeners.contains(&SocketAddr::new(ip, address.port())) || (ip.is_loopback() && loopback()) {
            return Some("a listener of our own");
        }
        self.pods.get(&ip).copied()
    }
}

/// Resolves the backends of a pool in `namespace`. `own` is what leads to ourselves.
#[must_use]
pub fn resolve(index: &Index, mode: &Mode, namespace: &str, spec: &BalancerPoolSpec, own: &Own) -> Resolved {
    let starts_slowly = spec.slow_start.is_some();
    let zones = spec.locality.is_some();
    let mut resolver = Resolver { index, mode, own, starts_slowly, zones, resolved: Resolved::default() };
    for (position, backend) in spec.backends.iter().enumerate() {
        let (key, endpoints) = match (&backend.service, &backend.addresses) {
            (Some(service), _) => {
                let port = match &service.port {
                    IntOrString::Int(number) => number.to_string(),
                    IntOrString::String(name) => name.clone(),
                };
                (format!("{}:{port}", service.name), resolver.service(namespace, position, service))
            }
            (None, addresses) => (
                "addresses".to_owned(),
                resolver.addresses(position, addresses.as_deref().unwrap_or_default()),
            ),
        };
        let backends = &mut resolver.resolved.backends;
        // The same Service twice is two backends.
        let mut keys = (1..).map(|count| if count == 1 { key.clone() } else { format!("{key}#{count}") });
        let key = keys.find(|key| !backends.contains_key(key)).unwrap_or_default();
        backends.insert(key, BackendDocument { weight: backend.weight, endpoints });
    }
    resolver.resolved
}

type Endpoints = BTreeMap<String, EndpointDocument>;

struct Resolver<'a> {
    index: &'a Index,
    mode: &'a Mode,
    own: &'a Own,
    starts_slowly: bool,
    /// Zones are told.
    zones: bool,
    resolved: Resolved,
}

impl Resolver<'_> {
    fn problem(&mut self, reason: &'static str, message: String) {
        self.resolved.problems.push(Problem::new(Subject::ResolvedRefs, reason, message));
    }

    fn warning(&mut self, message: String) {
        self.resolved.problems.push(Problem::warning(Subject::ResolvedRefs, message));
    }

    fn addresses(&mut self, position: usize, addresses: &[StaticAddress]) -> Endpoints {
        let mut endpoints = Endpoints::new();
        for (number, static_address) in addresses.iter().enumerate() {
            let place = format!("backends[{position}].addresses[{number}]");
            let Ok(ip) = static_address.address.parse() else {
                self.problem(reason::UNSUPPORTED_VALUE, format!("{place}: not an IP address"));
                continue;
            };
            let address = SocketAddr::new(ip, static_address.port);
            if let Some(why) = self.never(address) {
                self.problem(reason::REF_NOT_PERMITTED, format!("{place}: {address} is {why}"));
                continue;
            }
            let weight = static_address.weight;
            endpoints
                .insert(address.to_string(), EndpointDocument { weight, ..EndpointDocument::at(address) });
        }
        endpoints
    }

    fn service(&mut self, namespace: &str, position: usize, reference: &ServiceReference) -> Endpoints {
        let place = format!("backends[{position}].service");
        let name = ObjectName::new(namespace, &*reference.name);
        if matches!(self.mode, Mode::Files(_)) {
            let message =
                format!("{place}: there are no Services without Kubernetes: name addresses instead");
            self.problem(reason::BACKEND_NOT_FOUND, message);
            return Endpoints::new();
        }
        let index = self.index;
        let Some(service) = index.services().get(&name) else {
            self.problem(reason::BACKEND_NOT_FOUND, format!("{place}: there is no Service {name}"));
            return Endpoints::new();
        };
        if service.type_ == "ExternalName" {
            let message = format!("{place}: Service {name} is an ExternalName, which has no endpoints");
            self.problem(reason::UNSUPPORTED_VALUE, message);
            return Endpoints::new();
        }
        match port_of(service, &reference.port) {
            None => {
                let known: Vec<_> =
                    service.ports.iter().map(|port| format!("{}{}", prefix(&port.name), port.port)).collect();
                let message = format!("{place}.port: Service {name} has no such port; it has {known:?}");
                self.problem(reason::BACKEND_NOT_FOUND, message);
                Endpoints::new()
            }
            Some(port) if port.protocol != "TCP" => {
                let message = format!("{place}.port: is {}, and only TCP can be balanced", port.protocol);
                self.problem(reason::UNSUPPORTED_PROTOCOL, message);
                Endpoints::new()
            }
            Some(port) => self.slices(&place, &name, service, &port.name),
        }
    }

    fn slices(&mut self, place: &str, name: &ObjectName, service: &Service, port: &str) -> Endpoints {
        let index = self.index;
        let slices: Vec<_> = index.slices_of(name).collect();
        if slices.iter().any(|slice| slice.address_type == "FQDN") {
            let message = format!("{place}: Service {name} has slices of type FQDN, which are not supported");
            self.problem(reason::UNSUPPORTED_VALUE, message);
        }
        let mut endpoints = Endpoints::new();
        // One address for each endpoint: the Service's first IP family, else the other.
        let first = service.ip_families.first().map_or("IPv4", String::as_str);
        let of_family = |preferred: bool| {
            slices.iter().filter(move |slice| (slice.address_type == first) == preferred).copied()
        };
        for slice in of_family(true).chain(of_family(false)) {
            let Some(port) = slice.ports.get(port).copied() else { continue };
            for endpoint in &slice.endpoints {
                self.endpoint(place, slice, endpoint, port, &mut endpoints);
            }
        }
        endpoints
    }

    fn endpoint(
        &mut self,
        place: &str,
        slice: &Slice,
        endpoint: &SliceEndpoint,
        port: u16,
        endpoints: &mut Endpoints,
    ) {
        let usable = if endpoint.terminating { endpoint.serving } else { endpoint.ready };
        let Some(ip) = endpoint.address.filter(|_| usable && slice.address_type != "FQDN") else { return };
        let address = SocketAddr::new(ip, port);
        if let Some(why) = self.never(address) {
            self.problem(reason::REF_NOT_PERMITTED, format!("{place}: endpoint {address} is {why}"));
            return;
        }
        let id =
            endpoint.pod.as_ref().map_or_else(|| address.to_string(), |pod| format!("{}:{port}", pod.uid));
        let document = EndpointDocument {
            address,
            weight: self.weight(endpoint),
            terminating: endpoint.terminating,
            ready_since: self.ready_since(endpoint),
            pod: endpoint.pod.as_ref().map(|pod| pod.name.clone()),
            zone: endpoint.zone.clone().filter(|_| self.zones),
        };
        // The same pod may stand in two slices for a moment: ready wins over terminating, the first over the second.
        let known = endpoints.entry(id).or_insert_with(|| document.clone());
        if known.terminating && !document.terminating {
            *known = document;
        }
    }

    fn weight(&mut self, endpoint: &SliceEndpoint) -> u32 {
        let Some(pod) = &endpoint.pod else { return 1 };
        let Some(text) = self.index.pod(&pod.uid).and_then(|pod| pod.weight.as_ref()) else { return 1 };
        match text.parse() {
            Ok(weight) if weight <= MAX_WEIGHT => weight,
            _ => {
                let annotation = labels::WEIGHT;
                self.warning(format!(
                    "pod {}: annotation {annotation}: {text:?} is not a whole number from 0 to {MAX_WEIGHT}: taken for 1",
                    pod.name
                ));
                1
            }
        }
    }

    fn ready_since(&self, endpoint: &SliceEndpoint) -> Option<Timestamp> {
        let pod = endpoint.pod.as_ref().filter(|_| self.starts_slowly)?;
        Timestamp::from_second(self.index.pod(&pod.uid)?.ready_since?).ok()
    }

    /// Why the address can never be an endpoint, if so.
    fn never(&self, address: SocketAddr) -> Option<&'static str> {
        if let Some(own) = self.own.at(address) {
            return Some(own);
        }
        let ip = address.ip().to_canonical();
        let local = matches!(self.mode, Mode::Files(_));
        let special =
            ip.is_unspecified() || ip.is_multicast() || is_link_local(ip) || (ip.is_loopback() && !local);
        special.then_some("loopback, link-local, multicast or unspecified")
    }
}

fn is_link_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_link_local() || ip.is_broadcast(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    }
}

fn prefix(name: &str) -> String {
    if name.is_empty() { String::new() } else { format!("{name}/") }
}

fn port_of<'a>(service: &'a Service, port: &IntOrString) -> Option<&'a ServicePort> {
    let fits = |candidate: &&ServicePort| match port {
        IntOrString::Int(number) => i32::from(candidate.port) == *number,
        IntOrString::String(name) => !name.is_empty() && candidate.name == *name,
    };
    // The same number may stand there over UDP, too.
    let tcp = service.ports.iter().filter(|candidate| candidate.protocol == "TCP").find(fits);
    tcp.or_else(|| service.ports.iter().find(fits))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(own: &Own, address: &str, expect: Option<&str>) {
        assert_eq!(own.at(address.parse().unwrap()), expect, "{address}");
    }

    #[test]
    fn what_leads_to_ourselves() {
        let pods = [("10.0.0.1".parse().unwrap(), "a proxy of our own")].into();
        let listeners = ["192.0.2.1:8080", "127.0.0.1:8080", "[::1]:8080"].map(|text| text.parse().unwrap());
        let own = Own { pods, listeners: listeners.into() };
        check(&own, "10.0.0.1:80", Some("a proxy of our own"));
        check(&own, "[::ffff:10.0.0.1]:80", Some("a proxy of our own"));
        check(&own, "192.0.2.1:8080", Some("a listener of our own"));
        check(&own, "192.0.2.1:8081", None);
        check(&own, "192.0.2.2:8080", None);
        check(&own, "127.0.0.9:8080", Some("a listener of our own"));
        check(&own, "[::ffff:127.0.0.9]:8080", Some("a listener of our own"));
    }
}
