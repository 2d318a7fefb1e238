use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use hands_link::{ConnectionId, Peer, Standing};
use hands_proto::MessageBound;
use hands_types::{MemberId, Role, Roles};

use super::bounds::{BOUNDS, Bound};
use super::meter::{ALL, Client};
use super::table::METHODS;
use super::{Principal, check, method};

/// The services of the user's own agent, which listens on that user's sockets only.
const ELSEWHERE: &[&str] = &["/hands.v1.Agent/"];

fn protos(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            protos(&path, found);
        } else if path.extension().is_some_and(|e| e == "proto") {
            found.push(path);
        }
    }
}

/// Every method of every service that `proto/` has.
fn defined() -> BTreeSet<String> {
    let mut files = Vec::new();
    protos(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../proto"), &mut files);
    let mut methods = BTreeSet::new();
    for file in files {
        let text = std::fs::read_to_string(file).unwrap();
        let (mut package, mut service) = ("", "");
        for line in text.lines().map(str::trim) {
            let mut words = line.split(|c: char| c.is_whitespace() || "({;".contains(c));
            match words.next() {
                Some("package") => package = words.next().unwrap(),
                Some("service") => service = words.next().unwrap(),
                Some("rpc") => {
                    methods.insert(format!("/{package}.{service}/{}", words.next().unwrap()));
                }
                _ => {}
            }
        }
    }
    methods
}

#[test]
fn the_table_has_every_method_and_no_other() {
    assert!(METHODS.is_sorted_by(|a, b| a.path < b.path), "binary search needs the order");
    let named: BTreeSet<String> = METHODS.iter().map(|m| m.path.to_owned()).collect();
    let defined: BTreeSet<String> = defined()
        .into_iter()
        .filter(|path| !ELSEWHERE.iter().any(|prefix| path.starts_with(prefix)))
        .collect();
    assert!(defined.len() > 30, "the files were read: {defined:?}");
    assert_eq!(named, defined);
}

#[test]
fn each_role_may_call_what_the_documentation_says() {
    let may = |role: Role| -> Vec<&str> {
        let principal = Principal::Member(MemberId(1), Roles::NONE.with(role));
        let allowed = METHODS.iter().filter(|m| !m.is_open && check(Some(m), &principal).is_ok());
        allowed.map(|m| m.path.rsplit_once('.').unwrap().1).collect()
    };
    let read = [
        "Fetch/FetchBlob",
        "Fetch/FetchDirectory",
        "ActionCache/GetActionResult",
        "ContentAddressableStorage/BatchReadBlobs",
        "ContentAddressableStorage/FindMissingBlobs",
        "ContentAddressableStorage/GetTree",
        "ContentAddressableStorage/SplitBlob",
        "Execution/WaitExecution",
        "ByteStream/Read",
        "Operations/GetOperation",
        "Operations/ListOperations",
        "Operations/WaitOperation",
        "Jobs/Get",
        "Jobs/Info",
        "Jobs/List",
        "Jobs/ListWorkers",
        "Jobs/Overview",
        "Stores/Names",
        "Stores/Usage",
    ];
    let upload = [
        "ContentAddressableStorage/BatchUpdateBlobs",
        "ContentAddressableStorage/SpliceBlob",
        "ByteStream/QueryWriteStatus",
        "ByteStream/Write",
    ];
    let submit = [
        "Execution/Execute",
        "Operations/CancelOperation",
        "Operations/DeleteOperation",
        "Actions/Session",
        "Jobs/Attach",
        "Jobs/CloseOutput",
        "Jobs/Feed",
    ];
    let cache = ["ActionCache/UpdateActionResult", "Push/PushBlob", "Push/PushDirectory"];
    let admin = [
        "v1.Authority/CreateToken",
        "v1.Authority/ListMembers",
        "v1.Authority/ListTokens",
        "v1.Authority/RemoveMember",
        "v1.Authority/RevokeToken",
        "Jobs/DrainWorker",
        "Stores/Collect",
        "Stores/Pin",
        "Stores/Unpin",
        "Stores/Verify",
    ];
    let set = |groups: &[&[&'static str]]| -> BTreeSet<&str> {
        groups.concat().into_iter().map(|m| m.trim_start_matches("v1.")).collect()
    };
    let is = |role: Role| -> BTreeSet<&str> { may(role).into_iter().collect() };
    assert_eq!(is(Role::Read), set(&[&read]));
    assert_eq!(is(Role::Publish), set(&[&read, &upload]));
    assert_eq!(is(Role::CacheWrite), set(&[&read, &upload, &cache]));
    assert_eq!(is(Role::Submit), set(&[&read, &upload, &submit]));
    assert_eq!(is(Role::Admin), set(&[&read, &upload, &submit, &cache, &admin]));
    let blobs = [
        "ActionCache/GetActionResult",
        "ContentAddressableStorage/BatchReadBlobs",
        "ContentAddressableStorage/FindMissingBlobs",
        "ContentAddressableStorage/GetTree",
        "ContentAddressableStorage/SplitBlob",
        "ByteStream/Read",
        "Workers/Session",
    ];
    assert_eq!(is(Role::Worker), set(&[&blobs, &upload]));
}

#[test]
fn what_is_not_in_the_table_is_nobodys() {
    for path in ["", "/", "/hands.v1.Agent/Stop", "/hands.v1.Jobs/", "/hands.v1.Jobs/infO"] {
        assert!(method(path).is_none(), "{path}");
        let status = check(method(path), &Principal::Local).unwrap_err();
        assert_eq!(status.code(), tonic::Code::Unimplemented);
    }
    // A bearer is nobody's worker, and a loopback port is nobody's admin.
    let session = method("/hands.v1.Workers/Session");
    check(session, &Principal::Bearer([1; 8], Roles::all())).unwrap_err();
    check(session, &Principal::Loopback).unwrap();
    check(method("/hands.v1.Authority/CreateToken"), &Principal::Loopback).unwrap_err();
}

mod door;
mod joining;
mod sessions;

/// The table of `docs/limits.md`.
fn bounds_for_people() -> String {
    let size = |bytes: usize| match bytes {
        n if n.is_multiple_of(1 << 20) => format!("{} MiB", n >> 20),
        n => format!("{} KiB", n >> 10),
    };
    let row = |Bound { path, message }: &Bound| {
        let MessageBound { request, memory, answer, streams } = message;
        let name = path.trim_start_matches('/');
        let name = name.strip_prefix("build.bazel.remote.").unwrap_or(name);
        let each = if *streams { ", each" } else { "" };
        format!("| `{name}` | {}{each} | {} | {} |\n", size(*request), size(*memory), size(*answer))
    };
    let rows: String = BOUNDS.iter().map(row).collect();
    format!(
        "The messages of all clients take {} together. {} calls of one client wait for room at once.\n\n\
         | method | request | in memory | answer |\n| --- | --- | --- | --- |\n{rows}",
        size(ALL),
        hands_proto::MOST_WAITING,
    )
}

#[test]
fn the_bounds_have_every_method_and_are_what_the_docs_say() {
    assert!(BOUNDS.is_sorted_by(|a, b| a.path < b.path), "binary search needs the order");
    let bounded: Vec<&str> = BOUNDS.iter().map(|bound| bound.path).collect();
    let methods: Vec<&str> = METHODS.iter().map(|method| method.path).collect();
    assert_eq!(bounded, methods);
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/limits.md");
    let docs = std::fs::read_to_string(docs).unwrap();
    let table = bounds_for_people();
    assert!(docs.contains(&table), "docs/limits.md must have this:\n\n{table}");
}

/// Many behind one address are as many as they are, wherever it is known who they are.
#[test]
fn limits_count_principals_and_addresses_of_strangers_only() {
    let roles = Roles::all();
    let principals = [
        Some(Principal::Member(MemberId(1), roles)),
        Some(Principal::Member(MemberId(2), roles)),
        Some(Principal::Bearer([1; 8], roles)),
        Some(Principal::Bearer([2; 8], roles)),
        Some(Principal::Certificate([1; 32], roles)),
        Some(Principal::Certificate([2; 32], roles)),
        None,
    ];
    let of = |principal, connection, way| {
        let peer = Peer::by_way(way, "somebody", Standing::Stranger);
        Client::known_as(principal, ConnectionId(connection), &peer)
    };
    let one: BTreeSet<Client> = principals.iter().map(|who| of(*who, 1, "nat")).collect();
    assert_eq!(one.len(), principals.len(), "each counts alone: {one:?}");
    // And each stays one, however often and from wherever it comes; strangers are one for each source.
    let again: BTreeSet<Client> = principals.iter().map(|who| of(*who, 2, "nat")).collect();
    assert_eq!(one, again);
    let elsewhere: BTreeSet<Client> = principals.iter().map(|who| of(*who, 1, "far")).collect();
    assert_eq!(one.intersection(&elsewhere).count(), principals.len() - 1);
}
