//! How actions end, and what their results say.

use hands_proto::unpack;
use hands_proto::v1::{self, hub_message};

use crate::hub::{Hub, Job};
use crate::place::{Tally, running};

pub(crate) async fn run(tally: &mut Tally) {
    let place = tally.directory();
    let mut hub = Hub::new(&place);
    let (worker, mut session) = hub.worker(&place, false).await;
    let hello = session.hello.clone();
    let offered = |name: &str| {
        hello
            .properties
            .iter()
            .filter(|p| p.name == name)
            .map(|p| p.value.as_str())
            .collect::<Vec<_>>()
    };
    let good = offered("OSFamily") == ["linux"]
        && offered("tag") == ["blue"]
        && offered("site") == ["here"]
        && offered("isolation") == [worker.isolation().isolation.name()]
        && offered("host-root") == [worker.host_root()]
        && hello.slots == 2
        && hello.attempts.is_empty();
    tally.check("hello", good, &hello);

    let ended = session.run(Job::sh("echo out; echo err >&2; exit 3").lease()).await;
    tally.check(
        "exit code and streams",
        ended.exit() == Some(3) && ended.out == "out\n" && ended.err == "err\n",
        ended.note(),
    );
    let result = ended.result();
    let digests = (result.stdout_digest.clone(), result.stderr_digest.clone());
    let expected = |text: &str| Some(hands_tree::hash(crate::hub::SHA256, text.as_bytes()).into());
    let good = digests == (expected("out\n"), expected("err\n"))
        && &result.stdout_raw[..] == b"out\n"
        && &result.stderr_raw[..] == b"err\n";
    tally.check("digests, small streams inline", good, result);
    let meta = result.execution_metadata.clone().unwrap_or_default();
    let times = [
        &meta.queued_timestamp,
        &meta.worker_start_timestamp,
        &meta.input_fetch_start_timestamp,
        &meta.input_fetch_completed_timestamp,
        &meta.execution_start_timestamp,
        &meta.execution_completed_timestamp,
        &meta.output_upload_start_timestamp,
        &meta.output_upload_completed_timestamp,
        &meta.worker_completed_timestamp,
    ];
    let times: Vec<(i64, i32)> =
        times.iter().filter_map(|t| t.as_ref().map(|t| (t.seconds, t.nanos))).collect();
    let usage: Option<v1::Usage> = meta.auxiliary_metadata.first().and_then(|any| unpack(any).ok());
    let good = times.len() == 9
        && times.is_sorted()
        && meta.worker == "tester"
        && meta.virtual_execution_duration.is_some();
    tally.check("all times, in order", good, &meta);
    let good = usage
        .as_ref()
        .is_some_and(|u| u.attempt == 1 && u.peak_memory > 0 && !u.isolation.is_empty());
    tally.check("usage", good, usage);

    let ended = session.run(Job::new(&["no-such-program", "x"]).lease()).await;
    let line = "hands: no-such-program: command not found\n";
    tally.check(
        "command not found",
        ended.exit() == Some(127) && ended.err == line && ended.status() == 0,
        ended.note(),
    );
    let ended = session.run(Job::new(&["/etc"]).lease()).await;
    let line = "hands: /etc: Permission denied\n";
    tally.check("not executable", ended.exit() == Some(126) && ended.err == line, ended.note());
    let ended = session.run(Job::sh("kill -TERM $$").lease()).await;
    tally.check("a signal", ended.exit() == Some(143), ended.note());
    let mut job = Job::sh("true");
    job.command.working_directory = "nowhere".to_owned();
    let ended = session.run(job.lease()).await;
    let good = ended.status() == 3
        && ended.message().contains("`nowhere`")
        && ended.finished.result.is_none();
    tally.check("bad working directory", good, ended.note());
    let mut lease = Job::sh("true").lease();
    lease.action = vec![0xff; 9].into();
    let ended = session.run(lease).await;
    tally.check(
        "an action that can't be read",
        ended.status() == 3 && !ended.finished.try_elsewhere,
        ended.note(),
    );
    let mut job = Job::sh("echo before; sleep 1000");
    job.action.timeout = Some(prost_types::Duration { seconds: 0, nanos: 300_000_000 });
    let ended = session.run(job.lease()).await;
    tally.check(
        "deadline",
        ended.status() == 4 && ended.out == "before\n" && ended.finished.result.is_some(),
        ended.note(),
    );
    // It counts from the start of the command: what waits behind others has all of its time.
    let (a, b) = (Job::sh("sleep 2.5").lease(), Job::sh("sleep 2.5").lease());
    let ids = [a.id.clone().expect("an id"), b.id.clone().expect("an id")];
    session.send(hub_message::Kind::Lease(a));
    session.send(hub_message::Kind::Lease(b));
    let mut job = Job::sh("echo ran");
    job.action.timeout = Some(prost_types::Duration { seconds: 2, nanos: 0 });
    let ended = session.run(job.lease()).await;
    tally.check("a deadline does not count the queue", ended.out == "ran\n", ended.note());
    for id in &ids {
        session.finish(id).await;
    }
    let mut job = Job::new(&["/usr/bin/env"]);
    let variable = |n: &str, v: &str| hands_proto::reapi::command::EnvironmentVariable {
        name: n.to_owned(),
        value: v.to_owned(),
    };
    job.command.environment_variables = vec![variable("A", "1"), variable("PATH", "/usr/bin")];
    let ended = session.run(job.lease()).await;
    tally.check(
        "environment",
        ended.out.starts_with("A=1\nPATH=/usr/bin\nHANDS_INSIDE=1\n"),
        ended.note(),
    );

    // Cancelled while it runs: dead when the worker has nothing left of it, and never reported.
    let lease = Job::new(&["/bin/sleep", "987.0615"]).lease();
    let id = lease.id.clone().expect("an id");
    session.send(hub_message::Kind::Lease(lease));
    session.started(&id).await;
    session
        .send(hub_message::Kind::Cancel(v1::Cancel { id: Some(id), reason: "a test".to_owned() }));
    // Both slots are needed for these, so that the first has ended.
    let (a, b) = (Job::sh("sleep 0.2").lease(), Job::sh("sleep 0.2").lease());
    let ids = [a.id.clone().expect("an id"), b.id.clone().expect("an id")];
    session.send(hub_message::Kind::Lease(a));
    session.send(hub_message::Kind::Lease(b));
    session.finish(&ids[0]).await;
    session.finish(&ids[1]).await;
    tally.check("cancel kills", !running("987.0615"), "");

    // Stopping kills what runs, and nothing is left when it returns.
    let lease = Job::new(&["/bin/sleep", "987.0616"]).lease();
    let id = lease.id.clone().expect("an id");
    session.send(hub_message::Kind::Lease(lease));
    session.started(&id).await;
    worker.stop().await;
    tally.check("stop kills", !running("987.0616"), "");
}
