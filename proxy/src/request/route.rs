//! Which pool a request belongs to: by the port that it came in at, or by its host on the shared port.

use std::{borrow::Cow, collections::HashMap, sync::Arc};

use crate::snapshot::Pool;

/// Where a client came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Entrance {
    /// A pool's own port: any host.
    Port(u16),
    /// The fleet's shared port: the host selects the pool.
    Shared,
}

/// The way from entrances to pools.
#[derive(Debug)]
pub(crate) struct Routes<T = Arc<Pool>> {
    ports: HashMap<u16, T>,
    exact: HashMap<String, T>,
    /// By what follows `*.`.
    wildcard: HashMap<String, T>,
}

impl<T> Default for Routes<T> {
    fn default() -> Self {
        Self { ports: HashMap::new(), exact: HashMap::new(), wildcard: HashMap::new() }
    }
}

impl Routes {
    /// The routes to `pools`, no two of which claim the same port or name; where there is no shared port, names lead
    /// nowhere.
    pub(crate) fn new<'a>(pools: impl Iterator<Item = &'a Arc<Pool>>, shared_port: Option<u16>) -> Self {
        let mut routes = Self::default();
        for pool in pools {
            for listener in pool.document.listeners.values() {
                routes.add_port(listener.port, Arc::clone(pool));
                for hostname in listener.hostnames.iter().filter(|_| shared_port.is_some()) {
                    routes.add_name(hostname, Arc::clone(pool));
                }
            }
        }
        routes
    }
}

impl<T> Routes<T> {
    fn add_port(&mut self, port: u16, pool: T) {
        self.ports.insert(port, pool);
    }

    fn add_name(&mut self, hostname: &str, pool: T) {
        let hostname = hostname.to_ascii_lowercase();
        match hostname.strip_prefix("*.") {
            Some(domain) => self.wildcard.insert(domain.to_owned(), pool),
            None => self.exact.insert(hostname, pool),
        };
    }

    /// The pool of a request. `host` is that of the request without a port, in any case; empty if it has none. An exact
    /// name goes before a wildcard, a longer wildcard before a shorter; a wildcard stands for one label or more.
    pub(crate) fn find(&self, entrance: Entrance, host: &str) -> Option<&T> {
        match entrance {
            Entrance::Port(port) => self.ports.get(&port),
            Entrance::Shared => {
                let host = lowercase(host.strip_suffix('.').unwrap_or(host));
                self.exact.get(&*host).or_else(|| {
                    let domains = host.match_indices('.').map(|(dot, _)| &host[dot + 1..]);
                    domains.filter(|_| !host.starts_with('.')).find_map(|domain| self.wildcard.get(domain))
                })
            }
        }
    }
}

fn lowercase(host: &str) -> Cow<'_, str> {
    if host.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(host.to_ascii_lowercase())
    } else {
        Cow::Borrowed(host)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(names: &[&'static str], host: &str, expect: Option<&str>) {
        let mut routes = Routes::default();
        for name in names {
            routes.add_name(name, *name);
        }
        assert_eq!(routes.find(Entrance::Shared, host).copied(), expect, "{host}");
    }

    #[test]
    fn names_select() {
        let names = ["shop.example.com", "*.example.com", "*.eu.example.com", "Other.test"];
        check(&names, "shop.example.com", Some("shop.example.com"));
        check(&names, "SHOP.Example.com", Some("shop.example.com"));
        check(&names, "shop.example.com.", Some("shop.example.com"));
        check(&names, "cart.example.com", Some("*.example.com"));
        check(&names, "a.b.example.com", Some("*.example.com"));
        check(&names, "a.eu.example.com", Some("*.eu.example.com"));
        check(&names, "a.b.eu.example.com", Some("*.eu.example.com"));
        check(&names, "other.test", Some("Other.test"));
        for unknown in
            ["example.com", ".example.com", "xexample.com", "shop.example.org", "", ".", "10.0.0.1"]
        {
            check(&names, unknown, None);
        }
    }

    #[test]
    fn a_port_takes_any_host() {
        let mut routes = Routes::default();
        routes.add_port(10_000, "pool");
        assert_eq!(routes.find(Entrance::Port(10_000), "any").copied(), Some("pool"));
        assert_eq!(routes.find(Entrance::Port(10_001), "any"), None);
    }
}
