//! `docs/checklists.md`: the tests that it names are there.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use crate::root;

const PAGE: &str = "docs/checklists.md";

#[test]
fn checklists_name_tests_that_exist() {
    let page = fs::read_to_string(root().join(PAGE)).unwrap();
    let rows: Vec<Vec<&str>> = page
        .lines()
        .filter(|line| line.starts_with("| ") && !line.starts_with("| ---"))
        .map(|line| line.trim_matches('|').split(" | ").map(str::trim).collect())
        .collect();
    let places: BTreeMap<&str, PathBuf> = rows
        .iter()
        .filter_map(|row| {
            let [place, directory] = row[..] else { return None };
            let directory = root().join(quoted(directory).first()?);
            directory.is_dir().then_some((*quoted(place).first()?, directory))
        })
        .collect();
    let mut errors = Vec::new();
    let mut n_named = 0;
    for row in rows.iter().filter(|row| !places.contains_key(row[0].trim_matches('`'))) {
        let [what, tests] = row[..] else {
            errors.push(format!("{row:?}: two columns"));
            continue;
        };
        if (what, tests) == ("what", "shown by") || what == "place" {
            continue;
        }
        let named = quoted(tests);
        if named.is_empty() {
            errors.push(format!("{what}: no test"));
        }
        n_named += named.len();
        errors.extend(named.iter().filter_map(|name| missing(&places, name)));
    }
    assert!(n_named > 50, "the page was read: {n_named}");
    assert!(errors.is_empty(), "{PAGE}:\n{}", errors.join("\n"));
}

/// What stands between backquotes.
fn quoted(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

/// Why a name is no test's.
fn missing(places: &BTreeMap<&str, PathBuf>, name: &str) -> Option<String> {
    let Some((place, rest)) = name.split_once(' ') else {
        return Some(format!("{name}: no place"));
    };
    let Some(directory) = places.get(place) else { return Some(format!("{name}: which place?")) };
    let (file, is_there): (&str, Box<dyn Fn(&str) -> bool>) =
        match (rest.split_once("::"), rest.split_once(' ')) {
            (Some((file, function)), _) => {
                let head = format!("fn {function}(");
                (file, Box::new(move |text| is_test(text, &head)))
            }
            (None, Some((file, check))) => {
                // Its beginning, as the text of the file has it.
                let check = check.strip_suffix('"').unwrap_or(check);
                (file, Box::new(move |text| text.contains(check)))
            }
            (None, None) => return Some(format!("{name}: neither a function nor a check")),
        };
    match fs::read_to_string(directory.join(file).with_extension("rs")) {
        Err(error) => Some(format!("{name}: {file}.rs: {error}")),
        Ok(text) if is_there(&text) => None,
        Ok(_) => Some(format!("{name}: {file}.rs has no such test")),
    }
}

/// Whether a function of this head is there and marked as a test.
fn is_test(text: &str, head: &str) -> bool {
    let lines: Vec<&str> = text.lines().collect();
    lines.iter().enumerate().any(|(at, line)| {
        line.contains(head)
            && lines[..at]
                .iter()
                .rev()
                .take_while(|above| above.starts_with('#'))
                .any(|above| above.contains("test"))
    })
}
