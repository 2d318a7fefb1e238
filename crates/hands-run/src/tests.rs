//! Flags, hints, scripts and escapes.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use clap::Parser;
use hands_client::{ClusterKind, JobResult};
use hands_front::Caller;
use hands_front::args::ActionArgs;

use crate::args::{BatchArgs, RunArgs};
use crate::hints;
use crate::run::script;
use crate::tty::escapes::Escapes;

#[derive(Parser)]
struct Run {
    #[command(flatten)]
    args: RunArgs,
}

#[derive(Parser)]
struct Batch {
    #[command(flatten)]
    args: BatchArgs,
}

fn caller(directory: &str) -> Caller {
    let environment = vec![("SET".into(), "here".into())];
    Caller { directory: PathBuf::from(directory), environment, defaults: Vec::new(), history: None }
}

fn result(exit_code: i32) -> JobResult {
    JobResult::of_command(exit_code)
}

#[test]
fn everything_after_the_command_is_its_own() {
    let run = Run::try_parse_from(["run", "-i", "ls", "-l", "--json", "--", "x"]).unwrap().args;
    assert!(run.stdin && !run.json);
    assert_eq!(run.command, ["ls", "-l", "--json", "--", "x"]);
    let run = Run::try_parse_from(["run", "--priority", "-3", "--", "--odd"]).unwrap().args;
    assert_eq!((run.action.priority, run.command), (-3, vec!["--odd".into()]));
    assert_eq!(Run::try_parse_from(["run", "-", "a"]).unwrap().args.command, ["-", "a"]);
    for wrong in [
        &["run"][..],
        &["run", "--inptu", "x", "ls"],
        &["run", "--tty", "--json", "ls"],
        &["run", "--timeout", "soon", "ls"],
    ] {
        let error = Run::try_parse_from(wrong).map(|_| ()).unwrap_err().to_string();
        assert!(error.contains("--") || error.contains("CMD"), "{error}");
    }
    let batch =
        Batch::try_parse_from(["batch", "-j4", "--", "echo", "{}", ":::", "a", "-b"]).unwrap().args;
    assert_eq!((batch.jobs, batch.command.len(), batch.file), (Some(4), 5, None));
    assert!(Batch::try_parse_from(["batch"]).is_err());
    assert!(Batch::try_parse_from(["batch", "--resume", "f"]).is_err());
}

#[test]
fn what_another_engine_can_not_do_is_refused_by_name() {
    let check = |flag: &str, kind| {
        let args = Run::try_parse_from(["run", flag, "x"]).unwrap().args;
        crate::engine::check_run(&args, kind, "the engine at h:1")
    };
    for flag in [
        "--tty",
        "--detach",
        "--same-path",
        "--tag=x",
        "--cpu=2",
        "--memory=1G",
        "--network=host",
        "--retry=1",
        "--queue-timeout=5s",
        "--privilege=userns",
        "--output=*.o",
    ] {
        assert!(check(flag, ClusterKind::Hub).is_ok() && check(flag, ClusterKind::Agent).is_ok());
        let error = check(flag, ClusterKind::Engine).unwrap_err().to_string();
        let named = error.starts_with(
            &flag.replace("--output=", "--output ").split('=').next().unwrap().to_owned(),
        );
        assert!(named && error.contains(": the engine at h:1 is asked in plain REAPI"), "{error}");
    }
    for flag in ["--json", "--stdin", "--output=a", "--prop=a=b", "--cache"] {
        assert!(check(flag, ClusterKind::Engine).is_ok(), "{flag}");
    }
}

#[test]
fn a_failure_hints_at_what_was_not_sent() {
    let here = caller(env!("CARGO_MANIFEST_DIR"));
    let hint = |argv: &[&str], input: &[&str]| {
        let argv: Vec<String> = argv.iter().map(|a| (*a).to_owned()).collect();
        let action =
            ActionArgs { input: input.iter().map(Into::into).collect(), ..ActionArgs::default() };
        hints::for_failure(&argv, &action, &result(1), &here)
    };
    assert_eq!(
        hint(&["cat", "src/lib.rs"], &[]),
        ["src/lib.rs exists here but was not sent: add --input src/lib.rs"]
    );
    assert_eq!(hint(&["/bin/sh", "-c", "cat <Cargo.toml|wc"], &[]).len(), 1);
    assert_eq!(hint(&["cat", "src/lib.rs"], &["."]), Vec::<String>::new());
    assert_eq!(hint(&["cat", "./src/lib.rs"], &["src"]), Vec::<String>::new());
    let outside = hint(&["cat", "../hands-types/Cargo.toml", ".."], &[]);
    assert!(outside[0].ends_with("add --input ../hands-types/Cargo.toml"), "{outside:?}");
    assert_eq!(hint(&["src", "/etc/passwd", "-x", "nothing"], &[]), Vec::<String>::new());
    // What the action itself brought was not here before, and a command that succeeded lacked nothing.
    for result in [result(1).with_output("src"), result(0)] {
        let argv = ["cat".to_owned(), "src/lib.rs".to_owned()];
        let hints = hints::for_failure(&argv, &ActionArgs::default(), &result, &here);
        assert_eq!(hints, Vec::<String>::new());
    }
}

#[test]
fn a_program_that_is_not_found_there_is_named_by_its_path_here() {
    let place = tempfile::tempdir().unwrap();
    let tool = place.path().join("tool");
    std::fs::write(&tool, "").unwrap();
    std::fs::set_permissions(&tool, Permissions::from_mode(0o755)).unwrap();
    let mut here = caller("/");
    let path = format!("relative:/nowhere:/bin:{}", place.path().display());
    here.environment = vec![("PATH".into(), path.into())];
    let hint = |program: &str, code: i32| {
        let argv = [program.to_owned()];
        hints::for_failure(&argv, &ActionArgs::default(), &result(code), &here)
    };
    let expected = format!("tool is {} here", tool.display());
    assert!(hint("tool", 127)[0].starts_with(&expected), "{:?}", hint("tool", 127));
    // A shell that could not find a program of its own ends like this, too; and an action has `/bin` on its PATH.
    assert_eq!(hint("sh", 127), Vec::<String>::new());
    for (program, code) in [("tool", 1), ("no-such-program", 127), ("/bin/sh", 127)] {
        assert_eq!(hint(program, code), Vec::<String>::new());
    }
}

#[test]
fn scripts_keep_their_interpreter() {
    let plain = script::command("echo $1".to_owned(), vec!["a".to_owned()]).unwrap();
    assert_eq!(plain, ["/bin/sh", "-c", "echo $1", "sh", "a"]);
    let python =
        script::command("#!/usr/bin/env python3\nprint(1)".to_owned(), Vec::new()).unwrap();
    assert_eq!(python[3], "/usr/bin/env python3");
    assert!(script::command("x".repeat(200_000), Vec::new()).is_err());
}

#[test]
fn a_tilde_escapes_only_at_the_start_of_a_line() {
    let mut escapes = Escapes::new();
    assert_eq!(escapes.typed(b"~~a~.\r").bytes, b"~a~.\r");
    assert!(escapes.typed(b"~").bytes.is_empty());
    assert!(escapes.typed(b".").leave);
    let mut escapes = Escapes::new();
    let typed = escapes.typed(b"ls\r~?~x");
    assert!(typed.help && !typed.leave);
    assert_eq!(typed.bytes, b"ls\r~x");
}
