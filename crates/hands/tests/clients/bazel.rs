//! Bazel, in two versions: Debian's, and the last one in the registry of Node's packages.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::grid::{Grid, outsider};
use crate::home::{Ran, ran};

mod assets;
mod builds;
mod eviction;
mod faults;
mod links;

/// A workspace with a Bazel of its own, whose server ends with it.
pub(crate) struct Bazel {
    /// Where it has its workspace and all else.
    work: PathBuf,
    program: PathBuf,
    startup: Vec<String>,
}

impl Bazel {
    /// Debian's 4.2.3, which logs in by certificate with `--config=hands`, by token with `--config=bearer`.
    pub(crate) fn new_4(grid: &Grid, program: &Path) -> Self {
        let mut bazel =
            Self { work: grid.home.work(), program: program.to_owned(), startup: Vec::new() };
        // Its TLS is OpenSSL's by way of a library that Debian has under another name than it is looked for.
        let directory = grid.home.work().join("jni");
        fs::create_dir(&directory).unwrap();
        fs::copy(tls_library(), directory.join("libnetty_tcnative.so")).unwrap();
        let path = format!("-Djava.library.path=/usr/share/bazel:{}", directory.display());
        bazel.startup.push(format!("--host_jvm_args={path}"));
        bazel.workspace(grid, &["hands", "bearer"]);
        bazel
    }

    /// 2.1.0, which knows no client's certificate.
    pub(crate) fn new_2(grid: &Grid, program: &Path) -> Self {
        let mut bazel =
            Self { work: grid.home.work(), program: program.to_owned(), startup: Vec::new() };
        bazel.workspace(grid, if grid.is_encrypted { &["bearer"] } else { &["plain"] });
        bazel
    }

    fn workspace(&mut self, grid: &Grid, configs: &[&str]) {
        let work = self.work.clone();
        self.startup.push(format!("--output_user_root={}", work.join("bz").display()));
        // Two cores are all there may be, for several of these.
        self.startup.extend(["--host_jvm_args=-Xmx1g", "--max_idle_secs=300"].map(str::to_owned));
        copy(
            &Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/bazel/workspace"),
            &self.root(),
        );
        links::make_sources(self);
        let mut rc = fs::read_to_string(self.root().join("bazelrc")).unwrap();
        for &config in configs {
            let lines = match config {
                "bearer" => {
                    let file =
                        grid.home.write("bearer", &grid.token(&["--role", "submit", "--bearer"]));
                    let token = format!("@{}", file.display());
                    grid.ok(&["bazelrc", "--config", config, "--bearer", &token])
                }
                "plain" => {
                    format!("build:plain --remote_executor=grpc://{}\n", grid.address)
                }
                _ => grid.ok(&["bazelrc", "--config", config]),
            };
            rc += &lines;
            writeln!(rc, "build:{config} --config=everything-remote").unwrap();
        }
        fs::write(self.root().join(".bazelrc"), rc).unwrap();
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.work.join("ws")
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = outsider(&self.work, &self.program);
        command.current_dir(self.root()).args(&self.startup).args(arguments);
        command
    }

    /// Runs it to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        ran(self.command(arguments).output().unwrap())
    }

    /// The same, and it must go well.
    pub(crate) fn ok(&self, arguments: &[&str]) -> Ran {
        let ended = self.run(arguments);
        assert_eq!(ended.code, 0, "bazel {arguments:?}\n{}\n{}", ended.out, ended.err);
        ended
    }

    pub(crate) fn start(&self, arguments: &[&str]) -> Child {
        let mut command = self.command(arguments);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    pub(crate) fn output(&self, name: &str) -> PathBuf {
        self.root().join("bazel-bin").join(name)
    }

    pub(crate) fn read(&self, name: &str) -> String {
        let path = self.output(name);
        fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
    }
}

impl Drop for Bazel {
    fn drop(&mut self) {
        let ended = self.run(&["shutdown"]);
        // What it made may not be written to, as it wants it.
        writable(&self.work.join("bz"));
        if !std::thread::panicking() {
            assert_eq!(ended.code, 0, "{ended:?}");
        }
    }
}

fn tls_library() -> PathBuf {
    let found = fs::read_dir("/usr/lib").unwrap().find_map(|entry| {
        let file = entry.unwrap().path().join("jni/libnetty-tcnative.so");
        file.exists().then_some(file)
    });
    found.expect("Debian's libnetty-tcnative-jni is installed with Bazel")
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

/// Lets a tree be removed by others than root, too.
fn writable(directory: &Path) {
    let Ok(metadata) = fs::symlink_metadata(directory) else { return };
    if !metadata.is_dir() {
        return;
    }
    drop(fs::set_permissions(directory, fs::Permissions::from_mode(0o755)));
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        writable(&entry.path());
    }
}
