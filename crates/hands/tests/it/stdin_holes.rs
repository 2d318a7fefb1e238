//! Standard input that is under way when a connection or the hub is lost: the action gets all of it, each byte once, and its
//! end.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::Child;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use crate::home::{Home, Ran, ran};
use crate::killable::Cluster;
use crate::server::{Server, address, level};
use crate::terminal::Terminal;

/// What arrives before anything is lost.
const FIRST: &str = "first\n";
/// What is typed and does not arrive.
const LOST: &str = "lost on its way\n";
/// How an end looks that a hub tells its worker, after [`FIRST`]: the first attempt, `eof`, `offset`.
const END_DOWN: &[u8] = &[0x10, 1, 0x18, 1, 0x30, 6];
/// The same from the client to the hub: `offset`, `eof`.
const END_UP: &[u8] = &[0x18, 6, 0x28, 1];
/// Long for all of this, and short against the minute after which a hub gives up an action.
const SOON: Duration = Duration::from_secs(50);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// To the hub.
    Up,
    /// From the hub.
    Down,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    /// Nothing more is passed on that way.
    Hold,
    /// The connection is cut.
    Cut,
}

/// Where something is lost.
#[derive(Clone, Copy)]
struct Loss {
    way: Way,
    pattern: &'static [u8],
    then: Then,
}

impl std::fmt::Debug for Loss {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { way, pattern, then } = self;
        write!(f, "{way:?} {then:?} {}", pattern.escape_ascii())
    }
}

/// Stands before a hub until the pattern comes: that goes nowhere. What connects after this is passed on.
struct Holder {
    address: String,
    is_held: Receiver<()>,
}

impl Holder {
    fn start(hub: &str, loss: Loss) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (hub, (held, is_held)) = (hub.to_owned(), channel());
        let armed = Arc::new(AtomicBool::new(true));
        let serve = move || {
            for other in listener.incoming().map_while(Result::ok) {
                // The hub may be away: so is this then.
                let Ok(hub) = TcpStream::connect(&hub) else { continue };
                for way in [Way::Up, Way::Down] {
                    let (hub, other) = (hub.try_clone().unwrap(), other.try_clone().unwrap());
                    let (from, to) = if way == Way::Up { (other, hub) } else { (hub, other) };
                    let watch = (loss.way == way).then(|| (loss, armed.clone(), held.clone()));
                    let pass = move || pass(from, to, watch);
                    std::thread::Builder::new().spawn(pass).unwrap();
                }
            }
        };
        std::thread::Builder::new().spawn(serve).unwrap();
        Self { address, is_held }
    }

    /// Returns when it has come.
    fn holds(&self) {
        self.is_held.recv_timeout(SOON).expect("it goes through here");
    }
}

fn pass(
    mut from: TcpStream,
    mut to: TcpStream,
    watch: Option<(Loss, Arc<AtomicBool>, Sender<()>)>,
) {
    let mut bytes = [0; 64 << 10];
    let mut is_holding = false;
    while let Ok(n @ 1..) = from.read(&mut bytes) {
        let Some((loss, armed, held)) = &watch else {
            if to.write_all(&bytes[..n]).is_err() {
                break;
            }
            continue;
        };
        let has_it = || bytes[..n].windows(loss.pattern.len()).any(|it| it == loss.pattern);
        if !is_holding && has_it() && armed.swap(false, Ordering::SeqCst) {
            held.send(()).unwrap();
            is_holding = true;
            if loss.then == Then::Cut {
                break;
            }
        }
        if !is_holding && to.write_all(&bytes[..n]).is_err() {
            break;
        }
    }
    // A connection that is cut ends both ways.
    drop((from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both)));
}

/// A hub on the loopback that can be killed and started again, and its worker.
struct World {
    home: Home,
    hub: Option<Server>,
    address: String,
    level: String,
}

impl World {
    fn new() -> Self {
        let home = Home::new();
        let level = level(&home);
        let listen = ["hub", "--listen", "127.0.0.1:0", "--insecure-loopback"];
        let (hub, line) = Server::start(&home, &listen, "the hub serves");
        Self { home, hub: Some(hub), address: address(&line), level }
    }

    /// On the address that the last one had.
    fn start_hub(&mut self) {
        let listen = ["hub", "--listen", &self.address, "--insecure-loopback"];
        let (hub, _) = Server::start(&self.home, &listen, "the hub serves");
        self.hub = Some(hub);
    }

    fn worker(&self, through: &str) -> Server {
        let worker = ["worker", through, "--name", "w", "--isolation", &self.level];
        Server::start(&self.home, &worker, "connected to the hub").0
    }

    /// `hands run -i -- cat` that has shown what was typed first.
    fn begun(&self, through: &str) -> Child {
        let arguments = ["run", "--cluster", through, "-i", "--", "cat"];
        let mut child = self.home.start(&arguments);
        child.stdin.as_mut().unwrap().write_all(FIRST.as_bytes()).unwrap();
        let mut line = String::new();
        let mut out = BufReader::with_capacity(1, child.stdout.as_mut().unwrap());
        out.read_line(&mut line).unwrap();
        assert_eq!(line, FIRST);
        child
    }
}

