//! Cost of isolation: `/bin/true` in 1, 2 and 4 slots beside a plain spawn of the same program.
//!
//! `cargo run --release -p hands-sandbox --example bench [LEVEL] [N] [PROGRAM]`
#![expect(clippy::print_stdout, reason = "a program for people")]

use std::ffi::CString;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use hands_sandbox::{
    Isolation, LAUNCHER_WORD, Launcher, LauncherConfig, Marks, Network, Privilege, Request, Slot,
    SlotConfig, Status, Stdio, launcher_main,
};
use hands_types::Word as _;

type Failure = Box<dyn std::error::Error + Send + Sync>;

fn main() -> Result<(), Failure> {
    let mut args = std::env::args().skip(1).peekable();
    if args.peek().is_some_and(|word| word == LAUNCHER_WORD) {
        launcher_main();
    }
    let level = args.next().unwrap_or_else(|| "full".to_owned());
    let isolation = Isolation::read(&level).ok_or("no such level")?;
    let n: usize = args.next().map_or(Ok(5000), |n| n.parse())?;
    let program = args.next().unwrap_or_else(|| "/bin/true".to_owned());
    let place = std::env::temp_dir().join(format!("hands-bench-{}", std::process::id()));
    let done = measure(isolation, n, &program, &place);
    std::fs::remove_dir_all(&place)?;
    done
}

fn measure(isolation: Isolation, n: usize, program: &str, place: &Path) -> Result<(), Failure> {
    let cache = place.join("cache");
    std::fs::create_dir_all(cache.join("tree/src"))?;
    std::fs::write(cache.join("tree/input.txt"), "input\n")?;
    let config = LauncherConfig::new("/proc/self/exe", isolation, cache, place.join("work"));
    let started = Instant::now();
    let mut launcher = Launcher::start(config)?;
    println!("launcher started in {} us", started.elapsed().as_micros());
    for warning in launcher.warnings() {
        println!("warning: {warning}");
    }
    for threads in [1, 2, 4] {
        let plain = sample(n, (0..threads).map(|_| ()).collect(), |()| {
            plain(program).map(|()| Marks::default())
        })?;
        report(&format!("plain spawn        x{threads}"), &plain);
        let started = Instant::now();
        let slots = (0..threads)
            .map(|index| {
                launcher.slot(SlotConfig {
                    index,
                    network: Network::Loopback,
                    privilege: Privilege::None,
                })
            })
            .collect::<Result<Vec<_>, _>>()?;
        let set_up = started.elapsed().as_micros() / u128::from(threads);
        let mut isolated = sample(n, slots, |slot| run(slot, program))?;
        report(&format!("{isolation:<18} x{threads}"), &isolated);
        stages(&mut isolated);
        println!("    a slot is made in {set_up} us");
    }
    Ok(())
}

fn plain(program: &str) -> Result<(), Failure> {
    Command::new(program)
        .env_clear()
        .status()?
        .success()
        .then_some(())
        .ok_or_else(|| "failed".into())
}

fn run(slot: &mut Slot, program: &str) -> Result<Marks, Failure> {
    let null = || File::options().write(true).open("/dev/null");
    let stdio = Stdio::Pipes { stdin: None, stdout: null()?.into(), stderr: null()?.into() };
    let outcome =
        slot.run(Request::new(PathBuf::from("tree"), vec![CString::new(program)?], stdio))?;
    if outcome.status != Status::Exited(0) || outcome.start_error.is_some() || outcome.dirty {
        return Err(format!("{outcome:?}").into());
    }
    Ok(outcome.marks)
}

struct Sample {
    micros: Vec<u64>,
    seconds: f64,
    marks: Vec<Marks>,
}

fn sample<S: Send>(
    n: usize,
    states: Vec<S>,
    one: impl Fn(&mut S) -> Result<Marks, Failure> + Sync,
) -> Result<Sample, Failure> {
    let share = n / states.len();
    let work = |mut state: S| {
        for _ in 0..20 {
            one(&mut state)?;
        }
        let mut measured = Vec::with_capacity(share);
        let started = Instant::now();
        for _ in 0..share {
            let from = Instant::now();
            let marks = one(&mut state)?;
            measured.push((u64::try_from(from.elapsed().as_micros())?, marks));
        }
        Ok::<_, Failure>((measured, started.elapsed().as_secs_f64()))
    };
    let done = std::thread::scope(|scope| {
        let threads: Vec<_> = states.into_iter().map(|state| scope.spawn(|| work(state))).collect();
        threads
            .into_iter()
            .map(|t| t.join().map_err(|_| "a thread panicked")?)
            .collect::<Result<Vec<_>, Failure>>()
    })?;
    let seconds = done.iter().map(|(_, s)| *s).fold(0.0, f64::max);
    let (mut micros, marks): (Vec<_>, Vec<_>) = done.into_iter().flat_map(|(m, _)| m).unzip();
    micros.sort_unstable();
    Ok(Sample { micros, seconds, marks })
}

#[expect(clippy::cast_precision_loss, reason = "counts are small")]
fn report(label: &str, sample: &Sample) {
    let at = |percent: usize| sample.micros[sample.micros.len() * percent / 100];
    let rate = sample.micros.len() as f64 / sample.seconds;
    println!("{label}  p50 {:5}  p90 {:5}  p99 {:5} us  {rate:6.0}/s", at(50), at(90), at(99));
}

fn stages(sample: &mut Sample) {
    let mut median = |from: fn(&Marks) -> u64, to: fn(&Marks) -> u64| {
        sample.marks.sort_unstable_by_key(|m| to(m) - from(m));
        let middle = &sample.marks[sample.marks.len() / 2];
        to(middle) - from(middle)
    };
    println!(
        "    us: received -> mounted {}, -> exec {}, -> command ended {}, -> all dead {}",
        median(|m| m.received, |m| m.mounted),
        median(|m| m.mounted, |m| m.executed),
        median(|m| m.executed, |m| m.ended),
        median(|m| m.ended, |m| m.all_dead),
    );
}
