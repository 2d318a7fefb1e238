//! The scanner beside a compiler over the sources of a real project.
//!
//! `cargo run --release -p hands-scan --example measure -- [--no-compare] CC LANGUAGE FLAGS… -- SOURCES…`,
//! in the project's directory. Each source's files are compared with what `CC -M` lists, then all are scanned again and
//! again: the first round is cold, the others are warm.
#![expect(clippy::print_stdout, reason = "a measurement prints its results")]

#[path = "../tests/it/compiler.rs"]
mod compiler;
#[path = "../tests/it/disk.rs"]
mod disk;

use std::collections::BTreeMap;
use std::time::Duration;

use hands_scan::Scanner;

use compiler::{Cc, real};
use disk::Disk;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (options, words): (Vec<_>, Vec<_>) = {
        let n = arguments.iter().position(|a| !a.starts_with("--")).unwrap_or(0);
        (arguments[..n].to_vec(), arguments[n..].to_vec())
    };
    let is_compared = !options.iter().any(|o| o == "--no-compare");
    let end = words.iter().position(|word| word == "--").expect("-- before the sources");
    let [program, language, flags @ ..] = &words[..end] else { panic!("CC LANGUAGE FLAGS…") };
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let sources = &words[end + 1..];
    let directory = std::env::current_dir().expect("a directory");
    let mut cc = Cc::new(program, language, &flags, &directory);
    let asked = cc.setup();

    // The compiler's answers are asked for before the clock starts: an agent keeps them for as long as the compiler stays.
    let mut first = Scanner::new();
    let setup = first.setup(&asked);
    let mut disk = Disk::default();
    let (mut n_equal, mut reasons, mut wrong) = (0, BTreeMap::<String, Vec<String>>::new(), 0);
    for source in sources {
        let result = first.scan(setup, source.as_bytes(), &mut disk, &mut cc);
        if !is_compared {
            continue;
        }
        match (result, cc.dependencies(source)) {
            (Ok(unit), Ok(theirs)) => {
                let ours: Vec<_> =
                    unit.listed.iter().map(|&path| first.path(path).to_vec()).collect();
                let (ours, theirs) = (real(&ours, &directory), real(&theirs, &directory));
                if ours == theirs {
                    n_equal += 1;
                } else {
                    wrong += 1;
                    let missing: Vec<_> = theirs.difference(&ours).take(4).collect();
                    let extra: Vec<_> = ours.difference(&theirs).take(4).collect();
                    println!("WRONG {source}: missing {missing:?}, too many {extra:?}");
                }
            }
            (Ok(_), Err(why)) => {
                let why = why.lines().next().unwrap_or_default().to_owned();
                reasons
                    .entry(format!("the compiler fails: {why}"))
                    .or_default()
                    .push(source.clone());
            }
            (Err(why), theirs) => {
                let fails = if theirs.is_err() { " (the compiler fails, too)" } else { "" };
                reasons.entry(format!("{why}{fails}")).or_default().push(source.clone());
            }
        }
    }
    if is_compared {
        println!(
            "{program} {}: {} units, {n_equal} equal, {wrong} WRONG",
            flags.join(" "),
            sources.len()
        );
        for (why, which) in &reasons {
            println!("  {} × {why} ({})", which.len(), which[0]);
        }
    }

    let mut scanner = Scanner::new();
    let setup = scanner.setup(&asked);
    let mut disk = Disk::default();
    for round in 0..4 {
        let (mut times, mut n_files, mut n_directives) = (Vec::new(), 0, 0);
        for source in sources {
            let began = cpu_time();
            let result = scanner.scan(setup, source.as_bytes(), &mut disk, &mut cc);
            times.push(cpu_time() - began);
            if let Ok(unit) = result {
                n_files += unit.read.len();
                n_directives += unit.n_directives;
            }
        }
        let sum: Duration = times.iter().sum();
        let n = times.len();
        // The kernel may count in ticks of milliseconds: of single units nothing is said.
        println!(
            "  {}: {:.1} ms of CPU in all, {:.3} ms a unit; {} files and {} directives each",
            if round == 0 { "cold" } else { "warm" },
            sum.as_secs_f64() * 1e3,
            sum.as_secs_f64() * 1e3 / f64::from(u32::try_from(n).expect("few sources")),
            n_files / n,
            n_directives / n as u64,
        );
    }
    let counts = scanner.counts();
    println!("  {counts:?}, {} probes, {} KiB resident", disk.n_probes, resident_kib());
}

/// The CPU time of this thread: the machine may be busy with other things.
fn cpu_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").expect("proc");
    Duration::from_nanos(
        stat.split(' ').next().and_then(|nanos| nanos.parse().ok()).expect("a number"),
    )
}

/// The memory of this process.
fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("proc");
    let line = status.lines().find(|line| line.starts_with("VmRSS")).expect("a size");
    line.split_whitespace().nth(1).and_then(|n| n.parse().ok()).expect("a number")
}
