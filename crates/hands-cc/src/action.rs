//! From a compile to an action: which files it sees at which paths, and which come of it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hands_client::{Caching, Input, JobSpec, Logs, Paths, Root, TreeSpec};
use hands_types::platform::property;
use hands_types::{Digest, Platform, RelPath};

use crate::Reason;
use crate::closure::Closure;
use crate::command::CompileCommand;
use crate::compiler::{self, Seen};
use crate::dependencies::{Dependencies, Question};
use crate::known::Known;
use crate::text::Facts;
use crate::toolchain::{Family, LOCALE, Toolchain};
use crate::wire::Compile;

/// How long an action waits where there is no worker that could take it: a compiler is here.
const NO_WORKER: Duration = Duration::from_secs(2);

/// Variables that change what a compiler does in ways of which nothing is known here.
const STRANGE: &[&str] = &[
    "COMPILER_PATH",
    "GCC_EXEC_PREFIX",
    "GCC_COMPARE_DEBUG",
    "DEPENDENCIES_OUTPUT",
    "SUNPRO_DEPENDENCIES",
    "CCC_OVERRIDE_OPTIONS",
    "CLANG_CONFIG_FILE_SYSTEM_DIR",
    "CLANG_CONFIG_FILE_USER_DIR",
    "LD_PRELOAD",
    "MACOSX_DEPLOYMENT_TARGET",
    "IPHONEOS_DEPLOYMENT_TARGET",
    "SDKROOT",
];
/// Those that the action has as its caller has them.
const PASSED: &[&str] =
    &["CPATH", "C_INCLUDE_PATH", "CPLUS_INCLUDE_PATH", "SOURCE_DATE_EPOCH", "GCC_COLORS"];
/// Lists of directories among them, in which headers are looked for.
const LISTS: &[&str] = &["CPATH", "C_INCLUDE_PATH", "CPLUS_INCLUDE_PATH"];
/// Places of an action's own, which hide what would stand there.
const HIDDEN: &[&str] = &["/tmp", "/var/tmp", "/proc", "/dev", "/sys", "/home/action"];

/// A compile that can run elsewhere.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) toolchain: Arc<Toolchain>,
    pub(crate) command: CompileCommand,
    /// Outputs below the working directory: the object, then what may come beside it.
    pub(crate) outputs: Vec<RelPath>,
    /// What the input root stands for.
    top: PathBuf,
    directory: RelPath,
    /// Files and links below it, and elsewhere.
    inside: Vec<PathBuf>,
    outside: Vec<PathBuf>,
    /// Directories that are looked into and of which nothing else comes.
    empty: Vec<PathBuf>,
    /// All that it reads, as it was before anything of it was read for the action.
    seen: Vec<Seen>,
    argv: Vec<String>,
    env: Vec<(String, String)>,
    title: String,
}

