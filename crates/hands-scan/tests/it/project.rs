//! A directory with a few files, scanned and compared with what the compiler says of it.

use std::fs;
use std::path::Path;

use hands_scan::{NotModelled, Scanner, Unit};
use tempfile::TempDir;

use crate::compiler::{Cc, real};
use crate::disk::Disk;

/// Files in one text: each begins with a line `== NAME`.
pub(crate) fn write(text: &str) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for file in format!("\n{text}").split("\n== ").skip(1) {
        let (name, content) = file.split_once('\n').unwrap_or((file, ""));
        let path = dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    dir
}

pub(crate) fn scan(cc: &mut Cc, source: &str) -> (Scanner, Result<Unit, NotModelled>) {
    let mut scanner = Scanner::new();
    let setup = scanner.setup(&cc.setup());
    let unit = scanner.scan(setup, source.as_bytes(), &mut Disk::default(), cc);
    (scanner, unit)
}

/// What came of a comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The same files.
    Equal,
    /// The scanner says that it does not know.
    NotModelled,
}

/// Compares a source in a directory; a wrong set is a panic.
pub(crate) fn compare(cc: &mut Cc, source: &str) -> (Verdict, Option<NotModelled>) {
    let (scanner, result) = scan(cc, source);
    check(&scanner, result, cc, source)
}

pub(crate) fn check(
    scanner: &Scanner,
    result: Result<Unit, NotModelled>,
    cc: &Cc,
    source: &str,
) -> (Verdict, Option<NotModelled>) {
    match (result, cc.dependencies(source)) {
        (Err(why), _) => (Verdict::NotModelled, Some(why)),
        (Ok(unit), Ok(theirs)) => {
            same(scanner, &unit, &theirs, cc, source);
            (Verdict::Equal, None)
        }
        (Ok(_), Err(why)) => {
            panic!("{} fails on {source}, and the scanner did not see why:\n{why}", cc.program)
        }
    }
}

fn same(scanner: &Scanner, unit: &Unit, theirs: &[Vec<u8>], cc: &Cc, source: &str) {
    let ours: Vec<Vec<u8>> = unit.listed.iter().map(|&path| scanner.path(path).to_vec()).collect();
    let directory: &Path = &cc.directory;
    let (ours_real, theirs_real) = (real(&ours, directory), real(theirs, directory));
    assert!(
        ours_real == theirs_real,
        "{} {:?} {source}: missing {:?}, too many {:?}",
        cc.program,
        cc.flags,
        theirs_real.difference(&ours_real).take(5).collect::<Vec<_>>(),
        ours_real.difference(&theirs_real).take(5).collect::<Vec<_>>(),
    );
    // GCC spells paths as the scanner does, in its order, and its rule leaves out `./`.
    if !cc.program.contains("clang") {
        let show = |list: &[Vec<u8>]| {
            let strip = |p: &Vec<u8>| {
                let mut name = String::from_utf8_lossy(p).into_owned();
                while let Some(rest) = name.strip_prefix("./") {
                    name = rest.trim_start_matches('/').to_owned();
                }
                name
            };
            let mut seen = std::collections::BTreeSet::new();
            let names = list.iter().map(strip);
            names.filter(|name| seen.insert(name.clone())).collect::<Vec<_>>()
        };
        assert_eq!(show(&ours), show(theirs), "{source}");
    }
}
