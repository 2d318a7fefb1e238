//! What processes leave behind: nothing.

use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::home::Home;

/// Waits until no process has the home in its arguments or its environment, and fails if one stays. Commands that are
/// to be found by it have [`Home::mark`] among their arguments.
pub(crate) fn assert_no_process_is_left(home: &Home) {
    let mark = home.mark();
    let patience = Instant::now() + Duration::from_secs(20);
    for pid in processes(&mark) {
        let Ok(process) = pidfd_open(pid, PidfdFlags::empty()) else { continue };
        let left = patience.saturating_duration_since(Instant::now());
        let left = Timespec { tv_sec: left.as_secs().try_into().unwrap(), tv_nsec: 0 };
        let n_ended = poll(&mut [PollFd::new(&process, PollFlags::IN)], Some(&left)).unwrap();
        assert_eq!(n_ended, 1, "process {pid:?} stays: {}", arguments(pid));
    }
    assert_eq!(processes(&mark), []);
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(&mark), "{mounts}");
}

/// Processes that have a text in their arguments or their environment.
fn processes(mark: &str) -> Vec<Pid> {
    let has = |path: String| {
        std::fs::read(path).is_ok_and(|b| b.windows(mark.len()).any(|w| w == mark.as_bytes()))
    };
    std::fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok())
        .filter(|pid: &i32| {
            has(format!("/proc/{pid}/cmdline")) || has(format!("/proc/{pid}/environ"))
        })
        .filter_map(Pid::from_raw)
        .collect()
}

fn arguments(pid: Pid) -> String {
    let path = format!("/proc/{}/cmdline", pid.as_raw_nonzero());
    String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()).replace('\0', " ")
}
