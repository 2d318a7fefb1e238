//! `hands cc`: a compile that may run elsewhere, and a build whose compiles may.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::symlink;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hands_cc::client::{self, Asked};
use hands_cc::{CcPart, PART, Reason, Stats};
use hands_client::{AgentPart, AgentSpec, Target};
use hands_config::{Environment, Flags, Places, Settings};
use hands_front::Out;
use hands_front::args::GlobalArgs;
use hands_types::ErrorClass;
use hands_types::error::exit;
use serde_json::json;

use crate::cli::CcArgs;
use crate::front::this_program;
use crate::problem::{self, Problem};
use crate::runtime;

/// The file to which each compile adds a line that says where it ran and why.
const LOG: &str = "HANDS_CC_LOG";
/// How long a cluster that can't be reached is waited for: a compiler is here.
const PATIENCE: Duration = Duration::from_secs(2);
/// Names under which compilers are called, for links that lead here.
const NAMES: &[&str] = &["cc", "c++", "gcc", "g++", "clang", "clang++"];

/// The words of a compile, where this program was called for one: by another name, as `hands-cc COMPILER …` or as
/// `hands cc COMPILER …`. Nothing else is looked at first: it is to take no time.
pub(crate) fn called(mut arguments: impl Iterator<Item = OsString>) -> Option<Vec<OsString>> {
    let own = arguments.next()?;
    let name = Path::new(&own).file_name()?.to_owned();
    if name == "hands-cc" {
        return Some(arguments.collect()).filter(|words: &Vec<_>| !words.is_empty());
    }
    if is_compiler(&name) {
        return Some(std::iter::once(name).chain(arguments).collect());
    }
    if arguments.next()? != "cc" {
        return None;
    }
    let words: Vec<OsString> = arguments.collect();
    words.first().is_some_and(|word| !word.as_encoded_bytes().starts_with(b"-")).then_some(words)
}

/// A compiler's name: with a version behind it, or its target before it.
fn is_compiler(name: &OsStr) -> bool {
    let Some(name) = name.to_str() else { return false };
    let name = name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.' || c == '-');
    let last = name.rsplit('-').next().unwrap_or(name);
    NAMES.contains(&last)
}

/// Compiles, here or elsewhere. Returns the compiler's exit code, or ours where there is no compiler.
pub(crate) fn compile(words: &[OsString], environment: &Environment) -> u8 {
    let (line, ended) = match ask(words, environment) {
        Asked::Done { code, cached } => {
            (if cached { "cached" } else { "remote" }.to_owned(), Some(code))
        }
        Asked::Local(reason) => (format!("local {reason}"), None),
        Asked::NoAgent => (format!("local {}", Reason::plain("no-agent")), None),
    };
    if let Some(log) = environment.get(LOG) {
        let words: Vec<_> = words.iter().map(|word| word.to_string_lossy()).collect();
        let line = format!("{line}\t{}\n", words.join(" ").escape_debug());
        let log = fs::OpenOptions::new().append(true).create(true).open(log);
        // The build goes on whether or not anybody hears of it.
        drop(log.and_then(|mut log| log.write_all(line.as_bytes())));
    }
    if let Some(code) = ended {
        return code;
    }
    let error = client::become_compiler(words, environment.get("PATH"));
    let name = words.first().map_or_else(String::new, |word| word.to_string_lossy().into_owned());
    drop(writeln!(std::io::stderr(), "hands: {}: {error}", hands_client::printable(&name)));
    if error.kind() == std::io::ErrorKind::NotFound {
        exit::NOT_FOUND
    } else {
        exit::CANNOT_EXECUTE
    }
}

fn ask(words: &[OsString], environment: &Environment) -> Asked {
    if environment.is_inside_action() {
        return Asked::Local(Reason::plain("inside"));
    }
    let no_agent = |why: &dyn std::fmt::Display| Asked::Local(Reason::new("no-agent", why));
    let spec = match agent_spec(environment) {
        Ok(spec) => spec,
        Err(problem) => return no_agent(&problem.line()),
    };
    match client::ask(&sockets(&spec), words, &environment.variables) {
        Asked::NoAgent => {}
        asked => return asked,
    }
    match runtime::for_a_person(hands_client::greet_agent(&spec)) {
        Ok(Ok(_)) => client::ask(&sockets(&spec), words, &environment.variables),
        Ok(Err(error)) => no_agent(&hands_front::chain(&error)),
        Err(problem) => no_agent(&problem.line()),
    }
}

fn agent_spec(environment: &Environment) -> Result<AgentSpec, Problem> {
    Ok(Places::find(environment)?.agent_spec(this_program()?))
}

fn sockets(spec: &AgentSpec) -> Vec<PathBuf> {
    spec.sockets.iter().map(|sockets| sockets.of_part(PART)).collect()
}

/// `hands cc` with flags, or with a whole build.
pub(crate) fn run(
    args: CcArgs,
    global: &GlobalArgs,
    mut environment: Environment,
    out: &Out,
) -> Result<u8, Problem> {
    let CcArgs { stats, zero_stats, json, command } = args;
    let flags = [("HANDS_CLUSTER", &global.cluster), ("HANDS_ENGINE", &global.engine)];
    for (name, value) in flags {
        if let Some(value) = value {
            environment.variables.insert(name.into(), value.into());
        }
    }
    if stats || zero_stats {
        let spec = agent_spec(&environment)?;
        let counts = counts(&spec, zero_stats)?;
        let text = if json { in_json(&counts) } else { in_words(&counts) };
        return out.data(text.as_bytes()).map_or_else(problem::unprinted, |()| Ok(exit::OK));
    }
    match is_build(std::env::args_os()) {
        true => build(&command, &environment, out),
        false => Ok(compile(&command, &environment)),
    }
}

