//! Symbolic links wherever a build can have one. The hub hands each over as it was made; both versions of Bazel refuse the
//! same of them, in their own words.

use std::fs;
use std::os::unix::fs::symlink;

use super::Bazel;

/// What this Bazel says of a link to an absolute path.
fn absolute(path: &str, target: &str) -> String {
    format!(
        "/bin/links/{path} is a symbolic link to an absolute path {target}. Symlinks to absolute paths in action outputs are not \
         supported."
    )
}

/// The links among the sources of its workspace, which no repository keeps for us on every system.
pub(super) fn make_sources(bazel: &Bazel) {
    let package = bazel.root().join("links");
    let elsewhere = bazel.work.join("elsewhere");
    fs::create_dir_all(package.join("directory/sub")).unwrap();
    fs::write(package.join("directory/a"), "a\n").unwrap();
    fs::write(package.join("directory/sub/b"), "b\n").unwrap();
    fs::create_dir(&elsewhere).unwrap();
    fs::write(elsewhere.join("c"), "c\n").unwrap();
    let file = elsewhere.join("c");
    for (target, name) in [
        ("../in.txt".as_ref(), "relative-file"),
        (file.as_path(), "absolute-file"),
        ("directory".as_ref(), "relative-directory"),
        (elsewhere.as_path(), "absolute-directory"),
        // Within a directory that is itself a source.
        ("sub".as_ref(), "directory/link"),
        (file.as_path(), "directory/sub/absolute"),
        ("nowhere".as_ref(), "relative-gone"),
        ("/no/where".as_ref(), "absolute-gone"),
    ] {
        symlink(target, package.join(name)).unwrap();
    }
}

/// What a build of everything made of them.
pub(super) fn are_built(bazel: &Bazel) {
    // Among the sources they are what they point to, wherever that is.
    assert_eq!(bazel.read("links/files.txt"), "quiet words\nc\nf relative-file\nf absolute-file\n");
    let below = "./a:a\n./link/absolute:c\n./link/b:b\n./sub/absolute:c\n./sub/b:b\n";
    assert_eq!(bazel.read("links/directories.txt"), format!("{below}./c:c\n"));
    assert_eq!(bazel.read("links/behind.txt"), "a\nc\nb\nc\nb\n");
    // Those that actions make stay links here, and are what they point to for the next action.
    for (link, target) in [
        ("to-output", "target.txt"),
        ("to-source", "../../../../links/directory/a"),
        ("to-directory", "../../../../links/directory"),
        ("inside/file", "d/f"),
        ("inside/directory", "d/e"),
        ("inside/d/e/up", "../f"),
    ] {
        let path = bazel.output("links").join(link);
        assert_eq!(fs::read_link(path).unwrap().to_str(), Some(target), "{link}");
    }
    assert_eq!(bazel.read("links/linked.txt"), "linked\na\nb\n");
    let listing = "d/e/up 2\nd/f 2\ndirectory/up 2\nfile 2\n";
    assert_eq!(bazel.read("links/inside_listing.txt"), listing);
}

/// Those that it takes from nobody: each is an error of its own, told with the link's target, which so has arrived.
pub(super) fn are_refused(bazel: &Bazel, config: &str) {
    let config = format!("--config={config}");
    let told = [
        ("from-relative-gone", "missing input file '//links:relative-gone'".to_owned()),
        ("from-absolute-gone", "missing input file '//links:absolute-gone'".to_owned()),
        ("file", absolute("file.out", "/usr/bin/env")),
        ("directory-of-the-system", absolute("directory-of-the-system.out", "/usr/bin")),
        ("gone", absolute("gone.out", "/no/where")),
        ("dangling", "declared output 'links/dangling.out' is a dangling symbolic link".to_owned()),
        ("tree-file", absolute("tree-file/link", "/usr/bin/env")),
        ("tree-directory", absolute("tree-directory/link", "/usr/bin")),
        ("tree-gone", absolute("tree-gone/link", "/no/where")),
        ("tree-dangling", "Failed to resolve relative path link inside TreeArtifact".to_owned()),
        ("tree-outside", "tree-outside/link pointing to ../target.txt".to_owned()),
        ("tree-loop", "tree-loop/link (Too many levels of symbolic links)".to_owned()),
    ];
    let targets: Vec<String> = told.iter().map(|(name, _)| format!("//links:{name}")).collect();
    let targets: Vec<&str> = targets.iter().map(String::as_str).collect();
    let refused = bazel.run(&[&["build", "--keep_going", &config], &targets[..]].concat());
    assert_ne!(refused.code, 0, "{refused:?}");
    for (name, sentence) in told {
        assert!(refused.err.contains(&sentence), "{name}: {sentence}\n{}", refused.err);
    }
    // Without downloads it takes no link at all.
    bazel.ok(&["clean"]);
    for target in ["//links:made", "//links:inside"] {
        let refused = bazel.run(&["build", &config, "--remote_download_minimal", target]);
        let sentence = "Symlinks in action outputs are not yet supported";
        assert!(refused.code != 0 && refused.err.contains(sentence), "{target}: {refused:?}");
    }
}
