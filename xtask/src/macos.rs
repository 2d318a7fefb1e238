//! The part of the program that macOS has too, checked for it from here: client, agent, hub and the command line. A
//! check links nothing, but build scripts compile C, for which Zig's compiler knows every system's headers.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::clients;

const TARGET: &str = "aarch64-apple-darwin";

/// What cargo is asked.
pub(crate) const ARGUMENTS: &[&str] =
    &["check", "--quiet", "--target", TARGET, "--package", "hands"];

/// The environment for [`ARGUMENTS`], or what this machine lacks for it. Two small scripts, and a Zig that
/// is not there and comes from the registry of Python's packages, go into `tools`.
pub(crate) fn environment(tools: &Path) -> Result<Vec<(&'static str, PathBuf)>, String> {
    if !is_installed() {
        return Err(format!("the check for macOS: `rustup target add {TARGET}` makes it possible"));
    }
    let zig = match zig() {
        Some(zig) => zig.to_owned(),
        None => install_zig(tools).map_err(|why| format!("the check for macOS: Zig: {why}"))?,
    };
    let failed = |e: io::Error| format!("the check for macOS: {}: {e}", tools.display());
    fs::create_dir_all(tools).map_err(failed)?;
    // Build scripts name the target in clang's words, which Zig does not take.
    let cc = format!(
        "#!/bin/sh\nfor a do shift; case $a in --target=*|-arch|arm64|-mmacosx-version-min=*) ;; *) set -- \"$@\" \
         \"$a\";; esac; done\nexec {zig} cc -target aarch64-macos \"$@\"\n"
    );
    let ar = format!("#!/bin/sh\nexec {zig} ar \"$@\"\n");
    let script = |name: &str, text: &str| {
        let path = tools.join(name);
        fs::write(&path, text)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
        Ok(path)
    };
    Ok(vec![
        ("CC_aarch64_apple_darwin", script("macos-cc", &cc).map_err(failed)?),
        ("AR_aarch64_apple_darwin", script("macos-ar", &ar).map_err(failed)?),
        // Of blake3: its assembly would need another assembler, and is not what is checked.
        ("CARGO_FEATURE_PURE", PathBuf::from("1")),
    ])
}

fn install_zig(tools: &Path) -> Result<String, String> {
    let place = tools.join("ziglang-0.14.1");
    clients::once(&place, |place| {
        let arguments = ["-m", "pip", "install", "--quiet", "--no-deps", "--target"];
        clients::run(Command::new("python3").args(arguments).arg(place).arg("ziglang==0.14.1"))
    })?;
    Ok(place.join("ziglang/zig").display().to_string())
}

fn is_installed() -> bool {
    let asked =
        Command::new("rustc").args(["--print", "target-libdir", "--target", TARGET]).output();
    asked.is_ok_and(|said| Path::new(String::from_utf8_lossy(&said.stdout).trim()).is_dir())
}

/// How Zig is called here.
fn zig() -> Option<&'static str> {
    ["zig", "python3 -m ziglang"].into_iter().find(|zig| {
        let mut words = zig.split(' ');
        let mut command = Command::new(words.next().unwrap_or_default());
        command.args(words).arg("version").stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    })
}
