//! Starting, leaving, stopping, refusing.

use std::fs;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::Barrier;
use std::time::Duration;

use hands_client::{
    AgentSockets, AgentSpec, ClientError, Cluster, Code, Event, Invocation, SNAPSHOT_PART, Target,
};
use hands_types::ErrorClass;
use rustix::process::{Pid, Signal, kill_process};

use crate::home::{Home, run, shell};

pub(crate) fn ten_front_ends_start_one_agent() {
    let home = Home::new();
    let barrier = Barrier::new(10);
    let pids: Vec<u32> = std::thread::scope(|scope| {
        let racers: Vec<_> = (0..10)
            .map(|_| {
                scope.spawn(|| {
                    barrier.wait();
                    run(async {
                        let cluster = home.cluster().await;
                        let result =
                            cluster.submit(shell("exit 7")).await.unwrap().wait().await.unwrap();
                        assert_eq!(result.exit_code(), Some(7), "{result:?}");
                        cluster.agent_hello().unwrap().pid
                    })
                })
            })
            .collect();
        racers.into_iter().map(|racer| racer.join().unwrap()).collect()
    });
    assert!(pids.iter().all(|pid| *pid == pids[0]), "{pids:?}");
    let places = home.spec().sockets.len();
    assert_eq!(home.log().matches("listening").count(), places, "once at each place");
}

pub(crate) fn a_killed_agent_leaves_nothing_in_the_way() {
    let home = Home::new();
    run(async {
        for _ in 0..3 {
            let cluster = home.cluster().await;
            let pid = cluster.agent_hello().unwrap().pid;
            let result = cluster.submit(shell("exit 0")).await.unwrap().wait().await.unwrap();
            assert!(result.is_success());
            kill(pid, Signal::KILL);
        }
        assert!(home.spec().sockets[0].agent.exists(), "its socket is still there, and stale");
    });
}

pub(crate) fn an_idle_agent_leaves_and_a_busy_one_stays() {
    let home = Home::with_idle(Duration::from_millis(400));
    run(async {
        let cluster = home.cluster().await;
        // Longer than it stays when idle.
        let result = cluster.submit(shell("sleep 1; exit 3")).await.unwrap().wait().await.unwrap();
        assert_eq!(result.exit_code(), Some(3));
        // Gone when its lock can be had.
        let spec = home.spec();
        let lock = fs::File::open(&spec.life_lock).unwrap();
        tokio::task::spawn_blocking(move || {
            rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockShared)
        })
        .await
        .unwrap()
        .unwrap();
        let left = |sockets: &AgentSockets| {
            sockets.agent.exists() || sockets.of_part(SNAPSHOT_PART).exists()
        };
        assert!(!spec.sockets.iter().any(left));
        assert!(home.log().contains("leaving: idle"));
        // The connection that was open starts the next one.
        let result = cluster.submit(shell("exit 4")).await.unwrap().wait().await.unwrap();
        assert_eq!(result.exit_code(), Some(4));
    });
}

pub(crate) fn stop_is_refused_while_something_runs_unless_forced() {
    let home = Home::new();
    run(async {
        assert!(!hands_client::stop_agent(&home.spec(), false).await.unwrap(), "there is none");
        let cluster = home.cluster().await;
        let mut spec = shell("sleep 100");
        spec.detach = true;
        let mut job = cluster.submit(spec).await.unwrap();
        while !matches!(job.next().await.unwrap(), Some(Event::Started { .. })) {}
        assert!(hands_client::agent_status(&home.spec()).await.unwrap().unwrap().busy);
        let refused = hands_client::stop_agent(&home.spec(), false).await.unwrap_err();
        assert!(
            matches!(refused, ClientError::Rpc { code: Code::FailedPrecondition, .. }),
            "{refused}"
        );
        drop(job);
        assert!(hands_client::stop_agent(&home.spec(), true).await.unwrap());
        assert_eq!(home.pid().await, None);
    });
}

