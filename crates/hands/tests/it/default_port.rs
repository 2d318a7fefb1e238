//! Port 8980, wherever no other is named: on a machine of its own, where nobody else has it.

use crate::machines::{Machine, Net};

/// Where a machine listens, as the kernel has it: address and port in hexadecimal.
fn listening(machine: &Machine) -> Vec<String> {
    let table = machine.run("cat", &["/proc/net/tcp"]).out;
    let rows = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    rows.filter(|row| row[3] == "0A").map(|row| row[1].to_owned()).collect()
}

#[test]
fn a_hub_is_where_everybody_looks_for_it() {
    let Some(net) = Net::new(1) else { return };
    let other = &net.others[0];
    let level = crate::processes::level(&other.home);
    // For others.
    let arguments = ["hub", "--listen", "10.77.1.1", "--name", "build"];
    let mut hub = net.hub.start(&arguments, "");
    hub.says("the hub serves");
    assert_eq!(listening(&net.hub), ["01014D0A:2314"], "10.77.1.1:8980");
    let token = |role: &str| net.hub.ok(&["token", "create", "--role", role]);
    let mut worker = other.start(&["worker", &token("worker"), "--isolation", &level], "");
    worker.says("connected to the hub");
    other.ok(&["login", &token("submit")]);
    assert_eq!(other.ok(&["run", "--", "echo", "there"]), "there");
    let lines = other.ok(&["bazelrc"]);
    assert!(lines.contains("grpcs://10.77.1.1:8980"), "{lines}");
    worker.stop();
    hub.stop();
    // For this machine, under each of the names that it is called by.
    let state = net.hub.home.work().join("loopback").display().to_string();
    let arguments = ["hub", "--listen", "127.0.0.1", "--insecure-loopback", "--state", &state];
    let mut hub = net.hub.start(&arguments, "");
    hub.says("the hub serves");
    assert_eq!(listening(&net.hub), ["0100007F:2314"], "127.0.0.1:8980");
    let mut worker = net.hub.start(&["worker", "127.0.0.1", "--isolation", &level], "");
    worker.says("connected to the hub");
    for flags in [
        ["--cluster", "127.0.0.1"],
        ["--cluster", "localhost"],
        ["--cluster", "http://127.0.0.1"],
        ["--engine", "grpc://127.0.0.1"],
    ] {
        let said = net.hub.ok(&[&["run"], &flags[..], &["--", "echo", "here"]].concat());
        assert_eq!(said, "here", "{flags:?}");
    }
    worker.stop();
    hub.stop();
}
