//! Finding what a program is loaded with, by the rules of ld.so.

use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::path::{Path, PathBuf};

use crate::elf;

/// Programs with all that they are loaded with.
#[derive(Debug, Default)]
pub(crate) struct Loaded {
    /// The files, as they are reached.
    pub(crate) files: BTreeSet<PathBuf>,
}

/// Where libraries are, beside what a program says itself.
fn usual() -> Vec<PathBuf> {
    let triplet = format!("{}-linux-gnu", std::env::consts::ARCH);
    let own = [format!("/lib/{triplet}"), format!("/usr/lib/{triplet}")];
    own.into_iter()
        .chain(["/lib64", "/usr/lib64", "/lib", "/usr/lib"].map(str::to_owned))
        .map(PathBuf::from)
        .collect()
}

impl Loaded {
    /// Adds a program or a library and what it needs.
    pub(crate) fn add(&mut self, program: &Path) -> io::Result<()> {
        let usual = usual();
        let mut queue = VecDeque::from([program.to_owned()]);
        while let Some(file) = queue.pop_front() {
            if !self.files.insert(file.clone()) {
                continue;
            }
            let needs = elf::needs(&file)?;
            // Libraries are looked for from where a file really is.
            let real = file.canonicalize()?;
            let origin = real.parent().unwrap_or(Path::new("/")).to_string_lossy().into_owned();
            let own = needs.search.iter().map(|directory| {
                let directory = directory.replace("${ORIGIN}", &origin);
                PathBuf::from(directory.replace("$ORIGIN", &origin))
            });
            let places: Vec<PathBuf> = own.chain(usual.iter().cloned()).collect();
            queue.extend(needs.loader);
            for library in needs.libraries {
                let found = places.iter().map(|place| place.join(&library)).find(|it| it.is_file());
                queue.push_back(found.ok_or_else(|| {
                    io::Error::new(
                        io::ErrorKind::NotFound,
                        format!(
                            "the library {} of {} is in no usual place",
                            library.display(),
                            file.display()
                        ),
                    )
                })?);
            }
        }
        Ok(())
    }
}