pub(crate) fn a_refusal_reaches_the_front_end() {
    let home = Home::new();
    let spec = home.spec();
    let connect = |spec: AgentSpec| {
        run(Cluster::connect(Target::Agent(spec), Invocation::new("test").unwrap(), |_| {}))
    };

    // A state that is no directory.
    fs::create_dir(home.state()).unwrap();
    fs::write(home.state().join("store"), "").unwrap();
    let error = connect(spec.clone()).unwrap_err();
    assert!(
        matches!(&error, ClientError::AgentRefused { class: ErrorClass::Environment, .. }),
        "{error:?}"
    );
    assert!(error.to_string().contains("store"), "{error}");
    fs::remove_file(home.state().join("store")).unwrap();

    // A state that a later version wrote.
    drop(connect(spec.clone()).unwrap());
    run(hands_client::stop_agent(&spec, false)).unwrap();
    let sqlite = home.state().join("hub/hub.db");
    rusqlite::Connection::open(&sqlite).unwrap().pragma_update(None, "user_version", 1000).unwrap();
    let error = connect(spec.clone()).unwrap_err();
    assert!(matches!(&error, ClientError::AgentRefused { .. }), "{error:?}");
    assert!(error.to_string().contains("newer version"), "{error}");
    fs::remove_dir_all(home.state().join("hub")).unwrap();

    // No agent at all.
    let error =
        connect(AgentSpec { program: "/nonexistent/hands".into(), ..spec.clone() }).unwrap_err();
    assert!(matches!(&error, ClientError::AgentStart { source: Some(_), .. }), "{error:?}");
    let error = connect(AgentSpec { program: "/bin/false".into(), ..spec.clone() }).unwrap_err();
    assert!(error.to_string().contains("ended before it listened"), "{error}");
    let error = connect(AgentSpec { start: false, ..spec }).unwrap_err();
    assert!(matches!(error, ClientError::NoAgent), "{error:?}");
}

pub(crate) fn the_agent_is_a_process_of_its_own() {
    let home = Home::new();
    // A shell with a file open on descriptor 9, which is what scripts leave to their children.
    let spec = home.spec();
    let held = home.work().join("held");
    let own = std::env::current_exe().unwrap();
    let args: Vec<String> = spec.arguments.iter().map(|a| a.to_str().unwrap().to_owned()).collect();
    let mut shell = Command::new("/bin/sh");
    shell
        .arg("-c")
        .arg("exec 9>\"$0\"; exec \"$@\"")
        .arg(&held)
        .arg(&own)
        .args(&args)
        .process_group(0);
    let log = fs::create_dir_all(home.state()).and_then(|()| fs::File::create(&spec.log)).unwrap();
    let mut child = shell.stdout(std::process::Stdio::piped()).stderr(log).spawn().unwrap();
    let mut line = String::new();
    std::io::BufRead::read_line(
        &mut std::io::BufReader::new(child.stdout.take().unwrap()),
        &mut line,
    )
    .unwrap();
    assert_eq!(line, "ready\n");
    let pid = run(home.pid()).unwrap();
    let open: Vec<_> = fs::read_dir(format!("/proc/{pid}/fd"))
        .unwrap()
        .map(|e| fs::read_link(e.unwrap().path()))
        .collect();
    assert!(!open.iter().any(|target| target.as_ref().is_ok_and(|t| *t == held)), "{open:?}");

    // Started by a client it leads a session of its own.
    assert!(run(hands_client::stop_agent(&spec, false)).unwrap());
    child.wait().unwrap();
    drop(run(home.cluster()));
    let pid = run(home.pid()).unwrap();
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let session = stat.rsplit_once(')').unwrap().1.split_whitespace().nth(3).unwrap();
    assert_eq!(session, pid.to_string());
    assert_eq!(fs::read_link(format!("/proc/{pid}/cwd")).unwrap(), std::path::Path::new("/"));
}

fn kill(pid: u32, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    kill_process(pid, signal).unwrap();
}
