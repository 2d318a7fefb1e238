//! Where people really are: an ordinary container that forbids namespaces and mounts, an ordinary user, a home on an
//! overlay. The first command works everywhere, and says once what it could not have.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use hands_testkit::confine::confined;

use crate::home::{HANDS, Home, Ran, json, ran};

/// A user that exists nowhere and owns nothing but what a test gives it.
const USER: u32 = 54_321;

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Compiles and runs the README's example, and stops the agent, all as one script: what runs elsewhere stays there.
const FIRST_USE: &str = "\"$HANDS\" run --input hello-c -- sh hello-c/build-and-run; code=$?; \
                         \"$HANDS\" doctor --json >checks; \"$HANDS\" agent stop --force || exit 99; exit $code";

fn prepare(home: &Home) -> PathBuf {
    let program = home.work().join("hands");
    // The program's own place may be closed to other users. Copied by a child: a descriptor of ours, open for writing,
    // would be inherited by whatever another test starts meanwhile, and a program that somebody can write is "busy".
    assert!(Command::new("cp").arg(HANDS).arg(&program).status().unwrap().success());
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/hello-c");
    for name in ["main.c", "build-and-run"] {
        home.write(&format!("hello-c/{name}"), &fs::read_to_string(example.join(name)).unwrap());
    }
    program
}

/// The example's command line in this home's surroundings, for the given user.
fn first_use(home: &Home, program: &Path, user: Option<u32>) -> Command {
    let mut command = match user {
        None => home.program("sh"),
        Some(id) => {
            for path in [home.hands_home(), home.work()] {
                fs::create_dir_all(&path).unwrap();
                chown(&path, Some(id), Some(id)).unwrap();
            }
            let mut command = home.program("setpriv");
            command
                .args([
                    format!("--reuid={id}"),
                    format!("--regid={id}"),
                    "--clear-groups".to_owned(),
                ])
                .arg("sh");
            command.env("HOME", home.work());
            command
        }
    };
    command.args(["-c", FIRST_USE]).env("HANDS", program);
    command
}

fn assert_hello(ran: &Ran, level: &str) {
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.out.to_lowercase().contains("hello"), "{ran:?}");
    assert!(ran.err.contains(&format!("isolation {level}")), "{level}: {ran:?}");
}

#[test]
fn in_an_ordinary_container_it_works_with_less_isolation_and_says_so() {
    let users = if is_root() { vec![None, Some(USER)] } else { vec![None] };
    for user in users {
        let home = Home::new();
        let program = prepare(&home);
        let mut command = first_use(&home, &program, user);
        let ran = ran(confined(move || command.output().unwrap()).unwrap());
        assert_hello(&ran, "process");
        // One sentence, with the cure.
        assert_eq!(ran.err.matches("isolation").count(), 1, "{ran:?}");
        // The doctor finds the same, and what would mend it.
        let checks = json(&home.read("checks"));
        let found = checks.iter().find(|check| check["check"] == "isolation").unwrap();
        assert!(found["found"].as_str().unwrap().starts_with("process"), "{found}");
        assert!(found["state"] == "weak" && found["cure"].is_string(), "{found}");
    }
}

#[test]
fn below_full_what_can_not_be_kept_is_said_and_nobody_else_is_served() {
    let home = Home::new();
    let program = prepare(&home);
    let script = r#"
        run() { "$HANDS" run "$@"; }
        run -q -- true
        run --same-path --network none -- sh -c 'echo ran' 2>asked; cat asked >&2
        run --network host -- true 2>unasked; cat unasked >&2
        "$HANDS" batch --network loopback -- true ::: 1 2 3 2>many
        run --prop isolation=process -- echo offered
        run --prop isolation=full --queue-timeout 1s -- true; echo $?
        "$HANDS" worker unix:"$PWD"/hub.sock; echo $?
        "$HANDS" agent stop --force
    "#;
    let mut command = home.program("sh");
    command.args(["-c", script]).env("HANDS", &program);
    let ended = ran(confined(move || command.output().unwrap()).unwrap());
    assert_eq!(ended.out, "ran\noffered\n125\n3\n", "{ended:?}");
    let asked = home.read("asked");
    let lines: Vec<&str> = asked.lines().collect();
    assert_eq!(lines.len(), 2, "{asked}");
    assert!(lines[0].starts_with("warning: --network none was not kept: "), "{asked}");
    assert!(lines[1].starts_with("warning: --same-path was not kept: "), "{asked}");
    assert!(lines.iter().all(|line| line.contains("--prop isolation=full")), "{asked}");
    assert_eq!(home.read("unasked"), "");
    assert_eq!(home.read("many").matches("--network loopback").count(), 1, "said once");
    let refused = "does not allow isolation level full";
    assert!(ended.err.contains(refused) && ended.err.contains("--isolation"), "{ended:?}");
    assert!(ended.err.contains("no worker offers isolation=full; 1 worker offers process"));
}

#[test]
fn an_ordinary_user_gets_full_isolation() {
    if !is_root() {
        println!(
            "skipped: only root can become another user; the other tests run as an ordinary one already"
        );
        return;
    }
    let home = Home::new();
    let program = prepare(&home);
    assert_hello(&ran(first_use(&home, &program, Some(USER)).output().unwrap()), "full");
}

#[test]
fn a_home_on_an_overlay_is_as_good_as_any() {
    if !is_root() {
        println!("skipped: only root can mount an overlay here");
        return;
    }
    let home = Home::new();
    let program = prepare(&home);
    for name in ["lower", "upper", "scratch", "home"] {
        fs::create_dir_all(home.work().join(name)).unwrap();
    }
    let script = format!(
        "mount -t overlay -o lowerdir=lower,upperdir=upper,workdir=scratch overlay home || exit 98; \
         export HANDS_HOME=$PWD/home/hands; {FIRST_USE}"
    );
    let mut command = home.program("unshare");
    command.args(["--mount", "sh", "-c", &script]).env("HANDS", &program);
    assert_hello(&ran(command.output().unwrap()), "full");
}
