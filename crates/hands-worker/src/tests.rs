//! What needs no sandbox and no hub: spools, and whose error it is.

use std::fs;
use std::io;
use std::path::PathBuf;

use hands_exec::{ExecError, ExposedPath};
use hands_store::StoreError;
use hands_types::{DigestFunction, WorkerPart as _};
use rustix::io::Errno;

use crate::host_root::HostRoot;
use crate::report::{self, Conclusion};
use crate::spool::Spool;

fn directory(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("hands-worker-{name}-{}", std::process::id()));
    fs::create_dir(&path).expect("a directory for the test");
    path
}

#[test]
fn a_spool_is_the_same_in_memory_and_in_a_file_and_leaves_nothing() {
    let place = directory("spool");
    let mut spool = Spool::new(&place, DigestFunction::Sha256);
    let mut expected = Vec::new();
    for i in 0..40u8 {
        // Crosses the bound of 1 MiB on the way.
        let piece = vec![i; 50_001];
        spool.append(&piece).expect("room");
        expected.extend_from_slice(&piece);
        let at = expected.len() as u64 - 50_003_u64.min(expected.len() as u64);
        let from = usize::try_from(at).expect("small");
        assert_eq!(spool.read(at, 100).expect("readable"), expected[from..from + 100]);
        assert_eq!(spool.whole(64 << 10).is_some(), expected.len() <= 64 << 10);
    }
    assert_eq!(spool.length(), expected.len() as u64);
    assert_eq!(spool.read(0, usize::MAX).expect("readable"), expected);
    assert!(spool.read(spool.length(), 10).expect("readable").is_empty());
    assert_eq!(spool.digest(), hands_tree::hash(DigestFunction::Sha256, &expected));
    assert_eq!(fs::read_dir(&place).expect("listed").count(), 0, "the file has no name");
    fs::remove_dir(&place).expect("removed");
}

#[test]
fn a_spool_without_a_place_says_so() {
    let mut spool = Spool::new("/nowhere/at/all".as_ref(), DigestFunction::Sha256);
    let error = spool.append(&vec![0; 2 << 20]).expect_err("no place");
    let conclusion = Conclusion::of_spool(&error);
    assert_eq!((conclusion.status.code, conclusion.try_elsewhere), (8, true));
}

#[test]
fn a_worker_without_descriptors_says_so_and_another_may_do_better() {
    let source = io::Error::from_raw_os_error(Errno::MFILE.raw_os_error());
    let conclusion =
        Conclusion::of_exec(&ExecError::System { what: "open the action's streams", source });
    assert_eq!((conclusion.status.code, conclusion.try_elsewhere), (8, true));
    let text = &conclusion.status.message;
    assert!(text.starts_with("the worker is out of file descriptors; raise its limit"), "{text}");
    let user = Conclusion::of_exec(&ExecError::EmptyCommand);
    assert_eq!((user.status.code, user.try_elsewhere), (3, false));
}

#[test]
fn causes_are_told_once() {
    let inner = io::Error::other("the disk is tired");
    let error = ExecError::System { what: "read", source: inner };
    assert_eq!(report::with_causes(&error), "could not read: the disk is tired");
}

#[test]
fn the_host_root_changes_with_what_is_exposed() {
    let place = directory("host-root");
    let exposed = [ExposedPath { host: place.clone(), inside: place.clone() }];
    let root = |expose: &[ExposedPath], environment: &[(String, String)]| {
        HostRoot::new(expose.to_vec(), environment.to_vec())
    };
    let digest = |root: &HostRoot| root.look().pop().expect("a property").1;
    let (bare, with) = (root(&[], &[]), root(&exposed, &[]));
    let before = digest(&with);
    assert_ne!(digest(&bare), before);
    assert_eq!(digest(&root(&exposed, &[])), before);
    assert!(!with.may_have_changed());
    let path = [("PATH".to_owned(), "/x".to_owned())];
    assert_ne!(digest(&root(&exposed, &path)), before);
    fs::write(place.join("tool"), "new").expect("written");
    assert!(with.may_have_changed());
    assert_ne!(digest(&with), before);
    assert!(!with.may_have_changed());
    fs::remove_dir_all(&place).expect("removed");
}

#[test]
fn collecting_that_took_too_long_names_what_helps() {
    use std::time::Duration;
    let seconds = Duration::from_secs;
    let words = report::late(seconds(60), Some(seconds(10)), Duration::from_millis(9900));
    assert!(
        words.contains("time limit of 10s left after 9.9s") && words.contains("--timeout"),
        "{words}"
    );
    for deadline in [None, Some(seconds(7200))] {
        let words = report::late(seconds(1800), deadline, seconds(1));
        assert!(words.contains("30 minutes") && !words.contains("--timeout"), "{words}");
    }
}

#[test]
fn outputs_that_a_quota_can_never_hold_end_the_action_with_the_numbers() {
    let never = StoreError::beyond_quota(400 << 20, 30 << 20);
    for conclusion in [Conclusion::of_outputs(&never), Conclusion::beyond_hub(400 << 20, 30 << 20)]
    {
        assert_eq!((conclusion.status.code, conclusion.try_elsewhere), (8, false));
        let text = &conclusion.status.message;
        let numbers =
            "400 MiB are needed, and its quota is 30 MiB in all; start it with a larger --quota";
        assert!(text.contains(numbers), "{text}");
    }
    // Beside others it may fit another time, or elsewhere.
    let now = StoreError::Full {
        needed: 5,
        used: 8,
        quota: 10,
        pinned: 1,
        named: 0,
        free: 100,
        reserve: 0,
    };
    assert!(Conclusion::of_outputs(&now).try_elsewhere);
}
