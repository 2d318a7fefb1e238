//! A member that means ill calls every method of the hub, with messages of random sizes from a seed: how long
//! an honest member waits beside it, what memory the hub takes, and whether anything is lost.

mod caller;
mod honest;
mod messages;
mod random;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use hands_link::{Address, JoinString};
use hands_types::{Role, Roles};

pub(crate) use caller::run as call;

use self::honest::Honest;
use super::hub::until;
use crate::report::{Report, Target, say};
use crate::resident::resident;
use crate::stats::Times;

/// How long the honest member is measured alone.
const ALONE: Duration = Duration::from_secs(20);
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
    let mut hostile = Command::new(std::env::current_exe()?)
        .arg("--hostile")
        .arg(cluster.dir("hostile"))
        .args([seed.to_string(), length.as_secs().to_string()])
        .stdin(Stdio::null())
        .spawn()?;
    // A second member by the same means would have a machine of its own: what this one spends on making messages is not
    // taken from the hub that is measured.
    lower(&hostile)?;
    let (beside, most) = beside(&mut honest, &mut hostile, &cluster).await?;
    ensure!(hostile.wait()?.success(), "the hostile member did not end well");
    let kept = honest.kept().await?;
    add(report, seed, length, &alone, &beside);
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
    Ok(())
}

fn add(report: &mut Report, seed: u64, length: Duration, alone: &Measured, beside: &Measured) {
    let (alone, beside) = (Times::new(alone.times.clone()), Times::new(beside.times.clone()));
    let ratio = beside.at(0.99).as_secs_f64() / alone.at(0.5).as_secs_f64();
    report.add(
        &format!("honest actions beside {} s of hostile calls (seed {seed})", length.as_secs()),
        ratio,
        "×",
        format!("p99 {ratio:.2} × p50 alone ({}; alone {})", beside.summary(), alone.summary()),
        Target::AtMost(5.0),
    );
}

/// What an honest member saw.
#[derive(Default)]
struct Measured {
    times: Vec<Duration>,
    actions: usize,
    errors: Vec<anyhow::Error>,
}

/// The honest member works until the hostile one ends; with the most memory that the hub had meanwhile, MB.
async fn beside(
    honest: &mut Honest,
    hostile: &mut Child,
    cluster: &Cluster,
) -> Result<(Measured, f64)> {
    let (mut all, mut most, mut said) = (Measured::default(), 0.0_f64, Instant::now());
    while hostile.try_wait()?.is_none() {
        let some = honest.measure(Duration::from_millis(500)).await?;
        most = most.max(cluster.resident()?);
        all.actions += some.actions;
        all.times.extend(some.times);
        all.errors.extend(some.errors);
        if said.elapsed() > Duration::from_secs(30) {
            said = Instant::now();
            let p99 = Times::new(all.times.clone()).at(0.99);
            say(&format!("  {} actions, p99 {p99:.1?}, hub at most {most:.0} MB", all.actions));
        }
    }
    Ok((all, most))
}

/// Takes a process behind all others.
fn lower(process: &Child) -> Result<()> {
    let pid = process.id().to_string();
    let done =
        Command::new("renice").args(["-n", "19", "-p", &pid]).stdout(Stdio::null()).status()?;
    ensure!(done.success(), "renice: {done}");
    Ok(())
}

/// A hub with its authority on loopback, and one real worker.
struct Cluster {
    hands: PathBuf,
    dir: PathBuf,
    hub: Child,
    worker: Option<Child>,
}

impl Cluster {
    fn start(hands: &Path, dir: &Path) -> Result<Self> {
        std::fs::create_dir_all(dir)?;
        let mut cluster = Self {
            hands: hands.to_owned(),
            dir: dir.to_owned(),
            hub: spawn_hub(hands, dir)?,
            worker: None,
        };
        cluster.ready()?;
        let join = cluster.token(&[Role::Worker])?;
        let mut worker = cluster.command();
        worker.args(["worker", &join, "--name", "honest", "--tag", TAG, "--slots", "2", "--state"]);
        let mut worker = worker.arg(dir.join("worker")).stderr(Stdio::piped()).spawn()?;
        let log = worker.stderr.take().context("piped above")?;
        cluster.worker = Some(worker);
        until(std::io::BufReader::new(log), "connected to the hub")?;
        Ok(cluster)
    }

    fn ready(&mut self) -> Result<()> {
        let log = self.hub.stderr.take().context("piped")?;
        until(std::io::BufReader::new(log), "the hub serves")
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.hands);
        command
            .env("HANDS_HOME", self.dir.join("home"))
            .current_dir(&self.dir)
            .stdin(Stdio::null());
        command
    }

    fn dir(&self, name: &str) -> PathBuf {
        self.dir.join(format!("member-{name}"))
    }

    fn token(&self, roles: &[Role]) -> Result<String> {
        let mut command = self.command();
        command.args(["token", "create"]);
        for role in roles {
            command.args(["--role", role.name()]);
        }
        let made = command.output()?;
        if !made.status.success() {
            bail!("hands token create: {}", String::from_utf8_lossy(&made.stderr));
        }
        Ok(String::from_utf8(made.stdout)?.trim().to_owned())
    }

    /// Joins; how the member dials.
    async fn member(&self, name: &str, roles: &[Role]) -> Result<Address> {
        let join: JoinString = self.token(roles)?.parse()?;
        let all = roles.iter().fold(Roles::NONE, |all, role| all.with(*role));
        hands_link::enrol(&join, name, all, &self.dir(name)).await?;
        Ok(Address::Member(self.dir(name)))
    }

    /// Resident memory of the hub, MB.
    fn resident(&self) -> Result<f64> {
        resident(self.hub.id())
    }
}

fn spawn_hub(hands: &Path, dir: &Path) -> Result<Child> {
    let mut hub = Command::new(hands);
    hub.args(["hub", "--listen", "127.0.0.1:0", "--name", "bench"]);
    hub.env("HANDS_HOME", dir.join("home")).current_dir(dir);
    hub.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    hub.spawn().context("hands hub")
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for process in self.worker.iter_mut().chain([&mut self.hub]) {
            let ended = process.kill().and_then(|()| process.wait());
            if let Err(error) = ended {
                say(&format!("a process did not end: {error}"));
            }
        }
    }
}
