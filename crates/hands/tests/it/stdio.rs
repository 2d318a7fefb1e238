//! A worker that speaks over its standard input and output: whoever started it carries the bytes, and there is nothing among
//! them that is not the protocol's.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::process::Signal;

use crate::doors::Doors;
use crate::home::{Home, signal};
use crate::killable::Cluster;
use crate::processes::level;
use crate::server::Server;

/// A worker whose standard streams are carried to a hub.
struct Piped {
    worker: Server,
    log: Receiver<String>,
    said: String,
    carried: JoinHandle<Vec<u8>>,
}

impl Piped {
    fn start<S: Read + Write + Send + 'static>(
        mut command: Command,
        hub: (S, S),
        hang_up: impl FnOnce(&S) + Send + 'static,
    ) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let carried = carry(streams(&mut child), hub, hang_up);
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let (to, log) = channel();
        std::thread::Builder::new()
            .spawn(move || lines.map_while(Result::ok).try_for_each(|line| to.send(line)))
            .unwrap();
        Self { worker: Server(child), log, said: String::new(), carried }
    }

    /// Waits until it has logged a word.
    fn says(&mut self, word: &str) {
        while !self.said.contains(word) {
            let line = self.log.recv_timeout(Duration::from_secs(60));
            let line = line.unwrap_or_else(|_| panic!("no {word:?} in {}", self.said));
            self.said.push_str(&line);
            self.said.push('\n');
        }
    }

    /// Waits for its end; gives its code and what it wrote to standard output.
    fn ends(mut self) -> (Option<i32>, Vec<u8>) {
        let code = self.worker.0.wait().unwrap().code();
        (code, self.carried.join().unwrap())
    }
}

/// Carries bytes until either end hangs up; gives all that came out of the worker.
fn carry<S: Read + Write + Send + 'static>(
    (mut input, mut output): (ChildStdin, ChildStdout),
    (mut from_hub, mut to_hub): (S, S),
    hang_up: impl FnOnce(&S) + Send + 'static,
) -> JoinHandle<Vec<u8>> {
    let spawn = |work: Box<dyn FnOnce() -> Vec<u8> + Send>| {
        std::thread::Builder::new().spawn(work).unwrap()
    };
    // Ends when the hub's side does, and then closes the worker's input.
    drop(spawn(Box::new(move || pass(&mut from_hub, &mut input))));
    spawn(Box::new(move || {
        let all = pass(&mut output, &mut to_hub);
        hang_up(&to_hub);
        all
    }))
}

/// Not `io::copy`, which leaves it to the kernel and may wait until a pipe is full.
fn pass(from: &mut dyn Read, to: &mut dyn Write) -> Vec<u8> {
    let (mut all, mut piece) = (Vec::new(), [0; 16 << 10]);
    while let Ok(n @ 1..) = from.read(&mut piece) {
        all.extend_from_slice(&piece[..n]);
        if to.write_all(&piece[..n]).is_err() {
            break;
        }
    }
    all
}

fn streams(child: &mut Child) -> (ChildStdin, ChildStdout) {
    (child.stdin.take().unwrap(), child.stdout.take().unwrap())
}

/// How many TLS records bytes are made of; panics where there is anything else among them (RFC 8446, 5.1).
fn records(mut bytes: &[u8]) -> usize {
    let mut n = 0;
    while let [kind, 3, 1..=3, high, low, rest @ ..] = bytes {
        assert!((0x14..=0x17).contains(kind), "no kind of record: {kind}");
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        bytes = rest.get(length..).unwrap_or_default();
        n += 1;
    }
    assert!(bytes.len() < 5, "not TLS: {:?}", String::from_utf8_lossy(bytes));
    n
}

#[test]
fn a_worker_speaks_tls_over_its_standard_streams() {
    let doors = Doors::new(true);
    // It joins by the network once; from then on any way will do.
    assert_eq!(doors.worker("piped", &[]).stop(), Some(0));
    let state = doors.home.work().join("piped");
    let level = level(&doors.home);
    let arguments = ["worker", "--stdio", "--isolation", &level, "--log-level", "debug", "--state"];
    let arguments = [&arguments[..], &[state.to_str().unwrap()]].concat();
    let hub = TcpStream::connect(&doors.address).unwrap();
    let both = (hub.try_clone().unwrap(), hub.try_clone().unwrap());
    let hang_up = |hub: &TcpStream| drop(hub.shutdown(Shutdown::Both));
    let mut worker = Piped::start(doors.home.hands(&arguments), both, hang_up);
    worker.says("connected to the hub");
    let ran = doors.home.run(&["run", "--", "sh", "-c", "echo over; head -c 3000000 /dev/zero"]);
    assert_eq!((ran.code, ran.out.len()), (0, 3_000_005), "{}", ran.err);
    // The stream ends, and there is no other: so does the worker, and says why.
    hub.shutdown(Shutdown::Both).unwrap();
    worker.says("there is no other way to it");
    let (code, said) = worker.ends();
    assert_eq!(code, Some(3));
    assert!(said.len() > 3_000_000 && records(&said) > 100, "3 MB went through: {}", said.len());
}

#[test]
fn a_worker_that_its_parent_trusts_speaks_plainly() {
    let cluster = Cluster::start();
    let path = cluster.socket.strip_prefix("unix:").unwrap();
    let hub = UnixStream::connect(path).unwrap();
    let state = cluster.worker_state("plain");
    let level = level(&cluster.home);
    let arguments = ["worker", "--stdio=trusted", "--isolation", &level, "--state"];
    let arguments = [&arguments[..], &[state.to_str().unwrap()]].concat();
    let both = (hub.try_clone().unwrap(), hub.try_clone().unwrap());
    let hang_up = |hub: &UnixStream| drop(hub.shutdown(Shutdown::Both));
    let mut worker = Piped::start(cluster.home.hands(&arguments), both, hang_up);
    worker.says("connected to the hub");
    let ran = cluster.run(&["--", "echo", "plain"]);
    assert_eq!((ran.code, ran.out.as_str()), (0, "plain\n"), "{ran:?}");
    signal(&worker.worker.0, Signal::TERM);
    let (code, said) = worker.ends();
    assert_eq!(code, Some(0));
    assert!(said.starts_with(b"PRI * HTTP/2.0\r\n"), "{:?}", &said[..16]);
}

#[test]
fn standard_streams_that_are_no_stream_are_refused() {
    let home = Home::new();
    let refused = |arguments: &[&str], why: &str| {
        let ran = home.run(arguments);
        assert!(ran.code == 2 && ran.err.contains(why), "{ran:?}");
        assert_eq!(ran.out, "");
    };
    refused(&["worker", "--stdio=trusted"], "standard input is neither a pipe nor a socket");
    refused(&["worker", "--stdio=trusted", "build"], "there is nothing to join");
    refused(&["worker", "--stdio", "-"], "standard input");
    refused(&["worker", "--stdio=plain"], "tls");
}
