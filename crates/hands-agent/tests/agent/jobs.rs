//! Actions, from the client's side of the sockets.

use hands_client::JobState;
use hands_client::{Event, Job, JobResult, JobStream, Logs};
use rustix::process::{Pid, Signal, kill_process};

use crate::home::{Home, run, shell};

async fn until_started(job: &mut Job) {
    loop {
        match job.next().await.unwrap() {
            Some(Event::Started { .. }) => return,
            Some(Event::Done(result)) => panic!("done before it started: {result:?}"),
            Some(_) => {}
            None => panic!("ended before it started"),
        }
    }
}

async fn collect(job: &mut Job) -> (Vec<u8>, Vec<u8>, JobResult) {
    let (out, err, result, lost) = collect_all(job).await;
    assert!(lost.is_empty(), "it was run again: {lost:?}");
    (out, err, result)
}

/// The same of one that may be run again, with the attempts that were lost.
async fn collect_all(job: &mut Job) -> (Vec<u8>, Vec<u8>, JobResult, Vec<u32>) {
    let mut told = Vec::new();
    let (mut out, mut err) = (Vec::new(), Vec::new());
    loop {
        match job.next().await.unwrap().expect("a result comes last") {
            Event::Output { stream: JobStream::Stdout, data, .. } => out.extend(data),
            Event::Output { stream: JobStream::Stderr, data, .. } => err.extend(data),
            Event::Done(result) => {
                assert!(job.next().await.unwrap().is_none());
                return (out, err, *result, told);
            }
            Event::Queued { .. } | Event::Waiting { .. } | Event::Started { .. } => {}
            Event::Again { lost, .. } | Event::Lost { lost } => told.push(lost.attempt),
        }
    }
}

pub(crate) fn both_streams_come_live_and_whole() {
    let home = Home::new();
    run(async {
        let cluster = home.cluster().await;
        // It goes on only when its first line was seen: a second action ends it.
        let mut job =
            cluster.submit(shell("echo first; echo second >&2; sleep 100")).await.unwrap();
        let mut seen = Vec::new();
        while seen.len() < b"first\nsecond\n".len() {
            match job.next().await.unwrap().unwrap() {
                Event::Output { data, .. } => seen.extend(data),
                Event::Done(result) => panic!("{result:?}"),
                Event::Queued { .. } | Event::Waiting { .. } | Event::Started { .. } => {}
                Event::Again { .. } | Event::Lost { .. } => panic!("it was run again"),
            }
        }
        job.cancel().await.unwrap();
        let (_, _, result) = collect(&mut job).await;
        assert!(result.failure.is_some(), "{result:?}");

        let script = "i=0; while [ $i -lt 2000 ]; do echo line $i; echo err $i >&2; i=$((i+1)); done; exit 9";
        let (out, err, result) = collect(&mut cluster.submit(shell(script)).await.unwrap()).await;
        let lines = |word: &str| (0..2000).map(|i| format!("{word} {i}\n")).collect::<String>();
        assert_eq!(String::from_utf8(out).unwrap(), lines("line"));
        assert_eq!(String::from_utf8(err).unwrap(), lines("err"));
        assert_eq!(result.exit_code(), Some(9));
        assert!(!result.worker().is_empty());
    });
}

pub(crate) fn large_streams_come_whole_without_being_followed() {
    let home = Home::new();
    run(async {
        let cluster = home.cluster().await;
        let mut spec = shell("head -c 5000000 /dev/zero; head -c 300000 /dev/zero >&2");
        spec.logs = Logs::No;
        let mut job = cluster.submit(spec).await.unwrap();
        let id = job.accepted().await.unwrap();
        let (out, err, result) = collect(&mut job).await;
        assert!(out.is_empty() && err.is_empty());
        assert_eq!(cluster.stream_of(&result, JobStream::Stdout).await.unwrap().len(), 5_000_000);
        assert_eq!(cluster.stream_of(&result, JobStream::Stderr).await.unwrap().len(), 300_000);
        // And again, by a prefix of its id, as if somebody else had come.
        let (out, err, again) =
            collect(&mut cluster.follow(&id[..20], Logs::Live).await.unwrap()).await;
        assert_eq!((out.len(), err.len(), again.id), (5_000_000, 300_000, id));
    });
}

pub(crate) fn a_job_survives_its_agent() {
    let home = Home::new();
    run(async {
        let cluster = home.cluster().await;
        let mut job =
            cluster.submit(shell("echo begun; sleep 1; echo ended; exit 5")).await.unwrap();
        until_started(&mut job).await;
        let id = job.id().to_owned();
        let pid = i32::try_from(cluster.agent_hello().unwrap().pid).unwrap();
        kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
        let (out, _, result, lost) = collect_all(&mut job).await;
        assert_eq!((result.exit_code(), &lost[..]), (Some(5), &[1][..]), "{result:?}");
        assert_eq!(result.id, id);
        assert!(out.ends_with(b"ended\n"), "{:?}", String::from_utf8_lossy(&out));
    });
}

pub(crate) fn cancelled_and_detached_jobs() {
    let home = Home::new();
    run(async {
        let cluster = home.cluster().await;
        // Dropped, a job ends.
        let mut job = cluster.submit(shell("sleep 100")).await.unwrap();
        until_started(&mut job).await;
        let id = job.id().to_owned();
        drop(job);
        // Asked for and not followed: whoever follows it would be another one who waits for it.
        let ended = loop {
            let job = cluster.get(&id).await.unwrap();
            if job.state == JobState::Done {
                break job;
            }
        };
        assert_eq!(ended.failure.unwrap().code, hands_client::Code::Cancelled);

        // Detached, it does not.
        let mut spec = shell("sleep 1; echo done; exit 6");
        spec.detach = true;
        let mut job = cluster.submit(spec).await.unwrap();
        let id = job.accepted().await.unwrap();
        drop(job);
        let (out, _, result) = collect(&mut cluster.follow(&id, Logs::Live).await.unwrap()).await;
        assert_eq!((out.as_slice(), result.exit_code()), (&b"done\n"[..], Some(6)));
        let listed = cluster.list(hands_client::ListRequest::default()).await.unwrap();
        assert!(listed.iter().any(|job| job.id == id && job.exit_code == 6), "{listed:?}");
        assert_eq!(cluster.get(&id[..18]).await.unwrap().id, id);
        assert!(cluster.get("0000").await.is_err());
    });
}

pub(crate) fn many_jobs_at_once_end_each_with_its_own() {
    let home = Home::new();
    run(async {
        let cluster = home.cluster().await;
        let jobs = (0..200).map(|i| {
            let cluster = cluster.clone();
            async move {
                let mut spec = shell(&format!("exit {}", i % 50));
                spec.logs = Logs::No;
                let result = cluster.submit(spec).await.unwrap().wait().await.unwrap();
                assert_eq!(result.exit_code(), Some(i % 50), "{result:?}");
            }
        });
        futures_util::future::join_all(jobs).await;
    });
}
