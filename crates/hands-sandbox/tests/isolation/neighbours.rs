//! Two workers on one machine, and two slots of one worker: no two actions have the same user id, as seen from outside.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use hands_sandbox::{Launcher, Slot, SlotConfig};

use crate::harness::{Bench, SLOT, config, fill_cache, request, running};

pub(crate) fn run(b: &mut Bench<'_>) {
    let place = b.place.join("neighbours");
    let level = b.level;
    let start = |name: &str| {
        let place = place.join(name);
        fill_cache(&place.join("cache"));
        Launcher::start(config(&place, level)).expect("a launcher")
    };
    let (mut one, mut two) = (start("one"), start("two"));
    let words = ["a", "b", "c", "d"].map(|w| format!("hands-neighbour-{}-{w}", b.level));
    let first = busy(&mut one, 0, &words[0]);
    let _second = busy(&mut one, 1, &words[1]);
    let _third = busy(&mut two, 0, &words[2]);
    let users: Vec<Option<u32>> = words[..3].iter().map(|word| user_of(word)).collect();
    let own = rustix::process::geteuid().as_raw();
    let known = users.iter().all(Option::is_some);
    if own == 0 {
        let [x, y, z] = [users[0], users[1], users[2]];
        let apart = x != y && y != z && x != z;
        // In a place that no other user can enter, the level without namespaces has no other choice, and says so.
        let shared = one.warnings().iter().any(|w| w.contains("actions run as root"));
        let foreign = users.iter().all(|user| *user != Some(0));
        b.check(
            "a user id for each slot of each worker",
            known && (shared || apart && foreign),
            format!("{users:?}"),
        );
    } else {
        let mine = users.iter().all(|user| *user == Some(own));
        b.check("actions have the worker's own user id", known && mine, format!("{users:?}"));
    }
    if own == 0 {
        elsewhere(b, &place.join("elsewhere"), &users);
    }
    // What a worker leaves behind by the worst of deaths is free again.
    let claim = users[0].and_then(holder);
    let pid = rustix::process::Pid::from_raw(one.process_id().cast_signed()).expect("a process");
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("kill -9");
    drop((first, one));
    let patience = Instant::now() + Duration::from_secs(30);
    let mut seen = Vec::new();
    let free = loop {
        let mut next = start("one");
        let word = format!("{}-{}", words[3], seen.len());
        let slot = busy(&mut next, 0, &word);
        let again = user_of(&word);
        seen.push(again);
        if again == users[0] {
            break true;
        }
        // Workers that are not ours come and go: a lower range may have become free, or one of them was faster than we
        // were. Either way the dead one's claim must be gone, and what it ran.
        let taken = users[0].and_then(holder);
        let passed_by = again < users[0] || taken.is_some();
        if again.is_some()
            && passed_by
            && (claim.is_none() || taken != claim)
            && !running(&words[0])
        {
            break true;
        }
        if Instant::now() > patience {
            break false;
        }
        drop((slot, next));
    };
    b.check("the ids of a dead worker are free", free, format!("{users:?} {seen:?} {claim:?}"));
}

/// A worker in a network namespace of its own, where names of sockets are its own too.
fn elsewhere(b: &mut Bench<'_>, place: &Path, taken: &[Option<u32>]) {
    let possible = Command::new("unshare").args(["--net", "true"]).stderr(Stdio::null()).status();
    if !possible.is_ok_and(|status| status.success()) {
        println!("skipped: a worker in another network: this machine allows none");
        return;
    }
    fill_cache(&place.join("cache"));
    let word = format!("hands-elsewhere-{}", b.level);
    let exe = std::env::current_exe().expect("own path");
    let mut worker = Command::new("unshare")
        .args(["--net".as_ref(), exe.as_os_str(), "worker".as_ref(), place.as_os_str()])
        .args([b.level.name(), &word])
        .stdout(Stdio::piped())
        .spawn()
        .expect("a worker in another network");
    let mut line = String::new();
    let stdout = worker.stdout.take().expect("a pipe");
    BufReader::new(stdout).read_line(&mut line).expect("its word");
    let user = user_of(&word);
    let shared = taken.iter().all(|t| *t == Some(0));
    let apart = user.is_some() && (shared || !taken.contains(&user));
    b.check("nor has a worker in another network", apart, format!("{user:?} {taken:?}"));
    worker.kill().expect("kill -9");
    worker.wait().expect("its end");
    let patience = Instant::now() + Duration::from_secs(10);
    while running(&word) && Instant::now() < patience {
        std::thread::yield_now();
    }
}

/// A slot that runs an action of this name.
fn busy(launcher: &mut Launcher, index: u32, word: &str) -> Slot {
    let mut slot = launcher.slot(SlotConfig { index, ..SLOT }).expect("a slot");
    let probe = slot.input_root(Path::new("/job")).join("probe").display().to_string();
    let (ready, says_ready) = rustix::pipe::pipe().expect("a pipe");
    let null = std::fs::File::options().write(true).open("/dev/null").expect("/dev/null");
    let script = "echo; exec \"$0\" inside wait \"$1\"";
    let mut wanted = request(&["sh", "-c", script, &probe, word], says_ready, null.into());
    wanted.deadline = None;
    slot.begin(wanted).expect("begin");
    std::fs::File::from(ready).read_exact(&mut [0]).expect("the action runs");
    slot
}

/// The socket that holds the range of this user's id, as the kernel lists it: another one's claim is another socket.
fn holder(user: u32) -> Option<String> {
    let name = format!("@hands-uids-{}", user.checked_sub(1000)?);
    let sockets = std::fs::read_to_string("/proc/net/unix").expect("the kernel's list");
    sockets.lines().find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        (fields.get(7) == Some(&name.as_str())).then(|| fields[6].to_owned())
    })
}

/// The machine's user id of the process with this word in its arguments, once it has executed its program.
fn user_of(word: &str) -> Option<u32> {
    let patience = Instant::now() + Duration::from_secs(10);
    loop {
        let found = seen_user_of(word);
        if found.is_some() || Instant::now() > patience {
            return found;
        }
        std::thread::yield_now();
    }
}

fn seen_user_of(word: &str) -> Option<u32> {
    let own = std::process::id().to_string();
    std::fs::read_dir("/proc").expect("proc").flatten().find_map(|entry| {
        let name = entry.file_name();
        let arguments = std::fs::read(entry.path().join("cmdline")).ok()?;
        let has = arguments.split(|&b| b == 0).any(|arg| arg == word.as_bytes());
        if !has || name.to_str() == Some(own.as_str()) {
            return None;
        }
        let status = std::fs::read_to_string(entry.path().join("status")).ok()?;
        let ids = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
        ids.split_whitespace().next()?.parse().ok()
    })
}
