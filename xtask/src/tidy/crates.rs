//! The graph of crates: layers, heavy dependencies, lints, the lockfile's size.

use std::fs;
use std::process::Command;

use serde_json::Value;

use crate::root;

/// The layers of the design, lowest first. A crate may depend on those strictly below its own.
const LAYERS: &[&[&str]] = &[
    &["hands-types", "hands-proto"],
    &["hands-sched", "hands-slots", "hands-graph", "hands-tree", "hands-scan"],
    &[
        "hands-store",
        "hands-sandbox",
        "hands-sandbox-child",
        "hands-exec",
        "hands-link",
        "hands-reapi",
        "hands-image",
    ],
    &["hands-hub", "hands-worker", "hands-client", "hands-agent", "hands-config"],
    &["hands-front"],
    &["hands-run", "hands-cc", "hands-test", "hands-pkg", "hands-plan", "hands-tui", "hands-web"],
    &["hands", "hands-cc-client"],
    &["hands-sim", "hands-testkit", "hands-bench", "xtask"],
];

/// The edges that are allowed inside a layer.
const SIDEWAYS: &[(&str, &str)] = &[
    ("hands-proto", "hands-types"),
    ("hands-exec", "hands-sandbox"),
    ("hands-sandbox", "hands-sandbox-child"),
    ("hands-reapi", "hands-store"),
    ("hands-agent", "hands-hub"),
    ("hands-agent", "hands-worker"),
    ("hands-agent", "hands-client"),
    ("hands-config", "hands-hub"),
    ("hands-config", "hands-worker"),
    ("hands-config", "hands-client"),
    ("hands-config", "hands-agent"),
];

/// Layers by their place in [`LAYERS`].
const CORES: usize = 1;
const FRONT: usize = 4;
const FRONT_ENDS: usize = 5;
const DEV: usize = 7;

/// A heavy or telling dependency, and the only crates that may name it.
const ONLY: &[(&str, &[&str])] = &[
    ("anyhow", &["hands", "hands-bench", "xtask"]),
    ("axum", &["hands-web", "hands"]),
    (
        "clap",
        &[
            "hands-front",
            "hands-run",
            "hands-cc",
            "hands-test",
            "hands-pkg",
            "hands-plan",
            "hands",
            "hands-cc-client",
        ],
    ),
    ("libc", &["hands-sandbox", "hands-sandbox-child"]),
    ("protox", &["xtask"]),
    ("ratatui", &["hands-tui", "hands"]),
    ("rusqlite", &["hands-store", "hands-hub"]),
    ("tonic-prost-build", &["xtask"]),
    (
        "tonic",
        &[
            "hands-proto",
            "hands-link",
            "hands-reapi",
            "hands-hub",
            "hands-worker",
            "hands-client",
            "hands-agent",
            "hands-bench",
            "hands-testkit",
        ],
    ),
    ("toml", &["hands-config"]),
    ("tracing-subscriber", &["hands", "hands-bench"]),
    ("zstd", &["hands-reapi", "hands-store", "hands-image"]),
];

/// What stays below front-ends, by the beginning of its name: what they get from the client is plain data.
const MESSAGES: &[&str] = &["hands-proto", "prost", "tonic"];

/// What a pure core may name beside crates of its own workspace.
const CORE_DEPENDENCIES: &[&str] = &["sha2", "blake3"];

const MAX_LOCK_PACKAGES: usize = 300;

struct Package {
    name: String,
    dependencies: Vec<String>,
    inherits_lints: bool,
}

fn packages() -> Vec<Package> {
    let out = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--offline", "--format-version=1"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let metadata: Value = serde_json::from_slice(&out.stdout).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    metadata["packages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|package| {
            let manifest = fs::read_to_string(package["manifest_path"].as_str().unwrap()).unwrap();
            let normal = |d: &&Value| d["kind"].is_null();
            let dependencies = package["dependencies"].as_array().unwrap();
            Package {
                name: text(&package["name"]),
                dependencies: dependencies
                    .iter()
                    .filter(normal)
                    .map(|d| text(&d["name"]))
                    .collect(),
                inherits_lints: manifest.contains("[lints]\nworkspace = true"),
            }
        })
        .collect()
}

