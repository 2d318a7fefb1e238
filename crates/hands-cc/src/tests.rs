//! Command lines, response files, rules for make, texts.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use crate::closure::Closure;
use crate::command::CompileCommand;
use crate::dependencies::{rule, search};
use crate::response::split;
use crate::text::Facts;
use crate::wire::{Compile, Done, Reply, Request};
use crate::{Reason, Stats, elf};

fn read(line: &str) -> Result<CompileCommand, Reason> {
    let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
    CompileCommand::read(&words, Path::new("/nowhere"))
}

/// The code of the reason for which a command is local.
fn code(line: &str) -> &'static str {
    read(line).map_or_else(|reason| reason.code, |_| "none")
}

#[test]
fn a_plain_compile_is_read() {
    let command =
        read("-O2 -g -Wall -I inc -Isrc -isystem sys -DX=1 -D Y -MD -MT t -c -o out/a.o a.c")
            .unwrap();
    assert_eq!(command.source, "a.c");
    assert_eq!(command.object, "out/a.o");
    assert_eq!(command.beside, ["a.d", "out/a.d"]);
    assert_eq!(command.directories, ["inc", "src", "sys"]);
    let preprocessing = "-O2 -g -Wall -I inc -Isrc -isystem sys -DX=1 -D Y a.c";
    assert_eq!(command.preprocessing.join(" "), preprocessing);
}

#[test]
fn names_of_outputs_are_those_that_compilers_choose() {
    for (line, object, beside) in [
        ("-c dir/a.cc", "a.o", &[][..]),
        ("-S dir/a.cc", "a.s", &[]),
        ("-c a.c -oout/b.o", "out/b.o", &[]),
        ("-c a.c -MMD -MF deps/x.d", "a.o", &["deps/x.d"]),
        ("-c a.c -o b/c.x.o -MD", "b/c.x.o", &["a.d", "b/c.x.d"]),
        ("-c a.c -o b/a.o -gsplit-dwarf", "b/a.o", &["a.dwo", "b/a.dwo"]),
        ("-c a.c --coverage", "a.o", &["a.gcno"]),
        ("-c a.c -fstack-usage", "a.o", &["a.su"]),
    ] {
        let command = read(line).unwrap();
        assert_eq!(
            (command.object.as_str(), &*command.beside),
            (object, &*owned(beside)),
            "{line}"
        );
    }
}

fn owned(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}

#[test]
fn what_is_not_known_to_be_right_is_local_with_its_reason() {
    for (line, wanted) in [
        ("a.o -o a", "link"),
        ("a.c -o a", "link"),
        ("-c a.c b.c", "several-sources"),
        ("-c", "no-source"),
        ("-c -", "standard-input"),
        ("-c a.s", "language"),
        ("-c -x c++-header a.h", "language"),
        ("-c a.h", "language"),
        ("-E a.c", "no-compile"),
        ("-M a.c", "no-compile"),
        ("--version", "no-compile"),
        ("-print-prog-name=cc1", "no-compile"),
        ("-c a.c -march=native", "flag"),
        ("-c a.c -fplugin=x.so", "flag"),
        ("-c a.c -fprofile-use", "flag"),
        ("-c a.c -Wp,-MD,x.d", "flag"),
        ("-c a.c -Wa,-a=list", "flag"),
        ("-c a.c -ObjC", "flag"),
        ("-c a.c -MF x.d", "flag"),
        ("-c a.c -I-", "flag"),
        ("-c a.c -save-temps", "unknown-flag"),
        ("-c a.c -specs=x", "unknown-flag"),
        ("-c a.c -B dir", "unknown-flag"),
        ("-c a.c -Xclang -foo", "unknown-flag"),
        ("-c a.c --no-such-thing", "unknown-flag"),
        ("-c a.c -o", "incomplete"),
        ("-c @nowhere.rsp", "response-file"),
    ] {
        assert_eq!(code(line), wanted, "{line}");
        assert!(Reason::CODES.contains(&wanted));
    }
    for line in ["-c a.c -Wa,--noexecstack", "-c a.c -ffile-prefix-map=/=x", "-c -x c a.inc"] {
        assert_eq!(code(line), "none", "{line}");
    }
}

#[test]
fn a_flag_whose_value_is_a_file_makes_its_command_local() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("list"), "").unwrap();
    let words = owned(&["-c", "a.c", "-fsanitize-ignorelist=list"]);
    let reason = CompileCommand::read(&words, directory.path()).unwrap_err();
    assert_eq!(reason, Reason::new("flag", "-fsanitize-ignorelist=list"));
}

#[test]
fn response_files_are_split_as_gcc_splits_them() {
    let text = "-DA='x y' \"-DB=\\\"q\\\"\" \n\t-I dir\\ one ''";
    assert_eq!(split(text), ["-DA=x y", "-DB=\"q\"", "-I", "dir one", ""]);
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("outer"), "-c @inner").unwrap();
    fs::write(directory.path().join("inner"), "a.c -O2").unwrap();
    let command = CompileCommand::read(&owned(&["@outer"]), directory.path()).unwrap();
    assert_eq!(command.arguments, ["-c", "a.c", "-O2"]);
    // One that names itself has an end.
    fs::write(directory.path().join("loop"), "@loop").unwrap();
    let reason = CompileCommand::read(&owned(&["@loop"]), directory.path()).unwrap_err();
    assert_eq!(reason.code, "response-file");
}

