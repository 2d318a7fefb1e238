//! Where work goes: names, variables, and hubs that are not there.

use std::io::{BufRead, BufReader};

use crate::home::{Home, ran};
use crate::processes::{Server, address, level};

#[test]
fn a_hub_that_is_not_there_is_waited_for_and_never_replaced_by_this_machine() {
    let home = Home::new();
    let socket = format!("unix:{}", home.work().join("hub.sock").display());
    let mut waiting = home.start(&["run", "--cluster", &socket, "--", "echo", "at last"]);
    let mut words = BufReader::new(waiting.stderr.take().unwrap());
    let mut line = String::new();
    words.read_line(&mut line).unwrap();
    assert!(line.starts_with("waiting: ") && line.contains(&socket), "{line}");
    assert!(line.contains("trying for 30 s"), "{line}");
    // No agent was started for it.
    assert_eq!(home.run(&["agent", "status"]).code, 4);
    let level = level(&home);
    let (hub, _) = Server::start(&home, &["hub", "--listen", &socket], "the hub serves");
    let worker = ["worker", &socket, "--isolation", &level];
    let (worker, _) = Server::start(&home, &worker, "connected to the hub");
    let ended = ran(waiting.wait_with_output().unwrap());
    assert_eq!((ended.code, ended.out.as_str()), (0, "at last\n"), "{ended:?}");
    assert_eq!(worker.stop(), Some(0));
    assert_eq!(hub.stop(), Some(0));
}

#[test]
fn clusters_have_names_instances_have_caches_and_local_is_this_machine() {
    let home = Home::new();
    let listen = ["hub", "--listen", "127.0.0.1:0", "--insecure-loopback"];
    let (hub, line) = Server::start(&home, &listen, "the hub serves");
    let address = address(&line);
    let level = level(&home);
    let worker = ["worker", &address, "--name", "away", "--isolation", &level];
    let (worker, _) = Server::start(&home, &worker, "connected to the hub");
    let config = home.hands_home().join("config");
    std::fs::create_dir_all(&config).unwrap();
    let file = format!("cluster = \"lab\"\n[clusters.lab]\naddress = \"{address}\"\n");
    std::fs::write(config.join("hands.toml"), file).unwrap();
    let on = |arguments: &[&str], variables: &[(&str, &str)]| {
        let mut command = home.hands(arguments);
        let ended = ran(command.envs(variables.iter().copied()).output().unwrap());
        assert_eq!(ended.code, 0, "{ended:?}");
        ended.out
    };
    let nowhere = [("HANDS_CLUSTER", "unix:/nonexistent/hub")];
    assert!(on(&["workers"], &[]).contains("away"));
    assert!(on(&["workers", "--cluster", "lab"], &nowhere).contains("away"), "a flag goes first");
    assert!(!on(&["workers", "--local"], &nowhere).contains("away"));
    assert!(!on(&["workers"], &[("HANDS_CLUSTER", "local")]).contains("away"));
    // An instance is a cache of its own.
    let stamp =
        |instance| on(&["run", "--cache", "--", "date", "+%N"], &[("HANDS_INSTANCE", instance)]);
    let (one, other) = (stamp("one"), stamp("an/other"));
    assert_eq!((stamp("one"), stamp("an/other")), (one.clone(), other.clone()));
    assert_ne!(one, other);
    // And of blobs there is one store for all.
    home.write("in", &"sent once\n".repeat(1000));
    let sent = |instance: &str| {
        let mut command = home.hands(&["run", "-v", "-I", "in", "--", "true"]);
        let ended = ran(command.env("HANDS_INSTANCE", instance).output().unwrap());
        assert_eq!(ended.code, 0, "{ended:?}");
        let line =
            ended.err.lines().find(|line| line.contains("sent inputs: ")).unwrap().to_owned();
        line.contains(", 0 B sent, ")
    };
    assert_eq!((sent("one"), sent("an/other")), (false, true));
    let unknown = home.run(&["run", "--cluster", "labb", "--", "true"]);
    assert!(unknown.code == 125 && unknown.err.contains("(lab)"), "{unknown:?}");
    assert_eq!(worker.stop(), Some(0));
    assert_eq!(hub.stop(), Some(0));
}

#[test]
fn a_hub_that_is_called_without_tls_says_what_it_wants() {
    let home = Home::new();
    let listen = ["hub", "--listen", "127.0.0.1:0", "--name", "build"];
    let (hub, line) = Server::start(&home, &listen, "the hub serves");
    let at = address(&line);
    for (command, code) in [(&["ps"][..], 2), (&["run", "--", "true"], 125)] {
        let refused = home.run(&[&["--cluster", &at], command].concat());
        assert_eq!(refused.code, code, "{refused:?}");
        let lines: Vec<&str> = refused.err.lines().collect();
        let error = format!("error: the hub at {at} wants TLS, and is called here without");
        assert_eq!(lines[0], error, "{refused:?}");
        assert!(lines.len() == 2 && lines[1].contains("`hands login JOIN`"), "{refused:?}");
    }
    // Whoever runs it here and asks their agent by mistake is told of it, where the agent has nothing to tell.
    let workers = home.run(&["workers"]);
    assert!(!workers.err.contains("a hub of theirs"), "{workers:?}");
    for command in [&["ps"][..], &["worker", "drain", "nobody"]] {
        let asked = home.run(command);
        let flag = asked.err.split("a hub of theirs runs here, too: ").nth(1).unwrap_or_default();
        let flag: Vec<&str> = flag.lines().next().unwrap_or_default().split(' ').collect();
        assert!(flag.len() == 2 && flag[0] == "--cluster", "{asked:?}");
        let asked = home.run(&[&flag, &["ps"][..]].concat());
        assert_eq!((asked.code, asked.err.lines().count()), (0, 0), "{asked:?}");
        let local = home.run(&[&["--local"], command].concat());
        assert!(!local.err.contains("--cluster"), "{local:?}");
    }
    assert_eq!(hub.stop(), Some(0));
    assert_eq!(home.run(&["ps"]).err, "");
}
