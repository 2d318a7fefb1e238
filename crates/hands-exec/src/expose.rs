//! Which toolchains of a user's home the embedded worker shows to actions.

use std::path::{Component, Path, PathBuf};

use hands_sandbox::ExposedPath;

/// Directories of a home that are never shown, nor anything below them, whatever `PATH` says: they hold credentials,
/// or settings that may.
const NEVER: &[&str] = &[
    ".ssh",
    ".gnupg",
    ".aws",
    ".azure",
    ".config",
    ".docker",
    ".kube",
    ".password-store",
    ".mozilla",
    ".netrc",
    ".local/share/keyrings",
    ".local/state",
    ".cache",
    ".git-credentials",
    ".npmrc",
    ".pypirc",
];

/// What else a directory of `PATH` needs: when `bin` stands at this place below the home, `also` is shown with it.
struct Toolchain {
    /// Place of the directory in `PATH`, relative to the home; the last name may be `*`.
    bin: &'static str,
    /// Further directories, relative to the home.
    also: &'static [&'static str],
    /// A variable that tells the programs where the directory is, since `HOME` is another inside.
    variable: Option<(&'static str, &'static str)>,
}

const TOOLCHAINS: &[Toolchain] = &[
    // The programs in ~/.cargo/bin are rustup's, which run what is in ~/.rustup. Nothing else of ~/.cargo: it holds
    // credentials.toml.
    Toolchain { bin: ".cargo/bin", also: &[".rustup"], variable: Some(("RUSTUP_HOME", ".rustup")) },
    Toolchain { bin: ".pyenv/shims", also: &[".pyenv"], variable: Some(("PYENV_ROOT", ".pyenv")) },
    Toolchain { bin: ".pyenv/bin", also: &[".pyenv"], variable: Some(("PYENV_ROOT", ".pyenv")) },
    Toolchain { bin: ".rbenv/shims", also: &[".rbenv"], variable: Some(("RBENV_ROOT", ".rbenv")) },
    Toolchain { bin: ".volta/bin", also: &[".volta"], variable: Some(("VOLTA_HOME", ".volta")) },
    Toolchain { bin: ".nvm/versions/node/*/bin", also: &[".nvm/versions/node/*"], variable: None },
    Toolchain { bin: ".asdf/shims", also: &[".asdf"], variable: Some(("ASDF_DATA_DIR", ".asdf")) },
    Toolchain {
        bin: ".sdkman/candidates/*/current/bin",
        also: &[".sdkman/candidates/*"],
        variable: None,
    },
    Toolchain { bin: ".ghcup/bin", also: &[".ghcup"], variable: None },
    Toolchain { bin: ".opam/*/bin", also: &[".opam/*"], variable: None },
    Toolchain { bin: ".deno/bin", also: &[], variable: None },
    Toolchain { bin: ".bun/bin", also: &[], variable: None },
    Toolchain { bin: "go/bin", also: &[], variable: None },
    Toolchain {
        bin: ".local/bin",
        also: &[".local/share/uv/tools", ".local/share/uv/python"],
        variable: None,
    },
    Toolchain { bin: "sdk/*/bin", also: &["sdk/*"], variable: None },
    Toolchain { bin: ".juliaup/bin", also: &[".julia/juliaup"], variable: None },
    Toolchain { bin: ".elan/bin", also: &[".elan"], variable: Some(("ELAN_HOME", ".elan")) },
];

/// The toolchains of a home: the directories at places where well-known toolchain managers put programs, with what these
/// need, and never one that holds credentials. What is shown does not depend on anybody's `PATH`: it is the same for all
/// commands of this user, and each brings a `PATH` of its own ([`toolchain_variables`]). Directories below `/usr` and `/opt`
/// need no mention.
pub fn toolchains(home: &Path) -> Vec<ExposedPath> {
    let mut paths: Vec<PathBuf> = Vec::new();
    if is_home(home) {
        for toolchain in TOOLCHAINS {
            for (bin, wild) in places(toolchain, home) {
                paths.push(bin);
                paths.extend(toolchain.also.iter().map(|also| home.join(fill(also, &wild))));
            }
        }
    }
    outermost(paths)
}

/// Variables for a command that its caller does not set: `PATH` with the directories of the caller's own that are among the
/// [`toolchains`] of its home, and where these toolchains are. None where it has no such directory.
pub fn toolchain_variables(path_variable: &str, home: &Path) -> Vec<(String, String)> {
    let mut variables: Vec<(String, String)> = Vec::new();
    let mut search: Vec<String> = Vec::new();
    if !is_home(home) {
        return variables;
    }
    for directory in path_variable.split(':') {
        let Some(toolchain) = classify(directory, home) else { continue };
        if search.iter().any(|d| d == directory) || !Path::new(directory).is_dir() {
            continue;
        }
        search.push(directory.to_owned());
        if let Some((name, at)) = toolchain.variable
            && home.join(at).is_dir()
            && variables.iter().all(|(n, _)| n != name)
        {
            variables.push((name.to_owned(), home.join(at).display().to_string()));
        }
    }
    if !search.is_empty() {
        search.push(hands_types::platform::FIXED_PATH.to_owned());
        variables.insert(0, ("PATH".to_owned(), search.join(":")));
    }
    variables
}

/// Not everybody's: `/` as a home would show what belongs to others.
fn is_home(path: &Path) -> bool {
    path.is_absolute() && path.parent().is_some()
}

/// Where a toolchain's programs are in a home, and what `*` stands for there.
fn places(toolchain: &Toolchain, home: &Path) -> Vec<(PathBuf, String)> {
    let Some((before, after)) = toolchain.bin.split_once('*') else {
        let bin = home.join(toolchain.bin);
        return if bin.is_dir() { vec![(bin, String::new())] } else { Vec::new() };
    };
    let Ok(entries) = std::fs::read_dir(home.join(before)) else { return Vec::new() };
    let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let all = names.map(|name| (home.join(format!("{before}{name}{after}")), name));
    all.filter(|(bin, _)| bin.is_dir()).collect()
}

/// Finds the toolchain to which a directory belongs.
fn classify(directory: &str, home: &Path) -> Option<&'static Toolchain> {
    let relative = Path::new(directory).strip_prefix(home).ok()?;
    let plain = relative.components().all(|c| matches!(c, Component::Normal(_)));
    if !plain || NEVER.iter().any(|never| relative.starts_with(never)) {
        return None;
    }
    TOOLCHAINS.iter().find(|toolchain| {
        let mut names = relative.iter();
        let mut expected = toolchain.bin.split('/');
        expected.all(|part| names.next().is_some_and(|name| part == "*" || name == part))
            && names.next().is_none()
    })
}

fn fill(pattern: &str, wild: &str) -> String {
    pattern.replace('*', wild)
}

/// Drops what is missing, what links elsewhere, and what lies below another of the list.
fn outermost(mut paths: Vec<PathBuf>) -> Vec<ExposedPath> {
    paths.retain(|path| path.symlink_metadata().is_ok_and(|m| m.is_dir()));
    paths.sort();
    paths.dedup();
    let mut kept: Vec<PathBuf> = Vec::new();
    for path in paths {
        if !kept.last().is_some_and(|above| path.starts_with(above)) {
            kept.push(path);
        }
    }
    kept.into_iter().map(|path| ExposedPath { host: path.clone(), inside: path }).collect()
}
