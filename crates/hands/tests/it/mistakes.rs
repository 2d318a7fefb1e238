//! Bad input: one clear error of the right class and exit code, and nothing else disturbed.

use std::os::unix::fs::PermissionsExt;

use crate::home::{HANDS, Home, ran};

#[test]
fn wrong_flags_are_named() {
    let home = Home::new();
    let cases: &[(&[&str], i32, &str)] = &[
        (&["run", "--inptu", "x", "--", "true"], 125, "--input"),
        (&["run", "--timeout", "soon", "--", "true"], 125, "--timeout"),
        (&["run", "--cpu", "0", "--", "true"], 125, "--cpu"),
        (&["run", "--retry", "-1", "--", "true"], 125, "must not be negative"),
        (&["run", "--priority", "high", "--", "true"], 125, "expected a whole number"),
        (&["run", "--priority", "9999999999", "--", "true"], 125, "out of range"),
        (&["run", "--prop", "x", "--", "true"], 125, "--prop"),
        (&["run", "--network", "wan", "--", "true"], 125, "loopback"),
        (&["run"], 125, "CMD"),
        (&["run", "--output", "../x", "--", "true"], 125, "--output ../x"),
        (&["batch", "absent"], 125, "absent"),
        (&["batch", "--resume", "absent"], 125, "--joblog"),
        (&["bath"], 2, "'batch'"),
        (&["ps", "--al"], 2, "--all"),
        (&["run", "--tty", "--", "true"], 125, "--tty needs a terminal"),
        (&["hub", "--listen", "0.0.0.0:0", "--insecure-loopback"], 2, "without TLS"),
        (&["hub", "--listen", "example.org:1"], 2, "example.org:1"),
        (&["hub", "--listen", "127.0.0.1:0", "--name", "a b"], 2, "--name a b"),
        (&["hub", "--listen", "127.0.0.1:0", "--tls-cert", "x"], 2, "--tls-key"),
        (&["login", "somewhere"], 2, "join string"),
        (&["login", "hands1:10.0.0.1:8980/AAAA"], 2, "damaged"),
        (&["login", "@absent"], 2, "absent"),
        (&["logout", "nowhere"], 2, "nowhere"),
        (&["worker"], 2, "not joined"),
        (&["token", "create", "--role", "boss"], 2, "boss"),
        (&["token", "list"], 2, "no hub runs here"),
        (&["bazelrc"], 2, "logged in"),
        (&["worker", "unix:relative"], 2, "unix:relative"),
        (&["run", "--cluster", "nonsense here", "--", "true"], 125, "nonsense here"),
    ];
    for (arguments, code, word) in cases {
        let ended = home.run(arguments);
        assert_eq!(ended.code, *code, "{arguments:?}: {ended:?}");
        assert!(ended.err.contains(word) && ended.out.is_empty(), "{arguments:?}: {ended:?}");
        assert!(!ended.err.contains("panick"), "{ended:?}");
    }
    // Nothing of this needed an agent.
    assert_eq!(home.run(&["agent", "status"]).code, 4);
}

#[test]
fn help_is_there_for_everything_in_eighty_columns() {
    let home = Home::new();
    let all = [
        "",
        "run",
        "batch",
        "shell",
        "ps",
        "status",
        "logs",
        "wait",
        "attach",
        "fetch",
        "cancel",
        "workers",
        "agent",
        "hub",
        "worker",
        "doctor",
        "trust",
        "login",
        "logout",
        "token",
        "bazelrc",
        "top",
        "why",
        "store",
        "workers remove",
        "workers members",
        "worker drain",
        "agent status",
        "agent stop",
        "token create",
        "token list",
        "token revoke",
        "store status",
        "store gc",
        "store verify",
    ];
    for command in all {
        let arguments: Vec<&str> =
            command.split(' ').chain(["--help"]).filter(|a| !a.is_empty()).collect();
        let help = home.run(&arguments);
        assert_eq!((help.code, help.err.as_str()), (0, ""));
        assert!(help.out.contains("Usage: hands"), "{}", help.out);
        let wide: Vec<&str> = help.out.lines().filter(|l| l.chars().count() > 80).collect();
        assert!(wide.is_empty(), "{wide:?}");
        // Text that was wrapped by hand and was still too wide has a short line in the middle of a paragraph.
        let lines: Vec<&str> = help.out.lines().collect();
        let mut from_last_flag =
            lines.iter().rev().skip_while(|line| !line.trim_start().starts_with('-'));
        let heading = from_last_flag.find(|line| line.starts_with(char::is_alphabetic));
        assert_eq!(heading, Some(&"Global options:"), "its own come first: {}", help.out);
        let is_text = |line: &str| line.starts_with(char::is_alphabetic) && !line.ends_with(':');
        let torn = lines.windows(3).find(|three| {
            three.iter().all(|line| is_text(line)) && three[0].len() > 60 && three[1].len() < 40
        });
        assert_eq!(torn, None, "{}", help.out);
    }
}

