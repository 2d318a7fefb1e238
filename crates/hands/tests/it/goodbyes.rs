//! A proxy between a front-end and an engine that ends each connection after a few requests, as nginx does after
//! `keepalive_requests`: it says goodbye (GOAWAY), finishes what it has taken, and takes nothing more, not even what was
//! on its way already.

use std::collections::BTreeSet;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::home::{Home, json};
use crate::processes::{Server, address, level};

/// Requests that one connection may bring.
const REQUESTS: usize = 3;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const END_STREAM: u8 = 1;

/// One connection's state.
#[derive(Default)]
struct Talk {
    taken: BTreeSet<u32>,
    open: BTreeSet<u32>,
    last: Option<u32>,
}

struct Frame {
    kind: u8,
    flags: u8,
    stream: u32,
    bytes: Vec<u8>,
}

impl Frame {
    /// None at the end of the connection.
    fn read(from: &mut TcpStream) -> io::Result<Option<Self>> {
        let mut head = [0; 9];
        match from.read_exact(&mut head) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            other => other?,
        }
        let length = usize::from_be_bytes([0, 0, 0, 0, 0, head[0], head[1], head[2]]);
        let stream = u32::from_be_bytes([head[5] & 0x7f, head[6], head[7], head[8]]);
        let mut bytes = head.to_vec();
        bytes.resize(9 + length, 0);
        from.read_exact(&mut bytes[9..])?;
        Ok(Some(Self { kind: head[3], flags: head[4], stream, bytes }))
    }
}

fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, 0, 0, 0, 0, 0], payload].concat()
}

/// Serves until the test ends.
fn proxy(hub: String, goodbyes: Arc<AtomicU32>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let serve = move || {
        for client in listener.incoming() {
            let (client, hub) = (client.unwrap(), TcpStream::connect(&hub).unwrap());
            for socket in [&client, &hub] {
                socket.set_nodelay(true).unwrap();
            }
            let talk = Arc::new(Mutex::new(Talk::default()));
            let to_client = Arc::new(Mutex::new(client.try_clone().unwrap()));
            let (talk2, to_client2, hub2) =
                (Arc::clone(&talk), Arc::clone(&to_client), hub.try_clone().unwrap());
            let goodbyes = Arc::clone(&goodbyes);
            // Either end may hang up at any time: that is the end of both, and no failure of the test.
            spawn(move || up(client, hub, &talk, &to_client, &goodbyes));
            spawn(move || down(hub2, &talk2, &to_client2));
        }
    };
    std::thread::Builder::new().spawn(serve).unwrap();
    address
}

fn spawn(half: impl FnOnce() -> io::Result<()> + Send + 'static) {
    std::thread::Builder::new().spawn(move || drop(half())).unwrap();
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn up(
    mut client: TcpStream,
    mut hub: TcpStream,
    talk: &Mutex<Talk>,
    to_client: &Mutex<TcpStream>,
    goodbyes: &AtomicU32,
) -> io::Result<()> {
    let mut preface = [0; 24];
    client.read_exact(&mut preface)?;
    hub.write_all(&preface)?;
    while let Some(next) = Frame::read(&mut client)? {
        let mut talk = lock(talk);
        if talk.last.is_some_and(|last| next.stream > last) {
            // What is not taken must not use up the connection's window: others still send on it.
            if next.kind == DATA && next.bytes.len() > 9 {
                let credit = [0, next.bytes[0], next.bytes[1], next.bytes[2]];
                lock(to_client).write_all(&frame(WINDOW_UPDATE, &credit))?;
            }
            continue;
        }
        if next.kind == HEADERS && !talk.taken.contains(&next.stream) {
            // Said when one more is on its way, so that there always is one.
            if talk.taken.len() == REQUESTS
                && let Some(last) = talk.taken.last().copied()
            {
                talk.last = Some(last);
                goodbyes.fetch_add(1, Ordering::Relaxed);
                let goodbye = [last.to_be_bytes(), [0; 4]].concat();
                lock(to_client).write_all(&frame(GOAWAY, &goodbye))?;
                if talk.open.is_empty() {
                    break;
                }
                continue;
            }
            talk.taken.insert(next.stream);
            talk.open.insert(next.stream);
        }
        if next.kind == RST_STREAM {
            talk.open.remove(&next.stream);
        }
        hub.write_all(&next.bytes)?;
        drop(talk);
    }
    hub.shutdown(Shutdown::Write)
}

fn down(mut hub: TcpStream, talk: &Mutex<Talk>, to_client: &Mutex<TcpStream>) -> io::Result<()> {
    while let Some(next) = Frame::read(&mut hub)? {
        lock(to_client).write_all(&next.bytes)?;
        let mut talk = lock(talk);
        let ends = matches!(next.kind, DATA | HEADERS) && next.flags & END_STREAM != 0;
        if ends || next.kind == RST_STREAM {
            talk.open.remove(&next.stream);
        }
        if talk.last.is_some() && talk.open.is_empty() {
            break;
        }
    }
    hub.shutdown(Shutdown::Both)?;
    lock(to_client).shutdown(Shutdown::Both)
}

#[test]
fn an_engine_behind_a_proxy_that_says_goodbye_loses_nothing() {
    let home = Home::new();
    let arguments = ["hub", "--listen", "127.0.0.1:0", "--insecure-loopback"];
    let (hub, line) = Server::start(&home, &arguments, "the hub serves");
    let hub_at = address(&line);
    let level = level(&home);
    let join = ["worker", &hub_at, "--slots", "2", "--isolation", &level];
    let (worker, _) = Server::start(&home, &join, "connected to the hub");
    let goodbyes = Arc::new(AtomicU32::new(0));
    let host = hub_at.rsplit('/').next().unwrap().to_owned();
    let engine = format!("grpc://{}", proxy(host, Arc::clone(&goodbyes)));
    home.write("in", &"some input\n".repeat(300_000));
    // Many at once, some of which outlive the connection that they were sent on.
    let words: Vec<String> = (0..40).map(|n| n.to_string()).collect();
    let mut arguments =
        vec!["batch", "--json", "--engine", &engine, "--jobs", "8", "--input", "in", "--"];
    arguments.extend(["sh", "-c", "wc -c <in; echo $0", "{}", ":::"]);
    arguments.extend(words.iter().map(String::as_str));
    let ended = home.run(&arguments);
    assert_eq!(ended.code, 0, "{ended:?}");
    let results = json(&ended.out);
    assert_eq!(results.len(), words.len(), "{ended:?}");
    for result in &results {
        let out = result["stdout"].as_str().unwrap();
        assert!(out.starts_with("3300000\n"), "{result}");
    }
    // Each was run once: nothing was sent twice for want of an answer.
    let ran = json(&home.run(&["ps", "-a", "--cluster", &hub_at, "--json"]).out);
    assert_eq!(ran.len(), words.len(), "{ran:?}");
    assert!(goodbyes.load(Ordering::Relaxed) > 10, "{goodbyes:?}");
    assert_eq!((worker.stop(), hub.stop()), (Some(0), Some(0)));
}