fn layer(name: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| layer.contains(&name))
}

/// What is wrong with one edge.
fn edge(from: &str, to: &str) -> Option<String> {
    let own = layer(from)?;
    if let Some((_, owners)) = ONLY.iter().find(|(heavy, _)| *heavy == to)
        && !owners.contains(&from)
    {
        return Some(format!("{from} may not depend on {to}"));
    }
    if own >= FRONT && own != DEV && MESSAGES.iter().any(|messages| to.starts_with(messages)) {
        return Some(format!("{from} -> {to}: messages stay behind hands-client"));
    }
    let Some(below) = layer(to) else {
        let pure = own != CORES || CORE_DEPENDENCIES.contains(&to);
        return (!pure).then(|| format!("{from} is a pure core and may not depend on {to}"));
    };
    if own == DEV {
        return None;
    }
    if below == DEV {
        return Some(format!("{from} -> {to}: development crates are for development"));
    }
    if below > own || (below == own && !SIDEWAYS.contains(&(from, to))) {
        return Some(format!("{from} -> {to} goes up or sideways"));
    }
    // A front-end, and the kit for them, reaches the cluster through the client and nothing else.
    if matches!(own, FRONT | FRONT_ENDS) && below > CORES && below != FRONT && to != "hands-client"
    {
        return Some(format!(
            "{from} -> {to}: a front-end uses hands-front, hands-client and layers 0 and 1"
        ));
    }
    None
}

#[test]
fn edges_point_down_and_heavy_dependencies_stay_where_they_belong() {
    let mut errors = Vec::new();
    for package in packages() {
        if layer(&package.name).is_none() {
            errors.push(format!("{} is in no layer: add it to LAYERS", package.name));
        }
        if !package.inherits_lints {
            errors.push(format!("{} lacks `[lints] workspace = true`", package.name));
        }
        errors.extend(package.dependencies.iter().filter_map(|to| edge(&package.name, to)));
    }
    assert!(errors.is_empty(), "{}", errors.join("\n"));
}

#[test]
fn the_rules_for_edges_catch_what_they_should() {
    for (from, to) in [
        ("hands-sched", "hands-slots"),
        ("hands-sched", "tokio"),
        ("hands-store", "hands-hub"),
        ("hands-link", "hands-store"),
        ("hands-hub", "hands-client"),
        ("hands-run", "hands-reapi"),
        ("hands-run", "hands-hub"),
        ("hands-run", "hands-tui"),
        ("hands-front", "hands-config"),
        ("hands-front", "hands-run"),
        ("hands-hub", "clap"),
        ("hands-front", "prost-types"),
        ("hands-tui", "hands-proto"),
        ("hands", "hands-proto"),
        ("hands", "tonic"),
        ("hands-worker", "hands-sim"),
    ] {
        assert!(edge(from, to).is_some(), "{from} -> {to} passes");
    }
    for (from, to) in [
        ("hands-tree", "sha2"),
        ("hands-reapi", "hands-store"),
        ("hands-run", "hands-client"),
        ("hands-run", "hands-front"),
        ("hands-front", "hands-client"),
        ("hands-sim", "hands-sched"),
    ] {
        assert_eq!(edge(from, to), None);
    }
}

#[test]
fn the_lockfile_stays_small() {
    let lock = fs::read_to_string(root().join("Cargo.lock")).unwrap();
    let count = lock.matches("[[package]]").count();
    assert!(
        count <= MAX_LOCK_PACKAGES,
        "{count} packages in Cargo.lock: trim, or raise the limit in a commit that says why"
    );
}