#[test]
fn bad_lists_run_nothing() {
    let home = Home::new();
    home.write("list", "echo ran\n{\"argv\": [\"a\"], \"timout\": 1}\n");
    let ended = home.run(&["batch", "list"]);
    assert_eq!((ended.code, ended.out.as_str()), (125, ""));
    assert!(ended.err.contains("list, line 2, column 24: unknown field `timout`"), "{ended:?}");
    assert_eq!(home.run(&["agent", "status"]).code, 4);
}

#[test]
fn bad_inputs_are_named() {
    let home = Home::new().warm();
    let absent = home.run(&["run", "--input", "absent", "--", "true"]);
    assert_eq!(absent.code, 125, "{absent:?}");
    assert!(absent.err.contains("absent"), "{absent:?}");
    let outside = home.run(&["run", "--input", "../x", "--", "true"]);
    assert_eq!(outside.code, 125, "{outside:?}");
    let status =
        std::process::Command::new("mkfifo").arg(home.work().join("pipe")).status().unwrap();
    assert!(status.success());
    // It stays here with a word, unless it is what was asked for.
    let beside = home.run(&["run", "--input", ".", "--", "ls", "-A"]);
    let told = "warning: left out, neither file, directory nor link: ./pipe (named pipe)\n";
    assert_eq!((beside.code, beside.out.as_str(), beside.err.as_str()), (0, "", told));
    let named = home.run(&["run", "--input", "pipe", "--", "true"]);
    assert_eq!(named.code, 125, "{named:?}");
    assert!(named.err.contains("pipe is a named pipe"), "{named:?}");
    use std::os::unix::ffi::OsStrExt;
    let odd = home.work().join(std::ffi::OsStr::from_bytes(b"odd\xff"));
    std::fs::write(&odd, "x").unwrap();
    let name = home.run(&["run", "--input", ".", "--", "true"]);
    assert_eq!(name.code, 125, "{name:?}");
    assert!(name.err.contains("odd"), "{name:?}");
    // In the place of a worker's whole system nothing can stand.
    let mut whole = home.hands(&["run", "--same-path", "--input", "etc/passwd", "--", "true"]);
    let whole = ran(whole.current_dir("/").output().unwrap());
    assert_eq!(whole.code, 125, "{whole:?}");
    assert!(whole.err.contains("--same-path: this directory is /, which"), "{whole:?}");
}

#[test]
fn what_no_worker_offers_is_said_and_ends() {
    let home = Home::new().warm();
    let ended = home.run(&["run", "--prop", "colour=red", "--queue-timeout", "2s", "--", "true"]);
    assert_eq!(ended.code, 125, "{ended:?}");
    assert!(ended.err.contains("colour"), "{ended:?}");
    let waiting = ended.err.lines().any(|l| l.starts_with("waiting:"));
    assert!(waiting, "{ended:?}");
    let tag = home.run(&["run", "--tag", "gpu", "--queue-timeout", "2s", "--", "true"]);
    assert!(tag.code == 125 && tag.err.contains("gpu"), "{tag:?}");
}

