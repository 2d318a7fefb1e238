//! Flags, layouts, verdicts, tables, and what is made for the eye.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Parser;
use hands_client::JobResult;

use crate::args::ActionArgs;
use crate::args::value::{self, Cpus, MemorySize};
use crate::caller::Caller;
use crate::eye::bar;
use crate::live::Live;
use crate::quote::shell_quoted;
use crate::spec;
use crate::table::Table;
use crate::verdict::{self, End};

#[derive(Parser)]
struct Flags {
    #[command(flatten)]
    action: ActionArgs,
}

fn caller(directory: &str) -> Caller {
    let environment = vec![("SET".into(), "here".into())];
    Caller { directory: PathBuf::from(directory), environment, defaults: Vec::new(), history: None }
}

fn result(exit_code: i32) -> JobResult {
    JobResult::of_command(exit_code)
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
fn a_size_is_the_same_in_a_flag_as_in_a_file() {
    let bytes = |text: &str| text.parse::<MemorySize>().map(|size| size.bytes);
    assert_eq!(bytes("20 GiB"), Ok(20 << 30));
    assert_eq!(bytes(" 4 g "), Ok(4 << 30));
    assert!(bytes("4194304ib").is_err() && bytes("4giib").is_err());
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
    assert_eq!((outside.top.as_path(), outside.directory.as_str()), (crates, "hands-front"));
    let places: Vec<&str> = outside.places.iter().map(hands_types::RelPath::as_str).collect();
    assert_eq!(places, ["hands-types/src", "hands-front/src"]);
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
    let flags = Flags::try_parse_from([
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
    ]);
    let job =
        spec::job(&flags.unwrap().action, vec!["x".to_owned()], String::new(), None, &caller("/d"))
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
    let mut some = result(0).with_output("d/bc");
    some.left_out.entries.push(Default::default());
    some.left_out.entries[0].path = "e/x/fifo".to_owned();
    some.left_out.total = 1;
    let declared = ["./*/b*", "d/**", "e/*", "e/**", "f/**", "b*"].map(str::to_owned);
    assert_eq!(some.missing_outputs(&declared), ["f/**", "b*"]);
    // A command that failed owes no outputs.
    assert_eq!(verdict::of(&result(2), &["a".to_owned()]).code, 2);
    // There are engines that give -1 for a death by signal. What they say besides is not why.
    let mut odd = result(-1);
    odd.remark = "see there".to_owned();
    let odd = verdict::of(&odd, &[]);
    assert_eq!((odd.code, odd.end), (255, End::Failed));
    let sentence = odd.sentence.unwrap();
    assert!(sentence.contains("exit code -1") && !sentence.contains("see there"), "{sentence}");
    let nothing = JobResult::of_nothing();
    assert_eq!(
        (verdict::of(&nothing, &[]).code, verdict::of(&nothing, &[]).end),
        (125, End::NotRun)
    );
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
    assert_eq!(shell_quoted("a'b"), "'a'\\''b'");
}

#[test]
fn bars_are_full_and_empty_only_at_the_ends() {
    assert_eq!(bar(0, 10, 4), "[----]");
    assert_eq!(bar(1, 1000, 4), "[#---]");
    assert_eq!(bar(999, 1000, 4), "[###-]");
    assert_eq!(bar(10, 10, 4), "[####]");
    assert_eq!(bar(0, 0, 4), "[----]");
}

#[test]
fn what_runs_longest_is_shown_and_the_rest_is_counted() {
    let begin = Instant::now();
    let at = |seconds| begin + Duration::from_secs(seconds);
    let mut live = Live::default();
    for n in 0..300 {
        live.begins(n, &format!("command {n}\x1b[2J"), at(n));
    }
    assert_eq!(live.len(), 300);
    let lines = live.lines(24, 30, at(300));
    assert_eq!(lines.len(), 12);
    assert_eq!(lines[0], "   5m00s  command 0\\u{1b}[2J");
    assert_eq!(lines[11], "          and 289 more");
    assert!(lines.iter().all(|line| line.chars().count() < 30), "{lines:?}");
    // What is over is gone, and the same key may begin again.
    for n in 0..297 {
        live.ends(&n);
    }
    live.ends(&0);
    live.begins(298, "again", at(299));
    let lines = live.lines(24, 80, at(300));
    assert_eq!(lines[0].trim(), "3.0s  command 297\\u{1b}[2J");
    assert_eq!(lines[2].trim(), "1.0s  again");
    // What has just begun is counted and not shown, and a small terminal has room for little.
    assert_eq!(live.lines(24, 80, at(299)).len(), 2);
    assert_eq!(live.lines(4, 80, at(300)).last().unwrap().trim(), "and 2 more");
    assert!(live.lines(1, 80, at(300)).is_empty());
    assert!(live.lines(24, 80, at(296)).is_empty());
}
