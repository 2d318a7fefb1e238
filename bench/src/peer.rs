//! Maelstrom 0.14, the nearest peer, where `HANDS_BENCH_MAELSTROM` names the directory of its programs.

use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

pub(crate) struct Maelstrom {
    programs: PathBuf,
    dir: PathBuf,
    broker: Child,
    worker: Child,
}

const ADDRESS: &str = "127.0.0.1:7311";

impl Maelstrom {
    /// One broker and one worker of two slots. Its broker can't bind loopback only, so run the bench in a network
    /// namespace of its own where that matters.
    pub(crate) fn start(dir: &Path) -> Result<Option<Self>> {
        let Some(programs) = std::env::var_os("HANDS_BENCH_MAELSTROM").map(PathBuf::from) else {
            return Ok(None);
        };
        let dir = dir.join("maelstrom");
        fs::create_dir_all(&dir)?;
        fs::write(dir.join("true.c"), "int main(void){return 0;}\n")?;
        let made = Command::new("gcc")
            .args(["-O2", "-static", "-o", "true-static", "true.c"])
            .current_dir(&dir)
            .status()?;
        ensure!(made.success(), "gcc -static");
        let spec = "{\"layers\":[{\"paths\":[\"true-static\"]}],\"program\":\"/true-static\"}\n";
        fs::write(dir.join("one.json"), spec)?;
        fs::write(dir.join("thousand.json"), spec.repeat(1000))?;
        let start = |name: &str, arguments: &[&str]| {
            Command::new(programs.join(name))
                .args(arguments)
                .current_dir(&dir)
                .env("XDG_CACHE_HOME", dir.join("cache"))
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .with_context(|| name.to_owned())
        };
        let broker = start("maelstrom-broker", &["-p", "7311"])?;
        let began = Instant::now();
        while TcpStream::connect(ADDRESS).is_err() {
            ensure!(began.elapsed() < Duration::from_secs(10), "maelstrom-broker does not listen");
            std::thread::yield_now();
        }
        let worker = start("maelstrom-worker", &["-b", ADDRESS, "--slots", "2"])?;
        let peer = Self { programs, dir, broker, worker };
        peer.one()?;
        Ok(Some(peer))
    }

    pub(crate) fn one(&self) -> Result<Duration> {
        self.run(&["--one", "-f", "one.json"])
    }

    pub(crate) fn thousand(&self) -> Result<Duration> {
        self.run(&["-f", "thousand.json"])
    }

    fn run(&self, arguments: &[&str]) -> Result<Duration> {
        let start = Instant::now();
        let output = Command::new(self.programs.join("maelstrom-run"))
            .args(["-b", ADDRESS])
            .args(arguments)
            .current_dir(&self.dir)
            .env("XDG_CACHE_HOME", self.dir.join("cache"))
            .stdin(Stdio::null())
            .output()?;
        if !output.status.success() {
            bail!("maelstrom-run: {}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(start.elapsed())
    }
}

impl Drop for Maelstrom {
    fn drop(&mut self) {
        for child in [&mut self.worker, &mut self.broker] {
            // Already gone is as good.
            child.kill().and_then(|()| child.wait().map(drop)).unwrap_or_default();
        }
    }
}
