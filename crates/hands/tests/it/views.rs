//! What an action sees of its machine, and what the machine sees of us: no more than was said.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::home::{Home, names, ran};
use crate::processes::{Server, level};

#[test]
fn a_machine_is_empty_where_people_and_services_keep_things() {
    let home = Home::new();
    // Nothing on this PATH is in anybody's home; `person` is a home with something in it.
    home.write("person/.netrc", "machine example.org login me password x\n");
    let run = |arguments: &[&str]| {
        let mut command = home.hands(&[&["run"], arguments].concat());
        command.env("PATH", "/usr/bin:/bin").env("HOME", home.work().join("person"));
        ran(command.output().unwrap())
    };
    let first = run(&["-q", "--", "true"]);
    assert_eq!(first.code, 0, "{first:?}");
    if !home.run(&["workers", "--json"]).out.contains("\"full\"") {
        println!("skipped: below full isolation there is no root of one's own");
        return;
    }
    let places =
        run(&["--", "sh", "-c", "cd / && ls -A home root run srv mnt var/ && echo + && ls -A /"]);
    assert_eq!((places.code, places.err.as_str()), (0, ""), "{places:?}");
    let (places, top) = places.out.split_once("+\n").unwrap();
    // The action's own home, and the way of old programs to its own temporary directory.
    let empty = "home:\naction\n\nmnt:\n\nroot:\n\nrun:\n\nsrv:\n\nvar/:\ntmp\n";
    assert_eq!(places, empty);
    let known: BTreeSet<&str> = [
        "bin", "dev", "etc", "hands", "home", "job", "lib", "lib32", "lib64", "libx32", "mnt",
        "nix", "opt", "proc", "root", "run", "sbin", "srv", "sys", "tmp", "usr", "var",
    ]
    .into();
    let more: Vec<&str> = top.lines().filter(|name| !known.contains(name)).collect();
    assert!(more.is_empty(), "{more:?}");
    // Of /etc what programs need, and no name that is of a secret or of this machine's people.
    let etc = run(&["--", "find", "/etc", "-type", "f"]).out;
    assert!(etc.contains("/etc/passwd\n") && etc.contains("/etc/hosts\n"), "{etc}");
    let secrets =
        ["shadow", "sudoers", "ssh_host", "/etc/ssl/private", "machine-id", "krb5", "netrc"];
    let found: Vec<&str> =
        etc.lines().filter(|path| secrets.iter().any(|secret| path.contains(secret))).collect();
    assert!(found.is_empty(), "{found:?}");
    let people = run(&["--", "cut", "-d:", "-f1", "/etc/passwd"]).out;
    assert!(people.lines().count() <= 4 && people.contains("user\n"), "{people}");
    // Wherever it is called from, it runs in the same place, which is its own and empty each time.
    fs::create_dir_all(home.work().join("some/where")).unwrap();
    let mut elsewhere = home.hands(&["run", "--", "sh", "-c", "pwd; ls -A; touch left"]);
    let elsewhere = ran(elsewhere.current_dir(home.work().join("some/where")).output().unwrap());
    let here = run(&["--", "sh", "-c", "pwd; ls -A; touch left"]);
    assert_eq!((elsewhere.out.lines().count(), &elsewhere.out), (1, &here.out), "{elsewhere:?}");
}

/// A directory of the machine that actions see only where it is exposed; gone with its test.
struct Shown(PathBuf);

