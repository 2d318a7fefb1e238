//! A compiler as a tree: everything that it takes to run it where there is none.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::Reason;
use crate::closure::Closure;
use crate::compiler::Seen;
use crate::loader::Loaded;

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    Gcc,
    Clang,
}

/// A compiler and its parts.
#[derive(Debug)]
pub(crate) struct Toolchain {
    pub(crate) family: Family,
    /// Its files, with links and directories on the way.
    pub(crate) closure: Closure,
    /// All of these as they were when the tree was made.
    seen: Vec<Seen>,
    /// The directory of the assembler, which is looked for along a `PATH`.
    pub(crate) path: String,
}

/// Programs that gcc starts for a compile. Not all installations have all of them.
const PROGRAMS: &[&str] = &["cc1", "cc1plus", "as", "objcopy"];

impl Toolchain {
    /// Asks a compiler for its parts. `environment` is the caller's own, as far as it concerns compilers.
    pub(crate) fn of(
        driver: &Path,
        environment: &BTreeMap<String, String>,
    ) -> Result<Self, Reason> {
        let failed = |error: std::io::Error| Reason::new("toolchain", error);
        let ask = |arguments: &[&str]| ask(driver, arguments, environment);
        let said = ask(&["-v"])?;
        let said = String::from_utf8_lossy(&said.stderr).into_owned();
        let family = if said.contains("clang version ") {
            Family::Clang
        } else if said.lines().any(|line| line.starts_with("gcc version ")) {
            Family::Gcc
        } else {
            return Err(Reason::new("unknown-compiler", driver.display()));
        };
        let mut loaded = Loaded::default();
        loaded.add(driver).map_err(failed)?;
        let mut others: Vec<PathBuf> = Vec::new();
        let mut path = "/usr/bin".to_owned();
        match family {
            Family::Gcc => {
                for name in PROGRAMS {
                    let Some(program) = part(&ask, "-print-prog-name", name, environment)? else {
                        continue;
                    };
                    if *name == "as"
                        && let Some(directory) = program.parent().and_then(Path::to_str)
                    {
                        directory.clone_into(&mut path);
                    }
                    loaded.add(&program).map_err(failed)?;
                }
                others.extend(part(&ask, "-print-file-name", "specs", &BTreeMap::new())?);
            }
            Family::Clang => {
                // By this file clang tells which gcc's headers are there.
                let gcc = said.lines().find_map(|line| {
                    line.strip_prefix("Selected GCC installation: ").map(PathBuf::from)
                });
                others.extend(gcc.map(|gcc| gcc.join("crtbegin.o")).filter(|it| it.is_file()));
            }
        }
        others.extend(locale(environment)?);
        let mut closure = Closure::default();
        let mut seen = Vec::new();
        for file in loaded.files.iter().chain(&others) {
            let real = closure.add(file).map_err(failed)?;
            if real.is_file() {
                seen.push(Seen::look(file).map_err(failed)?);
            }
        }
        Ok(Self { family, closure, seen, path })
    }

    /// Whether none of its files has changed.
    pub(crate) fn holds(&self) -> bool {
        self.seen.iter().all(Seen::holds)
    }
}

fn ask(
    driver: &Path,
    arguments: &[&str],
    environment: &BTreeMap<String, String>,
) -> Result<Output, Reason> {
    let asked = Command::new(driver)
        .args(arguments)
        .env_clear()
        .envs(environment)
        // What it says is read.
        .env("LC_ALL", "C")
        .output()
        .map_err(|error| Reason::new("toolchain", error))?;
    if !asked.status.success() {
        return Err(Reason::new(
            "toolchain",
            format!("{} {}", driver.display(), arguments.join(" ")),
        ));
    }
    Ok(asked)
}

/// A part that gcc finds by name: a path, or a name that it looks for along the `PATH`, or nothing but the name.
fn part(
    ask: &impl Fn(&[&str]) -> Result<Output, Reason>,
    question: &str,
    name: &str,
    environment: &BTreeMap<String, String>,
) -> Result<Option<PathBuf>, Reason> {
    use std::os::unix::ffi::OsStrExt as _;
    let said = ask(&[&format!("{question}={name}")])?.stdout;
    let said = Path::new(OsStr::from_bytes(said.trim_ascii_end()));
    if said.is_absolute() {
        return Ok(Some(said.to_owned()).filter(|it| it.is_file()));
    }
    let path = environment.get("PATH").map_or("", String::as_str);
    let places = path.split(':').filter(|place| place.starts_with('/'));
    Ok(places.map(|place| Path::new(place).join(said)).find(|it| it.is_file()))
}

/// The variables by which a locale is chosen, the strongest first.
pub(crate) const LOCALE: [&str; 5] = ["LC_ALL", "LC_CTYPE", "LC_MESSAGES", "LANG", "LANGUAGE"];

/// The files of the caller's locale: of what messages are written in, and with which quotes.
fn locale(environment: &BTreeMap<String, String>) -> Result<Vec<PathBuf>, Reason> {
    let mut files = Vec::new();
    for name in LOCALE {
        let value = environment.get(name).map_or("", String::as_str);
        if matches!(value, "" | "C" | "POSIX") {
            continue;
        }
        if name == "LANGUAGE" || value.contains('/') {
            return Err(Reason::new("locale", format!("{name}={value}")));
        }
        let directory = Path::new("/usr/lib/locale");
        // The C library's own spelling: `C.UTF-8` is `C.utf8`.
        let (language, set) = value.split_once('.').unwrap_or((value, ""));
        let set: String =
            set.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_lowercase();
        let own = directory.join(format!("{language}.{set}"));
        let archive = directory.join("locale-archive");
        if own.is_dir() {
            put_all(&own, &mut files).map_err(|error| Reason::new("locale", error))?;
        } else if archive.is_file() {
            files.push(archive);
        }
        let short = language.split(['_', '@']).next().unwrap_or_default();
        for language in [language, short] {
            let messages = Path::new("/usr/share/locale").join(language).join("LC_MESSAGES");
            if language != "C" && messages.is_dir() {
                let is_ours = |path: &PathBuf| {
                    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
                    ["gcc", "cpplib", "gas", "bfd", "opcodes", "libc"]
                        .iter()
                        .any(|own| name.starts_with(own))
                };
                let mut all = Vec::new();
                put_all(&messages, &mut all).map_err(|error| Reason::new("locale", error))?;
                files.extend(all.into_iter().filter(is_ours));
            }
        }
    }
    files.sort();
    files.dedup();
    Ok(files)
}

fn put_all(directory: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        match path.is_dir() {
            true => put_all(&path, files)?,
            false => files.push(path),
        }
    }
    Ok(())
}
