//! What an action can see of its worker is a part of its key: no result is served where another one would have come.

use crate::home::{Home, ran};
use crate::processes::{Server, address, level};

#[test]
fn a_result_of_one_machine_is_not_served_for_another_with_other_tools() {
    let home = Home::new();
    let listen = ["hub", "--listen", "127.0.0.1:0", "--insecure-loopback"];
    let (hub, line) = Server::start(&home, &listen, "the hub serves");
    let address = address(&line);
    let level = level(&home);
    let worker = |name: &str, more: &[&str]| {
        let plain = ["worker", &address, "--isolation", &level, "--name", name];
        let mut command = home.hands(&[&plain, more].concat());
        command.env("HANDS_HOME", home.hands_home().join(name));
        Server::spawn(command, "connected to the hub").0
    };
    // A directory of the machine that actions see only where it is exposed.
    let tools = "/var/lib/dpkg";
    let script = format!("date +%N; test -r {tools}/status && echo with || echo without");
    let build = |more: &[&str]| {
        let fixed = ["run", "--cluster", &address, "--cache"];
        let all = [&fixed, more, &["--", "sh", "-c", script.as_str()]].concat();
        let ended = ran(home.hands(&all).output().unwrap());
        assert_eq!(ended.code, 0, "{ended:?}");
        ended.out
    };

    let plain = worker("plain", &[]);
    let old = build(&[]);
    assert!(old.ends_with("without\n") || level == "process", "{old}");
    assert_eq!(build(&[]), old, "the same tools, the same result");
    assert_eq!(plain.stop(), Some(0));

    let other = worker("other", &["--expose", tools, "--tag", "new"]);
    let new = build(&[]);
    assert!(new != old && new.ends_with("with\n"), "{new}");
    assert_eq!(build(&[]), new);

    // With both, each result is there for those who ask for such a worker, and none is made again.
    let plain = worker("plain", &[]);
    assert_eq!(build(&["--tag", "new"]), build(&["--tag", "new"]));
    let either = build(&[]);
    assert!(either == old || either == new, "{either}");
    for server in [plain, other, hub] {
        assert_eq!(server.stop(), Some(0));
    }
}

#[test]
fn a_result_that_nobody_can_name_the_key_of_is_not_cached_and_its_user_is_told() {
    let home = Home::new();
    let listen = ["hub", "--listen", "127.0.0.1:0", "--insecure-loopback"];
    let (hub, line) = Server::start(&home, &listen, "the hub serves");
    let address = address(&line);
    let cached = ["run", "--cluster", &address, "--cache", "--"];

    // A worker that comes while it is waited for is in time.
    let first = home.start(&[&cached[..], &["date", "+%N"]].concat());
    let level = level(&home);
    let worker = ["worker", &address, "--isolation", &level];
    let (worker, _) = Server::start(&home, &worker, "connected to the hub");
    let first = ran(first.wait_with_output().unwrap());
    assert!(first.code == 0 && !first.err.contains("cached"), "{first:?}");
    let again = home.run(&[&cached[..], &["date", "+%N"]].concat());
    assert_eq!((again.code, &again.out), (0, &first.out), "{again:?}");

    let tagged = ["run", "--cluster", &address, "--cache", "--tag", "none", "--detach", "--"];
    let nobody = home.run(&[&tagged[..], &["true"]].concat());
    assert!(nobody.code == 0 && nobody.err.contains("will not be cached"), "{nobody:?}");
    for server in [worker, hub] {
        assert_eq!(server.stop(), Some(0));
    }
}
