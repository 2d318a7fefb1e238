//! Directories for the test's stores, and counting of checks.

use std::path::PathBuf;

#[derive(Debug)]
pub(crate) struct Tally {
    passed: u32,
    failed: Vec<String>,
    place: PathBuf,
    next: u32,
}

impl Tally {
    pub(crate) fn new() -> Self {
        let place = std::env::temp_dir().join(format!("hands-worker-{}", std::process::id()));
        std::fs::create_dir(&place).expect("a directory for the test");
        Self { passed: 0, failed: Vec::new(), place, next: 0 }
    }

    /// A new directory.
    pub(crate) fn directory(&mut self) -> PathBuf {
        self.next += 1;
        let path = self.place.join(self.next.to_string());
        std::fs::create_dir(&path).expect("a directory for the test");
        path
    }

    pub(crate) fn check(&mut self, name: &str, good: bool, note: impl std::fmt::Debug) {
        if good {
            self.passed += 1;
            println!("ok    {name}");
        } else {
            println!("FAIL  {name}: {note:?}");
            self.failed.push(name.to_owned());
        }
    }

    pub(crate) fn finish(self) -> bool {
        std::fs::remove_dir_all(&self.place).expect("the test's directory is removed");
        println!("{} passed, {} failed", self.passed, self.failed.len());
        for name in &self.failed {
            println!("FAILED {name}");
        }
        self.failed.is_empty()
    }
}

/// Whether a process with this word in its arguments lives.
pub(crate) fn running(word: &str) -> bool {
    std::fs::read_dir("/proc").expect("proc").flatten().any(|entry| {
        entry.file_name().to_str().is_some_and(|n| n.parse::<u32>().is_ok())
            && std::fs::read(entry.path().join("cmdline"))
                .is_ok_and(|c| c.split(|&b| b == 0).any(|arg| arg == word.as_bytes()))
    })
}