#[test]
fn rules_for_make_are_read_with_their_escapes() {
    let text = b"x: a.c dir/b\\ c.h \\\n  d\\#e.h f$$g.h\n";
    let wanted = ["a.c", "dir/b c.h", "d#e.h", "f$g.h"].map(PathBuf::from);
    assert_eq!(rule(text), wanted);
    let text = b"ignoring nonexistent directory \"/x\"\n#include \"...\" search starts here:\n q\n\
                 #include <...> search starts here:\n /usr/include\nEnd of search list.\n /not\n";
    assert_eq!(search(text), ["q", "/usr/include"].map(PathBuf::from));
}

#[test]
fn texts_say_what_no_list_of_dependencies_does() {
    let facts = |text: &str| Facts::of(text.as_bytes());
    let text =
        "#ifdef __has_include\n#if __has_include(<a/b.h>) || __has_include_next ( \"c.h\")\n#endif";
    let asked = vec![("a/b.h".to_owned(), false), ("c.h".to_owned(), true)];
    assert_eq!(facts(text), Facts { asked, ..Facts::default() });
    for (text, why) in [
        ("asm(\".incbin \\\"x\\\"\");", Some("incbin")),
        ("asm(\"\\t.include \\\"x\\\"\");", Some("assembler-include")),
        ("# embed <x>", Some("embed")),
        ("#if __has_include(NAME)", Some("has-include")),
        ("char *t = __TIMESTAMP__;", Some("time")),
        ("a.include_all(embed);", None),
    ] {
        assert_eq!(facts(text).local, why, "{text}");
    }
    assert!(facts("puts(__DATE__)").time && !facts("puts(__FILE__)").time);
}

#[test]
fn a_closure_has_what_it_takes_to_reach_a_file() {
    let directory = tempfile::tempdir().unwrap();
    let top = directory.path().canonicalize().unwrap();
    fs::create_dir_all(top.join("a/b")).unwrap();
    fs::create_dir_all(top.join("c")).unwrap();
    fs::write(top.join("c/file.h"), "").unwrap();
    symlink("../c", top.join("a/link")).unwrap();
    let mut closure = Closure::default();
    let real = closure.add(&top.join("a/b/../link/file.h")).unwrap();
    assert_eq!(real, top.join("c/file.h"));
    let leaves: Vec<&Path> = closure.leaves().collect();
    assert_eq!(leaves, [top.join("a/link"), top.join("c/file.h")]);
    let empty: Vec<&Path> = closure.empty_directories().collect();
    assert_eq!(empty, [top.join("a/b")]);
    symlink("loop", top.join("loop")).unwrap();
    assert!(closure.add(&top.join("loop")).is_err());
    assert!(closure.add(&top.join("c/file.h/x")).is_err());
}

#[test]
fn a_programs_headers_name_its_loader_and_libraries() {
    let needs = elf::needs(&std::env::current_exe().unwrap()).unwrap();
    let has_c = needs.libraries.iter().any(|name| name.to_string_lossy().starts_with("libc."));
    assert!(needs.loader.is_some_and(|it| it.is_file()) && has_c);
    let directory = tempfile::tempdir().unwrap();
    let script = directory.path().join("script");
    fs::write(&script, "#!/bin/sh\n").unwrap();
    assert!(elf::needs(&script).is_err() && !elf::is_one(&script).unwrap());
}

#[test]
fn messages_are_read_as_they_were_written_and_never_beyond_their_end() {
    let compile = Compile {
        words: owned(&["gcc", "-c", "ä.c", ""]),
        directory: "/a b".into(),
        view: [1, 2, 3, u64::MAX],
        umask: 0o27,
        on_terminal: true,
        environment: [("A".to_owned(), String::new())].into(),
    };
    let stats = Stats { hits: 1, remote: 2, local: [("link".to_owned(), 3)].into() };
    for request in [Request::Compile(Box::new(compile)), Request::Stats, Request::ZeroStats] {
        let bytes = request.encode().unwrap();
        assert_eq!(Request::decode(&bytes[4..]).unwrap(), request);
        for end in 4..bytes.len() {
            // Some beginnings are whole messages with fewer variables; none is read beyond its end.
            drop(Request::decode(&bytes[4..end]));
        }
    }
    let done = Done {
        code: 1,
        cached: true,
        stdout: vec![0, 255],
        stderr: Vec::new(),
        ready: vec![("/d/.t/a.o".into(), "/d/a.o".into())],
    };
    for reply in [Reply::Done(done), Reply::from(Reason::plain("link")), Reply::Stats(stats)] {
        let bytes = reply.encode().unwrap();
        assert_eq!(Reply::decode(&bytes[4..]).unwrap(), reply);
    }
    assert!(Request::decode(b"\0\0\0\x04cc/9").is_err());
}
