//! What really ran, and how often: said by the actions themselves.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// Where actions say that they run: a socket that workers let them see. One word is one start of a command, whatever
/// hub and worker believe.
pub(crate) struct Marks {
    directory: PathBuf,
    words: Receiver<String>,
    seen: BTreeMap<String, usize>,
}

impl Marks {
    /// None where this user has no place that actions could see: they have a `/tmp` and a home of their own.
    pub(crate) fn new() -> Option<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let directory = PathBuf::from(format!("/srv/hands-it-{}-{number}", std::process::id()));
        if let Err(error) = fs::create_dir(&directory) {
            // Past what the test harness keeps to itself.
            let why = format!("skipped: no directory in /srv: {error}\n");
            std::io::stdout().write_all(why.as_bytes()).unwrap();
            return None;
        }
        let path = directory.join("socket");
        let socket = UnixDatagram::bind(&path).unwrap();
        fs::set_permissions(&path, PermissionsExt::from_mode(0o666)).unwrap();
        let (to, words) = channel();
        // Read at once, always: few fit into a socket, and an action must not wait for us.
        std::thread::Builder::new()
            .spawn(move || {
                let mut word = [0; 100];
                while let Ok(n) = socket.recv(&mut word) {
                    if to.send(String::from_utf8(word[..n].to_vec()).unwrap()).is_err() {
                        return;
                    }
                }
            })
            .unwrap();
        Some(Self { directory, words, seen: BTreeMap::new() })
    }

    /// A worker's flags for it.
    pub(crate) fn flags(&self) -> [String; 2] {
        ["--expose".to_owned(), self.directory.display().to_string()]
    }

    /// A shell command that says a word.
    pub(crate) fn say(&self, word: impl std::fmt::Display) -> String {
        let path = self.directory.join("socket");
        let program = "socket(S, AF_UNIX, SOCK_DGRAM, 0) and send(S, $ARGV[0], 0, sockaddr_un($ARGV[1])) or die $!";
        format!("perl -MSocket -e '{program}' {word} {}", path.display())
    }

    /// Waits until so many commands were started in all.
    pub(crate) fn wait_for(&mut self, n: usize) {
        while self.seen.values().sum::<usize>() < n {
            self.next();
        }
    }

    /// Waits for the next word.
    pub(crate) fn next(&mut self) -> String {
        // Beyond every time that a lease or a client has: then nothing will ever come.
        let word = self.words.recv_timeout(Duration::from_secs(100)).expect("it stands still");
        *self.seen.entry(word.clone()).or_default() += 1;
        word
    }

    /// An empty file that actions can read, there before any worker is started: what is written to it later changes what
    /// they read, and nothing of what workers say of their root.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        // Below a directory of its own: of what is exposed workers look at the first level.
        let directory = self.directory.join("files");
        fs::create_dir_all(&directory).unwrap();
        let path = directory.join(name);
        fs::write(&path, "").unwrap();
        for (path, mode) in [(&directory, 0o755), (&path, 0o644)] {
            fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
        }
        path
    }

    /// Lets time pass, in which words may come.
    pub(crate) fn listen(&mut self, time: Duration) {
        let end = Instant::now() + time;
        while let Ok(word) = self.words.recv_timeout(end.saturating_duration_since(Instant::now()))
        {
            *self.seen.entry(word).or_default() += 1;
        }
    }

    /// How often each word was said.
    pub(crate) fn all(&mut self) -> &BTreeMap<String, usize> {
        while let Ok(word) = self.words.try_recv() {
            *self.seen.entry(word).or_default() += 1;
        }
        &self.seen
    }
}

impl Drop for Marks {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.directory));
    }
}
