//! A laptop works for others only where its user says so: `worker = true`.

use std::fs;
use std::io::Write as _;
use std::process::Stdio;

use crate::home::{Ran, json};
use crate::machines::{Machine, Net};
use crate::processes::level;

/// A join string by standard input.
fn login(machine: &Machine, join: &str) -> Ran {
    let mut command = machine.command(crate::home::HANDS, &["login", "-"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(join.as_bytes()).unwrap();
    crate::home::ran(child.wait_with_output().unwrap())
}

fn works_for(laptop: &Machine) -> (String, String) {
    let status = json(&laptop.ok(&["agent", "status", "--json"])).remove(0);
    let text = |name: &str| status[name].as_str().unwrap().to_owned();
    (text("works_for"), text("works_for_note"))
}

#[test]
fn a_laptop_works_for_others_only_with_worker_true() {
    let Some(net) = Net::new(2) else { return };
    let [laptop, client] = &net.others[..] else { unreachable!("two were made") };
    let level = level(&laptop.home);
    let mut hub = net.hub.start(&["hub", "--listen", "0.0.0.0:8980", "--name", "build"], "");
    hub.says("the hub serves");
    let token = |roles: &[&str]| net.hub.ok(&[&["token", "create"], roles].concat());
    let both = ["--role", "submit", "--role", "worker"];
    assert_eq!(login(client, &token(&["--role", "submit"])).code, 0);

    // Logged in, with an agent, by a string that would allow it: not a worker.
    assert_eq!(login(laptop, &token(&both)).code, 0);
    laptop.ok(&["run", "--local", "--", "true"]);
    assert_eq!(works_for(laptop), (String::new(), String::new()));
    assert!(json(&client.ok(&["workers", "--json"])).is_empty());

    // A project can't lend what is its user's.
    let project = laptop.home.write("hands.toml", "worker = true\n");
    let refused = laptop.hands(&["run", "--local", "--", "true"]);
    assert!(refused.code == 125 && refused.err.contains("hands.toml:1"), "{refused:?}");
    fs::remove_file(project).unwrap();

    // The user can, but joined as one who does not work.
    let config = laptop.home.hands_home().join("config");
    fs::create_dir_all(&config).unwrap();
    let file = format!("[agent]\nworker = true\n[worker]\nslots = 1\nisolation = \"{level}\"\n");
    fs::write(config.join("hands.toml"), file).unwrap();
    laptop.ok(&["agent", "stop"]);
    laptop.ok(&["run", "--local", "--", "true"]);
    let (cluster, why) = works_for(laptop);
    assert!(cluster.is_empty() && why.starts_with("for build: ") && why.contains("--role worker"));

    // A login with that role is enough: the agent that runs takes it up.
    laptop.ok(&["logout"]);
    let said = login(laptop, &token(&both));
    assert!(said.code == 0 && said.err.contains("this machine works for build"), "{said:?}");
    let ended = client.hands(&["run", "--", "sh", "-c", "echo lent"]);
    assert_eq!((ended.code, ended.out.as_str()), (0, "lent\n"), "{ended:?}");
    assert_eq!(works_for(laptop), ("build".to_owned(), "connected, idle".to_owned()));
    let workers = json(&client.ok(&["workers", "--json"]));
    assert_eq!((workers.len(), &workers[0]["slots"]), (1, &1.into()), "{workers:?}");

    // What it does for others is work: without --force the agent stays.
    let mut running = client.start(&["run", "--", "sh", "-c", "echo begun >&2; sleep 300"], "");
    running.says("begun");
    let busy = laptop.hands(&["agent", "stop"]);
    assert!(busy.code != 0 && busy.err.contains("1 for others"), "{busy:?}");
    running.kill();

    // Logged out, it works for nobody.
    laptop.ok(&["logout"]);
    assert_eq!(works_for(laptop).0, "");
    hub.stop();
}
