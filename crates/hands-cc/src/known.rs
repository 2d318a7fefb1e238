//! What was found out before: compilers, and what the texts of files say.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use crate::Reason;
use crate::compiler::Seen;
use crate::text::Facts;
use crate::toolchain::{LOCALE, Toolchain};

/// Files that are remembered; then it begins anew.
const MOST_FILES: usize = 100_000;
/// Compilers, each in each locale; the same.
const MOST_TOOLCHAINS: usize = 64;

/// A compiler in a locale.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    driver: PathBuf,
    locale: Vec<Option<String>>,
    path: Option<String>,
}

/// What is known.
#[derive(Debug, Default)]
pub(crate) struct Known {
    toolchains: Mutex<HashMap<Key, Arc<Toolchain>>>,
    texts: Mutex<HashMap<PathBuf, (Seen, Arc<Facts>)>>,
}

impl Known {
    /// A compiler with its parts, found out where nothing is known of it or one of its files has changed.
    pub(crate) fn toolchain(
        &self,
        driver: &Path,
        environment: &BTreeMap<String, String>,
    ) -> Result<Arc<Toolchain>, Reason> {
        let of = |name: &str| environment.get(name).cloned();
        let key =
            Key { driver: driver.to_owned(), locale: LOCALE.map(of).to_vec(), path: of("PATH") };
        // Held while it is found out: whoever comes meanwhile wants the same as a rule.
        let mut all = self.toolchains.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = all.get(&key).filter(|known| known.holds()) {
            return Ok(Arc::clone(known));
        }
        let found = Arc::new(Toolchain::of(driver, environment)?);
        if all.len() >= MOST_TOOLCHAINS {
            all.clear();
        }
        all.insert(key, Arc::clone(&found));
        Ok(found)
    }

    /// What a file's text says.
    pub(crate) fn facts(&self, path: &Path) -> Result<Arc<Facts>, Reason> {
        let failed = |error| Reason::new("dependencies", format!("{}: {error}", path.display()));
        let seen = Seen::look(path).map_err(failed)?;
        let lock = || self.texts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((then, facts)) = lock().get(path)
            && *then == seen
        {
            return Ok(Arc::clone(facts));
        }
        let facts = Arc::new(Facts::read(path)?);
        // What changed within the grain of a clock could not be told from what was read.
        if seen.is_settled() {
            let mut all = lock();
            if all.len() >= MOST_FILES {
                all.clear();
            }
            all.insert(path.to_owned(), (seen, Arc::clone(&facts)));
        }
        Ok(facts)
    }
}
