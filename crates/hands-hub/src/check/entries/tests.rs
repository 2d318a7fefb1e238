//! Which entries are outputs of a Command.

use hands_proto::reapi;
use prost::Message as _;

use super::{Foreign, compare, compare_within, has_patterns};

fn file(path: &str) -> reapi::OutputFile {
    reapi::OutputFile { path: path.into(), ..Default::default() }
}

fn link(path: &str, target: &str) -> reapi::OutputSymlink {
    reapi::OutputSymlink { path: path.into(), target: target.into(), ..Default::default() }
}

fn paths(declared: &[&str]) -> Vec<u8> {
    let output_paths = declared.iter().map(|p| (*p).to_owned()).collect();
    reapi::Command { output_paths, ..Default::default() }.encode_to_vec()
}

fn refused(command: &[u8], files: &[&str]) -> Option<String> {
    let output_files = files.iter().map(|path| file(path)).collect();
    let result = reapi::ActionResult { output_files, ..Default::default() };
    compare(command, &result).err().map(|error| error.to_string())
}

#[test]
fn an_entry_is_as_declared_or_what_a_pattern_finds() {
    let command = paths(&["a", "../beside/./b", "*.o", "deep/**", "x/**/y"]);
    for path in ["a", "../beside/./b", "main.o", "*.o", "deep/z", "deep/z/z", "x/y", "x/1/2/y"] {
        assert_eq!(refused(&command, &[path]), None, "{path}");
    }
    let foreign = [
        "../../x",
        "/etc/x",
        "b",
        "",
        "d/main.o",
        "deep",
        "deep/../a",
        "x/y/z",
        "./a",
        "a/",
        "deep//z",
    ];
    for path in foreign {
        let why = refused(&command, &[path]).unwrap_or_default();
        assert!(why.contains("does not declare"), "{path}: {why}");
    }
    assert!(refused(&command, &["a", "main.o", "a"]).unwrap().contains("twice"));
    assert!(refused(&command, &["\u{1b}[2J"]).unwrap().contains(r"\u{1b}"));
}

#[test]
fn a_link_stands_in_the_old_lists_only_if_it_stands_in_the_new_one() {
    let command = reapi::Command {
        output_files: vec!["f".into()],
        output_directories: vec!["d".into()],
        ..Default::default()
    };
    let command = command.encode_to_vec();
    let both = reapi::ActionResult {
        output_symlinks: vec![link("f", "t"), link("d", "t")],
        output_file_symlinks: vec![link("f", "t")],
        output_directory_symlinks: vec![link("d", "t")],
        ..Default::default()
    };
    compare(&command, &both).unwrap();
    let other =
        reapi::ActionResult { output_file_symlinks: vec![link("f", "t")], ..Default::default() };
    assert!(compare(&command, &other).is_err());
    let twice = reapi::ActionResult {
        output_directory_symlinks: vec![link("d", "t"), link("d", "t")],
        ..both.clone()
    };
    assert!(compare(&command, &twice).is_err());
    let long = reapi::ActionResult {
        output_symlinks: vec![link("f", &"t".repeat(5000))],
        ..Default::default()
    };
    assert!(compare(&command, &long).is_err());
    assert!(refused(&command, &["d"]).unwrap().contains("declares a directory"));
}

#[test]
fn patterns_cost_what_their_characters_cost() {
    let pattern = format!("*{}b", "a".repeat(500));
    let command = paths(&[&pattern]);
    let output_files = [1000, 1001].map(|n| file(&format!("{}b", "a".repeat(n)))).into();
    let result = reapi::ActionResult { output_files, ..Default::default() };
    compare_within(u64::MAX, &command, &result).unwrap();
    // The first name alone takes 500 starts of 500 letters.
    let refused = compare_within(200_000, &command, &result).unwrap_err();
    assert!(matches!(refused, Foreign::TooMany), "{refused}");
}

#[test]
fn only_a_star_or_a_question_mark_makes_a_pattern() {
    assert!(!has_patterns(&paths(&["a", "b[1]"])));
    assert!(has_patterns(&paths(&["a", "b?"])));
    let arguments = vec!["sh".to_owned(), "*?".to_owned()];
    assert!(!has_patterns(&reapi::Command { arguments, ..Default::default() }.encode_to_vec()));
}