/// Whether the words stand behind `cc --`.
fn is_build(arguments: impl Iterator<Item = OsString>) -> bool {
    let mut rest = arguments.skip_while(|word| word != "cc").skip(1);
    rest.next().is_some_and(|word| word == "--")
}

fn counts(spec: &AgentSpec, zero: bool) -> Result<Stats, Problem> {
    let counts = client::stats(&sockets(spec), zero);
    let counts = counts.map_err(|error| {
        Problem::new(ErrorClass::Infra { retry: true }, format!("the agent's counts: {error}"))
    })?;
    Ok(counts.unwrap_or_default())
}

fn in_json(stats: &Stats) -> String {
    let object = json!({ "cached": stats.hits, "remote": stats.remote, "local": stats.local });
    format!("{object}\n")
}

fn in_words(stats: &Stats) -> String {
    let local = stats.local.iter().map(|(code, count)| (*count, format!("here: {code}")));
    let all = [(stats.hits, "from the cache".to_owned()), (stats.remote, "on workers".to_owned())];
    let lines = all.into_iter().chain(local);
    lines.map(|(count, what)| format!("{count:>8}  {what}\n")).collect()
}

/// Runs a build with compilers that lead here first on its `PATH`, and says at its end where its compiles ran.
fn build(command: &[OsString], environment: &Environment, out: &Out) -> Result<u8, Problem> {
    let Some((program, arguments)) = command.split_first() else {
        return Err(Problem::new(ErrorClass::User, "there is no command behind `--`"));
    };
    let failed = |what: String, error: std::io::Error| {
        Problem::new(ErrorClass::Environment, format!("{what}: {error}"))
    };
    let mut child = std::process::Command::new(program);
    child.args(arguments).env_clear().envs(&environment.variables);
    let mut before = Stats::default();
    let mut spec = None;
    if !environment.is_inside_action() {
        // Without us the build is what it is.
        match prepared(environment) {
            Ok((path, agent, counted)) => {
                child.env("PATH", path);
                (before, spec) = (counted, Some(agent));
            }
            Err(problem) => {
                out.warning(&format!("the build goes on without the cluster: {}", problem.line()));
            }
        }
    }
    let status = child.status().map_err(|e| failed(program.to_string_lossy().into_owned(), e))?;
    if let Some(Ok(now)) = spec.map(|spec| counts(&spec, false)) {
        let now = now.since(&before);
        let local: u64 = now.local.values().sum();
        out.note(&format!(
            "compiles: {} from the cache, {} on workers, {local} here{}",
            now.hits,
            now.remote,
            reasons(&now.local)
        ));
    }
    let code = status.code().or(status.signal().map(|signal| 128 + signal));
    Ok(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(exit::NOT_RUN))
}

/// The `PATH` of a build, the agent that it asks, and what that has counted so far.
fn prepared(environment: &Environment) -> Result<(OsString, AgentSpec, Stats), Problem> {
    let places = Places::find(environment)?;
    let links = places.cache.join("cc/compilers");
    let path = environment.get("PATH").unwrap_or_default().to_owned();
    masquerade(&links, &path).map_err(|error| {
        Problem::new(ErrorClass::Environment, format!("{}: {error}", links.display()))
    })?;
    let mut whole = links.into_os_string();
    whole.push(":");
    whole.push(path);
    let agent = places.agent_spec(this_program()?);
    let counted = counts(&agent, false)?;
    Ok((whole, agent, counted))
}

fn reasons(local: &BTreeMap<String, u64>) -> String {
    let mut all: Vec<_> = local.iter().collect();
    all.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    let all: Vec<String> = all.iter().map(|(code, count)| format!("{code} {count}")).collect();
    if all.is_empty() { String::new() } else { format!(" ({})", all.join(", ")) }
}

/// Makes a directory of links to this program, one for each compiler that the `PATH` has.
fn masquerade(links: &Path, path: &OsStr) -> std::io::Result<()> {
    fs::create_dir_all(links)?;
    let program = std::env::current_exe()?;
    for place in std::env::split_paths(path).filter(|place| place != links) {
        // A place that can't be read has no compilers for its user.
        let Ok(entries) = fs::read_dir(place) else { continue };
        for entry in entries {
            let name = entry?.file_name();
            let link = links.join(&name);
            if !is_compiler(&name) || fs::read_link(&link).is_ok_and(|leads| leads == program) {
                continue;
            }
            // Beside it first: another build may be looking.
            let fresh = links.join(format!(".{}.{}", name.to_string_lossy(), std::process::id()));
            symlink(&program, &fresh)?;
            fs::rename(&fresh, &link)?;
        }
    }
    Ok(())
}

/// The part of the agent that runs compiles.
pub(crate) fn part() -> Arc<dyn AgentPart> {
    Arc::new(CcPart::new(Box::new(target)))
}

/// Where a compile goes: as its caller has set it.
fn target(variables: &BTreeMap<String, String>, directory: &Path) -> Result<Target, String> {
    let environment = Environment {
        variables: variables.iter().map(|(name, value)| (name.into(), value.into())).collect(),
        directory: Some(directory.to_owned()),
        uid: rustix::process::geteuid().as_raw(),
    };
    let places = Places::find(&environment).map_err(|error| hands_front::chain(&error))?;
    let settings = Settings::load(&places, &environment, &Flags::default())
        .map_err(|error| hands_front::chain(&error))?;
    let program = this_program().map_err(|problem| problem.line())?;
    let mut target = settings.target(&places, program);
    match &mut target {
        // It is we.
        Target::Agent(spec) => spec.start = false,
        Target::Hub { patience, agent, .. } => {
            *patience = PATIENCE;
            agent.start = false;
        }
    }
    Ok(target)
}