impl Shown {
    fn new() -> std::io::Result<Self> {
        let path = PathBuf::from(format!("/srv/hands-it-views-{}", std::process::id()));
        fs::create_dir(&path).map(|()| Self(path))
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

#[test]
fn what_is_exposed_can_be_read_and_not_written() {
    let home = Home::new();
    // Below /tmp it would be hidden by the action's own, and whoever asks for that is told.
    let mut hidden = home.hands(&["run", "--", "true"]);
    let hidden = ran(hidden.env("HANDS_WORKER_EXPOSE", "/tmp/x").output().unwrap());
    let why = "warning: HANDS_WORKER_EXPOSE: worker.expose: actions do not see /tmp/x, for they have a /tmp of their own\n";
    assert!(hidden.code == 0 && hidden.err.starts_with(why), "{hidden:?}");
    assert_eq!(home.run(&["agent", "stop"]).code, 0);
    let place = match Shown::new() {
        Ok(place) => place,
        Err(error) => return println!("skipped: no directory in /srv: {error}"),
    };
    let shown = &place.0;
    fs::create_dir(shown.join("deep")).unwrap();
    let file = shown.join("deep/file");
    fs::write(&file, "shown\n").unwrap();
    // Whoever the action is, it is not these permissions that stop it.
    for path in [shown, &shown.join("deep"), &file] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o777)).unwrap();
    }
    let run = |script: &str| {
        let command = ["run", "-q", "--", "sh", "-c", script, shown.to_str().unwrap()];
        ran(home.hands(&command).env("HANDS_WORKER_EXPOSE", shown).output().unwrap())
    };
    let read = run("cat $0/deep/file");
    assert_eq!((read.code, read.out.as_str()), (0, "shown\n"), "{read:?}");
    let tries = "echo x >>$0/deep/file; echo x >$0/new; mkdir $0/d; rm -f $0/deep/file; mv $0/deep $0/e; \
                 chmod 700 $0/deep/file; ln $0/deep/file $0/l; true";
    let written = run(tries);
    assert_eq!(written.code, 0, "{written:?}");
    assert_eq!(written.err.lines().count(), 7, "each of them is refused: {written:?}");
    assert_eq!(fs::read_to_string(&file).unwrap(), "shown\n");
    assert_eq!(names(shown), ["deep"]);
    let mode = fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o777);
}

/// The inodes of all sockets that listen on a port of this machine, or have one without a peer.
fn ports() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (table, states) in [("tcp", "0A"), ("tcp6", "0A"), ("udp", "07"), ("udp6", "07")] {
        let text = fs::read_to_string(format!("/proc/net/{table}")).unwrap_or_default();
        let rows = text.lines().skip(1).map(|row| row.split_whitespace().collect::<Vec<_>>());
        found.extend(rows.filter(|row| row[3] == states).map(|row| row[9].to_owned()));
    }
    found
}

/// The ports that a process and all below it have open.
fn ports_of(pid: i32) -> usize {
    let ports = ports();
    let mut n = 0;
    let mut left = vec![pid];
    while let Some(pid) = left.pop() {
        for descriptor in names(Path::new(&format!("/proc/{pid}/fd"))) {
            let link = fs::read_link(format!("/proc/{pid}/fd/{descriptor}")).unwrap_or_default();
            let inode = link.to_str().and_then(|l| l.strip_prefix("socket:[")?.strip_suffix(']'));
            n += usize::from(inode.is_some_and(|inode| ports.contains(inode)));
        }
        for task in names(Path::new(&format!("/proc/{pid}/task"))) {
            let children = format!("/proc/{pid}/task/{task}/children");
            let children = fs::read_to_string(children).unwrap_or_default();
            left.extend(children.split_whitespace().map(|child| child.parse::<i32>().unwrap()));
        }
    }
    n
}

#[test]
fn neither_an_agent_nor_a_worker_opens_a_port() {
    let home = Home::new().warm();
    assert_eq!(ports_of(home.agent().as_raw_nonzero().get()), 0);
    let listen = ["hub", "--listen", "127.0.0.1:0", "--insecure-loopback"];
    let (hub, line) = Server::start(&home, &listen, "the hub serves");
    let address = crate::processes::address(&line);
    let worker = ["worker", &address, "--isolation", &level(&home)];
    let (worker, _) = Server::start(&home, &worker, "connected to the hub");
    assert_eq!(home.run(&["run", "--cluster", &address, "--", "true"]).code, 0);
    let of = |server: &Server| ports_of(i32::try_from(server.0.id()).unwrap());
    // The one that was asked for is seen; none else is there.
    assert_eq!((of(&hub), of(&worker)), (1, 0));
    assert_eq!(worker.stop(), Some(0));
    assert_eq!(hub.stop(), Some(0));
}