/// Reads a command, finds its compiler and what it reads.
pub(crate) fn prepare(
    request: &Compile,
    known: &Known,
    dependencies: &dyn Dependencies,
) -> Result<Prepared, Reason> {
    let Compile { words, directory, environment, .. } = request;
    if let Some(name) =
        STRANGE.iter().find(|name| environment.get(**name).is_some_and(|it| !it.is_empty()))
    {
        return Err(Reason::new("environment", name));
    }
    let (word, arguments) = words.split_first().ok_or(Reason::plain("no-compiler"))?;
    let command = CompileCommand::read(arguments, directory)?;
    let outputs = outputs(&command, directory)?;
    let path = environment.get("PATH").map_or("", String::as_str);
    let driver = compiler::find(word, path, directory)?;
    let mut environment = environment.clone();
    let spelled = spelled(&environment, directory);
    environment.insert("PWD".to_owned(), spelled.display().to_string());
    let toolchain = known.toolchain(&driver, &environment)?;
    if let Some(list) = environment.get("LD_LIBRARY_PATH")
        && toolchain.has_other_libraries(list)
    {
        return Err(Reason::new("environment", "LD_LIBRARY_PATH"));
    }
    let question = Question {
        driver: &driver,
        family: toolchain.family,
        command: &command,
        directory: &spelled,
        environment: &environment,
    };
    let found = dependencies.find(question)?;
    let reads = |error: std::io::Error| Reason::new("dependencies", error);
    let mut closure = Closure::default();
    closure.add(&spelled).map_err(reads)?;
    let listed =
        LISTS.iter().filter_map(|name| environment.get(*name)).flat_map(|it| it.split(':'));
    let looked_into = command.directories.iter().map(String::as_str).chain(listed);
    for directory in looked_into.map(|it| spelled.join(it)) {
        // One that is not there is passed over by the compiler, too.
        if directory.is_dir() {
            closure.add(&directory).map_err(reads)?;
        }
    }
    // clang before 16 does not know it.
    let has_epoch = toolchain.family == Family::Gcc
        && environment.get("SOURCE_DATE_EPOCH").is_some_and(|it| !it.is_empty());
    check_family(toolchain.family, &command)?;
    for header in command.headers.iter().map(|header| spelled.join(header)) {
        if ["gch", "pch"].iter().any(|ending| header.with_added_extension(ending).exists()) {
            return Err(Reason::new("pch", header.display()));
        }
    }
    let mut asked = BTreeSet::new();
    // A macro of the command line is text, too.
    for word in &command.arguments {
        let facts = Facts::of(word.as_bytes());
        check(&facts, has_epoch, word)?;
        if word.contains("__has_include") {
            return Err(Reason::new("has-include", word));
        }
    }
    let mut once = BTreeMap::new();
    for file in &found.files {
        let real = closure.add(file).map_err(reads)?;
        let facts = known.facts(&real)?;
        check(&facts, has_epoch, file.display())?;
        // gcc tells two files of one text by their times, and all that an action sees have the same.
        if let Some(text) = facts.once
            && let Some(other) = once.insert(text, real.clone()).filter(|other| *other != real)
        {
            return Err(Reason::new("pragma-once", other.display()));
        }
        if file.with_added_extension("gch").exists() {
            return Err(Reason::new("pch", file.display()));
        }
        for (name, quoted) in &facts.asked {
            let own = file.parent().filter(|_| *quoted);
            let places = own.into_iter().chain(found.search.iter().map(PathBuf::as_path));
            asked.extend(places.map(|place| place.join(name)));
        }
    }
    // What is asked for and not read: each place in which it is counts, the first one included.
    for file in asked.iter().filter(|file| file.is_file()) {
        closure.add(file).map_err(reads)?;
    }
    let mut prepared = Prepared {
        argv: argv(&driver, &command, request)?,
        env: action_environment(&environment, &toolchain),
        title: format!("{word} {}", command.source),
        toolchain,
        command,
        outputs,
        top: directory.clone(),
        directory: RelPath::default(),
        inside: Vec::new(),
        outside: Vec::new(),
        empty: closure.empty_directories().map(Path::to_owned).collect(),
        seen: closure.leaves().filter_map(|path| Seen::look(path).ok()).collect(),
    };
    prepared.lay_out(&closure, directory)?;
    Ok(prepared)
}

/// What clang reads or writes of itself with some options.
fn check_family(family: Family, command: &CompileCommand) -> Result<(), Reason> {
    // Lists of what is not instrumented; the command as its driver writes it.
    const OF_CLANG: &[&str] =
        &["-fsanitize", "-frecord-command-line", "-frecord-gcc-switches", "-grecord"];
    let is_of_clang = |word: &&String| OF_CLANG.iter().any(|start| word.starts_with(start));
    match command.arguments.iter().find(is_of_clang).filter(|_| family == Family::Clang) {
        Some(word) => Err(Reason::new("flag", word)),
        None => Ok(()),
    }
}

/// Whether a text lets its compile run elsewhere.
fn check(facts: &Facts, has_epoch: bool, whose: impl Display) -> Result<(), Reason> {
    match facts.local {
        Some(why) => Err(Reason::new(why, whose)),
        None if facts.time && !has_epoch => Err(Reason::new("time", whose)),
        None => Ok(()),
    }
}

