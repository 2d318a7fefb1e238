//! Lists, templates, job logs and the bar.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use hands_client::ClientError;
use hands_front::args::ActionArgs;
use hands_front::{RunError, eye};
use hands_types::{ErrorClass, Network};

use super::joblog::{Entry, JobLog};
use super::pool;
use super::progress::Progress;
use super::source::{Task, parse};
use super::template;
use super::unrun::Unrun;

fn fill(command: &[&str]) -> Vec<Vec<String>> {
    let command: Vec<OsString> = command.iter().map(Into::into).collect();
    let tasks = tasks(&command, &ActionArgs::default());
    tasks.into_iter().map(|t| t.argv).collect()
}

fn tasks(command: &[OsString], action: &ActionArgs) -> Vec<Task> {
    template::tasks(command, action, || panic!("stdin is not needed")).unwrap()
}

#[test]
fn replacement_strings_are_those_of_gnu_parallel() {
    let parts = fill(&["x", "{}", "{.}", "{/}", "{//}", "{/.}", "{#}", ":::", "a/b.tar.gz", "c"]);
    assert_eq!(parts[0], ["x", "a/b.tar.gz", "a/b.tar", "b.tar.gz", "a", "b.tar", "1"]);
    assert_eq!(parts[1], ["x", "c", "c", "c", ".", "c", "2"]);
    // Nothing that takes an argument: it is appended.
    assert_eq!(fill(&["echo", "{#}", ":::", "a b"]), [["echo", "1", "a b"]]);
    // Several sources combine, the last one fastest; a number picks one.
    let pairs = fill(&["{2}-{1/}", ":::", "d/a", "b", ":::", "x", "y"]);
    assert_eq!(pairs, [["x-a"], ["y-a"], ["x-b"], ["y-b"]]);
    assert_eq!(
        fill(&["echo", ":::", "a", ":::", "1", "2"]),
        [["echo", "a", "1"], ["echo", "a", "2"]]
    );
    // Braces that are none of ours stay.
    assert_eq!(fill(&["awk", "{print}{", "{}", ":::", "f"]), [["awk", "{print}{", "f"]]);
    assert_eq!(fill(&["echo", ":::"]), Vec::<Vec<String>>::new());
}

#[test]
fn a_shell_template_quotes_what_is_filled_in() {
    let one = fill(&["wc -l {} | sort", ":::", "it's", "a b"]);
    assert_eq!(one[0], ["/bin/sh", "-c", "wc -l 'it'\\''s' | sort"]);
    assert_eq!(one[1][2], "wc -l 'a b' | sort");
    assert_eq!(fill(&["cat", "{}", ">", "{.}.out", ":::", "a.in"])[0][2], "cat a.in > a.out");
}

#[test]
fn inputs_and_outputs_are_filled_in_as_the_command_is() {
    let paths = |input: &[&str], output: &[&str]| ActionArgs {
        input: input.iter().map(PathBuf::from).collect(),
        output: output.iter().map(|&o| o.to_owned()).collect(),
        ..ActionArgs::default()
    };
    let command = ["cc", "{}", ":::", "src/a b.c", "it's.c"].map(OsString::from);
    let filled = tasks(&command, &paths(&["{}", "lib"], &["{.}.o", "log/{#}", "{/.}"]));
    let own = |task: &Task| {
        let own = task.action.clone().unwrap();
        (own.input, own.output)
    };
    let wanted = paths(&["src/a b.c", "lib"], &["src/a b.o", "log/1", "a b"]);
    assert_eq!(own(&filled[0]), (wanted.input, wanted.output));
    assert_eq!(own(&filled[1]).1, ["it's.o", "log/2", "it's"]);
    // A path that is nothing but `{}` is one for each argument, as a word of the command is.
    let pairs = ["cmp", ":::", "a", ":::", "b"].map(OsString::from);
    assert_eq!(own(&tasks(&pairs, &paths(&["{}"], &[]))[0]).0, [Path::new("a"), Path::new("b")]);
    // Braces that stand for nothing are a name, and none of it costs a copy of the flags.
    assert!(tasks(&command, &paths(&["{x}"], &["o{,}"]))[0].action.is_none());
    let unknown = template::tasks(&command, &paths(&[], &["{%}"]), || panic!("no stdin"));
    assert!(unknown.unwrap_err().to_string().contains("`{%}`"));
}

