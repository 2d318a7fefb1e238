//! What needs no sandbox: names, variables, patterns, and collecting from trees that a hostile action might leave.

mod collecting;

use std::path::Path;

use hands_tree::There;
use hands_types::RelPath;

use crate::collect::{Declared, DeclaredKind, OutputSpec};
use crate::command;
use crate::expose::{toolchain_variables, toolchains};
use crate::request::{Command, Terminal};
use hands_tree::Pattern;

fn texts(list: &[std::ffi::CString]) -> Vec<String> {
    list.iter().map(|s| s.to_string_lossy().into_owned()).collect()
}

#[test]
fn environment_is_the_commands_own_and_then_what_is_missing() {
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let mut command =
        Command { environment: vec![pair("Z", "1"), pair("A", "")], ..Command::default() };
    let environment = command::environment(&command, None, &[]).expect("a good environment");
    let path = format!("PATH={}", hands_types::platform::FIXED_PATH);
    assert_eq!(texts(&environment), ["Z=1", "A=", "HANDS_INSIDE=1", path.as_str(), "LANG=C.UTF-8"]);

    command.environment = vec![
        pair("PATH", "/x"),
        pair("LANG", "C"),
        pair("HANDS_INSIDE", "no"),
        pair("TERM", "dumb"),
    ];
    let terminal = Terminal { rows: 1, columns: 1, term: "xterm".to_owned() };
    let environment =
        command::environment(&command, Some(&terminal), &[pair("PATH", "/y"), pair("R", "/r")]);
    assert_eq!(
        texts(&environment.expect("good")),
        ["PATH=/x", "LANG=C", "HANDS_INSIDE=no", "TERM=dumb", "R=/r"]
    );

    for bad in ["", "A=B"] {
        command.environment = vec![pair(bad, "")];
        assert!(command::environment(&command, None, &[]).is_err(), "{bad:?}");
    }
    assert!(command::arguments(&Command::default()).is_err());
}

#[test]
fn parents_of_outputs_are_made_and_outputs_are_not() {
    let declared = |path: &str, kind| Declared { path: path.to_owned(), kind };
    let spec = OutputSpec {
        declared: vec![
            declared("a/b/c.o", DeclaredKind::File),
            declared("out", DeclaredKind::Directory),
            declared("../beside/x", DeclaredKind::Any),
            declared("gen/*/deep.h", DeclaredKind::Glob),
            declared("", DeclaredKind::Directory),
        ],
        working_directory: RelPath::new("w").expect("a path"),
        root_at: None,
    };
    let parents = spec.parents().expect("good paths");
    assert_eq!(Vec::from_iter(&parents), ["../beside", "a/b", "gen"]);
    // What the inputs have: `gen` leads to where another output is made, and `a` is there.
    let mut look = |path: &str| {
        Ok::<_, ()>(match path {
            "w" | "w/a" => There::Directory,
            "w/gen" => There::Symlink { target: "a/b".to_owned() },
            _ => There::Nothing,
        })
    };
    let places = spec.places(&parents, &mut look).expect("looked").expect("places");
    let missing: Vec<&str> = places.missing.iter().map(RelPath::as_str).collect();
    assert_eq!(missing, ["beside", "w/a/b"]);

    for bad in ["/abs", "../../out", "a\0b"] {
        let spec = OutputSpec { declared: vec![declared(bad, DeclaredKind::Any)], ..spec.clone() };
        let error = spec.parents().expect_err("a bad path").to_string();
        assert!(error.contains(&bad.escape_debug().to_string()), "{error}");
    }
    let mut look = |path: &str| {
        Ok::<_, ()>(match path {
            "w/a" => There::Other,
            "w/gen" => There::Symlink { target: "/etc".to_owned() },
            _ => There::Directory,
        })
    };
    for (path, words) in [
        (
            "a/b/c.o",
            "the output `a/b/c.o` has no place in the input root: `w/a` is not a directory",
        ),
        (
            "gen/*.h",
            "the output `gen/*.h` has no place in the input root: `w/gen` is a symbolic link to `/etc`",
        ),
    ] {
        let kind = if path.contains('*') { DeclaredKind::Glob } else { DeclaredKind::Any };
        let spec = OutputSpec { declared: vec![declared(path, kind)], ..spec.clone() };
        let parents = spec.parents().expect("good paths");
        let error = spec.places(&parents, &mut look).expect("looked").expect_err("no place");
        assert!(error.to_string().contains(words), "{error}");
        assert_eq!(error.class(), hands_types::ErrorClass::User);
    }
}

#[test]
fn patterns_that_are_none() {
    for bad in ["", "/x/*", "../*", "a/../*", "./", "a\0*"] {
        assert!(Pattern::new(bad).is_err(), "{bad:?}");
    }
    let fixed: Vec<String> =
        Pattern::new("a/./b/*/c").expect("a pattern").fixed_parents().map(str::to_owned).collect();
    assert_eq!(fixed, ["a", "b"]);
}

#[test]
fn toolchains_are_shown_and_credentials_never() {
    let home = std::env::temp_dir().join(format!("hands-expose-{}", std::process::id()));
    let dirs = [
        ".cargo/bin",
        ".cargo/registry",
        ".rustup/toolchains",
        ".ssh/bin",
        ".config/x/bin",
        ".aws/bin",
        ".nvm/versions/node/v20/bin",
        ".pyenv/shims",
        "projects/bin",
    ];
    for dir in dirs {
        std::fs::create_dir_all(home.join(dir)).expect("a home");
    }
    std::fs::write(home.join(".cargo/credentials.toml"), "secret").expect("a secret");
    let at = |dir: &str| home.join(dir).display().to_string();
    let path = [
        at(".cargo/bin"),
        "/usr/bin".to_owned(),
        at(".ssh/bin"),
        at(".config/x/bin"),
        at(".aws/bin"),
        at("projects/bin"),
        at(".nvm/versions/node/v20/bin"),
        at(".pyenv/shims"),
        at(".cargo"),
        at(".cargo/bin/../.."),
        String::new(),
        "relative".to_owned(),
        at("go/bin"),
    ]
    .join(":");
    let all = toolchains(&home);
    let shown: Vec<&Path> = all.iter().map(|p| p.host.as_path()).collect();
    let expected = [
        home.join(".cargo/bin"),
        home.join(".nvm/versions/node/v20"),
        home.join(".pyenv"),
        home.join(".rustup"),
    ];
    assert_eq!(shown, expected.iter().map(std::path::PathBuf::as_path).collect::<Vec<_>>());
    let search = format!(
        "{}:{}:{}:{}",
        at(".cargo/bin"),
        at(".nvm/versions/node/v20/bin"),
        at(".pyenv/shims"),
        hands_types::platform::FIXED_PATH
    );
    let expected = [("PATH", search), ("RUSTUP_HOME", at(".rustup")), ("PYENV_ROOT", at(".pyenv"))];
    let expected: Vec<(String, String)> =
        expected.into_iter().map(|(n, v)| (n.to_owned(), v)).collect();
    assert_eq!(toolchain_variables(&path, &home), expected);
    assert_eq!(toolchain_variables("/usr/bin:/bin", &home), []);
    assert_eq!(
        (toolchains(Path::new("/")), toolchain_variables(&path, Path::new("/"))),
        (Vec::new(), Vec::new())
    );
    std::fs::remove_dir_all(&home).expect("removed");
}
