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

/// What a worker shows beyond the host's own directories.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exposure {
    /// Directories, shown read-only where they are.
    pub paths: Vec<ExposedPath>,
    /// Variables for commands that don't set them: `PATH`, and where the toolchains are.
    pub default_env: Vec<(String, String)>,
}

/// The toolchain directories on a user's `PATH`: those below `home` at places where well-known toolchain managers put
/// them, with what they need, and never one that holds credentials. Directories below `/usr` and `/opt` need no mention.
/// Whether a directory exists is looked up here; nothing in it is read.
pub fn toolchains(path_variable: &str, home: &Path) -> Exposure {
    let mut paths: Vec<PathBuf> = Vec::new();
    let mut variables: Vec<(String, String)> = Vec::new();
    let mut search: Vec<String> = Vec::new();
    if home.is_absolute() && home.parent().is_some() {
        for directory in path_variable.split(':') {
            let Some((relative, toolchain, wild)) = classify(directory, home) else { continue };
            if search.iter().any(|d| d == directory) || !Path::new(directory).is_dir() {
                continue;
            }
            search.push(directory.to_owned());
            paths.push(home.join(relative));
            paths.extend(toolchain.also.iter().map(|also| home.join(fill(also, &wild))));
            if let Some((name, at)) = toolchain.variable
                && home.join(at).is_dir()
                && variables.iter().all(|(n, _)| n != name)
            {
                variables.push((name.to_owned(), home.join(at).display().to_string()));
            }
        }
    }
    if !search.is_empty() {
        search.push(hands_types::platform::FIXED_PATH.to_owned());
        variables.insert(0, ("PATH".to_owned(), search.join(":")));
    }
    Exposure { paths: outermost(paths), default_env: variables }
}

/// Finds the toolchain to which a directory belongs: its place below the home, and what `*` stands for.
fn classify<'a>(directory: &'a str, home: &Path) -> Option<(&'a Path, &'static Toolchain, String)> {
    let relative = Path::new(directory).strip_prefix(home).ok()?;
    let plain = relative.components().all(|c| matches!(c, Component::Normal(_)));
    if !plain || NEVER.iter().any(|never| relative.starts_with(never)) {
        return None;
    }
    TOOLCHAINS.iter().find_map(|toolchain| {
        let mut wild = String::new();
        let mut names = relative.iter();
        for expected in toolchain.bin.split('/') {
            let name = names.next()?.to_str()?;
            if expected == "*" {
                name.clone_into(&mut wild);
            } else if expected != name {
                return None;
            }
        }
        names.next().is_none().then_some((relative, toolchain, wild))
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
