//! Hub and worker as processes of their own, and the doctor.

use std::io::{BufRead, BufReader};

use crate::home::{Home, json};
pub(crate) use crate::server::{Server, address, level};

#[test]
fn hub_and_worker_over_a_unix_socket() {
    let home = Home::new();
    let socket = format!("unix:{}", home.work().join("hub.sock").display());
    let (hub, _) = Server::start(&home, &["hub", "--listen", &socket], "the hub serves");
    let nobody = home.run(&["run", "--cluster", &socket, "--queue-timeout", "2s", "--", "true"]);
    assert!(nobody.code == 125 && nobody.err.contains("waiting:"), "{nobody:?}");
    let (worker, _) = Server::start(
        &home,
        &[
            "worker",
            &socket,
            "--name",
            "w1",
            "--tag",
            "fast",
            "--slots",
            "2",
            "--isolation",
            &level(&home),
        ],
        "connected to the hub",
    );
    home.write("in", "sent\n");
    let arguments = [
        "run",
        "--cluster",
        &socket,
        "--tag",
        "fast",
        "--input",
        "in",
        "--output",
        "out",
        "--",
        "cp",
        "in",
        "out",
    ];
    let ended = home.run(&arguments);
    assert_eq!(ended.code, 0, "{ended:?}");
    assert_eq!(home.read("out"), "sent\n");
    let workers = json(&home.run(&["workers", "--cluster", &socket, "--json"]).out);
    assert_eq!(
        (&workers[0]["name"], &workers[0]["slots"]),
        (&"w1".into(), &2.into()),
        "{workers:?}"
    );
    // SIGTERM lets it finish what it has.
    let id = home
        .run(&[
            "run",
            "--cluster",
            &socket,
            "-d",
            "--",
            "sh",
            "-c",
            "echo begun; sleep 1; echo done",
        ])
        .out;
    let mut follower = home.start(&["logs", "-f", "--cluster", &socket, id.trim()]);
    let mut line = String::new();
    BufReader::new(follower.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(worker.stop(), Some(0));
    drop(follower.wait());
    assert_eq!(home.run(&["wait", "--cluster", &socket, id.trim()]).code, 0);
    assert_eq!(hub.stop(), Some(0));
}

/// One worker is busy and was given work ahead; another one comes, and the work goes there.
#[test]
fn work_given_ahead_goes_to_an_idle_worker() {
    let home = Home::new();
    let socket = format!("unix:{}", home.work().join("hub.sock").display());
    let (_hub, _) = Server::start(&home, &["hub", "--listen", &socket], "the hub serves");
    let level = level(&home);
    let worker = |name: &str| {
        let of_its_own = home.work().join(name).display().to_string();
        let arguments = ["worker", &socket, "--name", name, "--slots", "1", "--isolation", &level];
        let mut command = home.hands(&arguments);
        command.env("HANDS_HOME", of_its_own);
        Server::spawn(command, "connected to the hub").0
    };
    let _busy = worker("busy");
    let detached = |command: &[&str]| {
        let mut arguments = vec!["run", "--cluster", &socket, "-d", "--"];
        arguments.extend(command);
        let ran = home.run(&arguments);
        assert_eq!(ran.code, 0, "{ran:?}");
        ran.out.trim().to_owned()
    };
    let status = |id: &str| json(&home.run(&["status", "--cluster", &socket, "--json", id]).out);
    let long = detached(&["sleep", "600"]);
    let moved = [detached(&["true"]), detached(&["true"])];
    // Both were given to the busy one, ahead of its slot.
    for id in &moved {
        let waiting = status(id);
        assert_eq!(waiting[0]["worker"], "busy", "{waiting:?}");
    }
    let _idle = worker("idle");
    for id in &moved {
        let ended = home.run(&["wait", "--cluster", &socket, id]);
        assert_eq!(ended.code, 0, "{ended:?}");
        let ended = status(id);
        assert_eq!((&ended[0]["worker"], &ended[0]["attempt"]), (&"idle".into(), &2.into()));
    }
    assert_eq!(home.run(&["cancel", "--cluster", &socket, &long]).code, 0);
}

#[test]
fn hub_and_worker_over_the_loopback() {
    let home = Home::new();
    let (hub, line) = Server::start(
        &home,
        &["hub", "--listen", "127.0.0.1:0", "--insecure-loopback"],
        "the hub serves",
    );
    let address = address(&line);
    let (worker, _) = Server::start(
        &home,
        &["worker", &address, "--isolation", &level(&home)],
        "connected to the hub",
    );
    let mut command = home.hands(&["run", "--", "echo", "over tcp"]);
    let ended = crate::home::ran(command.env("HANDS_CLUSTER", &address).output().unwrap());
    assert_eq!((ended.code, ended.out.as_str()), (0, "over tcp\n"), "{ended:?}");
    assert_eq!(worker.stop(), Some(0));
    assert_eq!(hub.stop(), Some(0));
}

#[test]
fn the_doctor_tests_this_machine() {
    let home = Home::new();
    let text = home.run(&["doctor"]);
    assert!(text.code == 0, "{text:?}");
    for word in [
        "isolation",
        "user namespaces",
        "overlay",
        "landlock",
        "cgroups",
        "disk",
        "clock",
        "actions see",
    ] {
        assert!(text.out.contains(word), "{word}: {text:?}");
    }
    assert!(text.out.lines().all(|l| l.chars().count() <= 100), "{}", text.out);
    assert!(json(&home.run(&["doctor", "--json"]).out).len() > 8);
}
