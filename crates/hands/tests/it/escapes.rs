//! Attempts to get out of an action, end to end: the program, an agent of root and one of an ordinary user, and a hostile
//! action that tries whatever it can think of. The sandbox's own tests prove each step apart and at each level
//! (`hands-sandbox/tests/isolation`); here it is what a user gets.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::home::{HANDS, Home, Ran, json, names, ran};

/// A user that exists nowhere and owns nothing but what a test gives it.
const USER: u32 = 54_322;

/// A home whose agent is root's or an ordinary user's, with the hostile program in it.
struct Place {
    home: Home,
    user: Option<u32>,
    program: PathBuf,
    /// What no action may ever see. In the agent's environment, its user's keys, and another action's inputs.
    secret: String,
}

impl Place {
    fn new(user: Option<u32>) -> Self {
        let home = Home::new();
        let work = home.work();
        let program = work.join("hands");
        // Copied by a child, as anything that is executed later must be: see `surroundings`.
        assert!(Command::new("cp").arg(HANDS).arg(&program).status().unwrap().success());
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        home.write("escape.c", include_str!("escapes/escape.c"));
        let mut compiler = home.program("gcc");
        let built = compiler.args(["-O1", "-w", "-o", "escape", "escape.c"]).status();
        assert!(built.expect("these tests need gcc").success());
        home.write("input.txt", "as it came\n");
        home.write("kept.txt", "kept\n");
        let secret =
            format!("SECRET{}", home.mark().replace(|c: char| !c.is_ascii_alphanumeric(), ""));
        home.write("theirs/secret.txt", &secret);
        let key = home.write("person/.ssh/id_ed25519", &secret);
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
        fs::create_dir_all(home.hands_home()).unwrap();
        if let Some(id) = user {
            let mut own = Command::new("chown");
            own.arg("-R").arg(format!("{id}:{id}")).arg(&work);
            assert!(own.status().unwrap().success());
            chown(home.hands_home(), Some(id), Some(id)).unwrap();
        }
        let place = Self { home, user, program, secret };
        let first = place.run(&["run", "-q", "--", "true"]);
        assert_eq!(first.code, 0, "{first:?}");
        place
    }

    fn hands(&self, arguments: &[&str]) -> Command {
        let mut command = match self.user {
            None => self.home.program(&self.program),
            Some(id) => {
                let mut command = self.home.program("setpriv");
                command.args([format!("--reuid={id}"), format!("--regid={id}")]);
                command.arg("--clear-groups").arg(&self.program);
                command
            }
        };
        command.args(arguments).env("HOME", self.home.work().join("person"));
        command.env("CLUSTER_TOKEN", &self.secret);
        command
    }

    fn run(&self, arguments: &[&str]) -> Ran {
        ran(self.hands(arguments).output().unwrap())
    }

    fn agent(&self) -> String {
        json(&self.run(&["agent", "status", "--json"]).out)[0]["pid"].to_string()
    }

    /// Starts an action that says a line, and gives that line and its id; it stays until it is cancelled.
    fn start(&self, arguments: &[&str]) -> (String, String) {
        let begun = self.run(&[&["run", "-d"], arguments].concat());
        assert_eq!(begun.code, 0, "{begun:?}");
        let id = begun.out.trim().to_owned();
        let mut logs = self.hands(&["logs", "-f", &id]).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(logs.stdout.take().unwrap()).read_line(&mut line).unwrap();
        logs.kill().unwrap();
        logs.wait().unwrap();
        (line.trim_end().to_owned(), id)
    }

    fn cancel(&self, id: &str) {
        assert_eq!(self.run(&["cancel", id]).code, 0);
        let ended = self.run(&["wait", id]);
        assert_ne!(ended.code, 0, "{ended:?}");
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let stopped = self.run(&["agent", "stop", "--force"]);
        assert!(std::thread::panicking() || stopped.code == 0, "{stopped:?}");
    }
}

/// For root's agent and for an ordinary user's, as far as this machine can have both.
#[expect(clippy::print_stderr, reason = "what is skipped must be seen")]
fn each(test: impl Fn(&Place)) {
    test(&Place::new(None));
    if rustix::process::geteuid().is_root() {
        test(&Place::new(Some(USER)));
    } else {
        eprintln!("SKIPPED as another user: only root can become one");
    }
}

/// Whether a process of the machine has this text among its arguments.
fn lives(text: &str) -> bool {
    names(Path::new("/proc")).iter().filter(|name| name.parse::<u32>().is_ok()).any(|pid| {
        // A process may end while it is looked at.
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(text)
    })
}