/// Of an agent's own cluster nobody waits for a machine that never comes. Who asks for a time to wait has it.
#[test]
fn what_one_machine_alone_can_never_offer_is_refused_at_once() {
    let home = Home::new().warm();
    for (flag, more, said) in [
        ("--memory", "4000G", "error: no worker offers memory=4096000M; 1 worker offers memory="),
        ("--cpu", "5000", "error: no worker offers cpu=5000; 1 worker offers cpu="),
        ("--tag", "gpu", "error: no worker offers tag=gpu"),
    ] {
        // The wait would be ten minutes.
        let mut command = home.program("timeout");
        command.args(["30", HANDS, "run", flag, more, "--", "true"]);
        let refused = ran(command.output().unwrap());
        assert_eq!((refused.code, refused.err.lines().count()), (125, 1), "{refused:?}");
        assert!(refused.err.starts_with(said), "{refused:?}");
    }
    let mut command = home.program("timeout");
    command.args(["30", HANDS, "batch", "--memory", "4000G", "--", "true", ":::", "1"]);
    let refused = ran(command.output().unwrap());
    assert_eq!(refused.code, 125, "{refused:?}");
    assert!(
        refused.err.contains("no worker offers memory=4096000M; 1 worker offers"),
        "{refused:?}"
    );
}

#[test]
fn hostile_outputs_are_refused_and_escapes_not_printed() {
    let home = Home::new().warm();
    // A link to elsewhere lands as a link, and nothing is written through it.
    let outside = home.work().parent().unwrap().join("outside");
    std::fs::create_dir(&outside).unwrap();
    let link = home.run(&["run", "--output", "out", "--", "sh", "-c", "ln -s ../outside out"]);
    assert_eq!(link.code, 0, "{link:?}");
    assert_eq!(std::fs::read_link(home.work().join("out")).unwrap().to_str(), Some("../outside"));
    let refused = home.run(&["run", "--output", "out/file", "--", "echo", "ran"]);
    assert_eq!((refused.code, refused.out.as_str()), (125, ""), "{refused:?}");
    assert!(refused.err.contains("`out` is a link that leads out"), "{refused:?}");
    let script = "mkdir out; echo evil >out/file";
    let through = home.run(&["run", "--output", "out", "--", "sh", "-c", script]);
    assert_eq!(through.code, 125, "{through:?}");
    assert!(
        through.err.contains("a link, here, that leads out") && through.err.contains("hands fetch"),
        "{through:?}"
    );
    assert!(crate::home::names(&outside).is_empty());
    let title = home.run(&["run", "--detach", "--", "echo", "\x1b[31mred"]);
    assert_eq!(title.code, 0);
    home.run(&["wait", title.out.trim()]);
    let table = home.run(&["ps", "-a"]);
    assert!(!table.out.contains('\x1b') && table.out.contains("[31mred"), "{table:?}");
}

#[test]
fn inside_an_action_there_is_no_cluster() {
    let home = Home::new();
    let inside = ran(home.hands(&["run", "--", "true"]).env("HANDS_INSIDE", "1").output().unwrap());
    assert_eq!(inside.code, 125, "{inside:?}");
    assert!(inside.err.contains("inside an action"), "{inside:?}");
}

