//! Whose request it is.

use std::net::{IpAddr, SocketAddr};

use http::HeaderMap;
use ipnet::IpNet;

use super::headers::FORWARDED_FOR;

/// The address of the client: that of the peer, unless the peer is trusted and says for whom it asks
/// (`X-Forwarded-For`). Of those listed it is the last that is not trusted: what stands before it, anyone may have
/// written. What is no address ends the search.
pub(crate) fn address(headers: &HeaderMap, peer: IpAddr, trusted: &[IpNet]) -> IpAddr {
    let trusts = |address: &IpAddr| trusted.iter().any(|network| network.contains(address));
    if !trusts(&peer) {
        return peer;
    }
    let values = headers.get_all(FORWARDED_FOR).iter().rev();
    let listed = values.flat_map(|value| value.as_bytes().rsplit(|byte| *byte == b',')).map_while(parse);
    let mut client = peer;
    for address in listed {
        if !trusts(&client) {
            break;
        }
        client = address;
    }
    client
}

/// Some write a port after the address, or brackets around one of IPv6.
fn parse(text: &[u8]) -> Option<IpAddr> {
    let text = str::from_utf8(text.trim_ascii()).ok()?;
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let address = bare.parse().or_else(|_| text.parse().map(|with_port: SocketAddr| with_port.ip())).ok()?;
    Some(IpAddr::to_canonical(&address))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn check(peer: &str, listed: &[&str], expect: &str) {
        let trusted = ["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()];
        let value = |text: &&str| (FORWARDED_FOR, HeaderValue::from_str(text).unwrap());
        let headers = listed.iter().map(value).fold(HeaderMap::new(), |mut headers, (name, value)| {
            headers.append(name, value);
            headers
        });
        let found = address(&headers, peer.parse().unwrap(), &trusted);
        assert_eq!(found, expect.parse::<IpAddr>().unwrap(), "{peer}, for {listed:?}");
    }

    #[test]
    fn the_last_that_is_not_trusted_is_the_client() {
        check("192.0.2.1", &[], "192.0.2.1");
        check("192.0.2.1", &["192.0.2.9"], "192.0.2.1");
        check("10.0.0.1", &[], "10.0.0.1");
        check("10.0.0.1", &["192.0.2.9"], "192.0.2.9");
        check("10.0.0.1", &["192.0.2.8, 192.0.2.9"], "192.0.2.9");
        check("10.0.0.1", &["192.0.2.8,192.0.2.9 , 10.0.0.2"], "192.0.2.9");
        check("10.0.0.1", &["192.0.2.8", "192.0.2.9", "10.0.0.2"], "192.0.2.9");
        check("10.0.0.1", &["10.0.0.3, 10.0.0.2"], "10.0.0.3");
        check("fd00::1", &["2001:db8::9"], "2001:db8::9");
    }

    #[test]
    fn what_is_no_address_ends_the_search() {
        check("10.0.0.1", &["unknown"], "10.0.0.1");
        check("10.0.0.1", &["192.0.2.9, nobody, 10.0.0.2"], "10.0.0.2");
        check("10.0.0.1", &["192.0.2.9,"], "10.0.0.1");
    }

    #[test]
    fn ports_brackets_and_ipv4_within_ipv6_are_read() {
        check("10.0.0.1", &["192.0.2.9:4711"], "192.0.2.9");
        check("10.0.0.1", &["[2001:db8::9]"], "2001:db8::9");
        check("10.0.0.1", &["[2001:db8::9]:4711"], "2001:db8::9");
        check("10.0.0.1", &["::ffff:192.0.2.9"], "192.0.2.9");
    }
}
