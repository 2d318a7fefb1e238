//! `cargo xtask kernels`: the sandbox's own test on kernels that are not this machine's, with cgroup v2, as root and as an
//! ordinary user whose group was delegated to him, as systemd does it. In a virtual machine that is emulated: minutes
//! for each kernel, and so no part of `cargo xtask test`.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::clients::run as quietly;
use crate::suite::on_path;

/// Programs, and the packages that have them.
const NEEDED: &[(&str, &str)] = &[
    ("qemu-system-x86_64", "qemu-system-x86"),
    ("busybox", "busybox-static"),
    ("cpio", "cpio"),
    ("xz", "xz-utils"),
    ("mkfs.ext4", "e2fsprogs"),
];

/// Packages of Debian 12 that stand for its kernel, and for the next release's.
const KERNELS: &[&str] = &["linux-image-amd64", "linux-image-6.12-amd64"];

/// Runs the test on each kernel: those named, as packages, or Debian's own.
pub(crate) fn run(root: &Path, named: &[String]) -> Result<()> {
    let missing: Vec<&str> =
        NEEDED.iter().filter(|(program, _)| !on_path(program)).map(|(_, p)| *p).collect();
    if !missing.is_empty() {
        bail!("the kernels need: apt-get install {}", missing.join(" "));
    }
    let test = build(root)?;
    let place = test.ancestors().nth(2).context("a target directory")?.join("kernels");
    let packages: Vec<String> = match named {
        [] => KERNELS.iter().map(|name| (*name).to_owned()).collect(),
        named => named.to_vec(),
    };
    let mut failed = Vec::new();
    for package in packages {
        let package = concrete(&package)?;
        println!("== {package}");
        let place = place.join(&package);
        fetch(&package, &place)?;
        if !boots(root, &place, &test)? {
            failed.push(package);
        }
    }
    if failed.is_empty() { Ok(()) } else { bail!("failed: {}", failed.join(", ")) }
}

/// The program of the isolation test.
fn build(root: &Path) -> Result<PathBuf> {
    let arguments = ["test", "--no-run", "--package", "hands-sandbox", "--test", "isolation"];
    let mut cargo = crate::cargo();
    cargo.args(arguments).arg("--message-format=json").current_dir(root);
    let built = cargo.stderr(Stdio::inherit()).output().context("cargo")?;
    if !built.status.success() {
        bail!("the isolation test does not build");
    }
    let messages = String::from_utf8(built.stdout)?;
    let mut programs = messages.lines().filter_map(|line| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        (message["target"]["name"] == "isolation").then_some(())?;
        message["executable"].as_str().map(PathBuf::from)
    });
    programs.next_back().context("cargo names no program")
}

/// The package that a package which only stands for others depends on.
fn concrete(package: &str) -> Result<String> {
    let asked = Command::new("apt-cache").args(["depends", "--important", package]).output()?;
    let text = String::from_utf8(asked.stdout)?;
    let mut depends = text.lines().filter_map(|line| line.trim().strip_prefix("Depends: "));
    let kernel = depends.find(|name| name.starts_with("linux-image-"));
    Ok(kernel.unwrap_or(package).to_owned())
}

fn fetch(package: &str, place: &Path) -> Result<()> {
    let kernel = place.join("kernel");
    if kernel.join("boot").is_dir() {
        return Ok(());
    }
    fs::create_dir_all(&kernel)?;
    let mut download = Command::new("apt-get");
    download.args(["download", package]).current_dir(place);
    quietly(&mut download).map_err(anyhow::Error::msg)?;
    for entry in fs::read_dir(place)? {
        let path = entry?.path();
        if path.extension().is_some_and(|e| e == "deb") {
            quietly(Command::new("dpkg-deb").arg("-x").arg(&path).arg(&kernel))
                .map_err(anyhow::Error::msg)?;
            fs::remove_file(path)?;
        }
    }
    Ok(())
}

/// Whether all of it passed there, as root and as an ordinary user.
fn boots(root: &Path, place: &Path, test: &Path) -> Result<bool> {
    let test = test.display();
    let job = format!(
        "export TMPDIR=/place/tmp PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n\
         uname -r; echo +memory +pids > /sys/fs/cgroup/cgroup.subtree_control\n\
         mkdir -m 1777 /place/tmp; mkdir /place/root /place/user; cp {test} /place/user/test\n\
         cd /place/user; {test} levels /place/root/own root 2>&1\n\
         group=/sys/fs/cgroup/delegated; mkdir $group\n\
         chown -R 65534 /place/user $group $group/cgroup.procs $group/cgroup.subtree_control\n\
         sh -c 'echo $$ > /sys/fs/cgroup/delegated/cgroup.procs; exec setpriv --reuid 65534 --regid 65534 \
         --clear-groups ./test levels /place/user/own user' 2>&1\n"
    );
    let file = place.join("job");
    fs::write(&file, job)?;
    let scripts = root.join("xtask/kernels");
    let mut command = Command::new("sh");
    command.arg(scripts.join("boot.sh")).arg(place).arg(&file).arg(&scripts);
    let mut machine = command.stdout(Stdio::piped()).spawn()?;
    let console = BufReader::new(machine.stdout.take().context("its console")?);
    let mut passed = 0;
    for line in console.split(b'\n') {
        let line = line?;
        let line = String::from_utf8_lossy(&line);
        let line = line.trim_end();
        passed += u32::from(line.ends_with(" passed, 0 failed"));
        if !line.starts_with("ok ") {
            println!("{line}");
        }
    }
    machine.wait()?;
    Ok(passed == 2)
}
