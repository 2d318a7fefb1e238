//! What stands in the files: length, forbidden words, where code may stand.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{proto, root};

const MAX_LINES: usize = 1000;

/// Words that no tracked file may hold, and why. Split, so that this file does not hold them either.
const FORBIDDEN: &[(&str, &str)] = &[
    (concat!("to", "do!("), "finish it, or write an issue"),
    (concat!("#[ig", "nore"), "a test that does not run tests nothing"),
    (concat!("thread::", "sleep"), "wait for what you wait for"),
    (concat!("/wo", "rk/main"), "a path of one machine"),
    (concat!("/wo", "rk/shared"), "a path of one machine"),
    (concat!("/wo", "rk/target"), "a path of one machine"),
    (concat!("/wo", "rk/brief"), "a path of one machine"),
    (concat!("/wo", "rk/."), "a path of one machine"),
    (concat!("/ro", "ot/."), "a path of one machine"),
    (concat!("crates", ".io"), "a package registry's host"),
    (concat!("npmjs", ".org"), "a package registry's host"),
    (concat!("pypi", ".org"), "a package registry's host"),
    (concat!("pythonhosted", ".org"), "a package registry's host"),
    (concat!("proxy.go", "lang.org"), "a package registry's host"),
];

/// Crates that may read the environment in their own code.
const ENVIRONMENT: &[&str] = &["crates/hands-config/", "crates/hands/", "xtask/", "bench/"];

/// Tracked files and those that are about to be, without what git ignores; paths from the root.
fn tracked() -> Vec<PathBuf> {
    let out = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let names = String::from_utf8(out.stdout).unwrap();
    // A file that was removed and not committed yet is listed and not there.
    names
        .split('\0')
        .filter(|n| !n.is_empty())
        .map(PathBuf::from)
        .filter(|p| root().join(p).is_file())
        .collect()
}

/// The text of the files; those that are not text are left out.
fn texts() -> Vec<(PathBuf, String)> {
    tracked()
        .into_iter()
        .filter_map(|path| Some((path.clone(), fs::read_to_string(root().join(path)).ok()?)))
        .collect()
}

fn is_source(path: &Path) -> bool {
    path.extension().is_some_and(|e| e == "rs")
}

fn is_test(path: &Path) -> bool {
    path.components().any(|c| matches!(c.as_os_str().to_str(), Some("tests" | "tests.rs")))
}

#[test]
fn files_stay_short() {
    let errors: Vec<String> = texts()
        .iter()
        .filter(|(path, _)| is_source(path) && !path.starts_with(proto::OUTPUT))
        .map(|(path, text)| (path, text.lines().count()))
        .filter(|(_, lines)| *lines > MAX_LINES)
        .map(|(path, lines)| format!("{}: {lines} lines", path.display()))
        .collect();
    assert!(errors.is_empty(), "{}", errors.join("\n"));
}

#[test]
fn forbidden_words_stay_out() {
    let mut errors = Vec::new();
    // The lockfile is cargo's, and names where packages come from.
    for (path, text) in texts().iter().filter(|(path, _)| path != Path::new("Cargo.lock")) {
        for (number, line) in text.lines().enumerate() {
            for (word, why) in FORBIDDEN.iter().filter(|(word, _)| line.contains(word)) {
                errors.push(format!("{}:{}: {word} ({why})", path.display(), number + 1));
            }
        }
    }
    assert!(errors.is_empty(), "{}", errors.join("\n"));
}

#[test]
fn only_configuration_reads_the_environment() {
    let word = concat!("env::", "var");
    let errors: Vec<String> = texts()
        .iter()
        .filter(|(path, _)| is_source(path) && !is_test(path))
        .filter(|(path, _)| !ENVIRONMENT.iter().any(|home| path.starts_with(home)))
        .flat_map(|(path, text)| {
            text.lines()
                .enumerate()
                .filter(|(_, line)| line.contains(word))
                .map(|(number, _)| {
                    format!("{}:{}: reads the environment", path.display(), number + 1)
                })
                .collect::<Vec<_>>()
        })
        .collect();
    assert!(errors.is_empty(), "{}", errors.join("\n"));
}

#[test]
fn modules_are_named_after_themselves() {
    let errors: Vec<String> = tracked()
        .iter()
        .filter(|path| path.file_name().is_some_and(|n| n == concat!("mod", ".rs")))
        .map(|path| format!("{}: write foo.rs beside foo/", path.display()))
        .collect();
    assert!(errors.is_empty(), "{}", errors.join("\n"));
}
