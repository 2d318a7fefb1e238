//! Projects of others that tests compile: Debian's source packages, unpacked in `target/sources`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::suite;

const PACKAGES: &[&str] = &["lua5.4"];

/// Downloads and unpacks what is not there yet.
pub(crate) fn install(root: &Path) -> Result<(), String> {
    let target = suite::target_directory().unwrap_or_else(|| root.join("target"));
    let directory = target.join("sources");
    for package in PACKAGES {
        let to = directory.join(package);
        if !to.exists() {
            println!("== sources: {package}");
            let unfinished = directory.join(format!(".{package}"));
            drop(fs::remove_dir_all(&unfinished));
            fs::create_dir_all(&unfinished)
                .map_err(|e| format!("{}: {e}", unfinished.display()))?;
            unpack(package, &unfinished)?;
            fs::rename(&unfinished, &to).map_err(|e| format!("{}: {e}", to.display()))?;
        }
    }
    Ok(())
}

/// The maker's own archive, without Debian's patches.
fn unpack(package: &str, to: &Path) -> Result<(), String> {
    let apt = to.join("apt");
    let (parts, lists) = (apt.join("parts"), apt.join("lists"));
    fs::create_dir_all(lists.join("partial")).map_err(|e| e.to_string())?;
    source_lists(&parts).map_err(|e| format!("the lists of Debian's sources: {e}"))?;
    // Only root's own lists know packages; those of sources stand beside them.
    let options = [
        "Dir::Etc::sourcelist=/dev/null".to_owned(),
        format!("Dir::Etc::sourceparts={}", parts.display()),
        format!("Dir::State::lists={}", lists.display()),
        "APT::Sandbox::User=root".to_owned(),
    ];
    let run = |arguments: &[&str]| {
        let options = options.iter().flat_map(|option| ["-o", option]);
        let status = Command::new("apt-get")
            .arg("-qq")
            .args(options)
            .args(arguments)
            .current_dir(to)
            .status();
        match status {
            Ok(status) if status.success() => Ok(()),
            other => Err(format!("apt-get {}: {other:?}", arguments.join(" "))),
        }
    };
    run(&["update"])?;
    run(&["source", "--download-only", package])?;
    let is_archive = |path: &PathBuf| path.to_string_lossy().contains(".orig.tar.");
    let mut found = fs::read_dir(to).map_err(|e| e.to_string())?.flatten().map(|e| e.path());
    let archive = found.find(is_archive).ok_or_else(|| format!("{package} has no archive"))?;
    let status = Command::new("tar").arg("xf").arg(&archive).current_dir(to).status();
    if !status.as_ref().is_ok_and(std::process::ExitStatus::success) {
        return Err(format!("tar xf {}: {status:?}", archive.display()));
    }
    fs::remove_dir_all(&apt).map_err(|e| e.to_string())
}

/// The machine's own lists of packages, as lists of sources.
fn source_lists(to: &Path) -> std::io::Result<()> {
    fs::create_dir_all(to)?;
    let parts = fs::read_dir("/etc/apt/sources.list.d").into_iter().flatten().flatten();
    for list in parts.map(|entry| entry.path()).chain(["/etc/apt/sources.list".into()]) {
        let name = list.file_name().unwrap_or_default();
        let sources = |text: String| match list.extension().and_then(|e| e.to_str()) {
            Some("sources") => Some(text.replace("Types: deb\n", "Types: deb-src\n")),
            Some("list") => {
                Some(text.replace("deb ", "deb-src ").replace("deb-src-src ", "deb-src "))
            }
            _ => None,
        };
        if let Some(text) = fs::read_to_string(&list).ok().and_then(sources) {
            fs::write(to.join(name), text)?;
        }
    }
    Ok(())
}