#[test]
fn bad_homes_and_files_are_named() {
    let home = Home::new();
    let unset = ran(home
        .hands(&["run", "--", "true"])
        .env_remove("HANDS_HOME")
        .env_remove("HOME")
        .env_remove("XDG_STATE_HOME")
        .output()
        .unwrap());
    assert_eq!(unset.code, 125, "{unset:?}");
    assert!(unset.err.contains("HOME is not set"), "{unset:?}");
    // As after `su` without `-`; whoever we are, one of these is somebody else's.
    let not_ours = match rustix::process::geteuid().is_root() {
        true => {
            let place = home.work().join("theirs");
            std::fs::create_dir_all(&place).unwrap();
            std::os::unix::fs::chown(&place, Some(54_321), None).unwrap();
            place
        }
        false => "/".into(),
    };
    let mut foreign = home.hands(&["run", "--", "true"]);
    foreign.env_remove("HANDS_HOME").env_remove("XDG_RUNTIME_DIR").env("HOME", &not_ours);
    let foreign = ran(foreign.output().unwrap());
    assert_eq!(foreign.code, 125, "{foreign:?}");
    let whose = format!("HOME is {}, which belongs to user ", not_ours.display());
    assert!(foreign.err.contains(&whose) && foreign.err.contains("hint: "), "{foreign:?}");
    home.write("hands.toml", "[worker]\nexpose = [\"/\"]\n");
    let project = home.run(&["run", "--", "true"]);
    assert_eq!(project.code, 125, "{project:?}");
    assert!(project.err.contains("hands.toml:2") && project.err.contains("hint:"), "{project:?}");
    home.write("hands.toml", "[run\n");
    let syntax = home.run(&["run", "--", "true"]);
    assert!(syntax.code == 125 && syntax.err.contains("hands.toml:1"), "{syntax:?}");
    home.write("hands.toml", "[run]\nenv = [\"FROM=file\"]\n");
    let ended = home.run(&["run", "--", "sh", "-c", "echo $FROM"]);
    assert_eq!(ended.out, "file\n", "{ended:?}");
    let mode = std::fs::metadata(home.hands_home().join("run")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
}

#[test]
fn a_newer_state_is_refused_in_one_sentence() {
    let home = Home::new().warm();
    assert_eq!(home.run(&["agent", "stop"]).code, 0);
    let table = home.hands_home().join("state/agent/hub/hub.db");
    let version = |version: u32| -> u32 {
        let table = rusqlite::Connection::open(&table).unwrap();
        let before = table.query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap();
        table.pragma_update(None, "user_version", version).unwrap();
        before
    };
    let own = version(999);
    let ended = home.run(&["run", "--", "true"]);
    assert_eq!(ended.code, 125, "{ended:?}");
    assert!(ended.err.contains("hub.db") && ended.err.contains("999"), "{ended:?}");
    assert_eq!(ended.err.lines().filter(|l| l.starts_with("error:")).count(), 1, "{ended:?}");
    // Nothing was lost: with its own version it goes on.
    version(own);
    assert_eq!(home.run(&["run", "--", "true"]).code, 0);
}

#[test]
fn few_descriptors_do_for_a_command() {
    let home = Home::new();
    let mut command = home.program("sh");
    let script = "ulimit -n 64; \"$0\" run -- echo ran; \"$0\" agent stop --force";
    let ended = ran(command.args(["-c", script, crate::home::HANDS]).output().unwrap());
    assert_eq!((ended.code, ended.out.as_str()), (0, "ran\n"), "{ended:?}");
}

/// A thread's stack is a limit that a person may have made small, for programs that recurse.
#[test]
fn a_small_stack_does_for_a_command_and_its_agent() {
    let home = Home::new();
    let mut command = home.program("sh");
    let script = "ulimit -s 64; \"$0\" run -q -- echo ran && \"$0\" run --help | head -1; \"$0\" agent stop --force";
    let ended = ran(command.args(["-c", script, crate::home::HANDS]).output().unwrap());
    let said = "ran\nRun one command on the cluster, as if it ran here\n";
    assert_eq!((ended.code, ended.out.as_str()), (0, said), "{ended:?}");
}

/// Too little memory for a thread's stack is no bug of ours.
#[test]
fn little_address_space_does_or_is_said() {
    let home = Home::new().warm();
    let with = |kilobytes: u32| {
        let mut command = home.program("sh");
        let script = format!("ulimit -v {kilobytes}; exec \"$0\" run -q -- echo ran");
        ran(command.args(["-c", &script, crate::home::HANDS]).output().unwrap())
    };
    // Down to where there is none for the program itself: the kernel or the allocator end it then.
    let limits = (10_000..110_000).rev().step_by(1_000);
    let told = limits.map(with).take_while(|ran| ran.code < 130 || ran.code == 1000 + 6);
    let told: Vec<_> = told.filter(|ran| ran.code != 0 && !ran.err.is_empty()).collect();
    assert!(told.iter().all(|ran| !ran.err.contains("this is a bug")), "{told:?}");
    let refused = "error: this machine does not let us start a thread: ";
    let is_told = |ran: &crate::home::Ran| ran.code == 125 && ran.err.contains(refused);
    assert!(told.iter().any(is_told), "{told:?}");
}

/// What a script may rely on stands where its author looks.
#[test]
fn codes_are_in_the_help_of_each_command_that_has_its_own() {
    let home = Home::new();
    let codes = |command: &str| {
        let help = home.run(&[&command.split(' ').collect::<Vec<_>>()[..], &["-h"]].concat()).out;
        let (_, codes) = help.split_once("\nExit code:\n").unwrap_or_else(|| panic!("{help}"));
        let first = codes.lines().filter_map(|line| line.split_whitespace().next());
        first.map(str::to_owned).collect::<Vec<_>>()
    };
    for command in ["run", "batch", "shell", "wait", "attach"] {
        assert!(codes(command).contains(&"125".to_owned()), "{command}");
    }
    // Of those that end in order on a signal: run says 128+N.
    for command in ["batch", "shell", "wait", "attach", "fetch"] {
        let codes = codes(command);
        assert!(["130", "143"].iter().all(|code| codes.iter().any(|c| c == code)), "{command}");
    }
    let asking = ["ps", "logs", "fetch", "cancel", "doctor", "store verify", "agent stop"];
    for command in asking.into_iter().chain(["agent status", "logout"]) {
        assert!(codes(command).contains(&"3".to_owned()), "{command}");
    }
    assert!(home.run(&["--help"]).out.contains("\nExit code:\n  0 "));
    // What help says is so, where it is easily had.
    let code = |arguments: &[&str]| home.run(arguments).code;
    assert_eq!((code(&["agent", "status"]), code(&["logout"])), (4, 4));
    assert_eq!(code(&["run", "-q", "--", "true"]), 0);
    for command in ["status", "logs", "fetch", "cancel"] {
        assert_eq!(code(&[command, "ffffffff"]), 2, "{command}");
    }
    assert_eq!((code(&["wait", "ffffffff"]), code(&["attach", "ffffffff"])), (125, 125));
    assert_eq!((code(&["ps"]), code(&["ps", "--cluster", "127.0.0.1:x"])), (0, 2));
}

/// What help gives as an example of a flag's value is taken.
#[test]
fn examples_in_help_are_values() {
    let home = Home::new();
    let help = |command: &[&str]| home.run(&[command, &["--help"]].concat()).out;
    let mut commands: Vec<Vec<String>> = vec![Vec::new()];
    let mut tried = 0;
    while let Some(command) = commands.pop() {
        let words: Vec<&str> = command.iter().map(String::as_str).collect();
        let text = help(&words);
        let listed = text.split("\nCommands:\n").nth(1).unwrap_or("");
        for line in listed.lines().take_while(|line| !line.is_empty()) {
            let name = line.split_whitespace().next().unwrap_or("help");
            if name != "help" && line.starts_with("  ") && !line.starts_with("   ") {
                commands.push([&command[..], &[name.to_owned()]].concat());
            }
        }
        let mut flags: Vec<String> = Vec::new();
        for line in text.lines() {
            match flags.last_mut() {
                Some(flag) if !line.trim_start().starts_with('-') => {
                    flag.push(' ');
                    flag.push_str(line.trim());
                }
                _ => flags.push(line.trim().to_owned()),
            }
        }
        for flag in flags {
            let (Some(name), Some((_, examples))) =
                (flag.split(' ').find(|word| word.starts_with("--")), flag.split_once("such as "))
            else {
                continue;
            };
            let end = examples.find([')', '[', ';', ':']).unwrap_or(examples.len());
            for example in examples[..end].split([',', ' ']) {
                let example = example.trim_end_matches('.');
                // Words of the sentence around them.
                if ["", "or", "and", "a"].contains(&example) {
                    continue;
                }
                let asked = home.run(&[&words[..], &[name, example, "--help"]].concat());
                assert_eq!(asked.code, 0, "{words:?} {name} {example}: {}", asked.err);
                tried += 1;
            }
        }
    }
    assert!(tried >= 4, "help has examples; {tried} were found");
}
