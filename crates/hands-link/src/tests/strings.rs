//! What operators copy and paste, and what certificates call people.

use hands_types::{MemberId, Role, Roles};

use crate::join::{JOIN, seal};
use crate::trust::{Named, hub_uri, member_uri, read_uri};
use crate::{HostPort, JoinString, ParseJoinError, ParseRouteError, Pin, Route, TokenSecret};

fn join() -> JoinString {
    JoinString {
        routes: ["10.1.2.3:8980", "[fd00::1]:99", "hub.example.org"]
            .map(|a| a.parse::<Route>().unwrap())
            .to_vec(),
        pin: Pin([0xa5; 32]),
        token: TokenSecret::new([1, 2, 3, 4, 5, 6, 7, 8], [0x77; 32]),
        is_one_use: true,
    }
}

#[test]
fn a_join_string_is_read_back_and_any_change_is_noticed() {
    let text = join().to_string();
    assert!(text.starts_with("hands1:10.1.2.3:8980,[fd00::1]:99,hub.example.org:8980/"), "{text}");
    assert_eq!(text.parse(), Ok(join()));
    assert_eq!(format!("\n {text}\n").parse(), Ok(join()));
    let many = JoinString { is_one_use: false, ..join() };
    assert_eq!(many.to_string().parse(), Ok(many));
    // Cut off, one letter changed, one left out: never taken for another string, and never a panic.
    for at in 0..text.len() {
        assert!(text[..at].parse::<JoinString>().is_err(), "cut at {at}");
        let mut changed = text.clone().into_bytes();
        changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(changed).unwrap();
        assert!(changed.parse::<JoinString>().is_err(), "{changed}");
        let mut shorter = text.clone();
        shorter.remove(at);
        assert!(shorter.parse::<JoinString>().is_err(), "{shorter}");
    }
    for bad in ["", "hands1:", "hands1:/", "hands1:é/é", "hands2:x/y", &"hands1:a,".repeat(9000)]
    {
        bad.parse::<JoinString>().expect_err(bad);
    }
    let shown = format!("{:?}", join());
    assert!(!shown.contains("119") && !shown.contains("7777"), "a secret in a log: {shown}");
}

#[test]
fn routes_of_later_versions_are_passed_over_and_broken_ones_are_not() {
    let of = |list: &str| {
        let body = [&[1][..], &[0xa5; 32], &[1, 2, 3, 4, 5, 6, 7, 8], &[0x77; 32]].concat();
        let data = seal(&[JOIN.as_bytes(), list.as_bytes()], &[&body]);
        format!("{JOIN}{list}/{data}").parse::<JoinString>()
    };
    let mixed = of(
        "hub.example.org:8980,quic://10.0.0.1:8980,tcp://10.0.0.1:99,ssh://user@build/x,ssh+tcp://h,quic-v2://ü,tcp://h:1/later",
    );
    let routes: Vec<String> = mixed.unwrap().routes.iter().map(ToString::to_string).collect();
    assert_eq!(routes, ["hub.example.org:8980", "10.0.0.1:99"]);
    // It is whole, so it must not be called damaged.
    assert_eq!(of("quic://10.0.0.1:8980"), Err(ParseJoinError::NoRoute));
    for broken in ["", "a b", "tcp://", "a://b c", "Quic://x", "://x", "quic://", "hub,"] {
        assert_eq!(of(broken), Err(ParseJoinError::Damaged), "{broken}");
    }
    assert_eq!("quic://h".parse::<Route>(), Err(ParseRouteError::UnknownKind));
}

#[test]
fn a_bearer_token_is_read_back_and_is_no_join_string() {
    let token = join().token;
    let text = token.bearer();
    assert_eq!(TokenSecret::parse_bearer(&text).as_ref(), Ok(&token));
    assert_eq!(text.parse::<JoinString>(), Err(ParseJoinError::NotAJoinString));
    let joined = join().to_string();
    assert_eq!(TokenSecret::parse_bearer(&joined), Err(ParseJoinError::NotAToken));
    for at in 0..text.len() {
        TokenSecret::parse_bearer(&text[..at]).unwrap_err();
    }
    assert_eq!(token.to_string(), "0102030405060708");
}

#[test]
fn hosts_are_read_as_people_write_them() {
    for (text, shown) in [
        ("hub", "hub:8980"),
        ("Hub.Example.org:99", "hub.example.org:99"),
        ("10.0.0.1", "10.0.0.1:8980"),
        ("fd00::1", "[fd00::1]:8980"),
        ("[fd00::1]:7", "[fd00::1]:7"),
    ] {
        let host: HostPort = text.parse().unwrap_or_else(|e| panic!("{text}: {e}"));
        assert_eq!(host.to_string(), shown);
        assert_eq!(shown.parse(), Ok(host));
    }
    for text in ["", ":1", "a b", "a:x", "a:70000", "-a", "a..b", "a,b", "10.0.0", "10.0.0.1.2"] {
        text.parse::<HostPort>().expect_err(text);
    }
}

#[test]
fn names_in_certificates_belong_to_one_domain() {
    let pin = Pin([0xa5; 32]);
    let domain = pin.domain();
    assert_eq!(domain, format!("h{}", "a5".repeat(10)));
    assert_eq!(pin.to_string().parse(), Ok(pin));
    let roles = Roles::NONE.with(Role::Submit).with(Role::CacheWrite);
    let member = MemberId(7);
    let uri = member_uri(&domain, roles, member);
    assert_eq!(read_uri(&domain, &uri), Some(Named::Member(member, roles)));
    assert_eq!(read_uri(&domain, &hub_uri(&domain, "x")), Some(Named::Hub));
    for foreign in [
        hub_uri("ffffffffffffffffffff", "x"),
        uri.replace("spiffe://", "https://"),
        uri.replace("submit", "boss"),
        format!("{uri}/more"),
        format!("spiffe://{domain}"),
        String::new(),
    ] {
        assert_eq!(read_uri(&domain, &foreign), None, "{foreign}");
    }
}