/// How it ends, if it does.
fn ends(mut run: Child, what: &str) -> Ran {
    let (sender, ended) = channel();
    let pid = rustix::process::Pid::from_child(&run);
    drop(run.stdin.take());
    let wait = move || drop(sender.send(ran(run.wait_with_output().unwrap())));
    std::thread::Builder::new().spawn(wait).unwrap();
    ended.recv_timeout(SOON).unwrap_or_else(|_| {
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
        panic!("it waits for ever: {what}");
    })
}

/// Types what the loss is of, and more after it; `restart` is what becomes of the hub meanwhile.
fn all_of_it_arrives(mut world: World, loss: Loss, typed: &[&str], restart: bool) {
    let holder = Holder::start(&world.address, loss);
    let direct = world.address.clone();
    let (of_worker, of_client) = match loss.way {
        Way::Down => (&holder.address, &direct),
        Way::Up => (&direct, &holder.address),
    };
    let _worker = world.worker(of_worker);
    let mut run = world.begun(of_client);
    let mut stdin = run.stdin.take().unwrap();
    let (before, after) = typed.split_at(typed.len().min(1));
    stdin.write_all(before.concat().as_bytes()).unwrap();
    if loss.pattern == LOST.as_bytes() {
        holder.holds();
        stdin.write_all(after.concat().as_bytes()).unwrap();
    }
    drop(stdin);
    if loss.pattern != LOST.as_bytes() {
        holder.holds();
    }
    if restart {
        world.hub.take().expect("it runs").kill();
        world.start_hub();
    }
    let ended = ends(run, &format!("{loss:?}"));
    assert_eq!((ended.code, ended.out), (0, typed.concat()), "{loss:?}: {}", ended.err);
    assert!(!ended.err.contains("error"), "{}", ended.err);
}

#[test]
fn bytes_that_a_killed_hub_had_handed_on_arrive() {
    let loss = Loss { way: Way::Down, pattern: LOST.as_bytes(), then: Then::Hold };
    all_of_it_arrives(World::new(), loss, &[LOST, "what follows\n"], true);
    all_of_it_arrives(World::new(), loss, &[LOST], true);
}

#[test]
fn an_end_that_a_killed_hub_had_handed_on_arrives() {
    let loss = Loss { way: Way::Down, pattern: END_DOWN, then: Then::Hold };
    all_of_it_arrives(World::new(), loss, &[], true);
}

#[test]
fn bytes_and_their_end_on_the_way_to_a_killed_hub_arrive() {
    let bytes = Loss { way: Way::Up, pattern: LOST.as_bytes(), then: Then::Hold };
    all_of_it_arrives(World::new(), bytes, &[LOST, "what follows\n"], true);
    let end = Loss { way: Way::Up, pattern: END_UP, then: Then::Hold };
    all_of_it_arrives(World::new(), end, &[], true);
}

#[test]
fn what_a_cut_connection_took_with_it_arrives() {
    for (way, pattern) in [(Way::Down, END_DOWN), (Way::Up, END_UP)] {
        let bytes = Loss { way, pattern: LOST.as_bytes(), then: Then::Cut };
        all_of_it_arrives(World::new(), bytes, &[LOST, "what follows\n"], false);
        let end = Loss { way, pattern, then: Then::Cut };
        all_of_it_arrives(World::new(), end, &[], false);
    }
}

/// Far more than may be under way, through a hub that is killed while it comes.
#[test]
fn a_long_stream_has_no_hole_and_nothing_twice() {
    let mut cluster = Cluster::start();
    let _worker = cluster.worker("w", &[]);
    let text: String = (0..2_000_000).map(|n| format!("{n}\n")).collect();
    let mut run = cluster.home.start(&["run", "--cluster", &cluster.socket, "-i", "--", "cat"]);
    let (mut stdin, mut stdout) = (run.stdin.take().unwrap(), run.stdout.take().unwrap());
    let all = text.clone();
    let typing = std::thread::Builder::new().spawn(move || {
        // That the program has ended is seen by what it showed.
        drop(stdin.write_all(all.as_bytes()));
    });
    let mut shown = vec![0; 1 << 20];
    for _ in 0..2 {
        let mut part = vec![0; 1 << 20];
        stdout.read_exact(&mut part).unwrap();
        cluster.kill_hub();
        cluster.start_hub();
        shown.append(&mut part);
    }
    shown.drain(..1 << 20);
    stdout.read_to_end(&mut shown).unwrap();
    typing.unwrap().join().unwrap();
    let ended = ends(run, "a long stream");
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(shown == text.as_bytes(), "{} of {} bytes", shown.len(), text.len());
}

#[test]
fn keys_reach_an_action_whose_hub_was_killed() {
    let mut cluster = Cluster::start();
    let _worker = cluster.worker("w", &[]);
    let script = "echo begun; while read -r word; do echo \"<$word>\"; done";
    let arguments = ["run", "--cluster", &cluster.socket, "--tty", "--", "sh", "-c", script];
    let mut terminal = Terminal::sized(&cluster.home, &arguments, 30, 100, &[]);
    terminal.sees("begun");
    terminal.types("before\r");
    terminal.sees("<before>");
    cluster.kill_hub();
    cluster.start_hub();
    // What is typed while nobody is there may be lost, as a person sees.
    while !terminal.sees_within("<after>", 1) {
        terminal.types("after\r");
    }
    terminal.types("\u{4}");
    terminal.rest();
}
