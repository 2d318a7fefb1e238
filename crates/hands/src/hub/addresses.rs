//! Where a hub listens, and what others call those places.

use std::fs;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, UdpSocket};
use std::path::PathBuf;

use hands_config::Places;
use hands_link::{Address, HostPort};
use hands_types::ErrorClass;

use crate::cli::HubArgs;
use crate::problem::Problem;

/// One place to listen on.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) address: Address,
    pub(super) over_tls: bool,
    /// Another place like it is there for those who do not find this one.
    pub(super) is_spare: bool,
}

/// All places, in the order in which they were named.
pub(super) fn places(args: &HubArgs, places: &Places) -> Result<Vec<Place>, Problem> {
    let mut found = Vec::new();
    for text in &args.listen {
        let wrong = |why: String| Problem::new(ErrorClass::User, format!("--listen {text}: {why}"));
        let address: Address = text.parse().map_err(|error| wrong(format!("{error}")))?;
        let over_tls = match &address {
            Address::Unix(_) => false,
            Address::Tcp(_) => !(args.insecure_loopback && address.is_local()),
            Address::Member(_) | Address::Engine(_) => {
                return Err(wrong("is where another hub is".to_owned()));
            }
        };
        if args.insecure_loopback && over_tls {
            return Err(wrong("is not on the loopback, so it does not go without TLS".to_owned())
                .hint("leave out --insecure-loopback; the hub makes its own certificates"));
        }
        found.push(Place { address, over_tls, is_spare: false });
    }
    // The hub's own user always has a way in, to make the first token.
    let [beside, among] = places.hub_sockets();
    let own = match &args.state {
        Some(state) if !found.is_empty() => vec![state.join("hub.sock")],
        Some(_) => vec![among],
        None => vec![among, beside],
    };
    if found.iter().all(|place| place.over_tls) {
        found.extend(own.into_iter().enumerate().map(|(n, path)| Place {
            address: Address::Unix(path),
            over_tls: false,
            is_spare: n > 0,
        }));
    }
    Ok(found)
}

/// What the hub's own user must add to a command, with a space before it, where its socket is not one of those that are looked
/// at anyway.
pub(super) fn flag(listening: &[Place], places: &Places) -> String {
    let known = places.hub_sockets();
    let sockets: Vec<&PathBuf> = listening
        .iter()
        .filter_map(|place| match &place.address {
            Address::Unix(path) => Some(path),
            Address::Tcp(_) | Address::Member(_) | Address::Engine(_) => None,
        })
        .collect();
    match sockets.first() {
        Some(path) if !sockets.iter().any(|path| known.contains(path)) => {
            let path = std::path::absolute(path).unwrap_or_else(|_| (*path).clone());
            format!(" --cluster unix:{}", path.display())
        }
        Some(_) | None => String::new(),
    }
}

/// What stands in join strings: the names that were given, then where the listeners are.
pub(super) fn public(names: &[String], listening: &[SocketAddr]) -> Result<Vec<HostPort>, Problem> {
    let mut found: Vec<HostPort> = Vec::new();
    let mut add = |address: HostPort| {
        if !found.contains(&address) {
            found.push(address);
        }
    };
    let port = listening.first().map_or(hands_link::DEFAULT_PORT, SocketAddr::port);
    for name in names {
        let mut address: HostPort = name.parse().map_err(|error| {
            Problem::new(ErrorClass::User, format!("--public-name {name}: {error}"))
        })?;
        // A name without a port means the one that we listen on.
        let has_port = name.parse::<SocketAddr>().is_ok()
            || (name.parse::<IpAddr>().is_err()
                && name.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok()));
        if !has_port {
            address.port = port;
        }
        add(address);
    }
    for address in listening {
        if !address.ip().is_unspecified() {
            add((*address).into());
            continue;
        }
        let machine: Vec<IpAddr> = machine_addresses()
            .into_iter()
            .filter(|ip| address.is_ipv6() || ip.is_ipv4())
            .collect();
        for ip in &machine {
            add(SocketAddr::new(*ip, address.port()).into());
        }
        if machine.is_empty() {
            add(SocketAddr::new(IpAddr::from([127, 0, 0, 1]), address.port()).into());
        }
    }
    Ok(found)
}

/// The addresses of this machine that others may reach; first the one by which it reaches the world.
fn machine_addresses() -> Vec<IpAddr> {
    let mut found: Vec<IpAddr> = Vec::new();
    // Connecting a datagram socket sends nothing; the addresses are those of documentation (RFC 5737, RFC 3849).
    for (from, to) in [("0.0.0.0:0", "192.0.2.1:9"), ("[::]:0", "[2001:db8::1]:9")] {
        let address = UdpSocket::bind(from)
            .and_then(|socket| socket.connect(to).and_then(|()| socket.local_addr()));
        found.extend(address.ok().map(|address| address.ip()));
    }
    found.extend(ipv4(&fs::read_to_string("/proc/net/fib_trie").unwrap_or_default()));
    found.extend(ipv6(&fs::read_to_string("/proc/net/if_inet6").unwrap_or_default()));
    let mut seen = Vec::new();
    for ip in found {
        if !ip.is_loopback() && !ip.is_unspecified() && !seen.contains(&ip) {
            seen.push(ip);
        }
    }
    seen
}

/// Local addresses of the kernel's routing table: an address stands in the line before its `/32 host LOCAL`.
fn ipv4(table: &str) -> Vec<IpAddr> {
    let mut last = None;
    let mut found = Vec::new();
    for line in table.lines().map(str::trim) {
        if let Some(address) = line.strip_prefix("|-- ") {
            last = address.parse::<IpAddr>().ok();
        } else if line.starts_with("/32 host LOCAL") {
            found.extend(last);
        }
    }
    found
}

/// Global addresses: 32 hexadecimal digits, then index, prefix length and scope, of which 00 is global.
fn ipv6(table: &str) -> Vec<IpAddr> {
    let read = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let bits = u128::from_str_radix(words.first()?, 16).ok()?;
        (*words.get(3)? == "00").then(|| IpAddr::V6(Ipv6Addr::from(bits)))
    };
    table.lines().filter_map(read).collect()
}
