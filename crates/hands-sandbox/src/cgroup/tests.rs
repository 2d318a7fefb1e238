use std::path::PathBuf;

use super::{place, start_time};

const V1: &str = "\
30 24 0:26 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
31 30 0:27 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct
32 30 0:28 /docker/abc /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
33 30 0:29 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw,nsdelegate
";
const OWN: &str = "5:memory:/docker/abc/job\n4:cpu,cpuacct:/\n0::/user.slice/session-1.scope\n";

#[test]
fn finds_the_own_group_of_each_hierarchy() {
    let found = |controller| place(V1, OWN, controller);
    assert_eq!(found(Some("memory")), Some(PathBuf::from("/sys/fs/cgroup/memory/job")));
    assert_eq!(found(Some("cpuacct")), Some(PathBuf::from("/sys/fs/cgroup/cpu,cpuacct")));
    assert_eq!(found(Some("pids")), None);
    assert_eq!(
        found(None),
        Some(PathBuf::from("/sys/fs/cgroup/unified/user.slice/session-1.scope"))
    );
}

#[test]
fn a_group_outside_of_the_mounted_part_is_none() {
    assert_eq!(place(V1, "5:memory:/elsewhere\n", Some("memory")), None);
}

#[test]
fn a_process_keeps_its_start_time() {
    let own = start_time(std::process::id());
    assert!(own.is_some());
    assert_eq!(own, start_time(std::process::id()));
    assert_eq!(start_time(u32::MAX), None);
}
