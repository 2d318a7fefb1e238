//! Ctrl-C while the hub has an action and its answer is still on the way: nothing goes on that nobody knows of.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Condvar, Mutex};

use rustix::process::Signal;

use crate::home::{Home, json, ran, signal};
use crate::server::Server;

/// How far a relay lets the hub's answers through.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Gate {
    /// Until the hub has an action.
    UntilAccepted,
    /// Not a byte.
    Shut,
    /// From the client's next word on.
    UntilAsked,
    Open,
}

/// Passes bytes between a client and a hub.
struct Relay {
    gate: Arc<(Mutex<Gate>, Condvar)>,
    shut: Receiver<()>,
}

impl Relay {
    /// `has_action` asks the hub itself.
    fn start(
        path: &std::path::Path,
        hub: &str,
        has_action: impl Fn() -> bool + Send + 'static,
    ) -> Self {
        let listener = UnixListener::bind(path).unwrap();
        let gate = Arc::new((Mutex::new(Gate::UntilAccepted), Condvar::new()));
        let (told, shut) = mpsc::channel();
        let (hub, of_thread) = (hub.strip_prefix("unix:").unwrap().to_owned(), Arc::clone(&gate));
        let relaying = move || {
            let client = listener.accept().unwrap().0;
            let hub = UnixStream::connect(hub).unwrap();
            let (up, gate) = ((client.try_clone().unwrap(), hub.try_clone().unwrap()), of_thread);
            let asking = Arc::clone(&gate);
            std::thread::Builder::new().spawn(move || ask(up, &asking)).unwrap();
            answer((hub, client), &gate, &told, &has_action);
        };
        std::thread::Builder::new().spawn(relaying).unwrap();
        Self { gate, shut }
    }
}

/// What the client says.
fn ask((mut from, mut to): (UnixStream, UnixStream), gate: &(Mutex<Gate>, Condvar)) {
    let mut bytes = [0; 64 << 10];
    while let Ok(n) = from.read(&mut bytes)
        && n > 0
        && to.write_all(&bytes[..n]).is_ok()
    {
        let mut now = gate.0.lock().unwrap();
        if *now == Gate::UntilAsked {
            *now = Gate::Open;
            gate.1.notify_all();
        }
    }
    drop(to.shutdown(Shutdown::Both));
    *gate.0.lock().unwrap() = Gate::Open;
    gate.1.notify_all();
}

/// What the hub says. An answer to Execute comes after the action is in the hub's lists.
fn answer(
    (mut from, mut to): (UnixStream, UnixStream),
    gate: &(Mutex<Gate>, Condvar),
    told: &Sender<()>,
    has_action: &dyn Fn() -> bool,
) {
    let mut bytes = [0; 64 << 10];
    while let Ok(n) = from.read(&mut bytes)
        && n > 0
    {
        let mut now = gate.0.lock().unwrap();
        if *now == Gate::UntilAccepted && has_action() {
            *now = Gate::Shut;
            told.send(()).unwrap();
        }
        while matches!(*now, Gate::Shut | Gate::UntilAsked) {
            now = gate.1.wait(now).unwrap();
        }
        drop(now);
        if to.write_all(&bytes[..n]).is_err() {
            break;
        }
    }
    drop(to.shutdown(Shutdown::Both));
}

#[test]
fn ctrl_c_before_execute_is_answered_ends_the_action() {
    let home = Home::new();
    let hub_at = format!("unix:{}", home.work().join("hub.sock").display());
    let (hub, _) = Server::start(&home, &["hub", "--listen", &hub_at], "the hub serves");
    let all = [
        (&["run"][..], &["--", "sleep", "1000"][..], ""),
        (&["run", "--detach"], &["--", "sleep", "1000"], ""),
        // It counts what it leaves; the time follows.
        (
            &["batch"],
            &["--", "sleep", ":::", "1000"],
            "hands: 0 succeeded, 1 cancelled of 1 command",
        ),
    ];
    for (n, (flags, command, said)) in all.iter().enumerate() {
        let list = || json(&home.run(&["ps", "--json", "--cluster", &hub_at]).out);
        let has_action = {
            let (mut ps, hub_at) = (home.hands(&["ps", "--json"]), hub_at.clone());
            ps.args(["--cluster", &hub_at]);
            let ps = Mutex::new(ps);
            move || !ps.lock().unwrap().output().unwrap().stdout.is_empty()
        };
        let socket = home.work().join(format!("relay{n}.sock"));
        let relay = Relay::start(&socket, &hub_at, has_action);
        let at = format!("unix:{}", socket.display());
        let child = home.start(&[flags, &["--cluster", &at][..], command].concat());
        relay.shut.recv().unwrap();
        assert_eq!(list().len(), 1, "{flags:?}");
        *relay.gate.0.lock().unwrap() = Gate::UntilAsked;
        signal(&child, Signal::INT);
        let ended = ran(child.wait_with_output().unwrap());
        let told = ended.err.split(", ").take(2).collect::<Vec<_>>().join(", ");
        assert_eq!((ended.code, ended.out.as_str(), told.as_str()), (130, "", *said), "{flags:?}");
        assert!(ended.err.lines().count() <= 1, "{ended:?}");
        assert!(list().is_empty(), "{flags:?}: {:?}", list());
    }
    assert_eq!(hub.stop(), Some(0));
}
