//! A directory in which `hands` keeps everything, its agent included, and which leaves nothing behind.

use std::fs;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

/// The program under test.
pub(crate) const HANDS: &str = env!("CARGO_BIN_EXE_hands");

/// A home, and beside it a directory to work in.
pub(crate) struct Home {
    directory: PathBuf,
}

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Home {
    pub(crate) fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let directory =
            std::env::temp_dir().join(format!("hands-it-{}-{number}", std::process::id()));
        fs::create_dir_all(directory.join("work")).unwrap();
        Self { directory }
    }

    /// Where commands are typed.
    pub(crate) fn work(&self) -> PathBuf {
        self.directory.join("work")
    }

    /// A text that no other home's processes have in their arguments or their environment.
    pub(crate) fn mark(&self) -> String {
        format!("{}/", self.directory.display())
    }

    /// `HANDS_HOME`.
    pub(crate) fn hands_home(&self) -> PathBuf {
        self.directory.join("home")
    }

    pub(crate) fn write(&self, path: &str, text: &str) -> PathBuf {
        let path = self.work().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }

    pub(crate) fn read(&self, path: &str) -> String {
        fs::read_to_string(self.work().join(path)).unwrap()
    }

    /// Any program, in this home's surroundings.
    pub(crate) fn program(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command.current_dir(self.work()).stdin(Stdio::null());
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("HANDS_") {
                command.env_remove(name);
            }
        }
        command.env("HANDS_HOME", self.hands_home()).env("RUST_BACKTRACE", "0");
        command
    }

    pub(crate) fn hands(&self, arguments: &[&str]) -> Command {
        let mut command = self.program(HANDS);
        command.args(arguments);
        command
    }

    /// Runs `hands` to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        ran(self.hands(arguments).output().unwrap())
    }

    /// The same with something on standard input.
    pub(crate) fn run_with(&self, arguments: &[&str], stdin: &str) -> Ran {
        let mut child = self.start(arguments);
        // The command may end without reading it all.
        drop(child.stdin.take().unwrap().write_all(stdin.as_bytes()));
        ran(child.wait_with_output().unwrap())
    }

    /// Starts `hands` with pipes on all three streams.
    pub(crate) fn start(&self, arguments: &[&str]) -> Child {
        let mut command = self.hands(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// The agent's process.
    pub(crate) fn agent(&self) -> rustix::process::Pid {
        let status = json(&self.run(&["agent", "status", "--json"]).out);
        let pid = status[0]["pid"].as_i64().unwrap();
        rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap()
    }

    /// Has the agent started, so that what comes next prints nothing about it.
    pub(crate) fn warm(self) -> Self {
        let ran = self.run(&["run", "--", "true"]);
        assert_eq!(ran.code, 0, "{ran:?}");
        self
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        // A home that a test gave to another user is that user's to stop.
        let is_ours = fs::metadata(self.hands_home())
            .map_or(true, |home| home.uid() == rustix::process::geteuid().as_raw());
        let stopped = is_ours.then(|| self.hands(&["agent", "stop", "--force"]).output());
        let removed = fs::remove_dir_all(&self.directory);
        if !std::thread::panicking() {
            if let Some(stopped) = stopped {
                let stopped = ran(stopped.unwrap());
                assert_eq!(stopped.code, 0, "{stopped:?}");
            }
            removed.unwrap();
        }
    }
}

pub(crate) fn ran(output: Output) -> Ran {
    use std::os::unix::process::ExitStatusExt;
    Ran {
        code: output.status.code().unwrap_or_else(|| 1000 + output.status.signal().unwrap_or(0)),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Sends a signal to a process that this test started.
pub(crate) fn signal(child: &Child, signal: rustix::process::Signal) {
    let pid = rustix::process::Pid::from_child(child);
    rustix::process::kill_process(pid, signal).unwrap();
}

/// The lines of a JSON stream.
pub(crate) fn json(text: &str) -> Vec<serde_json::Value> {
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}")))
        .collect()
}

/// The names in a directory, sorted.
pub(crate) fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(directory)
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}
