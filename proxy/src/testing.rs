//! Documents for unit tests.

use std::collections::BTreeMap;

use evenkeel_api::{
    channel::{BackendDocument, EndpointDocument, ListenerDocument, PoolDocument},
    object::{Algorithm, AlgorithmType},
};

/// The pool `shop/checkout` at `port`, round robin over `endpoints`.
pub(crate) fn document(port: u16, endpoints: &[&str]) -> PoolDocument {
    let endpoint = |address: &&str| {
        let address = address.parse().unwrap();
        ((*address_text(&address)).to_owned(), EndpointDocument::at(address))
    };
    let backend = BackendDocument { weight: 1, endpoints: endpoints.iter().map(endpoint).collect() };
    PoolDocument {
        namespace: "shop".to_owned(),
        name: "checkout".to_owned(),
        generation: 1,
        listeners: BTreeMap::from([("web".to_owned(), ListenerDocument { port, hostnames: vec![] })]),
        backends: BTreeMap::from([("all".to_owned(), backend)]),
        algorithm: Algorithm { type_: AlgorithmType::RoundRobin, ..Algorithm::default() },
        ..PoolDocument::default()
    }
}

fn address_text(address: &std::net::SocketAddr) -> String {
    address.to_string()
}
