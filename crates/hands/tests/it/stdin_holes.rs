//! Standard input of which a piece was lost with a connection: the action does not go on as if it had all of it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::Child;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use crate::home::{Home, Ran, ran};
use crate::server::{Server, address, level};

/// What is typed and does not arrive.
const LOST: &str = "lost on its way\n";

/// Stands between a worker and its hub until [`LOST`] comes from the hub: that goes nowhere, and its connection is cut. What
/// connects then is passed on.
fn cutter(hub: &str) -> (String, Receiver<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (hub, (cut, is_cut)) = (hub.to_owned(), channel());
    let serve = move || {
        for worker in listener.incoming().map_while(Result::ok) {
            let Ok(hub) = TcpStream::connect(&hub) else { return };
            let (mut from, mut to) = (worker.try_clone().unwrap(), hub.try_clone().unwrap());
            let upward = move || {
                // A connection that is cut ends both ways, and with it the copying.
                drop(std::io::copy(&mut from, &mut to));
                drop(to.shutdown(Shutdown::Both));
            };
            std::thread::Builder::new().spawn(upward).unwrap();
            let cut = cut.clone();
            std::thread::Builder::new().spawn(move || pass_down(hub, worker, &cut)).unwrap();
        }
    };
    std::thread::Builder::new().spawn(serve).unwrap();
    (address, is_cut)
}

fn pass_down(mut hub: TcpStream, mut worker: TcpStream, cut: &std::sync::mpsc::Sender<()>) {
    let mut bytes = [0; 64 << 10];
    while let Ok(n @ 1..) = hub.read(&mut bytes) {
        let is_it = bytes[..n].windows(LOST.len()).any(|piece| piece == LOST.as_bytes());
        if is_it || worker.write_all(&bytes[..n]).is_err() {
            drop((hub.shutdown(Shutdown::Both), worker.shutdown(Shutdown::Both)));
            if is_it {
                cut.send(()).unwrap();
            }
            return;
        }
    }
    drop(worker.shutdown(Shutdown::Both));
}

/// `hands run -i -- cat` that has shown a line.
fn begun(home: &Home, address: &str) -> Child {
    let script = "echo begun; exec cat";
    let mut child = home.start(&["run", "--cluster", address, "-i", "--", "sh", "-c", script]);
    let mut line = String::new();
    let mut out = BufReader::with_capacity(1, child.stdout.as_mut().unwrap());
    out.read_line(&mut line).unwrap();
    assert_eq!(line, "begun\n");
    child
}

fn is_told(ended: &Ran) {
    assert_eq!(ended.code, 125, "{ended:?}");
    let told = "a connection was lost, and some of the action's standard input with it";
    assert!(ended.err.contains(told), "{ended:?}");
}

#[test]
fn a_piece_that_did_not_reach_the_worker_is_told() {
    let home = Home::new();
    let listen = ["hub", "--listen", "127.0.0.1:0", "--insecure-loopback"];
    let (_hub, line) = Server::start(&home, &listen, "the hub serves");
    let address = address(&line);
    let level = level(&home);
    for more in [&b"what follows\n"[..], b""] {
        let (through, is_cut) = cutter(&address);
        let worker = ["worker", &through, "--name", "w", "--isolation", &level];
        let (worker, _) = Server::start(&home, &worker, "connected to the hub");
        let mut run = begun(&home, &address);
        let mut stdin = run.stdin.take().unwrap();
        stdin.write_all(LOST.as_bytes()).unwrap();
        is_cut.recv_timeout(Duration::from_secs(60)).expect("it goes through here");
        stdin.write_all(more).unwrap();
        drop(stdin);
        let ended = ran(run.wait_with_output().unwrap());
        is_told(&ended);
        assert_eq!(ended.out, "", "nothing of it was shown");
        drop(worker);
    }
}
