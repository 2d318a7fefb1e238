//! A worker with two routes to its hub: it goes on by the better one, and nothing that it does suffers from that. And one whose
//! only route is long.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use hands_exec::ExposedPath;
use hands_link::{Address, Identity, Parameters, Route, Way};
use hands_store::{Store, StoreConfig};
use hands_types::{Role, WorkerId};
use hands_worker::{IsolationChoice, Worker, WorkerConfig};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use crate::doors::Doors;
use crate::home::{json, ran};
use crate::marks::Marks;
use crate::processes::{Server, level};

/// How often the worker moves.
const MOVES: usize = 50;
/// How much longer the worse route is, there and back each.
const LONGER: Duration = Duration::from_millis(60);

/// A way to the hub that can be made longer, and that can stand still.
#[derive(Clone)]
struct Road {
    route: Route,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    micros: AtomicU64,
    stands: AtomicBool,
    carried: AtomicUsize,
}

impl Road {
    fn new(runtime: &Runtime, hub: &str) -> Self {
        let hub: SocketAddr = hub.parse().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let route = listener.local_addr().unwrap().to_string().parse().unwrap();
        let state = Arc::<State>::default();
        let of_all = Arc::clone(&state);
        runtime.spawn(async move {
            let mut carried = JoinSet::new();
            while let Ok((near, _)) = listener.accept().await {
                let Ok(far) = TcpStream::connect(hub).await else { continue };
                near.set_nodelay(true).unwrap();
                far.set_nodelay(true).unwrap();
                let ((from_near, to_near), (from_far, to_far)) =
                    (near.into_split(), far.into_split());
                carried.spawn(carry(from_near, to_far, Arc::clone(&of_all)));
                carried.spawn(carry(from_far, to_near, Arc::clone(&of_all)));
            }
        });
        Self { route, state }
    }

    fn takes(&self, time: Duration) {
        self.state.micros.store(u64::try_from(time.as_micros()).unwrap(), Ordering::Relaxed);
    }
}

/// Each piece arrives as much later as the road is long; as many as like are under way.
async fn carry(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, road: Arc<State>) {
    let (on_the_road, mut arriving) = mpsc::channel::<(Instant, Vec<u8>)>(1 << 12);
    let mut both = JoinSet::new();
    let state = Arc::clone(&road);
    both.spawn(async move {
        let mut piece = vec![0; 64 << 10];
        while let Ok(n @ 1..) = from.read(&mut piece).await {
            let late = Duration::from_micros(state.micros.load(Ordering::Relaxed));
            state.carried.fetch_add(n, Ordering::Relaxed);
            if on_the_road.send((Instant::now() + late, piece[..n].to_vec())).await.is_err() {
                break;
            }
        }
    });
    both.spawn(async move {
        while let Some((due, piece)) = arriving.recv().await {
            sleep_until(due).await;
            while road.stands.load(Ordering::Relaxed) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            if to.write_all(&piece).await.is_err() {
                break;
            }
        }
    });
    while both.join_next().await.is_some() {}
}

/// Has a membership name other routes.
fn lead(dir: &Path, roads: &[&Road]) {
    let file = dir.join("member");
    let text = fs::read_to_string(&file).unwrap();
    let routes: Vec<String> = roads.iter().map(|road| road.route.to_string()).collect();
    let line = |line: &str| match line.starts_with("addresses = ") {
        true => format!("addresses = {}\n", routes.join(",")),
        false => format!("{line}\n"),
    };
    fs::write(&file, text.lines().map(line).collect::<String>()).unwrap();
}

fn config(doors: &Doors, identity: &Identity, way: Way, marks: &Marks) -> WorkerConfig {
    let place = doors.home.work().join("mover");
    fs::create_dir_all(&place).unwrap();
    WorkerConfig {
        id: WorkerId(identity.member.0),
        name: "mover".to_owned(),
        build_id: "test".to_owned(),
        version: "0".to_owned(),
        hub: way,
        hub_name: "the hub".to_owned(),
        store: Store::open(StoreConfig::new(place.join("store"))).unwrap(),
        same_store: false,
        state_dir: place.join("work"),
        program: env!("CARGO_BIN_EXE_hands").into(),
        isolation: IsolationChoice::Best,
        slots: 2,
        memory: 0,
        custom: Default::default(),
        expose: [&marks.flags()[1]]
            .map(|path| ExposedPath { host: path.into(), inside: path.into() })
            .to_vec(),
        default_env: Vec::new(),
        tags: Vec::new(),
        properties: Vec::new(),
        lease: None,
        ahead: None,
        parts: Vec::new(),
        compress: true,
    }
}

