//! What the operator lets a pool do: the rules of its ProxyClass.

use std::{collections::BTreeMap, net::IpAddr};

use evenkeel_api::object::{BalancerPoolSpec, ProxyClassSpec, reason};
use ipnet::IpNet;

use crate::{
    event::ObjectName,
    index::Index,
    problem::{Problem, Subject},
    selector,
};

/// The class of a pool if it serves the pool's namespace and allows all that the pool asks for.
///
/// # Errors
/// What it does not allow. Host names are not looked at: a pool may have some of them and not others.
pub fn admit<'a>(
    index: &'a Index,
    name: &ObjectName,
    spec: &BalancerPoolSpec,
) -> Result<&'a ProxyClassSpec, Vec<Problem>> {
    let class = match index.class(&spec.proxy_class) {
        None => {
            let message = format!("there is no ProxyClass {:?}: make one, or name another", spec.proxy_class);
            return Err(vec![Problem::new(Subject::Accepted, reason::PROXY_CLASS_NOT_FOUND, message)]);
        }
        Some(Err(error)) => {
            let message = format!("ProxyClass {:?} cannot be read: {error}", spec.proxy_class);
            return Err(vec![Problem::new(Subject::Accepted, reason::PROXY_CLASS_NOT_FOUND, message)]);
        }
        Some(Ok(class)) => class,
    };
    let mut refused = Vec::new();
    let labels = index.namespace_labels(&name.namespace).unwrap_or(&NO_LABELS);
    if !selector::matches(&class.namespace_selector, labels) {
        refused
            .push(format!("ProxyClass {:?} does not serve namespace {:?}", spec.proxy_class, name.namespace));
    }
    let type_ = spec.service.type_;
    if !class.service_types.contains(&type_) {
        let allowed: Vec<_> = class.service_types.iter().map(|type_| type_.as_str()).collect();
        refused.push(format!(
            "service.type: {} is not allowed by the class, which allows {allowed:?}",
            type_.as_str()
        ));
    }
    for key in spec.service.annotations.keys().filter(|key| !annotation_allowed(class, key)) {
        refused.push(format!("service.annotations: {key:?} is not among the class's allowedAnnotations"));
    }
    for (place, address) in static_addresses(spec) {
        if !address.is_some_and(|address| address_allowed(class, address)) {
            refused.push(format!("{place}: not within the class's staticAddresses"));
        }
    }
    if refused.is_empty() {
        return Ok(class);
    }
    let problem = |message| Problem::new(Subject::Accepted, reason::NOT_ALLOWED_BY_CLASS, message);
    Err(refused.into_iter().map(problem).collect())
}

/// Whether the class lets the namespace use the host name.
#[must_use]
pub fn hostname_allowed(
    class: &ProxyClassSpec,
    labels: Option<&BTreeMap<String, String>>,
    hostname: &str,
) -> bool {
    let labels = labels.unwrap_or(&NO_LABELS);
    let granted = class.hostnames.iter().filter(|grant| selector::matches(&grant.namespace_selector, labels));
    granted.flat_map(|grant| &grant.hostnames).any(|pattern| match pattern.strip_prefix('*') {
        Some("") => true,
        Some(suffix) => hostname.len() > suffix.len() && hostname.ends_with(suffix),
        None => pattern == hostname,
    })
}

static NO_LABELS: BTreeMap<String, String> = BTreeMap::new();

fn annotation_allowed(class: &ProxyClassSpec, key: &str) -> bool {
    class.allowed_annotations.iter().any(|pattern| match pattern.strip_suffix('*') {
        Some(prefix) => key.starts_with(prefix),
        None => pattern == key,
    })
}

fn static_addresses(spec: &BalancerPoolSpec) -> impl Iterator<Item = (String, Option<IpAddr>)> {
    spec.backends.iter().enumerate().flat_map(|(backend, of)| {
        let addresses = of.addresses.iter().flatten().enumerate();
        addresses.map(move |(index, address)| {
            let place = format!("backends[{backend}].addresses[{index}].address {}", address.address);
            (place, address.address.parse().ok())
        })
    })
}

fn address_allowed(class: &ProxyClassSpec, address: IpAddr) -> bool {
    class
        .static_addresses
        .iter()
        .filter_map(|cidr| cidr.parse::<IpNet>().ok())
        .any(|cidr| cidr.contains(&address))
}
