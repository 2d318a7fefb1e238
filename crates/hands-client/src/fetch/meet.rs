//! Results whose outputs go into one directory.

use std::collections::BTreeMap;

use super::One;
use crate::{ClientError, printable};

/// Refuses two results that want something at one path of one directory, or one of which has a file where the other has a
/// directory: which of them would be there in the end nobody could tell. Directories they may share. `same` tells which
/// results go into one directory.
pub(super) fn check(all: &[One<'_>], same: &[(u64, u64)]) -> Result<(), ClientError> {
    let mut places: BTreeMap<(u64, u64), Vec<&One<'_>>> = BTreeMap::new();
    for (one, place) in all.iter().zip(same) {
        places.entry(*place).or_default().push(one);
    }
    places
        .into_values()
        .filter(|together| together.len() > 1)
        .try_for_each(|together| apart(&together))
}

fn apart(together: &[&One<'_>]) -> Result<(), ClientError> {
    let mut leaves: BTreeMap<&str, usize> = BTreeMap::new();
    for (number, one) in together.iter().enumerate() {
        for path in one.plan.files.keys().chain(one.plan.links.keys()) {
            if leaves.insert(path, number).is_some_and(|other| other != number) {
                return Err(collide(path));
            }
        }
    }
    for (number, one) in together.iter().enumerate() {
        let directories = one.plan.directories.iter().map(|directory| &directory.path);
        for path in one.plan.files.keys().chain(one.plan.links.keys()).chain(directories) {
            let ends = path.match_indices('/').map(|(at, _)| at).chain([path.len()]);
            let mut ways = ends.map(|end| &path[..end]);
            if let Some(way) = ways.find(|way| leaves.get(way).is_some_and(|it| *it != number)) {
                return Err(collide(way));
            }
        }
    }
    Ok(())
}

fn collide(path: &str) -> ClientError {
    let path = printable(path).into_owned();
    let why = "two results that go into one directory have something there".to_owned();
    ClientError::NoPlace { path, why }
}