/// The outputs as paths below the working directory.
fn outputs(command: &CompileCommand, directory: &Path) -> Result<Vec<RelPath>, Reason> {
    let of = |text: &String| {
        let path = Path::new(text).strip_prefix(directory).unwrap_or(Path::new(text));
        let path = path.to_str().filter(|path| !path.starts_with('/') && !path.contains(".."));
        let path = path.and_then(|path| RelPath::normalized(path).ok());
        path.filter(|path| !path.as_str().is_empty()).ok_or_else(|| Reason::new("output", text))
    };
    let paths: Vec<RelPath> = std::iter::once(&command.object)
        .chain(&command.beside)
        .map(of)
        .collect::<Result<_, _>>()?;
    for path in &paths {
        let here = directory.join(path.as_str());
        let is_place = here.parent().is_some_and(Path::is_dir);
        let is_odd = fs::symlink_metadata(&here).is_ok_and(|it| !it.is_file());
        if !is_place || is_odd {
            return Err(Reason::new("output", path.as_str()));
        }
    }
    Ok(paths)
}

/// The working directory as the caller spells it, where that is true: compilers write it into debugging information.
fn spelled(environment: &BTreeMap<String, String>, directory: &Path) -> PathBuf {
    let told = environment.get("PWD").map(PathBuf::from).filter(|it| it.is_absolute());
    let is_same = |a: &Path| {
        let (a, b) = (fs::metadata(a).ok()?, fs::metadata(directory).ok()?);
        Some((a.dev(), a.ino()) == (b.dev(), b.ino()))
    };
    told.filter(|it| is_same(it) == Some(true)).unwrap_or_else(|| directory.to_owned())
}

fn argv(driver: &Path, command: &CompileCommand, request: &Compile) -> Result<Vec<String>, Reason> {
    let driver = driver.to_str().ok_or_else(|| Reason::new("not-utf-8", driver.display()))?;
    let mut argv = vec![driver.to_owned()];
    let variable = |name: &str| request.environment.get(name).map(String::as_str);
    // A compiler colours its messages for a terminal only, which it has not got there.
    let wants_colors = request.on_terminal
        && command.leaves_colors
        && variable("TERM").is_some_and(|term| term != "dumb")
        && variable("GCC_COLORS") != Some("");
    if wants_colors {
        argv.push("-fdiagnostics-color=always".to_owned());
    }
    argv.extend(command.arguments.iter().cloned());
    Ok(argv)
}

fn action_environment(
    environment: &BTreeMap<String, String>,
    toolchain: &Toolchain,
) -> Vec<(String, String)> {
    let passed = PASSED.iter().chain(&LOCALE);
    let mut env: Vec<(String, String)> = passed
        .filter_map(|name| Some(((*name).to_owned(), environment.get(*name)?.clone())))
        .collect();
    // An empty one is as none; without it the action would get one of the worker's.
    if !environment.contains_key("LANG") {
        env.push(("LANG".to_owned(), String::new()));
    }
    env.push(("PATH".to_owned(), toolchain.path.clone()));
    if let Some(directory) = environment.get("PWD") {
        env.push(("PWD".to_owned(), directory.clone()));
    }
    env
}

impl Prepared {
    /// Says where each file stands: below the input root, which has the working directory at its own path, or beside it.
    fn lay_out(&mut self, closure: &Closure, directory: &Path) -> Result<(), Reason> {
        for path in closure.leaves().chain(self.empty.iter().map(PathBuf::as_path)) {
            let Some(hidden) = HIDDEN.iter().find(|place| path.starts_with(place)) else {
                continue;
            };
            while !path.starts_with(&self.top) {
                self.top.pop();
            }
            if Path::new(hidden).starts_with(&self.top) {
                return Err(Reason::new("hidden-place", path.display()));
            }
        }
        let top = self.top.clone();
        if top.parent().is_none() {
            return Err(Reason::new("hidden-place", "/"));
        }
        if self.toolchain.closure.leaves().any(|path| path.starts_with(&top)) {
            return Err(Reason::new("compiler-in-tree", top.display()));
        }
        let below = directory.strip_prefix(&top).ok().and_then(Path::to_str);
        let below = below.and_then(|path| RelPath::new(path).ok());
        self.directory = below.ok_or_else(|| Reason::new("not-utf-8", directory.display()))?;
        let own: BTreeSet<PathBuf> =
            self.outputs.iter().map(|path| directory.join(path.as_str())).collect();
        for path in closure.leaves() {
            if own.contains(path) {
                return Err(Reason::new("output", path.display()));
            }
            let list = if path.starts_with(&top) { &mut self.inside } else { &mut self.outside };
            list.push(path.to_owned());
        }
        self.empty.retain(|path| !top.starts_with(path));
        Ok(())
    }

