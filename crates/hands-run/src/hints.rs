//! What most likely went wrong when a command failed, as the next step to take.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hands_client::{JobResult, Snapshot, printable};
use hands_front::args::ActionArgs;
use hands_front::{Caller, RunError, eye, shell_quoted, spec};
use hands_types::platform::FIXED_PATH;
use hands_types::{Isolation, Network, Word};

/// More names than these tell nobody more.
const MOST: usize = 3;

/// Hints for a command that ended with something else than 0. One that succeeded, and whose outputs are not whole, lacked
/// nothing itself.
pub(crate) fn for_failure(
    argv: &[String],
    args: &ActionArgs,
    result: &JobResult,
    caller: &Caller,
) -> Vec<String> {
    let mut hints = Vec::new();
    if result.is_success() {
        return hints;
    }
    let mut here = unsent(argv, args, &caller.directory);
    here.retain(|word| !is_brought(result, Path::new(word)));
    here.truncate(MOST);
    if let [first, ..] = here.as_slice() {
        let flags: Vec<String> =
            here.iter().map(|p| format!("--input {}", shell_quoted(p))).collect();
        let (it, was) = if here.len() == 1 {
            (printable(first).into_owned(), "was")
        } else {
            ("these".to_owned(), "were")
        };
        let exist = if here.len() == 1 { "exists" } else { "exist" };
        hints.push(format!("{it} {exist} here but {was} not sent: add {}", flags.join(" ")));
    }
    if let (Some(127), Some(program)) = (result.exit_code(), on_path(argv, caller)) {
        let (name, path) = (printable(&argv[0]), program.display().to_string());
        hints.push(format!(
            "{name} is {} here, and not on the PATH of an action there: name it by its path, where the worker or an input has it",
            printable(&path)
        ));
    }
    if result.usage().is_some_and(|u| u.network_attempted) && args.network != Some(Network::Host) {
        hints.push(
            "the command tried to reach the network, and an action has none by default: add --network host".to_owned(),
        );
    }
    hints
}

/// What was asked for by flag and could not be had where the action ran, which shows at the end only: the level is the
/// worker's.
pub(crate) fn not_kept(args: &ActionArgs, result: &JobResult) -> Vec<String> {
    let level = result.usage().map_or_else(String::new, |usage| usage.isolation);
    let (network, same_path) = match Isolation::read(&level) {
        Some(Isolation::NoNetns) => (false, true),
        Some(Isolation::Process) => (false, false),
        Some(Isolation::Full) | None => return Vec::new(),
    };
    let mut lost = Vec::new();
    let cure = "`--prop isolation=full` asks for a worker that keeps it";
    match args.network {
        Some(wanted @ (Network::None | Network::Loopback)) if !network => lost.push(format!(
            "--network {} was not kept: isolation {level} leaves an action the worker's own network; {cure}",
            wanted.name()
        )),
        _ => {}
    }
    if args.same_path && !same_path {
        lost.push(format!(
            "--same-path was not kept: isolation {level} runs an action in a directory of the worker's; {cure}"
        ));
    }
    lost
}

/// That a worker's clock is so wrong that its times can't be compared with those of the inputs, as a sentence.
pub(crate) fn wrong_clock(args: &ActionArgs, result: &JobResult) -> Option<String> {
    const TOLERATED: u64 = 1_000_000_000;
    let ahead = result.clock_ahead();
    let nanos = u64::try_from(ahead.unsigned_abs()).unwrap_or(u64::MAX);
    if args.cache || args.input.is_empty() || nanos < TOLERATED {
        return None;
    }
    let (by, side) =
        (eye::time(Duration::from_nanos(nanos)), if ahead > 0 { "ahead of" } else { "behind" });
    let worker = result.worker();
    Some(format!(
        "the clock of {} is {by} {side} this machine's: a program that compares times, such as make, may not see what has changed; set the clocks",
        if worker.is_empty() { "the worker" } else { &worker }
    ))
}

