//! A worker that is started beside another of the same state, by mistake or by a script of set-up that runs again.

use std::fs;

use crate::cluster::level;
use crate::home::json;
use crate::machines::Net;

#[test]
fn a_second_worker_uses_up_no_token_and_leaves_the_first_its_identity() {
    let Some(net) = Net::new(1) else { return };
    let machine = &net.others[0];
    // Its log names the whole command that makes a token.
    let state = net.hub.home.work().join("elsewhere");
    let state = state.to_str().unwrap();
    let start = ["hub", "--listen", "0.0.0.0:8980", "--name", "build", "--state", state];
    let mut hub = net.hub.start(&start, "");
    let said = hub.says("makes join strings");
    let command = said.split('`').nth(1).unwrap_or_else(|| panic!("{said}"));
    let words: Vec<&str> = command.split(' ').skip(1).chain(["--role", "worker"]).collect();
    let level = level(machine);
    let work = |join: &str| ["worker", join, "--isolation", &level].map(str::to_owned);
    let first = work(&net.hub.ok(&words));
    let mut running = machine.start(&first.each_ref().map(String::as_str), "");
    running.says("connected to the hub");
    let key = machine.home.hands_home().join("state/worker/clusters/build/key.pem");
    let before = fs::read(&key).unwrap();

    let second = work(&net.hub.ok(&words));
    let ended = machine.hands(&second.each_ref().map(String::as_str));
    assert!(ended.code != 0 && ended.err.contains("in use by another"), "{ended:?}");
    assert_eq!(fs::read(&key).unwrap(), before);
    let at = words.iter().position(|word| *word == "create").unwrap();
    let flags = words[at + 1..].split_last_chunk::<2>().unwrap().0;
    let listed = json(&net.hub.ok(&[&["token", "list", "--json"], flags].concat()));
    let mut used: Vec<u64> = listed.iter().map(|t| t["used"].as_u64().unwrap()).collect();
    used.sort_unstable();
    assert_eq!(used, [0, 1], "{listed:?}");
    running.stop();
}
