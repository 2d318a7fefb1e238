use super::*;

/// Marks the process of the second test.
const FEW: &str = "HANDS_TEST_FEW_DESCRIPTORS";

#[test]
fn however_deep_it_is_nested() {
    remove_nested();
}

/// In a process of its own: the limit is for all of its threads.
#[test]
fn however_few_descriptors_there_are() {
    if std::env::var_os(FEW).is_none() {
        let me = std::env::current_exe().expect("this program");
        let mut child = std::process::Command::new(me);
        child.args(["remove::tests::however_few_descriptors_there_are", "--exact"]);
        let output = child.env(FEW, "1").output().expect("started");
        return assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    }
    let few = rustix::process::Rlimit { current: Some(40), maximum: Some(40) };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, few).expect("lowered");
    remove_nested();
}

fn remove_nested() {
    let top = std::env::temp_dir().join(format!("hands-remove-{}", std::process::id()));
    std::fs::create_dir(&top).expect("a directory");
    let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut here = rustix::fs::openat(CWD, &top, flags, Mode::empty()).expect("opened");
    // What is moved up meets a name that is taken.
    rustix::fs::mkdirat(&here, ".hands-deep-0", Mode::RWXU).expect("a directory");
    for _ in 0..1000 {
        for name in ["n", "m"] {
            rustix::fs::mkdirat(&here, name, Mode::RWXU).expect("a directory");
        }
        here = rustix::fs::openat(&here, "n", flags, Mode::empty()).expect("opened");
    }
    remove_tree(&top).expect("removed");
    assert!(!top.exists());
}
