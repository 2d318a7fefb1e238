//! Flags, hints, verdicts and tables.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use clap::Parser;
use hands_client::proto::ActionResult;
use hands_client::{ClusterKind, JobResult};

use crate::args::value::{self, Cpus, MemorySize};
use crate::args::{ActionArgs, BatchArgs, RunArgs};
use crate::caller::Caller;
use crate::run::script;
use crate::table::Table;
use crate::terminal::escapes::Escapes;
use crate::verdict::{self, End};
use crate::{hints, quote, spec};

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
    JobResult {
        id: "id".to_owned(),
        action: None,
        result: Some(ActionResult { exit_code, ..ActionResult::default() }),
        failure: None,
        cached: false,
        message: String::new(),
        remark: String::new(),
        left_out: Default::default(),
        asked: None,
        answered: None,
    }
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
        assert!(named && error.contains(": the engine at h:1 is not a hub"), "{error}");
    }
    for flag in ["--json", "--stdin", "--output=a", "--prop=a=b", "--cache"] {
        assert!(check(flag, ClusterKind::Engine).is_ok(), "{flag}");
    }
}

#[test]
fn values_are_read_or_refused() {
    let seconds = |text| value::duration(text).map(|d| d.as_millis());
    assert_eq!(seconds("90"), Ok(90_000));
    assert_eq!(seconds("1h30m"), Ok(5_400_000));
    assert_eq!(seconds("500ms"), Ok(500));
    assert_eq!(seconds("90d"), Ok(90 * 86_400_000));
    for wrong in ["", "0", "5x", "5 x", "m", "1s1h", "5m5m", "-3", "99999999999999999999"] {
        assert!(seconds(wrong).is_err(), "{wrong}");
    }
    assert!(value::timeout("7d").is_ok() && value::timeout("8d").is_err());
    let cpu = |text: &str| text.parse::<Cpus>().map(|c| c.to_string());
    assert_eq!(cpu("2"), Ok("2".to_owned()));
    assert_eq!(cpu("0.50"), Ok("0.5".to_owned()));
    assert!(
        cpu("0").is_err() && cpu("1.").is_err() && cpu("one").is_err() && cpu("4294968").is_err()
    );
    assert_eq!("512m".parse::<MemorySize>().unwrap().bytes, 512 << 20);
    assert!("1.5G".parse::<MemorySize>().is_err() && "0".parse::<MemorySize>().is_err());
}

#[test]
fn inputs_and_outputs_stay_below_the_directory() {
    let caller = caller("/home/me/p");
    let place = |path: &str| {
        let text = |path: &hands_types::RelPath| path.as_str().to_owned();
        spec::layout(&[path], &caller).map(|l| (text(&l.directory), text(&l.places[0])))
    };
    let pair = |directory: &str, place: &str| (directory.to_owned(), place.to_owned());
    assert_eq!(place(".").unwrap(), pair("", ""));
    assert_eq!(place("./a/./b/").unwrap(), pair("", "a/b"));
    assert_eq!(place("/home/me/p/src").unwrap(), pair("", "src"));
    assert!(place("../q").unwrap_err().class() == hands_types::ErrorClass::User);
    // What is outside moves the top of the input root up, to what holds both.
    let crates = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let here = self::caller(env!("CARGO_MANIFEST_DIR"));
    let outside = spec::layout(&["../hands-types/src", "src"], &here).unwrap();
    assert_eq!((outside.top.as_path(), outside.directory.as_str()), (crates, "hands-run"));
    let places: Vec<&str> = outside.places.iter().map(hands_types::RelPath::as_str).collect();
    assert_eq!(places, ["hands-types/src", "hands-run/src"]);
    let far = spec::layout(&["/etc/passwd"], &here).unwrap_err().to_string();
    assert!(far.contains("--input /etc/passwd: it shares no directory"), "{far}");
    let job = |output: &str| {
        let action = ActionArgs { output: vec![output.to_owned()], ..ActionArgs::default() };
        spec::job(&action, vec!["x".to_owned()], String::new(), None, &caller).map(|j| j.outputs)
    };
    assert_eq!(job("./out/*.o").unwrap(), ["out/*.o"]);
    for wrong in ["", "/tmp/x", "../x", "."] {
        assert!(job(wrong).unwrap_err().to_string().contains("--output"), "{wrong}");
    }
}

