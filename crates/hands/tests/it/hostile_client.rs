//! What a client may do that never means well, down to the bytes of HTTP/2: the hub neither stops nor grows, and a batch
//! beside it notices nothing.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::process::Child;
use std::time::{Duration, Instant};

use hands_types::Role;

use crate::doors::{Doors, Tunnel};
use crate::home::{Ran, ran};
use crate::processes::Server;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const SETTINGS: u8 = 4;
const HEADERS: u8 = 1;
const DATA: u8 = 0;
const RESET: u8 = 3;
const PING: u8 = 6;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 4;
/// Most that the hub may grow by whatever one connection does, bytes.
const MOST: u64 = 160 << 20;

/// A hub with a worker, and a batch of a client that means well.
struct Cluster {
    doors: Doors,
    /// Where bytes are sent that the hub finds in its HTTP/2.
    address: String,
    _tunnel: Option<Tunnel>,
    _worker: Server,
}

impl Cluster {
    /// Over a loopback that is open to all, or with a certificate that may submit.
    fn new(secured: bool) -> Self {
        let doors = Doors::new(secured);
        let worker = doors.worker("good", &[]);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let evil = runtime.block_on(doors.enrol("evil", Role::Submit));
        let tunnel = evil.map(|identity| Tunnel::new(&doors.address, &identity));
        let address = tunnel.as_ref().map_or(&doors.address, |tunnel| &tunnel.address).clone();
        Self { doors, address, _tunnel: tunnel, _worker: worker }
    }

    fn batch(&self) -> Child {
        let mut arguments = vec!["batch", "--cluster", &self.doors.cluster, "--", "echo {}", ":::"];
        let numbers: Vec<String> = (0..40).map(|n| n.to_string()).collect();
        arguments.extend(numbers.iter().map(String::as_str));
        self.doors.home.start(&arguments)
    }

    /// Does its worst while a batch runs; gives what the hub grew by.
    fn beside(&self, worst: impl FnOnce(&str)) -> u64 {
        let before = self.memory();
        let batch = self.batch();
        worst(&self.address);
        let ended: Ran = ran(batch.wait_with_output().unwrap());
        assert_eq!((ended.code, ended.out.lines().count()), (0, 40), "{ended:?}");
        self.memory().saturating_sub(before)
    }

    /// The most memory that the hub ever had, bytes.
    fn memory(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.doors.hub.0.id())).unwrap();
        let line = status.lines().find(|l| l.starts_with("VmHWM:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10
    }
}

fn connect(address: &str) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_write_timeout(Some(Duration::from_secs(5))).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    stream
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = u32::try_from(payload.len()).unwrap().to_be_bytes()[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// A connection that has said hello, and takes whatever comes back, so that the hub never waits for us.
fn open(address: &str) -> TcpStream {
    let mut stream = connect(address);
    stream.write_all(&[PREFACE, &frame(SETTINGS, 0, 0, &[])].concat()).unwrap();
    let mut answers = stream.try_clone().unwrap();
    std::thread::Builder::new()
        .spawn(move || drop(std::io::copy(&mut answers, &mut std::io::sink())))
        .unwrap();
    stream
}

/// The headers of a gRPC call in HPACK (RFC 7541): literals without indexing, and two of the static table.
fn headers(path: &str) -> Vec<u8> {
    let mut block = vec![0x83, 0x86];
    let mut literal = |name: &[u8], value: &str| {
        block.extend(name);
        block.push(u8::try_from(value.len()).unwrap());
        block.extend(value.as_bytes());
    };
    literal(&[0x04], path);
    literal(&[0x01], "hub");
    literal(&[0x0f, 0x10], "application/grpc");
    literal(b"\x00\x02te", "trailers");
    block
}

fn call(stream: u32, path: &str) -> Vec<u8> {
    frame(HEADERS, END_HEADERS, stream, &headers(path))
}

/// Sends all of it, or as much as the hub takes before it hangs up.
fn send(stream: &mut TcpStream, bytes: &[u8]) -> bool {
    match stream.write_all(bytes) {
        Ok(()) => true,
        Err(error) => {
            use ErrorKind::{BrokenPipe, ConnectionReset, TimedOut, WouldBlock};
            let known = [BrokenPipe, ConnectionReset, TimedOut, WouldBlock];
            assert!(known.contains(&error.kind()), "{error}");
            false
        }
    }
}

/// Waits until the hub has hung up; how long that took.
fn hung_up(stream: &mut TcpStream) -> Duration {
    let began = Instant::now();
    match stream.read_to_end(&mut Vec::new()) {
        Ok(_) => {}
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}"),
    }
    began.elapsed()
}

const WRITE: &str = "/google.bytestream.ByteStream/Write";
const BATCH: &str = "/build.bazel.remote.execution.v2.ContentAddressableStorage/BatchUpdateBlobs";
const SESSION: &str = "/hands.v1.Workers/Session";

#[test]
fn bytes_that_are_no_call_end_their_own_connection_only() {
    no_calls(false);
}

#[test]
fn bytes_that_are_no_call_end_their_own_connection_only_over_tls() {
    no_calls(true);
}

