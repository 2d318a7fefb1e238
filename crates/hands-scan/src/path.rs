//! Paths, what is there, and which file a name leads to: asked once in an epoch.

use std::sync::Arc;

use crate::files::{FileId, Files, Probe};
use crate::map::Map;
use crate::name::{PathId, Sym};
use crate::reason::Reason;

/// A directory as it is spelled before a name, relative to a working directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct DirId(pub(crate) u32);

/// A way through directories: the one of the including file, if any, then those of a search path from a place on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Way {
    pub(crate) search: u32,
    pub(crate) own: Option<DirId>,
    pub(crate) from: u32,
    pub(crate) name: Sym,
}

/// Where a way leads.
#[derive(Clone, Debug)]
pub(crate) struct Lookup {
    /// The file, and its place in the search path if it was found by that.
    pub(crate) found: Option<(PathId, Option<u32>)>,
    /// Paths before it at which nothing is.
    pub(crate) absent: Arc<[PathId]>,
    /// The unit that has noted them last.
    pub(crate) noted: u64,
}

#[derive(Debug)]
struct Path {
    /// The number of the working directory; 0 where the path is absolute.
    base: u32,
    spelled: Arc<[u8]>,
    dir: Option<DirId>,
    epoch: u64,
    state: Probe,
}

#[derive(Debug, Default)]
pub(crate) struct Paths {
    paths: Vec<Path>,
    by_spelling: Map<(u32, Arc<[u8]>), PathId>,
    bases: Vec<Arc<[u8]>>,
    dirs: Vec<(u32, Arc<[u8]>)>,
    by_prefix: Map<(u32, Arc<[u8]>), DirId>,
    lookups: Vec<Lookup>,
    by_way: Map<Way, u32>,
    /// One above the last epoch asked in.
    epoch: u64,
}

impl Paths {
    /// A working directory as a number.
    pub(crate) fn base(&mut self, directory: &[u8]) -> u32 {
        if self.bases.is_empty() {
            self.bases.push(Arc::from(&b""[..]));
        }
        let at = self.bases.iter().position(|base| **base == *directory).unwrap_or_else(|| {
            self.bases.push(directory.into());
            self.bases.len() - 1
        });
        u32::try_from(at).expect("few directories")
    }

    /// Forgets what was where, if it may have changed.
    pub(crate) fn enter_epoch(&mut self, epoch: u64) {
        if self.epoch != epoch.wrapping_add(1) {
            self.epoch = epoch.wrapping_add(1);
            self.lookups.clear();
            self.by_way.clear();
        }
    }

    pub(crate) fn spelled(&self, path: PathId) -> &Arc<[u8]> {
        &self.paths[path.index()].spelled
    }

    pub(crate) fn full(&self, path: PathId) -> Vec<u8> {
        let path = &self.paths[path.index()];
        let base = &self.bases[path.base as usize];
        if path.base == 0 {
            path.spelled.to_vec()
        } else {
            [base, &b"/"[..], &path.spelled].concat()
        }
    }

    pub(crate) fn path(&mut self, base: u32, spelled: &[u8]) -> PathId {
        let base = if spelled.first() == Some(&b'/') { 0 } else { base };
        let spelled: Arc<[u8]> = spelled.into();
        if let Some(&path) = self.by_spelling.get(&(base, Arc::clone(&spelled))) {
            return path;
        }
        let path = PathId(u32::try_from(self.paths.len()).expect("four thousand million paths"));
        self.by_spelling.insert((base, Arc::clone(&spelled)), path);
        self.paths.push(Path { base, spelled, dir: None, epoch: 0, state: Probe::Absent });
        path
    }

    /// A directory by what stands before names in it, its slash included.
    pub(crate) fn dir(&mut self, base: u32, prefix: &[u8]) -> DirId {
        let base = if prefix.first() == Some(&b'/') { 0 } else { base };
        let prefix: Arc<[u8]> = prefix.into();
        if let Some(&dir) = self.by_prefix.get(&(base, Arc::clone(&prefix))) {
            return dir;
        }
        let dir = DirId(u32::try_from(self.dirs.len()).expect("fewer than paths"));
        self.by_prefix.insert((base, Arc::clone(&prefix)), dir);
        self.dirs.push((base, prefix));
        dir
    }

    /// The directory that a file's own includes are looked for in first.
    pub(crate) fn dir_of(&mut self, path: PathId) -> DirId {
        if let Some(dir) = self.paths[path.index()].dir {
            return dir;
        }
        let (base, spelled) = (self.paths[path.index()].base, Arc::clone(self.spelled(path)));
        let length = spelled.iter().rposition(|&b| b == b'/').map_or(0, |at| at + 1);
        let dir = self.dir(base, &spelled[..length]);
        self.paths[path.index()].dir = Some(dir);
        dir
    }

    pub(crate) fn join(&mut self, dir: DirId, name: &[u8]) -> PathId {
        let (base, prefix) = self.dirs[dir.0 as usize].clone();
        self.path(base, &[&prefix, name].concat())
    }

    pub(crate) fn state(&mut self, path: PathId, files: &mut dyn Files) -> Probe {
        if self.paths[path.index()].epoch != self.epoch {
            let state = files.probe(&self.full(path));
            let entry = &mut self.paths[path.index()];
            (entry.epoch, entry.state) = (self.epoch, state);
        }
        self.paths[path.index()].state
    }

    /// What a path was when it was asked for last.
    pub(crate) fn file(&self, path: PathId) -> Option<FileId> {
        match self.paths[path.index()].state {
            Probe::File(id) => Some(id),
            Probe::Absent | Probe::Directory | Probe::Odd => None,
        }
    }

    pub(crate) fn walk(
        &mut self,
        way: Way,
        name: &[u8],
        chain: &[DirId],
        files: &mut dyn Files,
    ) -> Result<&mut Lookup, Reason> {
        if let Some(&at) = self.by_way.get(&way) {
            return Ok(&mut self.lookups[at as usize]);
        }
        let mut absent = Vec::new();
        let mut found = None;
        let from = way.from as usize;
        let own = way.own.map(|dir| (dir, None));
        let searched = chain.iter().enumerate().skip(from);
        let searched = searched.map(|(at, dir)| (*dir, u32::try_from(at).ok()));
        for (dir, place) in own.into_iter().chain(searched) {
            let path = self.join(dir, name);
            match self.state(path, files) {
                Probe::File(_) => {
                    found = Some((path, place));
                    break;
                }
                Probe::Absent | Probe::Directory => absent.push(path),
                Probe::Odd => return Err(Reason::OddFile),
            }
        }
        let at = u32::try_from(self.lookups.len()).map_err(|_| Reason::TooMuch)?;
        self.by_way.insert(way, at);
        self.lookups.push(Lookup { found, absent: absent.into(), noted: 0 });
        Ok(&mut self.lookups[at as usize])
    }

    pub(crate) fn len(&self) -> usize {
        self.paths.len()
    }
}
