//! Nothing is lost when processes are killed: hub and workers die at any moment, and every action ends in one result.
//!
//! `HANDS_SOAK_KILLS` sets how often the hub is killed, `HANDS_SOAK_GONE` for how many milliseconds at most, and
//! `HANDS_SOAK_SEED` when.

use std::io::{BufRead as _, BufReader};
use std::time::Duration;

use crate::home::{json, ran};
use crate::killable::Cluster;
use crate::marks::Marks;

/// Numbers that look random and can be had again.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

/// A number of the environment, as `cargo xtask soak` sets it.
pub(crate) fn setting(name: &str) -> Option<u64> {
    Some(std::env::var(name).ok()?.parse().expect("a whole number"))
}

/// Kills the hub so often while so many actions run, and leaves it dead for so many milliseconds each time.
fn kill_the_hub(kills: usize, actions: usize, dead: std::ops::Range<u64>) {
    let mut dice = Dice(setting("HANDS_SOAK_SEED").unwrap_or(0x5eed));
    let Some(mut marks) = Marks::new() else { return };
    let mut cluster = Cluster::start();
    let [expose, directory] = marks.flags();
    let workers =
        ["a", "b"].map(|name| cluster.worker(name, &["--slots", "2", &expose, &directory]));
    let list: String =
        (0..actions).map(|i| format!("{}; sleep 0.1; echo {i}\n", marks.say(i))).collect();
    cluster.home.write("list", &list);
    let batch = ["--cluster", &cluster.socket, "batch", "--jobs", "64", "--joblog", "log", "list"];
    let mut batch = cluster.home.start(&batch);
    let (answered, answers) = std::sync::mpsc::channel();
    let output = BufReader::new(batch.stdout.take().unwrap());
    let reading = std::thread::Builder::new().spawn(move || {
        for line in output.lines() {
            answered.send(line.unwrap().parse::<usize>().unwrap()).unwrap();
        }
    });
    let reading = reading.unwrap();
    // A kill after a start of any command, and the last one before the last command.
    let mut moments: Vec<u64> = (0..kills).map(|_| dice.below(actions as u64 - 8) + 1).collect();
    moments.sort_unstable();
    let mut told = Vec::new();
    for moment in moments {
        marks.wait_for(usize::try_from(moment).unwrap());
        cluster.kill_hub();
        marks.listen(Duration::from_millis(dead.start + dice.below(dead.end - dead.start)));
        // What was told until now says nothing of the next hub.
        told.extend(answers.try_iter());
        cluster.start_hub();
        // A hub that dies before its clients are back was not there for them: two such are one longer absence.
        told.push(answers.recv_timeout(Duration::from_secs(100)).expect("the client is back"));
    }
    let ended = ran(batch.wait_with_output().unwrap());
    assert_eq!(ended.code, 0, "{}", ended.err);
    reading.join().unwrap();
    told.extend(answers);
    told.sort_unstable();
    assert_eq!(told, (0..actions).collect::<Vec<_>>(), "each action was answered once");
    assert_eq!(cluster.home.read("log").lines().count(), actions + 1);
    let all = format!("{}", actions * 2);
    let jobs = json(&cluster.hands(&["ps", "--all", "--limit", &all, "--json"]).out);
    assert_eq!(jobs.len(), actions);
    for job in &jobs {
        assert_eq!((&job["state"], &job["exit_code"]), (&"done".into(), &0.into()), "{job}");
    }
    let seen = marks.all();
    let twice: Vec<_> = seen.iter().filter(|(_, n)| **n != 1).collect();
    assert!(seen.len() == actions && twice.is_empty(), "run twice: {twice:?}");
    for worker in workers {
        assert_eq!(worker.stop(), Some(0));
    }
}

#[test]
fn a_hub_killed_at_any_moment_loses_nothing_and_repeats_nothing() {
    let kills = setting("HANDS_SOAK_KILLS").unwrap_or(5);
    let longest = setting("HANDS_SOAK_GONE").unwrap_or(3_000);
    kill_the_hub(usize::try_from(kills).unwrap(), 500, 500..longest);
}

#[test]
fn a_hub_that_is_gone_for_half_a_minute_is_waited_for() {
    kill_the_hub(1, 40, 30_000..30_001);
}
