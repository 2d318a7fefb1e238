use super::*;

#[test]
fn however_deep_it_is_nested() {
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
