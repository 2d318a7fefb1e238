//! What a caller keeps: all that is known of files and setups, for one unit after the other.

use crate::files::{Compiler, Files};
use crate::macros::Macros;
use crate::map::Map;
use crate::name::{Interner, PathId};
use crate::path::Paths;
use crate::reason::{NotModelled, Stop};
use crate::setup::{Ready, SearchPath, Setup, SetupId};
use crate::store::Store;
use crate::unit::{Noted, Unit, Walk};

/// Finds what compiles read. What it has read once it keeps, by content.
#[derive(Debug)]
pub struct Scanner {
    names: Interner,
    paths: Paths,
    store: Store,
    macros: Macros,
    setups: Vec<Ready>,
    searches: Map<Vec<u8>, u32>,
    noted: Noted,
    /// The unit that is walked, counted from 1.
    number: u64,
}

/// How much a scanner knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Different contents of files.
    pub n_contents: usize,
    /// Their bytes.
    pub n_bytes: u64,
    /// Paths, those that are not there among them.
    pub n_paths: usize,
    /// Different spellings of tokens.
    pub n_names: usize,
}

impl Default for Scanner {
    fn default() -> Self {
        Self::new()
    }
}

impl Scanner {
    /// A scanner that knows nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self {
            names: Interner::new(),
            paths: Paths::default(),
            store: Store::default(),
            macros: Macros::default(),
            setups: Vec::new(),
            searches: Map::default(),
            noted: Noted::default(),
            number: 0,
        }
    }

    /// Makes a compiler with its flags known. Each call is a new setup: the caller remembers which one is whose.
    pub fn setup(&mut self, setup: &Setup) -> SetupId {
        let next = u32::try_from(self.searches.len()).expect("few search paths");
        let search = *self.searches.entry(key(&setup.directory, &setup.search)).or_insert(next);
        let ready = Ready::new(setup, search, &mut self.names, &mut self.paths, &mut self.store);
        self.setups.push(ready);
        SetupId(u32::try_from(self.setups.len() - 1).expect("few setups"))
    }

    /// What the compile of `source` reads, which is spelled as on the command line.
    pub fn scan(
        &mut self,
        setup: SetupId,
        source: &[u8],
        files: &mut dyn Files,
        compiler: &mut dyn Compiler,
    ) -> Result<Unit, NotModelled> {
        self.number += 1;
        self.paths.enter_epoch(files.epoch());
        let setup = &mut self.setups[setup.0 as usize];
        let path = self.paths.path(setup.base, source);
        let mut walk = Walk {
            names: &mut self.names,
            paths: &mut self.paths,
            store: &mut self.store,
            macros: &mut self.macros,
            setup,
            noted: &mut self.noted,
            files,
            compiler,
            number: self.number,
            frames: Vec::new(),
            stack: Vec::new(),
            n_expanded: 0,
            n_expanded_before: 0,
            argument_depth: 0,
            counter: 0,
            counter_is_used: false,
            lines_are_renamed: false,
            looked_up: false,
            unit: Unit::default(),
        };
        match walk.run(path) {
            Ok(()) => {
                let mut unit = walk.unit;
                let (read, number) = (&self.noted.read, self.number);
                unit.present.retain(|path| !read.has(path.index(), number));
                Ok(unit)
            }
            Err(Stop { reason, path: place, line }) => {
                let file = self.paths.spelled(place.unwrap_or(path)).to_vec().into();
                Err(NotModelled { reason, file, line })
            }
        }
    }

    /// A path as the compiler spells it.
    #[must_use]
    pub fn path(&self, path: PathId) -> &[u8] {
        self.paths.spelled(path)
    }

    /// A path from the root on, as [`Files`] is asked for it.
    #[must_use]
    pub fn full_path(&self, path: PathId) -> Vec<u8> {
        self.paths.full(path)
    }

    /// How much it knows.
    #[must_use]
    pub fn counts(&self) -> Counts {
        Counts {
            n_contents: self.store.n_contents(),
            n_bytes: self.store.n_bytes(),
            n_paths: self.paths.len(),
            n_names: self.names.len(),
        }
    }
}

/// What makes two search paths the same.
fn key(directory: &[u8], search: &SearchPath) -> Vec<u8> {
    let mut key = directory.to_vec();
    for (mark, list) in [(b'"', &search.quote), (b'<', &search.angle)] {
        for dir in list {
            key.extend_from_slice(&[0, mark]);
            key.extend_from_slice(dir);
        }
    }
    key
}