#[test]
fn arguments_come_from_stdin_where_there_is_no_separator() {
    let command = ["echo".into(), "{}".into()];
    let action = ActionArgs::default();
    let tasks = template::tasks(&command, &action, || Ok("a\nb c\n".to_owned())).unwrap();
    assert_eq!(tasks[1].argv, ["echo", "b c"]);
    assert_eq!(tasks[1].title, "echo 'b c'");
}

#[test]
fn lists_hold_shell_lines_and_json_objects() {
    let action = ActionArgs { tag: vec!["all".to_owned()], ..ActionArgs::default() };
    let text = "# comment\n\necho a | wc\n{\"id\": \"x\", \"argv\": [\"ls\", \"a b\"], \"input\": \"src\", \
                \"env\": {\"A\": \"1\", \"B\": null}, \"timeout\": \"1m30s\", \"network\": \"host\", \"cpu\": 2, \
                \"memory\": \"1G\", \"tag\": [\"own\"], \"cache\": true, \"priority\": -3}\n";
    let tasks = parse("list", text, &action).unwrap();
    assert_eq!(tasks[0].argv, ["/bin/sh", "-c", "echo a | wc"]);
    assert!(tasks[0].action.is_none());
    assert_eq!(
        (tasks[1].number, tasks[1].id.as_deref(), tasks[1].title.as_str()),
        (2, Some("x"), "ls 'a b'")
    );
    let own = tasks[1].action.as_deref().unwrap();
    assert_eq!(own.input, [PathBuf::from("src")]);
    assert_eq!(own.env.len(), 2);
    assert_eq!(own.timeout, Some(Duration::from_secs(90)));
    assert_eq!(own.network, Some(Network::Host));
    assert_eq!(own.memory.unwrap().bytes, 1 << 30);
    assert_eq!((own.tag.join(","), own.cache, own.priority), ("all,own".to_owned(), true, -3));
}

#[test]
fn a_wrong_line_is_named_by_line_and_column() {
    let wrong =
        |text: &str| parse("l.jsonl", text, &ActionArgs::default()).unwrap_err().to_string();
    let cases = [
        ("true\n{\"argv\": [\"a\",]}\n", "l.jsonl, line 2, column 15: trailing comma"),
        (
            "{\"argv\": [\"a\"], \"timout\": 3}\n",
            "l.jsonl, line 1, column 24: unknown field `timout`",
        ),
        ("{}\n", "l.jsonl, line 1, column 1: needs `argv`"),
        ("{\"argv\": []}\n", "l.jsonl, line 1, column 2: `argv` is empty"),
        (
            "{\"command\": \"a\", \"timeout\": \"soon\"}\n",
            "l.jsonl, line 1, column 18: `timeout`: expected a time",
        ),
        (
            "{\"command\": \"a\", \"timeout\": -1}\n",
            "l.jsonl, line 1, column 18: `timeout` must be",
        ),
        ("{\"command\": \"a\", \"argv\": [\"a\"]}\n", "exclude each other"),
        ("{\"argv\": [\"a\"]\n", "l.jsonl, line 1, column"),
    ];
    for (text, expected) in cases {
        let said = wrong(text);
        assert!(said.contains(expected), "{said}");
    }
}

fn entry<'a>(task: &'a Task, exit: u32) -> Entry<'a> {
    Entry {
        number: task.number,
        host: "w",
        started: SystemTime::UNIX_EPOCH + Duration::from_millis(1500),
        runtime: Duration::from_millis(25),
        received: 3,
        exit,
        signal: 0,
        command: &task.title,
    }
}

