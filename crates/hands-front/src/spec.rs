//! From flags to an action.

use std::path::{Component, Path, PathBuf};

use hands_client::{Caching, JobSpec, Logs, printable};
use hands_types::platform::{Layers, property};
use hands_types::{Digest, Platform, RelPath, TreeRef};

use crate::args::ActionArgs;
use crate::behind::behind_links;
use crate::caller::Caller;
use crate::error::RunError;
use crate::out::Out;

/// Makes an action's specification. Its input root is filled in by whoever takes the snapshot, and its layers by
/// [`crate::FrontEnd::give_layers`].
pub fn job(
    args: &ActionArgs,
    argv: Vec<String>,
    title: String,
    root: Option<Digest>,
    caller: &Caller,
) -> Result<JobSpec, RunError> {
    let mut job = JobSpec::new(argv);
    job.outputs = outputs(args)?;
    let layout = layout(&args.input, caller)?;
    job.outputs.extend(behind_links(&job.outputs, &layout));
    job.platform = platform(args, &layout)?;
    // Wrong ones are told before anything is sent; their names are looked up by `FrontEnd::give_layers`.
    let _written = layers(args)?;
    job.env = environment(args, caller, &[]);
    job.cwd = layout.directory;
    job.input_root = root;
    job.timeout = args.timeout;
    job.caching = if args.cache { Caching::Cached } else { Caching::Uncached };
    job.times = !args.cache;
    job.priority = args.priority;
    job.logs = Logs::Live;
    job.retry = args.retry;
    job.queue_timeout = args.queue_timeout;
    job.title = title;
    Ok(job)
}

/// The declared outputs, as the action has them.
pub fn outputs(args: &ActionArgs) -> Result<Vec<String>, RunError> {
    args.output.iter().map(|path| output(path)).collect()
}

/// The command's variables. `image` are those that a container image brings: more particular than what is usual here, less
/// than what was asked for.
pub fn environment(
    args: &ActionArgs,
    caller: &Caller,
    image: &[(String, String)],
) -> Vec<(String, String)> {
    // Of a variable that stands there twice the last one counts.
    let mut all = caller.defaults.clone();
    all.extend_from_slice(image);
    for item in &args.env {
        let value = item.value.as_deref().or_else(|| caller.variable(&item.name));
        if let Some(value) = value {
            all.push((item.name.clone(), value.to_owned()));
        }
    }
    all
}

/// Says which variables could not be copied: usually a typing error.
pub fn warn_of_unset(args: &ActionArgs, caller: &Caller, out: &Out) {
    for item in &args.env {
        if item.value.is_none() && caller.variable(&item.name).is_none() {
            out.warning(&format!(
                "--env {}: it is not set here, so it is not set there",
                item.name
            ));
        }
    }
}

fn platform(args: &ActionArgs, layout: &Layout) -> Result<Platform, RunError> {
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
    if let Some(privilege) = args.privilege {
        add(property::PRIVILEGE, privilege.name().to_owned());
    }
    if args.same_path {
        // Its inputs would have to stand in the place of the worker's whole system.
        if layout.top.parent().is_none() {
            return Err(RunError::Usage(
                "--same-path: this directory is /, which a worker keeps for its own system; go to one below it".to_owned(),
            ));
        }
        let top = layout.top.to_str().ok_or_else(|| {
            RunError::Usage(format!("--same-path: the path {} is not UTF-8", layout.top.display()))
        })?;
        add(property::ROOT_PATH, top.to_owned());
    }
    for tag in &args.tag {
        add(property::TAG, tag.clone());
    }
    for item in args.prop.iter().filter(|item| item.key != property::LAYER) {
        add(&item.key, item.value.clone());
    }
    Ok(Platform::new(all))
}

/// The trees that `--layer` and `--prop layer=…` name. Without a path it is the root.
pub fn layers(args: &ActionArgs) -> Result<Layers<TreeRef>, RunError> {
    let flags = args.layer.iter().map(|text| match text.contains('=') {
        true => text.clone(),
        false => format!("/={text}"),
    });
    let flags: Vec<String> = flags.collect();
    let properties = args.prop.iter().filter(|item| item.key == property::LAYER);
    let values = flags.iter().chain(properties.map(|item| &item.value));
    let layers = Layers::written(values.map(String::as_str)).map_err(|error| {
        let flag = flags.iter().position(|value| *value == error.value);
        RunError::Usage(match flag.map(|at| printable(&args.layer[at])) {
            Some(flag) => format!("--layer {flag}: expected {}", error.expected),
            None => error.to_string(),
        })
    })?;
    if args.image.is_some() && !layers.root.is_empty() {
        let is_flag = flags.iter().any(|value| value.starts_with("/="));
        let flag = if is_flag { "--layer TREE" } else { "--prop layer=/=…" };
        return Err(RunError::Usage(format!("--image and {flag} both give the action its root")));
    }
    Ok(layers)
}

/// Whether it names any.
pub fn has_layers(args: &ActionArgs) -> bool {
    !args.layer.is_empty() || args.prop.iter().any(|item| item.key == property::LAYER)
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

/// Where inputs and the current directory stand in the input root. Its top is the nearest directory that holds them all,
/// so that each has the path from the current directory that it has here.
#[derive(Debug, PartialEq, Eq)]
pub struct Layout {
    /// What the input root's top stands for.
    pub top: PathBuf,
    /// The current directory below it.
    pub directory: RelPath,
    /// The inputs below it, in their order.
    pub places: Vec<RelPath>,
}

/// Lays the inputs out.
pub fn layout<P: AsRef<Path>>(inputs: &[P], caller: &Caller) -> Result<Layout, RunError> {
    let here = &caller.directory;
    let wrong =
        |path: &Path, why: &str| RunError::Usage(format!("--input {}: {why}", path.display()));
    let mut top = here.as_path();
    let mut found = Vec::with_capacity(inputs.len());
    for input in inputs {
        let input = input.as_ref();
        let path = located(input, here)?;
        while !path.starts_with(top) {
            top = top.parent().filter(|above| above.parent().is_some()).ok_or_else(|| {
                wrong(input, "it shares no directory with the current one; copy it here")
            })?;
        }
        found.push((input, path));
    }
    let below = |path: &Path| {
        let path = path.strip_prefix(top).ok()?.to_str()?;
        RelPath::new(path).ok()
    };
    let places = found
        .iter()
        .map(|(input, path)| below(path).ok_or_else(|| wrong(input, "its path is not UTF-8")))
        .collect::<Result<_, _>>()?;
    let directory = below(here).ok_or_else(|| wrong(here, "its path is not UTF-8"))?;
    Ok(Layout { top: top.to_owned(), directory, places })
}

/// The path from the root of this machine. A link at its end counts as itself; one on the way counts as itself below the
/// current directory, and elsewhere as what it leads to.
fn located(path: &Path, here: &Path) -> Result<PathBuf, RunError> {
    let whole: PathBuf = here.join(path).components().filter(|c| *c != Component::CurDir).collect();
    if whole.starts_with(here) && !path.components().any(|c| c == Component::ParentDir) {
        return Ok(whole);
    }
    let failed = |source| {
        RunError::Client(hands_client::ClientError::Input { path: path.to_owned(), source })
    };
    match (whole.parent(), whole.file_name()) {
        (Some(parent), Some(name)) => Ok(parent.canonicalize().map_err(failed)?.join(name)),
        _ => whole.canonicalize().map_err(failed),
    }
}