#[test]
fn properties_and_variables_follow_the_flags() {
    let run = Run::try_parse_from([
        "run",
        "--os",
        "Linux",
        "--cpu",
        "0.5",
        "--memory",
        "1G",
        "-t",
        "gpu",
        "--prop",
        "k=v=w",
        "--same-path",
        "--network",
        "none",
        "-e",
        "SET",
        "-e",
        "A=b=c",
        "-e",
        "UNSET",
        "x",
    ]);
    let job = spec::job(
        &run.unwrap().args.action,
        vec!["x".to_owned()],
        String::new(),
        None,
        &caller("/d"),
    )
    .unwrap();
    let text = job
        .platform
        .properties()
        .iter()
        .map(|(k, v)| format!("{k}={v}"))
        .collect::<Vec<_>>()
        .join(" ");
    assert_eq!(
        text,
        "InputRootAbsolutePath=/d OSFamily=Linux cpu=0.5 k=v=w memory=1073741824 network=none tag=gpu"
    );
    let set = |k: &str, v: &str| (k.to_owned(), v.to_owned());
    assert_eq!(job.env, [set("SET", "here"), set("A", "b=c")]);
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
    let mut brought = result(1);
    let directories = &mut brought.result.as_mut().unwrap().output_directories;
    directories.push(Default::default());
    directories[0].path = "src".to_owned();
    for result in [brought, result(0)] {
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
fn verdicts_follow_the_shells_codes() {
    let ended = verdict::of(&result(137), &[]);
    assert_eq!((ended.code, ended.end), (137, End::Failed));
    let missing = verdict::of(&result(0), &["a".to_owned(), "b*".to_owned()]);
    assert_eq!((missing.code, missing.end), (1, End::Failed));
    assert_eq!(
        missing.sentence.as_deref(),
        Some(
            "the command succeeded, but its output a is missing, and nothing matches its output b*"
        )
    );
    let nothing_matches = verdict::of(&result(0), &["b*".to_owned()]);
    assert_eq!((nothing_matches.code, nothing_matches.missing), (1, vec!["b*".to_owned()]));
    assert_eq!(
        nothing_matches.sentence.as_deref(),
        Some("the command succeeded, but nothing matches its output b*")
    );
    let mut some = result(0);
    let some_result = some.result.as_mut().unwrap();
    some_result.output_files.push(Default::default());
    some_result.output_files[0].path = "d/bc".to_owned();
    some.left_out.entries.push(Default::default());
    some.left_out.entries[0].path = "e/x/fifo".to_owned();
    some.left_out.total = 1;
    let declared = ["./*/b*", "d/**", "e/*", "e/**", "f/**", "b*"].map(str::to_owned);
    assert_eq!(some.missing_outputs(&declared), ["f/**", "b*"]);
    // A command that failed owes no outputs.
    assert_eq!(verdict::of(&result(2), &["a".to_owned()]).code, 2);
    // There are engines that give -1 for a death by signal. What they say besides is not why.
    let odd = verdict::of(&JobResult { remark: "see there".to_owned(), ..result(-1) }, &[]);
    assert_eq!((odd.code, odd.end), (255, End::Failed));
    let sentence = odd.sentence.unwrap();
    assert!(sentence.contains("exit code -1") && !sentence.contains("see there"), "{sentence}");
    let nothing = JobResult { result: None, ..result(0) };
    assert_eq!(
        (verdict::of(&nothing, &[]).code, verdict::of(&nothing, &[]).end),
        (125, End::NotRun)
    );
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

#[test]
fn tables_are_aligned_safe_and_as_wide_as_the_screen() {
    let mut table = Table::new(&["ID", "COMMAND"], 1);
    table.row(vec!["a".to_owned(), "\x1b[31mred".to_owned()]);
    table.row(vec!["bcd".to_owned(), "x".repeat(100)]);
    let whole = table.lines(None);
    assert_eq!(whole[1], "a    \\u{1b}[31mred");
    assert!(table.lines(Some(80)).iter().all(|l| l.chars().count() <= 80));
    assert!(table.lines(Some(80))[2].ends_with('…'));
    assert_eq!(quote::shell_quoted("a'b"), "'a'\\''b'");
}