#[test]
fn nothing_outside_can_be_read_signalled_reached_or_mounted() {
    each(|place| {
        let theirs = "cat theirs/secret.txt >/tmp/copy; echo ready; exec sleep 600";
        let (ready, neighbour) =
            place.start(&["-I", "theirs", "-e", "CLUSTER_TOKEN", "--", "sh", "-c", theirs]);
        assert_eq!(ready, "ready");
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = tcp.local_addr().unwrap().port().to_string();
        let abstract_name =
            format!("hands-escapes-{}", place.secret.len() + place.secret.as_ptr().addr());
        let name = SocketAddr::from_abstract_name(&abstract_name).unwrap();
        let _abstract_socket = UnixListener::bind_addr(&name).unwrap();
        let agent = place.agent();
        let home = place.home.hands_home();
        let key = place.home.work().join("person/.ssh/id_ed25519");
        let mut outside = vec![key.display().to_string(), home.display().to_string()];
        let mut below = vec![home];
        while let Some(directory) = below.pop() {
            for entry in fs::read_dir(directory).unwrap().flatten() {
                if entry.file_type().unwrap().is_dir() {
                    below.push(entry.path());
                } else if outside.len() < 200 {
                    outside.push(entry.path().display().to_string());
                }
            }
        }
        assert!(outside.iter().any(|p| p.ends_with(".sock")), "{outside:?}");
        let (first, second) = place.secret.split_at(place.secret.len() / 2);
        let mut arguments = vec!["run", "-I", "escape", "-I", "input.txt", "-I", "kept.txt", "--"];
        arguments.extend(["./escape", first, second, &agent, &port, &abstract_name]);
        arguments.extend(outside.iter().map(String::as_str));
        let tried = place.run(&arguments);
        assert_eq!((tried.code, tried.err.as_str()), (0, ""), "{tried:?}");
        let n: u32 = tried.out.split(' ').next().unwrap().parse().unwrap();
        assert!(n > 100, "{tried:?}");
        // It would have found what is there.
        let mut given = vec![
            "run",
            "-I",
            "escape",
            "-I",
            "input.txt",
            "-I",
            "theirs",
            "-e",
            "CLUSTER_TOKEN",
            "--",
        ];
        given.extend([
            "./escape",
            first,
            second,
            &agent,
            &port,
            &abstract_name,
            "theirs/secret.txt",
        ]);
        let found = place.run(&given);
        let found: Vec<&str> =
            found.out.lines().filter_map(|l| l.strip_prefix("NOT REFUSED: ")).collect();
        let there = [
            "the worker's environment",
            "./theirs/secret.txt",
            "theirs/secret.txt",
            "/proc/2/environ",
        ];
        assert_eq!(found, there);
        // What it wrote to its inputs is in no store.
        let after = place.run(&[
            "run",
            "-I",
            "input.txt",
            "-I",
            "kept.txt",
            "--",
            "cat",
            "input.txt",
            "kept.txt",
        ]);
        assert_eq!(after.out, "as it came\nkept\n", "{after:?}");
        let mounts = place.run(&["run", "-I", "input.txt", "--", "cat", "/proc/self/mountinfo"]);
        let state = place.home.hands_home().display().to_string();
        assert!(mounts.out.contains(" /job ") && !mounts.out.contains(&state), "{mounts:?}");
        // Whatever may be signalled is: this action, and nobody else.
        let shot = place.run(&["run", "--", "sh", "-c", "kill -9 -1; kill -9 $$"]);
        assert_ne!(shot.code, 0, "{shot:?}");
        assert_eq!(place.agent(), agent);
        assert_eq!(json(&place.run(&["status", "--json", &neighbour]).out)[0]["state"], "running");
        place.cancel(&neighbour);
    });
}