/// That output directories which are here were not sent, although inputs hold them: a build that goes on where it was left
/// would begin anew. An action whose result is cached is to begin anew.
pub(crate) fn ignored_outputs(
    args: &ActionArgs,
    outputs: &[String],
    snapshot: &Snapshot,
    caller: &Caller,
) -> Result<Option<String>, RunError> {
    if args.cache || snapshot.ignored_directories.is_empty() {
        return Ok(None);
    }
    let layout = spec::layout(&args.input, caller)?;
    let is_ignored = |output: &str| {
        let path = Path::new(layout.directory.as_str()).join(output);
        let is_named = |ignored: &str| {
            let mut named = layout.places.iter().map(|place| Path::new(place.as_str()));
            named.any(|named| named.starts_with(ignored) && path.starts_with(named))
        };
        let mut ignored = snapshot.ignored_directories.iter().filter(|i| path.starts_with(i));
        ignored.any(|i| !is_named(i))
    };
    // One that can't be listed has nothing to go on from either.
    let is_kept = |output: &String| {
        let listed = caller.directory.join(output).read_dir();
        listed.is_ok_and(|mut listed| listed.next().is_some()) && is_ignored(output)
    };
    let mut lacking = outputs.iter().filter(|output| is_kept(output));
    let Some(first) = lacking.next() else { return Ok(None) };
    let flags =
        lacking.take(MOST - 1).fold(format!("--input {}", shell_quoted(first)), |all, o| {
            format!("{all} --input {}", shell_quoted(o))
        });
    Ok(Some(format!(
        "what is in {} stays here, for an ignore file names it: add {flags} to go on from it",
        printable(first)
    )))
}

/// The program that a command would be here.
fn on_path(argv: &[String], caller: &Caller) -> Option<PathBuf> {
    let name = argv.first().filter(|name| !name.contains('/') && !name.is_empty())?;
    // These an action has on its PATH anyway: it found what is there, and something else was not.
    let is_there = |path: &str| FIXED_PATH.split(':').any(|fixed| fixed == path);
    let directories = caller.variable("PATH")?.split(':');
    let directories = directories.filter(|path| path.starts_with('/') && !is_there(path));
    directories.map(|directory| Path::new(directory).join(name)).find(|path| {
        path.metadata().is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
    })
}

/// Whether it is here because the action made it.
fn is_brought(result: &JobResult, path: &Path) -> bool {
    let plain = path.strip_prefix(".").unwrap_or(path);
    result.output_paths().any(|output| {
        let output = Path::new(output);
        let output = output.strip_prefix(".").unwrap_or(output);
        plain.starts_with(output) || output.starts_with(plain)
    })
}

/// Whether a relative path belongs to an input.
pub(crate) fn is_sent(args: &ActionArgs, directory: &Path, path: &Path) -> bool {
    args.input.iter().any(|input| {
        let input = input.strip_prefix(directory).unwrap_or(input);
        let input = input.strip_prefix(".").unwrap_or(input);
        path.starts_with(input)
    })
}

/// Relative paths that the command names, that exist here, and that no `--input` covers.
fn unsent(argv: &[String], args: &ActionArgs, directory: &Path) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for (index, word) in words(argv).into_iter().enumerate() {
        // The program itself is looked up on the worker's PATH unless it is written as a path.
        if word.starts_with(['/', '-', '~']) || (index == 0 && !word.contains('/')) {
            continue;
        }
        let path = Path::new(word);
        let plain = path.strip_prefix(".").unwrap_or(path);
        // `..` alone is nobody's input.
        let names_something = plain.file_name().is_some();
        if names_something
            && !is_sent(args, directory, plain)
            && !found.iter().any(|f| f == word)
            && directory.join(path).symlink_metadata().is_ok()
        {
            found.push(word.to_owned());
        }
    }
    found
}

/// The words of a command; of `sh -c LINE` those of the line, roughly.
fn words(argv: &[String]) -> Vec<&str> {
    if let [shell, flag, line, ..] = argv
        && flag == "-c"
        && shell.ends_with("sh")
    {
        return line
            .split(|c: char| c.is_whitespace() || ";|&<>()\"'`$".contains(c))
            .filter(|w| !w.is_empty())
            .collect();
    }
    argv.iter().map(String::as_str).collect()
}
