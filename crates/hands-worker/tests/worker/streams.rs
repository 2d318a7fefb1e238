//! Output on its way: the window; input for what runs; terminals.

use hands_proto::v1::{self, hub_message, input};

use crate::hub::{Hub, Job};
use crate::place::Tally;

pub(crate) async fn run(tally: &mut Tally) {
    let place = tally.directory();
    let mut hub = Hub::new(&place);
    let (worker, mut session) = hub.worker(&place, false).await;

    // Without acknowledgements no more than the window comes; the action ends all the same, its output in the spool.
    session.acknowledge = false;
    let lease = Job::sh("head -c 5000000 /dev/zero; echo over >&2").lease();
    let id = lease.id.clone().expect("an id");
    session.send(hub_message::Kind::Lease(lease));
    while session.seen(&id)[0] + session.seen(&id)[1] < 1 << 20 {
        session.next().await;
    }
    session.acknowledge = true;
    session.acknowledge_all(&id);
    let ended = session.finish(&id).await;
    let result = ended.result();
    let expected = hands_tree::hash(crate::hub::SHA256, &vec![0; 5_000_000]);
    let good = ended.out.len() == 5_000_000
        && ended.err == "over\n"
        && result.stdout_digest == Some(expected.into())
        && result.stdout_raw.is_empty();
    tally.check("a window, then all of it", good, (ended.out.len(), &ended.err));

    let mut job = Job::sh("cat; echo end");
    job.options.stdin = true;
    let lease = job.lease();
    let id = lease.id.clone().expect("an id");
    session.send(hub_message::Kind::Lease(lease));
    // Before it was even started.
    send(&session, &id, input::Kind::Data("hello ".into()));
    session.started(&id).await;
    send(&session, &id, input::Kind::Data(vec![b'x'; 3 << 20].into()));
    send(&session, &id, input::Kind::Eof(true));
    let ended = session.finish(&id).await;
    let good = ended.out.len() == 6 + (3 << 20) + 4
        && ended.out.starts_with("hello xx")
        && ended.out.ends_with("xend\n");
    tally.check("standard input", good, ended.out.len());

    let mut job = Job::sh(
        "stty size; trap 'stty size; exit 4' WINCH; echo ready; while :; do sleep 0.05; done",
    );
    job.options.terminal = Some(v1::Terminal { rows: 20, columns: 30, term: "xterm".to_owned() });
    let lease = job.lease();
    let id = lease.id.clone().expect("an id");
    session.send(hub_message::Kind::Lease(lease));
    while session.seen(&id)[0] < "20 30\r\nready\r\n".len() {
        session.next().await;
    }
    send(
        &session,
        &id,
        input::Kind::Resize(v1::Terminal { rows: 40, columns: 50, term: String::new() }),
    );
    let ended = session.finish(&id).await;
    tally.check(
        "a terminal",
        ended.out == "20 30\r\nready\r\n40 50\r\n" && ended.exit() == Some(4),
        ended.note(),
    );
    let mut job = Job::new(&["nothing-here"]);
    job.options.terminal = Some(v1::Terminal::default());
    let ended = session.run(job.lease()).await;
    tally.check(
        "not found on a terminal",
        ended.out == "hands: nothing-here: command not found\r\n",
        ended.note(),
    );
    worker.stop().await;
}

fn send(session: &crate::hub::Session, id: &v1::AttemptId, kind: input::Kind) {
    session.send(hub_message::Kind::Input(v1::Input {
        id: Some(id.clone()),
        kind: Some(kind),
        ..Default::default()
    }));
}