#[test]
fn bombs_are_bounded_and_daemons_end_with_their_action() {
    each(|place| {
        let agent = place.agent();
        let (forks, bomb) = place.start(&["-I", "escape", "--", "./escape", "forks"]);
        let forks: u32 = forks.parse().unwrap();
        assert!((10..4_096).contains(&forks), "{forks} processes");
        let beside = place.run(&["run", "--", "echo", "beside"]);
        assert_eq!((beside.code, beside.out.as_str()), (0, "beside\n"), "{beside:?}");
        place.cancel(&bomb);
        let python = "b = bytearray(1 << 30); print(len(b))";
        let memory = place.run(&["run", "--memory", "64M", "--", "python3", "-c", python]);
        let said = memory.err.contains("used more memory") || memory.err.contains("MemoryError");
        assert!(memory.code != 0 && memory.out.is_empty() && said, "{memory:?}");
        let fill = "for d in . /tmp /dev/shm \"$HOME\"; do head -c 1G /dev/zero >$d/big; done; ls -l /tmp/big; true";
        let disk = place.run(&["run", "--memory", "64M", "--", "sh", "-c", fill]);
        assert!(disk.code == 137 || disk.err.contains("No space left"), "{disk:?}");
        // A text of its own in the arguments, by which it would be found.
        let mark = format!("{}-daemon", place.secret);
        let daemons = format!("./escape daemon {mark}; echo done; sleep 600");
        let (done, held) = place.start(&["-I", "escape", "--", "sh", "-c", &daemons]);
        assert!(
            done == "done" && lives(&format!("daemon\0{mark}")),
            "no daemon was there to be ended"
        );
        place.cancel(&held);
        assert!(!lives(&format!("daemon\0{mark}")), "a daemon outlives its action that was ended");
        let daemon = place.run(&["run", "-I", "escape", "--", "./escape", "daemon", &mark]);
        assert_eq!(daemon.code, 0, "{daemon:?}");
        assert!(!lives(&format!("daemon\0{mark}")), "a daemon outlives its action");
        assert_eq!(place.agent(), agent);
        assert_eq!(place.run(&["run", "--", "true"]).code, 0);
    });
}

#[test]
fn no_result_goes_through_a_link_to_elsewhere() {
    each(|place| {
        let script = |outputs: &[&str], text: &str| {
            place.run(&[&["run"], outputs, &["--", "sh", "-c", text]].concat())
        };
        let work = place.home.work();
        // The worker may read what the action may not: it must not do so for it.
        let stolen = script(&["-o", "d/shadow"], "ln -s /etc d");
        assert!(stolen.code != 0 && !work.join("d/shadow").exists(), "{stolen:?}");
        let key = work.join("person/.ssh/id_ed25519").display().to_string();
        let stolen = script(&["-o", "key"], &format!("ln -s {key} key"));
        assert_eq!(stolen.code, 0, "{stolen:?}");
        assert!(fs::symlink_metadata(work.join("key")).unwrap().is_symlink());
        let around = script(&["-o", "up"], "ln -s ../../../../../../../../etc up");
        assert!(around.code == 0 && work.join("up").is_symlink(), "{around:?}");
        // The client may write what the action may not: a link that came earlier is not followed.
        let victim = work.join("victim");
        fs::create_dir(&victim).unwrap();
        if let Some(id) = place.user {
            chown(&victim, Some(id), Some(id)).unwrap();
        }
        let link = format!("mkdir e; ln -s {} e/l", victim.display());
        assert_eq!(script(&["-o", "e"], &link).code, 0);
        let through = script(&["-o", "e/l/file"], "mkdir -p e/l; echo x >e/l/file");
        assert_eq!(names(&victim), [""; 0], "{through:?}");
        let through = script(&["-o", "e"], "mkdir -p e/l; echo x >e/l/file");
        assert_eq!(names(&victim), [""; 0], "{through:?}");
    });
}

#[test]
fn what_honest_actions_do_to_themselves_works() {
    each(|place| {
        let leak = "echo '#include <stdlib.h>\nint main(void){ void *volatile p = malloc(7); p = 0; return 0; }' >l.c; \
                    gcc -g -fsanitize=address,leak l.c -o l || exit 77; ./l";
        let leaks = place.run(&["run", "--", "sh", "-c", leak]);
        if leaks.code == 77 {
            eprintln!("SKIPPED LeakSanitizer: no gcc with sanitizers");
        } else {
            assert!(leaks.err.contains("7 byte(s) leaked"), "{leaks:?}");
        }
        let debugged = "command -v gdb >/dev/null || exit 77; gdb -batch -ex 'break exit' -ex run -ex backtrace /bin/true";
        let debugged = place.run(&["run", "--", "sh", "-c", debugged]);
        if debugged.code == 77 {
            eprintln!("SKIPPED gdb: not installed");
        } else {
            assert!(debugged.code == 0 && debugged.out.contains("#0 "), "{debugged:?}");
        }
        let own = "unshare --user --map-root-user --mount --pid --fork sh -c \
                   'mount -t tmpfs none /tmp && mount -t proc proc /proc && touch /tmp/x && id -u && ! touch /usr/x'";
        let refused = place.run(&["run", "--", "sh", "-c", own]);
        assert_ne!(refused.code, 0, "{refused:?}");
        let nested = place.run(&["run", "--privilege", "userns", "--", "sh", "-c", own]);
        assert_eq!((nested.code, nested.out.as_str()), (0, "0\n"), "{nested:?}");
    });
}