#[test]
fn a_busy_worker_moves_fifty_times_and_loses_nothing() {
    let Some(mut marks) = Marks::new() else { return };
    let stop = marks.file("stop");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let doors = Doors::new(true);
    let roads = [Road::new(&runtime, &doors.address), Road::new(&runtime, &doors.address)];
    let identity = runtime.block_on(doors.enrol("mover", Role::Worker)).unwrap();
    lead(&identity.dir, &[&roads[0], &roads[1]]);
    let way = runtime.block_on(async {
        Way::to(&Address::Member(identity.dir.clone())).looking_every(Duration::from_millis(20))
    });
    let config = config(&doors, &identity, way.clone(), &marks);
    let worker = runtime.block_on(Worker::start(config)).unwrap();

    // One that has effects outside may not be run again at all. It counts, so that a gap in what it says would be seen.
    let until =
        format!("until grep -q now {}; do n=$((n+1)); echo $n; sleep 0.02; done", stop.display());
    let long = format!("n=0; {}; {until}; echo end", marks.say("long"));
    let started = doors.home.run(&["run", "-d", "--network", "host", "--", "sh", "-c", &long]);
    let id = started.out.trim().to_owned();
    assert_eq!(started.code, 0, "{started:?}");
    marks.wait_for(1);
    // Many short ones beside it, for as long as it takes.
    let moved = AtomicUsize::new(0);
    let say = marks.say("WORD");
    let batches = std::thread::scope(|scope| {
        let batches = std::thread::Builder::new().spawn_scoped(scope, || {
            let mut n = 0;
            while moved.load(Ordering::Relaxed) < MOVES {
                let command =
                    |n: usize| format!("{say}; echo WORD\n").replace("WORD", &n.to_string());
                let commands: String = (n..n + 20).map(command).collect();
                let file = doors.home.write("commands", &commands);
                let batch = ["batch", "--jobs", "20", file.to_str().unwrap()];
                let ended = ran(doors.home.hands(&batch).output().unwrap());
                assert_eq!(ended.code, 0, "{ended:?}");
                n += 20;
            }
            n
        });
        for _ in 0..MOVES {
            let before = way.route();
            for road in &roads {
                let is_present = Some(&road.route) == before.as_ref();
                road.takes(if is_present { LONGER } else { Duration::ZERO });
            }
            runtime.block_on(async {
                let deadline = Instant::now() + Duration::from_secs(60);
                while way.route() == before {
                    assert!(Instant::now() < deadline, "it does not move");
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            });
            moved.fetch_add(1, Ordering::Relaxed);
        }
        batches.unwrap().join().unwrap()
    });
    fs::write(&stop, "now\n").unwrap();
    assert_eq!(doors.home.run(&["wait", &id]).code, 0);
    let said = doors.home.run(&["logs", &id]).out;
    let lines: Vec<&str> = said.lines().collect();
    let (last, counted) = lines.split_last().unwrap();
    assert_eq!(*last, "end");
    let in_order = counted.iter().zip(1..).all(|(line, n)| *line == n.to_string());
    assert!(in_order && counted.len() > MOVES, "{said}");
    marks.wait_for(batches + 1);
    let all = marks.all();
    assert!(all.len() == batches + 1 && all.values().all(|n| *n == 1), "{all:?}");
    let jobs = json(&doors.home.run(&["ps", "-a", "--json", "--limit", "100000"]).out);
    assert!(jobs.iter().all(|job| job["exit_code"] == 0), "{jobs:?}");
    assert!(roads.iter().all(|road| road.state.carried.load(Ordering::Relaxed) > 100_000));
    runtime.block_on(worker.stop());
}

#[test]
fn a_long_way_costs_no_lease_and_has_larger_windows() {
    let Some(mut marks) = Marks::new() else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let doors = Doors::new(true);
    let road = Road::new(&runtime, &doors.address);
    road.takes(Duration::from_millis(150));
    let [expose, directory] = marks.flags();
    assert_eq!(doors.worker("far", &[]).stop(), Some(0));
    let state = doors.home.work().join("far");
    let dir = state.join("clusters/build");
    lead(&dir, &[&road]);
    let way = runtime.block_on(async {
        let way = Way::to(&Address::Member(dir.clone()));
        way.open().await.map(|()| way).unwrap()
    });
    assert!(way.is_here(), "TLS or not, it does not leave this machine");
    let quality = way.quality();
    assert!(quality.round_trip.unwrap() > Duration::from_millis(290), "{quality:?}");
    let parameters = Parameters::of(quality);
    assert_eq!(parameters.stream_window, 16 << 20, "{parameters:?}");
    assert!(parameters.lease.unwrap() > Duration::from_secs(35), "{parameters:?}");

    let level = level(&doors.home);
    let arguments = ["worker", "--isolation", &level, "--state", state.to_str().unwrap()];
    let arguments = [&arguments[..], &[&expose, &directory]].concat();
    let (worker, _) = Server::start(&doors.home, &arguments, "connected to the hub");
    let command = format!("{}; sleep 1; echo done", marks.say("run"));
    let id = doors.home.run(&["run", "-d", "--", "sh", "-c", &command]).out;
    let id = id.trim();
    marks.wait_for(1);
    // Longer than the leases of fast ways: nothing comes through, and then all of it.
    road.state.stands.store(true, Ordering::Relaxed);
    marks.listen(Duration::from_secs(14));
    road.state.stands.store(false, Ordering::Relaxed);
    assert_eq!(doors.home.run(&["wait", id]).code, 0);
    let job = json(&doors.home.run(&["status", "--json", id]).out).remove(0);
    assert_eq!((&job["attempt"], &job["exit_code"]), (&1.into(), &0.into()), "{job}");
    assert_eq!(marks.all()["run"], 1);
    assert_eq!(worker.stop(), Some(0));
}
