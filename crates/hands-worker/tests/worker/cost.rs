//! What an action and an idle worker cost outside of the sandbox. Figures, no checks.

use std::time::{Duration, Instant};

use hands_proto::v1::hub_message;

use crate::hub::{Hub, Job};
use crate::place::Tally;

pub(crate) async fn run(tally: &mut Tally) {
    const N: u32 = 1000;
    let place = tally.directory();
    let mut hub = Hub::new(&place);
    let (worker, mut session) = hub.worker(&place, false).await;
    for _ in 0..50 {
        session.run(Job::new(&["/bin/true"]).lease()).await;
    }
    for at_once in [1, 2, 4] {
        let (begun, cpu) = (Instant::now(), own_cpu());
        let mut leases = (0..N).map(|_| Job::new(&["/bin/true"]).lease());
        let mut out = Vec::new();
        for lease in leases.by_ref().take(at_once) {
            out.push(lease.id.clone().expect("an id"));
            session.send(hub_message::Kind::Lease(lease));
        }
        while !out.is_empty() {
            let id = out.remove(0);
            session.finish(&id).await;
            if let Some(lease) = leases.next() {
                out.push(lease.id.clone().expect("an id"));
                session.send(hub_message::Kind::Lease(lease));
            }
        }
        let (wall, cpu) = (begun.elapsed() / N, (own_cpu() - cpu) / N);
        println!(
            "{at_once} leased at once: {wall:?} wall and {cpu:?} cpu an action, the scripted hub's included"
        );
    }
    let cpu = own_cpu();
    tokio::time::sleep(Duration::from_secs(10)).await;
    println!("idle: {:.3} % cpu", (own_cpu() - cpu).as_secs_f64() * 10.0);
    worker.stop().await;
}

/// Processor time of this process alone: the launcher and all actions are others.
fn own_cpu() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(now.tv_sec.unsigned_abs(), u32::try_from(now.tv_nsec).unwrap_or(0))
}
