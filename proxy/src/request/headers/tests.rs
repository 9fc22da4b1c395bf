use super::*;

fn map(lines: &[(&str, &str)]) -> HeaderMap {
    lines
        .iter()
        .map(|(name, value)| (HeaderName::try_from(*name).unwrap(), HeaderValue::try_from(*value).unwrap()))
        .collect()
}

fn host(uri: &str, version: Version, headers: &[(&str, &str)]) -> Result<String, String> {
    let host = Host::of(&uri.parse().unwrap(), version, &map(headers)).map_err(|error| error.to_string())?;
    Ok(format!("{} {}", host.name(), host.value.to_str().unwrap()))
}

#[test]
fn hosts() {
    let one = Version::HTTP_11;
    assert_eq!(host("/", one, &[("host", "shop.test:80")]).unwrap(), "shop.test shop.test:80");
    assert_eq!(host("/", one, &[("host", "[::1]:80")]).unwrap(), "[::1] [::1]:80");
    assert_eq!(host("/", one, &[("host", "")]).unwrap(), " ");
    assert_eq!(host("/", Version::HTTP_10, &[]).unwrap(), " ");
    assert_eq!(host("http://a.test/x", one, &[("host", "b.test")]).unwrap(), "a.test a.test");
    assert_eq!(host("http://a.test/x", Version::HTTP_2, &[]).unwrap(), "a.test a.test");
    assert!(host("http://a.test/x", Version::HTTP_2, &[("host", "b.test")]).is_err());
    assert!(host("/", one, &[]).is_err());
    assert!(host("/", one, &[("host", "a"), ("host", "a")]).is_err());
    for bad in ["a b", "a/b", "user@a", "a:b", "[::1", "[x]", ":80", "a:80:80", "a?b", "a#b", "a\"b", "a\\b"]
    {
        assert!(host("/", one, &[("host", bad)]).is_err(), "{bad}");
    }
}

#[test]
fn what_connection_names_goes() {
    let mut headers = map(&[
        ("connection", "close, X-One"),
        ("connection", "x-two ,keep-alive"),
        ("x-one", "1"),
        ("x-two", "2"),
        ("keep-alive", "timeout=5"),
        ("proxy-connection", "keep-alive"),
        ("te", "gzip"),
        ("transfer-encoding", "chunked"),
        ("upgrade", "websocket"),
        ("x-three", "3"),
    ]);
    let named = strip(&mut headers);
    assert_eq!(headers, map(&[("x-three", "3")]));
    let mut trailers = map(&[("x-one", "1"), ("x-four", "4"), ("content-length", "1"), ("x_five", "5")]);
    strip_trailers(&mut trailers, &named);
    assert_eq!(trailers, map(&[("x-four", "4")]));
}

fn check_forwarded(peer: &str, trusted: bool, before: &[(&str, &str)], after: &[(&str, &str)]) {
    let mut headers = map(before);
    forwarded(&mut headers, peer.parse().unwrap(), &HeaderValue::from_static("a.test:80"), trusted);
    assert_eq!(headers, map(after));
}

#[test]
fn a_stranger_is_not_believed() {
    let claimed = [
        ("x-forwarded-for", "6.6.6.6"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "evil.test"),
        ("forwarded", "for=6.6.6.6"),
    ];
    let told = [
        ("forwarded", "for=10.0.0.1;proto=http;host=\"a.test:80\""),
        ("x-forwarded-for", "10.0.0.1"),
        ("x-forwarded-proto", "http"),
        ("x-forwarded-host", "a.test:80"),
    ];
    check_forwarded("10.0.0.1", false, &claimed, &told);
}

#[test]
fn a_trusted_peer_is_added_to() {
    let claimed = [
        ("x-forwarded-for", "6.6.6.6"),
        ("x-forwarded-for", "7.7.7.7"),
        ("x-forwarded-proto", "https"),
        ("forwarded", "for=6.6.6.6"),
    ];
    let told = [
        ("forwarded", "for=6.6.6.6, for=\"[fd00::1]\";proto=http;host=\"a.test:80\""),
        ("x-forwarded-for", "6.6.6.6, 7.7.7.7, fd00::1"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "a.test:80"),
    ];
    check_forwarded("fd00::1", true, &claimed, &told);
}

#[test]
fn loops_are_seen() {
    let passage = Passage::new(1, 2);
    let own = passage.via(Version::HTTP_11).to_str().unwrap();
    assert_eq!(own, "1.1 evenkeel-00000001-00000002");
    assert!(passage.leads_back(&map(&[("via", "1.0 fred"), ("via", &format!("2 x, {own} (comment)"))])));
    assert!(!passage.leads_back(&map(&[("via", "1.1 evenkeel-00000001-00000003")])));
    assert!(passage.leads_back(&map(&[("via", "1.1 x,".repeat(limits::HOPS + 1).as_str())])));
}

#[test]
fn max_forwards_counts_down() {
    let mut headers = map(&[("max-forwards", "1")]);
    assert!(matches!(reach(&Method::GET, &mut headers), Reach::On));
    assert!(matches!(reach(&Method::OPTIONS, &mut headers), Reach::On));
    assert!(matches!(reach(&Method::TRACE, &mut headers), Reach::Here));
}
