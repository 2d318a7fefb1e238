//! A member that means ill calls every method of the hub, with messages of random sizes from a seed: how long
//! an honest member waits beside it, what memory the hub takes, and whether anything is lost.

mod caller;
mod cluster;
mod flood;
mod honest;
mod messages;
mod random;
mod sink;

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use hands_types::Role;

pub(crate) use caller::run as call;
pub(crate) use sink::serve as sink;

use self::cluster::{Cluster, run_on};
use self::flood::{Flood, Totals};
use self::honest::Honest;
use self::sink::Sink;
use crate::report::{Report, Target, say};
use crate::stats::Times;
use crate::wire::STAGES;

/// How long the honest member is measured alone.
const ALONE: Duration = Duration::from_secs(20);
/// How long the figures beside the first are measured.
const CONTROL: Duration = Duration::from_secs(30);
/// What the honest member's actions ask for and its worker offers, so that no hostile worker gets them.
const TAG: &str = "honest";
/// Roles of a member that may do whatever an operator need not.
const HOSTILE: &[Role] = &[Role::Worker, Role::Submit, Role::Read, Role::CacheWrite, Role::Publish];

/// Seconds of hostility, `HANDS_BENCH_HOSTILE_SECONDS` (ten minutes in the soak), and the seed, `HANDS_SOAK_SEED`.
fn wanted(variable: &str, default: u64) -> Result<u64> {
    match std::env::var(variable) {
        Ok(text) => text.parse().with_context(|| format!("{variable}={text}")),
        Err(_) => Ok(default),
    }
}

pub(crate) async fn hostile(hands: &Path, dir: &Path, report: &mut Report) -> Result<()> {
    let length = Duration::from_secs(wanted("HANDS_BENCH_HOSTILE_SECONDS", 60)?);
    let seed = wanted("HANDS_SOAK_SEED", 1)?;
    let cluster = Cluster::start(hands, dir)?;
    let mut honest = Honest::new(&cluster.member("honest", &[Role::Submit]).await?);
    honest.warm().await?;
    let alone = honest.measure(ALONE).await?;
    cluster.member("hostile", HOSTILE).await?;
    let (before, began) = (cluster.cpu()?, Instant::now());
    let flood = Flood::start(&cluster, seed, length, None)?;
    let (beside, totals, most) = beside(&mut honest, flood, &cluster).await?;
    let (hub_cpu, took) = (cluster.cpu()? - before, began.elapsed().as_secs_f64());
    let kept = honest.kept().await?;
    let title =
        format!("honest actions beside {} s of hostile calls (seed {seed})", length.as_secs());
    add(report, &title, Target::AtMost(5.0), &alone, &beside);
    let name = "  ms of the slowest hundredth by stage (p50 of all)";
    report.add(name, 0.0, "", beside.slowest(), Target::None);
    report.add(
        "  hub's memory at most",
        most,
        "MB",
        format!("{most:.0} MB; {:.0} MB at the end", cluster.resident()?),
        Target::AtMost(500.0),
    );
    #[expect(clippy::cast_precision_loss, reason = "thousands")]
    let lost = (beside.errors.len() + kept.lost) as f64;
    let first = beside.errors.first().map(|error| format!(": {error:#}")).unwrap_or_default();
    let figure = format!("{lost:.0}{first} of {} actions, {} blobs", beside.actions, kept.blobs);
    report.add("  lost of the honest member's", lost, "", figure, Target::AtMost(0.0));
    let rate = totals.bytes / took;
    let figure = format!(
        "hub {:.2}, hostile member {:.2} of {} cpus; {:.1} MB/s sent",
        hub_cpu / took,
        totals.cpu / took,
        std::thread::available_parallelism()?,
        rate / 1e6
    );
    report.add("  cpus taken meanwhile", hub_cpu / took, "", figure, Target::None);
    machine(report, &cluster, &mut honest, (seed, rate), &alone).await?;
    apart(report, &cluster, &mut honest, seed, length.min(CONTROL)).await
}

