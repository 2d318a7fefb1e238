//! From flags to an action.

use std::path::{Component, Path, PathBuf};

use hands_client::{Caching, JobSpec, Logs};
use hands_types::platform::property;
use hands_types::{Digest, Platform, RelPath};

use crate::args::ActionArgs;
use crate::caller::Caller;
use crate::error::RunError;
use crate::out::Out;

/// Makes an action's specification. Its input root is filled in by whoever takes the snapshot.
pub(crate) fn job(
    args: &ActionArgs,
    argv: Vec<String>,
    title: String,
    root: Option<Digest>,
    caller: &Caller,
) -> Result<JobSpec, RunError> {
    let mut job = JobSpec::new(argv);
    job.env = environment(args, caller);
    job.outputs = args.output.iter().map(|o| output(o)).collect::<Result<_, _>>()?;
    job.platform = platform(args, caller)?;
    job.input_root = root;
    job.timeout = args.timeout;
    job.caching = if args.cache { Caching::Cached } else { Caching::Uncached };
    job.priority = args.priority;
    job.logs = Logs::Live;
    job.retry = args.retry;
    job.queue_timeout = args.queue_timeout;
    job.title = title;
    Ok(job)
}

fn environment(args: &ActionArgs, caller: &Caller) -> Vec<(String, String)> {
    let mut all = Vec::with_capacity(args.env.len());
    for item in &args.env {
        let value = item.value.as_deref().or_else(|| caller.variable(&item.name));
        if let Some(value) = value {
            all.push((item.name.clone(), value.to_owned()));
        }
    }
    all
}

/// Says which variables could not be copied: usually a typing error.
pub(crate) fn warn_of_unset(args: &ActionArgs, caller: &Caller, out: &Out) {
    for item in &args.env {
        if item.value.is_none() && caller.variable(&item.name).is_none() {
            out.warning(&format!(
                "--env {}: it is not set here, so it is not set there",
                item.name
            ));
        }
    }
}

fn platform(args: &ActionArgs, caller: &Caller) -> Result<Platform, RunError> {
    let mut all: Vec<(String, String)> = Vec::new();
    let mut add = |key: &str, value: String| all.push((key.to_owned(), value));
    if let Some(os) = &args.os {
        add(property::OS, os.clone());
    }
    if let Some(arch) = &args.arch {
        add(property::ISA, arch.clone());
    }
    if let Some(cpu) = args.cpu {
        add(property::CPU, cpu.to_string());
    }
    if let Some(memory) = args.memory {
        add(property::MEMORY, memory.bytes.to_string());
    }
    if let Some(network) = args.network {
        add(property::NETWORK, network.name().to_owned());
    }
    if args.same_path {
        let directory = caller.directory.to_str().ok_or_else(|| {
            RunError::Usage(format!(
                "--same-path: the path {} is not UTF-8",
                caller.directory.display()
            ))
        })?;
        add(property::ROOT_PATH, directory.to_owned());
    }
    for tag in &args.tag {
        add(property::TAG, tag.clone());
    }
    for item in &args.prop {
        add(&item.key, item.value.clone());
    }
    Ok(Platform::new(all))
}

/// An output's path as the action has it: below the input root, which stands for the current directory.
fn output(text: &str) -> Result<String, RunError> {
    let wrong = |why: &str| RunError::Usage(format!("--output {text}: {why}"));
    if text.is_empty() {
        return Err(wrong("it names nothing"));
    }
    if text.starts_with('/') {
        return Err(wrong("it is absolute; name it relative to the current directory"));
    }
    let path = RelPath::normalized(text).map_err(|_| wrong("it leaves the current directory"))?;
    if path.as_str().is_empty() {
        return Err(wrong("it is the whole directory; name what the command makes"));
    }
    Ok(path.as_str().to_owned())
}

/// Where an input of this machine appears in the input root: at the same relative path.
pub(crate) fn input_place(path: &Path, caller: &Caller) -> Result<RelPath, RunError> {
    let wrong = |why: &str| RunError::Usage(format!("--input {}: {why}", path.display()));
    let plain = !path.components().any(|c| c == Component::ParentDir);
    let below =
        if path.is_absolute() { path.strip_prefix(&caller.directory).ok() } else { Some(path) };
    let below = match below {
        Some(below) if plain => below.to_owned(),
        // `..`, or a way here through a link.
        _ => physical(path, &caller.directory).ok_or_else(|| {
            wrong(
                "it lies outside the current directory, and an input keeps its relative path; \
                 run from a directory that holds it, or copy it here",
            )
        })?,
    };
    let names: Vec<&str> = below
        .components()
        .filter(|c| *c != Component::CurDir)
        .map(|c| c.as_os_str().to_str().ok_or_else(|| wrong("it is not UTF-8")))
        .collect::<Result<_, _>>()?;
    RelPath::new(&names.join("/")).map_err(|error| wrong(&error.to_string()))
}

/// Where the path leads, relative to the directory; none when that is not below it. A link at the path's end counts as
/// itself.
fn physical(path: &Path, directory: &Path) -> Option<PathBuf> {
    let path = directory.join(path);
    let path = match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) => parent.canonicalize().ok()?.join(name),
        _ => path.canonicalize().ok()?,
    };
    Some(path.strip_prefix(directory).ok()?.to_owned())
}
