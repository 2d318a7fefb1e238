//! Processes that stand still and go on: a pause costs no more than a crash.

use std::fs;
use std::time::Duration;

use rustix::process::{Signal, kill_process};

use crate::home::{Home, json, signal};
use crate::killable::Cluster;
use crate::marks::Marks;

/// Longer than a lease.
const PAUSE: Duration = Duration::from_secs(12);

#[test]
fn a_hub_or_agent_that_stood_still_takes_nothing_from_its_workers() {
    let Some(mut marks) = Marks::new() else { return };
    let goes_on = marks.file("goes-on");
    let cluster = Cluster::start();
    let [expose, directory] = marks.flags();
    let worker = cluster.worker("w", &[&expose, &directory]);
    // It may have effects outside: it would be declared lost.
    let command = |word: &str| {
        let until = format!("until grep -q now {}; do sleep 0.1; done", goes_on.display());
        format!("{}; {until}; echo done", marks.say(word))
    };
    let run = ["run", "-d", "--network", "host", "--", "sh", "-c"];
    let of_hub = cluster.hands(&[&run[..], &[&command("hub")]].concat()).out;
    let home = Home::new();
    let mut started = home.hands(&[&run[..], &[&command("agent")]].concat());
    let of_agent =
        crate::home::ran(started.env("HANDS_WORKER_EXPOSE", &directory).output().unwrap()).out;
    marks.wait_for(2);
    let (hub, agent) = (&cluster.hub.as_ref().unwrap().0, home.agent());
    signal(hub, Signal::STOP);
    kill_process(agent, Signal::STOP).unwrap();
    marks.listen(PAUSE);
    signal(hub, Signal::CONT);
    kill_process(agent, Signal::CONT).unwrap();
    fs::write(&goes_on, "now\n").unwrap();
    for (id, flags) in [(&of_hub, &["--cluster", &cluster.socket][..]), (&of_agent, &[])] {
        let waited = home.run(&[flags, &["wait", id.trim()]].concat());
        assert_eq!((waited.code, waited.err.as_str()), (0, ""), "{waited:?}");
        let job =
            json(&home.run(&[flags, &["status", "--json", id.trim()]].concat()).out).remove(0);
        assert_eq!((&job["attempt"], &job["exit_code"]), (&1.into(), &0.into()), "{job}");
    }
    assert!(marks.all().values().all(|n| *n == 1), "{:?}", marks.all());
    assert_eq!(worker.stop(), Some(0));
}