/// The control: what the machine alone does to the honest member while as many bytes go to somebody who does nothing with them.
async fn machine(
    report: &mut Report,
    cluster: &Cluster,
    honest: &mut Honest,
    (seed, rate): (u64, f64),
    alone: &Measured,
) -> Result<()> {
    let sink = Sink::start()?;
    let flood = Flood::start(cluster, seed, CONTROL, Some((&sink, rate)))?;
    let (beside, ..) = beside(honest, flood, cluster).await?;
    add(
        report,
        "  control: the same bytes to a sink, not to the hub",
        Target::None,
        alone,
        &beside,
    );
    Ok(())
}

/// With the hostile member on a CPU of its own, and all others on the rest, as if it had another machine.
async fn apart(
    report: &mut Report,
    cluster: &Cluster,
    honest: &mut Honest,
    seed: u64,
    length: Duration,
) -> Result<()> {
    let cpus = std::thread::available_parallelism()?.get();
    if cpus < 2 {
        say("skipped: the hostile member on a CPU of its own: there is one");
        return Ok(());
    }
    cluster.run_on(&format!("1-{}", cpus - 1))?;
    let alone = honest.measure(ALONE).await?;
    let flood = Flood::start(cluster, seed, length, None)?;
    run_on(flood.id(), "0")?;
    let (beside, ..) = beside(honest, flood, cluster).await?;
    let title = "  the hostile member on a CPU of its own";
    add(report, title, Target::None, &alone, &beside);
    cluster.run_on(&format!("0-{}", cpus - 1))
}

fn add(report: &mut Report, title: &str, target: Target, alone: &Measured, beside: &Measured) {
    let (alone, beside) = (Times::new(alone.times.clone()), Times::new(beside.times.clone()));
    let ratio = beside.at(0.99).as_secs_f64() / alone.at(0.5).as_secs_f64();
    let figure =
        format!("p99 {ratio:.2} × p50 alone ({}; alone {})", beside.summary(), alone.summary());
    report.add(title, ratio, "×", figure, target);
}

impl Measured {
    /// What the slowest hundredth waited for, and the median of each stage: of all, not of any one action.
    fn slowest(&self) -> String {
        let mut stages = self.stages.clone();
        stages.sort_by_key(|stages| std::cmp::Reverse(stages.iter().sum::<Duration>()));
        let slowest = &stages[..(stages.len() / 100).max(1)];
        let of = |stage: usize| {
            let mean: Duration = slowest.iter().map(|stages| stages[stage]).sum::<Duration>()
                / u32::try_from(slowest.len()).unwrap_or(u32::MAX);
            let all = Times::new(self.stages.iter().map(|stages| stages[stage]).collect());
            format!("{} {:.1} ({:.2})", STAGES[stage], mean.as_secs_f64() * 1e3, all.median_ms())
        };
        (0..STAGES.len()).map(of).collect::<Vec<_>>().join(", ")
    }
}

/// What an honest member saw.
#[derive(Default)]
struct Measured {
    times: Vec<Duration>,
    /// Of each of them.
    stages: Vec<[Duration; STAGES.len()]>,
    actions: usize,
    errors: Vec<anyhow::Error>,
}

/// The honest member works until the hostile one ends; with what that sent, and the most memory that the hub had meanwhile, MB.
async fn beside(
    honest: &mut Honest,
    mut flood: Flood,
    cluster: &Cluster,
) -> Result<(Measured, Totals, f64)> {
    let (mut all, mut most, mut said) = (Measured::default(), 0.0_f64, Instant::now());
    while flood.ended()?.is_none() {
        let some = honest.measure(Duration::from_millis(500)).await?;
        most = most.max(cluster.resident()?);
        all.actions += some.actions;
        all.times.extend(some.times);
        all.stages.extend(some.stages);
        all.errors.extend(some.errors);
        if said.elapsed() > Duration::from_secs(30) {
            said = Instant::now();
            let p99 = Times::new(all.times.clone()).at(0.99);
            say(&format!("  {} actions, p99 {p99:.1?}, hub at most {most:.0} MB", all.actions));
        }
    }
    Ok((all, flood.totals()?, most))
}
