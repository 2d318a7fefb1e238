//! What hub and worker keep is deleted under them, or the hub wants a worker no more: they say so and end.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use crate::home::{Home, ran};
use crate::killable::Cluster;
use crate::machines::{Net, Program};
use crate::processes::level;

/// `rm -rf DIRECTORY/*`
fn empty(directory: &Path) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        // Slots come and go while it is read.
        if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }.unwrap();
    }
}

fn worker(cluster: &Cluster) -> Program {
    let state = cluster.worker_state("one").display().to_string();
    let level = level(&cluster.home);
    let arguments = ["worker", &cluster.socket, "--state", &state, "--isolation", &level];
    let mut worker = Program::spawn(cluster.home.hands(&arguments), "");
    worker.says("connected to the hub");
    worker
}

#[test]
fn an_idle_worker_whose_state_is_deleted_ends() {
    let cluster = Cluster::start();
    let mut worker = worker(&cluster);
    empty(&cluster.worker_state("one"));
    let said = worker.says("was deleted while this worker used it");
    assert!(said.contains("start it again"), "{said}");
    assert_eq!(worker.ends(), 3);
}

/// What takes the end of the worker's directories for its own inputs' end is no result.
#[test]
fn an_action_whose_worker_s_state_is_deleted_runs_elsewhere() {
    let cluster = Cluster::start();
    if level(&cluster.home) != "full" {
        println!("skipped: below full isolation actions may see what is not exposed");
        return;
    }
    let mut lost = worker(&cluster);
    cluster.home.write("in/file", "sent\n");
    let script = "echo began; ls -d /var/lib/* >/dev/null 2>&1 && exec cat in/file; \
                  while cat in/file >/dev/null 2>&1; do :; done; exit 7";
    let arguments =
        ["--cluster", &cluster.socket, "run", "--input", "in", "--", "sh", "-c", script];
    let mut run = cluster.home.start(&arguments);
    let mut out = BufReader::new(run.stdout.take().unwrap());
    let mut text = String::new();
    out.read_line(&mut text).unwrap();
    assert_eq!(text, "began\n");
    empty(&cluster.worker_state("one"));
    lost.says("was deleted while this worker used it");
    assert_eq!(lost.ends(), 3);
    let _other = cluster.worker("other", &["--expose", "/var/lib"]);
    out.read_to_string(&mut text).unwrap();
    let ended = ran(run.wait_with_output().unwrap());
    assert_eq!((ended.code, text.as_str()), (0, "began\nsent\n"), "{ended:?}");
    assert!(ended.err.contains("attempt 1 was lost"), "{ended:?}");
}

/// A disk that says no is neither the user's fault nor a bug.
#[test]
fn a_hub_whose_store_can_t_be_written_to_says_why() {
    let cluster = Cluster::start();
    let unfinished = cluster.hub_state().join("store/tmp");
    fs::remove_dir_all(&unfinished).unwrap();
    fs::write(&unfinished, "").unwrap();
    cluster.home.write("in/large", &"0123456789abcdef".repeat(200_000));
    let arguments = ["--cluster", &cluster.socket, "run", "--input", "in", "--", "true"];
    let ended = cluster.home.run(&arguments);
    assert_eq!(ended.code, 125, "{ended:?}");
    assert!(ended.err.contains("Not a directory"), "{ended:?}");
    assert!(!ended.err.contains("report") && !ended.err.contains("Internal"), "{ended:?}");
}

#[test]
fn a_hub_whose_table_of_members_is_deleted_ends() {
    let home = Home::new();
    let start =
        || Program::spawn(home.hands(&["hub", "--listen", "127.0.0.1:0", "--name", "x"]), "");
    let mut hub = start();
    hub.says("the hub serves");
    let token = ["token", "create", "--role", "submit"];
    assert_eq!(home.run(&token).code, 0);
    let authority = home.hands_home().join("state/hub/authority");
    for name in ["authority.db", "authority.db-wal", "authority.db-shm"] {
        match fs::remove_file(authority.join(name)) {
            // The log may have been emptied.
            Err(error)
                if error.kind() == std::io::ErrorKind::NotFound && name != "authority.db" => {}
            removed => removed.unwrap(),
        }
    }
    // What can't be kept is not promised.
    assert_ne!(home.run(&token).code, 0);
    let said = hub.says("was deleted while it was in use");
    assert!(said.contains("table of the cluster's members"), "{said}");
    assert_eq!(hub.ends(), 3);
    // Nor does the next one begin without those who were removed.
    let mut hub = start();
    hub.says("is gone, and with it the cluster's members");
    assert_eq!(hub.ends(), 3);
}

#[test]
fn a_worker_with_the_certificate_of_another_ends() {
    let Some(net) = Net::new(2) else { return };
    let hub = || {
        let mut hub = net.hub.start(&["hub", "--listen", "0.0.0.0:8980", "--name", "build"], "");
        hub.says("the hub serves");
        hub
    };
    let running = hub();
    let mut workers: Vec<Program> = net
        .others
        .iter()
        .map(|machine| {
            let join = net.hub.ok(&["token", "create", "--role", "worker"]);
            let mut worker =
                machine.start(&["worker", &join, "--isolation", &level(&machine.home)], "");
            worker.says("connected to the hub");
            worker
        })
        .collect();
    running.kill();
    let [one, two] = &mut workers[..] else { unreachable!("two were made") };
    // A hub that is away is waited for.
    one.says("no connection to the hub");
    two.says("no connection to the hub");
    let memberships: Vec<_> = net
        .others
        .iter()
        .map(|machine| machine.home.hands_home().join("state/worker/clusters/build"))
        .collect();
    for entry in fs::read_dir(&memberships[1]).unwrap() {
        let from = entry.unwrap().path();
        fs::copy(&from, memberships[0].join(from.file_name().unwrap())).unwrap();
    }
    let _running = hub();
    two.says("connected to the hub again");
    let said = one.says("refuses this worker for good");
    assert!(said.contains("this certificate is"), "{said}");
    one.says("hands worker JOIN");
    assert_eq!(one.ends(), 2);
}
