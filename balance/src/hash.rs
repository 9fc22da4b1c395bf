//! Which endpoint a key belongs to: the functions that hash, and the tables from hash to endpoint.
//!
//! Nothing here depends on the order in which endpoints are given, so that every proxy and thread agrees without state.

mod function;
mod maglev;
mod rendezvous;
mod ring;
mod text;

pub use function::HashFunction;
pub(crate) use {
    maglev::Maglev,
    rendezvous::{Rendezvous, node, rendezvous},
    ring::Ring,
};

use std::net::IpAddr;

/// Seed of the hash of a key, so that a key that is an endpoint's name does not fall on that endpoint.
const KEY_SEED: u32 = 0x6b65_7973;

/// Hash of a request's key.
pub(crate) fn key(function: HashFunction, bytes: &[u8]) -> u64 {
    function.hash(bytes, KEY_SEED)
}

/// Hash of the network of a client; an IPv4 address within IPv6 is the same client.
pub(crate) fn client(function: HashFunction, client: IpAddr, ipv4_prefix: u8, ipv6_prefix: u8) -> u64 {
    match client.to_canonical() {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(ipv4_prefix.min(32))).unwrap_or(0);
            key(function, &(address.to_bits() & mask).to_be_bytes())
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(ipv6_prefix.min(128))).unwrap_or(0);
            key(function, &(address.to_bits() & mask).to_be_bytes())
        }
    }
}

#[cfg(test)]
mod tests;
