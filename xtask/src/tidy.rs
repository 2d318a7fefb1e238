//! What the compiler does not check: one test per house rule.

mod checklists;
mod crates;
mod files;

use std::fs;
use std::path::Path;

use crate::{proto, root};

#[test]
fn generated_code_is_what_the_protos_say() {
    let fresh = tempfile::tempdir().unwrap();
    proto::generate(root(), fresh.path()).unwrap();
    let names = |dir: &Path| {
        let mut names: Vec<_> =
            fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    let checked_in = root().join(proto::OUTPUT);
    assert_eq!(names(&checked_in), names(fresh.path()), "run `cargo xtask proto`");
    for name in names(fresh.path()) {
        let same = fs::read(checked_in.join(&name)).unwrap()
            == fs::read(fresh.path().join(&name)).unwrap();
        assert!(same, "{} is out of date: run `cargo xtask proto`", name.display());
    }
}