    /// The first file that is not as it was.
    pub(crate) fn changed(&self) -> Option<&Path> {
        self.seen.iter().find(|seen| !seen.holds()).map(|seen| seen.path.as_path())
    }

    /// The input root.
    pub(crate) fn input_root(&self) -> Result<TreeSpec, Reason> {
        tree(&self.inside, &self.empty, &self.top, &self.directory)
    }

    /// All other files that it reads, at their own paths.
    pub(crate) fn outside(&self) -> Result<TreeSpec, Reason> {
        let is_outside = |path: &&PathBuf| !path.starts_with(&self.top);
        let empty: Vec<PathBuf> = self.empty.iter().filter(is_outside).cloned().collect();
        tree(&self.outside, &empty, Path::new("/"), &RelPath::default())
    }

    /// The action on these trees.
    pub(crate) fn job(&self, input_root: Digest, outside: Digest, toolchain: Digest) -> JobSpec {
        let mut job = JobSpec::new(self.argv.clone());
        job.env.clone_from(&self.env);
        job.cwd = self.directory.clone();
        job.outputs = self.outputs.iter().map(|path| path.as_str().to_owned()).collect();
        job.platform = Platform::new(vec![
            (property::OS.to_owned(), std::env::consts::OS.to_owned()),
            (property::ISA.to_owned(), std::env::consts::ARCH.to_owned()),
            (property::ROOT_PATH.to_owned(), self.top.display().to_string()),
        ]);
        job.root = Root::Layers(vec![outside, toolchain]);
        job.input_root = Some(input_root);
        job.caching = Caching::Cached;
        job.logs = Logs::No;
        job.follow = false;
        job.queue_timeout = Some(NO_WORKER);
        job.title.clone_from(&self.title);
        job.mnemonic = "cc".to_owned();
        job.target.clone_from(&self.command.object);
        job
    }
}

impl Toolchain {
    /// Whether a list of directories (`LD_LIBRARY_PATH`; cargo sets one for all that it runs) has a library that the compiler
    /// would be loaded with in place of its own.
    fn has_other_libraries(&self, list: &str) -> bool {
        let is_there = |directory: &str| {
            let mut names = self.closure.leaves().filter_map(Path::file_name);
            names.any(|name| Path::new(directory).join(name).exists())
        };
        list.split(':').any(|it| !it.starts_with('/') || is_there(it))
    }

    /// Its tree.
    pub(crate) fn tree(&self) -> Result<TreeSpec, Reason> {
        let leaves: Vec<PathBuf> = self.closure.leaves().map(Path::to_owned).collect();
        let empty: Vec<PathBuf> = self.closure.empty_directories().map(Path::to_owned).collect();
        tree(&leaves, &empty, Path::new("/"), &RelPath::default())
    }
}

/// A tree of these files, of directories that may be empty, and of one directory in any case.
fn tree(
    leaves: &[PathBuf],
    empty: &[PathBuf],
    top: &Path,
    directory: &RelPath,
) -> Result<TreeSpec, Reason> {
    let place = |path: &Path| {
        let below = path.strip_prefix(top).ok().and_then(Path::to_str);
        let below = below.and_then(|path| RelPath::new(path).ok());
        below.ok_or_else(|| Reason::new("not-utf-8", path.display()))
    };
    let open = |path: &PathBuf| {
        let input = Input::open(path, place(path)?, false);
        input.map_err(|error| Reason::new("input-changed", error))
    };
    let inputs = leaves.iter().map(open).collect::<Result<_, _>>()?;
    let paths = Paths { inputs, directory: directory.clone(), times: false };
    let mut parts = vec![TreeSpec::Paths(paths)];
    for path in empty.iter().filter(|path| path.starts_with(top)) {
        let path = place(path)?;
        if path != *directory {
            parts.push(TreeSpec::At { path, tree: Box::new(TreeSpec::Empty) });
        }
    }
    Ok(match parts.len() {
        1 => parts.swap_remove(0),
        _ => TreeSpec::Merged(parts),
    })
}