#[test]
fn a_job_log_is_resumed_and_its_torn_line_cut_off() {
    let directory = std::env::temp_dir().join(format!("hands-joblog-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let path = directory.join("log");
    let tasks: Vec<Task> =
        ["a\tb", "false", "c"].iter().zip(1..).map(|(l, n)| Task::shell(n, l)).collect();
    let mut log = JobLog::create(&path).unwrap();
    log.append(&entry(&tasks[0], 0)).unwrap();
    log.append(&entry(&tasks[1], 1)).unwrap();
    drop(log);
    let whole = std::fs::read_to_string(&path).unwrap();
    assert_eq!(whole.lines().nth(1).unwrap(), "1\tw\t1.500\t     0.025\t0\t3\t0\t0\ta b");
    std::fs::write(&path, format!("{whole}3\tw\t1.5")).unwrap();
    let (mut log, finished) = JobLog::resume(&path, &tasks).unwrap();
    assert_eq!(finished.into_iter().collect::<Vec<_>>(), [(1, true), (2, false)]);
    log.append(&entry(&tasks[2], 0)).unwrap();
    assert!(JobLog::resume(&path, &tasks).unwrap().1.contains_key(&3));
    let changed = vec![Task::shell(1, "other")];
    let error = JobLog::resume(&path, &changed).unwrap_err();
    assert!(matches!(&error, RunError::Line { line: 2, .. }), "{error}");
    std::fs::remove_dir_all(&directory).unwrap();
}

#[test]
fn the_bar_fits_its_screen() {
    let progress = Progress {
        total: 1000,
        running: 8,
        succeeded: 500,
        failed: 12,
        before: 100,
        ..Progress::default()
    };
    let line = progress.line(Duration::from_secs(2), 80);
    assert_eq!(
        line,
        "[################-----------] 612/1000  12 failed  8 running  256/s  1.5 s left"
    );
    for width in [10, 40, 60, 80, 200] {
        assert!(
            progress.line(Duration::from_secs(2), width).chars().count() < width.max(11),
            "{width}"
        );
    }
    assert_eq!(
        progress.summary(Duration::from_secs(75)),
        "500 succeeded, 12 failed, 100 finished before of 1000 commands, 1 min 15 s"
    );
    assert_eq!(eye::time(Duration::from_millis(1234)), "1.2 s");
}

#[test]
fn replacement_strings_that_are_not_known_are_refused() {
    for text in ["{%}", "{-1}", "x{-2/.}y", "{##}", "{= $_++ =}"] {
        let command: Vec<OsString> = ["echo", text, ":::", "a"].map(OsString::from).into();
        let error = template::tasks(&command, &ActionArgs::default(), || Ok(String::new()))
            .err()
            .unwrap()
            .to_string();
        assert!(error.contains("not known here"), "{text}: {error}");
    }
    for text in ["{print}", "${x-1}", "{a,b}", "{-x}", "{", "{=}", "{}-1"] {
        let command: Vec<OsString> = ["echo", text, ":::", "a"].map(OsString::from).into();
        template::tasks(&command, &ActionArgs::default(), || Ok(String::new())).unwrap();
    }
}

#[test]
fn a_time_limit_in_a_list_is_one_that_a_hub_accepts() {
    for text in ["\"8d\"", "691200"] {
        let line = format!("{{\"command\": \"true\", \"timeout\": {text}}}");
        let error = super::json::task(1, &line, &ActionArgs::default()).err().unwrap();
        assert!(error.why.contains("7 days"), "{}", error.why);
    }
}

/// A list of a thousand commands reads a damaged image once, and one that was evicted once more.
#[tokio::test]
async fn what_commands_share_is_made_once_also_where_it_is_damaged() {
    let refused = |class| ClientError::Snapshot { class, message: "it is damaged".to_owned() };
    let (cell, mut made) = (pool::Once::<Rc<u8>>::default(), 0);
    for class in [ErrorClass::Infra { retry: true }, ErrorClass::User, ErrorClass::User] {
        let making = async {
            made += 1;
            Err(RunError::from(refused(class)))
        };
        let error = pool::once(&cell, making).await.unwrap_err();
        assert_eq!((error.class(), error.to_string().as_str()), (class, "it is damaged"));
    }
    assert_eq!(made, 2, "what is wrong with the files is not looked for again");

    let held = Rc::new(7);
    let cell = pool::Once::<Rc<u8>>::default();
    assert!(!pool::is_held(&cell, Some(&held)), "it is being made");
    let first = pool::once(&cell, async { Ok(Rc::clone(&held)) }).await.unwrap();
    assert!(pool::is_held(&cell, Some(&first)));
    assert!(!pool::is_held(&cell, Some(&Rc::new(7))), "this was made before it");
    assert!(!pool::is_held(&cell, None));
}

#[test]
fn the_same_reason_is_told_of_a_few_and_counted() {
    let mut unrun = Unrun::default();
    let named = (0..3_000).filter(|_| unrun.note("the hub is away").is_named).count();
    assert_eq!(named, 5);
    let another = unrun.note("no such directory");
    let sentence = another.before.expect("the others are counted");
    assert_eq!(sentence, "2995 more commands were not run, for the same reason");
    assert!(another.is_named);
    assert_eq!(unrun.rest(), None, "all of them are named");
    assert_eq!(unrun.note("the hub is away").before, None);
}