fn no_calls(secured: bool) {
    let cluster = Cluster::new(secured);
    let grew = cluster.beside(|address| {
        // Nothing, half a preface, and half of the frame that follows: all are hung up on in the same ten seconds.
        let waiting: Vec<TcpStream> = [&b""[..], &PREFACE[..12], &[PREFACE, &[0, 0]].concat()]
            .iter()
            .cycle()
            .take(150)
            .map(|bytes| {
                let mut stream = connect(address);
                stream.write_all(bytes).unwrap();
                stream
            })
            .collect();
        let zeros = vec![0; 1 << 20];
        let noise: Vec<u8> =
            (0..1_u32 << 18).flat_map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()).collect();
        let tls = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".repeat(200);
        let http = b"GET / HTTP/1.1\r\nHost: hub\r\n\r\n".to_vec();
        let huge = [PREFACE, &frame(SETTINGS, 0, 0, &[]), &[0xff; 64]].concat();
        for bytes in [zeros, noise, tls, http, huge] {
            let mut stream = connect(address);
            send(&mut stream, &bytes);
            hung_up(&mut stream);
        }
        if secured {
            // Before there is any TLS: silence, the beginning of a hello, and what is none.
            let hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03";
            let slow: Vec<TcpStream> = [&b""[..], &hello[..], &hello[..3]]
                .iter()
                .cycle()
                .take(90)
                .map(|bytes| {
                    let mut stream = connect(&cluster.doors.address);
                    stream.write_all(bytes).unwrap();
                    stream
                })
                .collect();
            let mut plain = connect(&cluster.doors.address);
            send(&mut plain, PREFACE);
            for mut stream in slow.into_iter().chain([plain]) {
                let waited = hung_up(&mut stream);
                assert!(waited < Duration::from_secs(30), "{waited:?}");
            }
        }
        for mut stream in waiting {
            let waited = hung_up(&mut stream);
            assert!(waited < Duration::from_secs(30), "{waited:?}");
        }
    });
    assert!(grew < MOST, "grew by {grew}");
    assert_eq!(cluster.doors.hub.stop(), Some(0));
}

#[test]
fn floods_of_streams_headers_resets_and_pings_are_bounded() {
    floods(false);
}

#[test]
fn floods_of_streams_headers_resets_and_pings_are_bounded_over_tls() {
    floods(true);
}

fn floods(secured: bool) {
    let cluster = Cluster::new(secured);
    // Ten thousand calls that are never finished, in spite of what the hub allows.
    let grew = cluster.beside(|address| {
        let mut stream = open(address);
        for path in [WRITE, BATCH, SESSION] {
            let mut other = open(address);
            let calls: Vec<u8> = (0..10_000).flat_map(|n| call(2 * n + 1, path)).collect();
            send(&mut other, &calls);
            // And one more on a connection that has only this.
            send(&mut stream, &call(1, path));
        }
    });
    assert!(grew < MOST, "10,000 streams: grew by {grew}");
    // Headers without an end, and too many of them.
    let grew = cluster.beside(|address| {
        let mut stream = open(address);
        let mut sent = send(&mut stream, &frame(HEADERS, 0, 1, &headers(WRITE)));
        let more = frame(CONTINUATION, 0, 1, &b"\x00\x01a\x7e".repeat(4000));
        for _ in 0..10_000 {
            sent = sent && send(&mut stream, &more);
        }
        assert!(!sent, "160 MB of headers were taken");
        // And half a header, silently.
        let mut half = open(address);
        send(&mut half, &call(1, WRITE)[..20]);
    });
    assert!(grew < MOST, "headers: grew by {grew}");
    // Calls that are cancelled at once; settings and pings.
    let grew = cluster.beside(|address| {
        let mut stream = open(address);
        for n in 0..50_000 {
            let both = [call(2 * n + 1, WRITE), frame(RESET, 0, 2 * n + 1, &[0, 0, 0, 8])].concat();
            if !send(&mut stream, &both) {
                break;
            }
        }
        let mut deaf = connect(address);
        send(&mut deaf, &[PREFACE, &frame(SETTINGS, 0, 0, &[])].concat());
        let pings = [frame(PING, 0, 0, &[7; 8]), frame(SETTINGS, 0, 0, &[])].concat().repeat(1000);
        for _ in 0..200 {
            // Nobody reads the answers.
            if !send(&mut deaf, &pings) {
                break;
            }
        }
    });
    assert!(grew < MOST, "resets and pings: grew by {grew}");
    assert_eq!(cluster.doors.hub.stop(), Some(0));
}

#[test]
fn messages_that_are_too_large_or_never_end_cost_their_sender_only() {
    endless_messages(false);
}

#[test]
fn messages_that_are_too_large_or_never_end_cost_their_sender_only_over_tls() {
    endless_messages(true);
}

fn endless_messages(secured: bool) {
    let cluster = Cluster::new(secured);
    let grew = cluster.beside(|address| {
        // Four GiB are announced; and then a byte now and then. Both stay open while the others work.
        let announced = [0, 0xff, 0xff, 0xff, 0xff];
        let mut streams: Vec<TcpStream> = Vec::new();
        for path in [WRITE, BATCH, SESSION] {
            let mut stream = open(address);
            send(&mut stream, &[call(1, path), frame(DATA, 0, 1, &announced)].concat());
            for _ in 0..200 {
                if !send(&mut stream, &frame(DATA, 0, 1, &[0; 16 << 10])) {
                    break;
                }
            }
            streams.push(stream);
            let mut slow = open(address);
            send(&mut slow, &[call(1, path), frame(DATA, 0, 1, &[0, 0, 1, 0, 0])].concat());
            for byte in 0..100 {
                send(&mut slow, &frame(DATA, 0, 1, &[byte]));
            }
            streams.push(slow);
        }
    });
    assert!(grew < MOST, "grew by {grew}");
    assert_eq!(cluster.doors.hub.stop(), Some(0));
}
