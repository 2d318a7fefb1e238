//! A container image as an action's root.

use std::time::{Duration, Instant};

use hands_client::{Cluster, ClusterKind, ImageRoot, ImageSource, JobSpec, Root, TreeSpec};
use hands_front::args::ActionArgs;
use hands_front::eye::bytes;
use hands_front::{Around, FrontEnd, RunError, printable, spec};
use hands_types::platform::{FIXED_PATH, property};
use hands_types::{Platform, RelPath};

/// How long an image is read before a bar shows how far it is.
const UNSEEN: Duration = Duration::from_millis(500);

/// Opens the image that `--image` names.
pub(crate) fn open(args: &ActionArgs) -> Result<Option<ImageSource>, RunError> {
    let (os, arch) = (args.os.as_deref(), args.arch.as_deref());
    Ok(args.image.as_deref().map(|text| ImageSource::open(text, os, arch)).transpose()?)
}

/// Puts the image into the cluster's store.
pub(crate) async fn read(
    image: &ImageSource,
    cluster: &Cluster,
    front: &FrontEnd,
) -> Result<ImageRoot, RunError> {
    let watched = front.out.watched();
    let began = Instant::now();
    let root = cluster.image(image, |now| {
        if watched && began.elapsed() > UNSEEN {
            let read = bytes(now.bytes_hashed);
            front.out.draw_bar(&format!("reading the image: {} files, {read}", now.files));
        }
    });
    let root = root.await;
    front.out.wipe_bar();
    let root = root?;
    if front.out.is_verbose() {
        let tree = &root.tree;
        let (all, sent) = (bytes(tree.bytes), bytes(tree.bytes_sent));
        front.out.note(&format!("read the image: {} entries, {all}, {sent} sent", tree.files));
        if !root.lost.is_empty() {
            front.out.note(&format!("left out of the image: {}", root.lost.join(", ")));
        }
        if !root.user.is_empty() {
            front.out.note("the image names a user; an action has one of its own all the same");
        }
    }
    Ok(root)
}

/// The command that runs where none is given.
pub(crate) fn command_of(image: &ImageRoot) -> Result<Vec<String>, RunError> {
    let command = [&image.entrypoint[..], &image.command].concat();
    if command.is_empty() {
        return Err(RunError::Usage("name a command: the image has none of its own".to_owned()));
    }
    Ok(command)
}

/// Gives the action the image: as its root, or on another engine below its inputs. Answers with what goes around these. May be
/// done again with the same image.
pub(crate) async fn apply(
    image: &ImageRoot,
    job: &mut JobSpec,
    args: &ActionArgs,
    cluster: &Cluster,
    front: &FrontEnd,
) -> Result<Around, RunError> {
    job.env = spec::environment(args, &front.caller, &image.env);
    let begin = &image.working_directory;
    let below_root = RelPath::normalized(begin.trim_start_matches('/')).map_err(|_| {
        RunError::Usage(format!(
            "the image's working directory makes no sense: {}",
            printable(begin)
        ))
    })?;
    job.root = Root::Layers(vec![image.tree.root]);
    if cluster.kind() == ClusterKind::Engine {
        let at = cluster.directory_in(image.tree.root, &below_root).await?;
        let (program, over) = relocate(image, job, cluster, &at).await?.unzip();
        job.cwd = at.join(&job.cwd);
        let below = Some(TreeSpec::Merged(job.flatten().into_iter().chain(over).collect()));
        return Ok(Around { below, at, above: None, program });
    }
    let mut pairs = job.platform.properties().to_vec();
    let has = |name: &str| job.platform.get(name).is_some();
    let mut add = |name: &str, value: &str| {
        if !has(name) {
            pairs.push((name.to_owned(), value.to_owned()));
        }
    };
    // No other worker could run its programs.
    add(property::OS, &image.os);
    add(property::ISA, &image.isa);
    // Inputs are laid over what the image has there. With inputs from above the current directory it would be their top that
    // stands there, and not the directory.
    let begins_there =
        !has(property::ROOT_PATH) && !below_root.as_str().is_empty() && job.cwd.as_str().is_empty();
    let mut around = Around::default();
    if begins_there {
        add(property::ROOT_PATH, &format!("/{below_root}"));
        around.below = Some(TreeSpec::Stored(image.tree.root).part(below_root));
    }
    job.platform = Platform::new(pairs);
    Ok(around)
}

/// Names the program by where it stands in the input root, since an engine's own root is not the image. Answers with where
/// it stands and what has to be laid over the image for that, if anything.
async fn relocate(
    image: &ImageRoot,
    job: &mut JobSpec,
    cluster: &Cluster,
    begin: &RelPath,
) -> Result<Option<(RelPath, TreeSpec)>, RunError> {
    let Some(word) = job.argv.first() else { return Ok(None) };
    // The image's, unless the user gives another.
    let search = job.env.iter().rev().find(|(name, _)| name == "PATH");
    let search = search.map_or(FIXED_PATH, |(_, value)| value);
    let Some(found) = cluster.program_in(image.tree.root, word, search).await? else {
        return Ok(None);
    };
    let depth = begin.join(&job.cwd).names().count();
    let up = if depth == 0 { "./".to_owned() } else { "../".repeat(depth) };
    job.argv[0] = format!("{up}{}", found.path);
    Ok(found.over.map(|over| (found.path, over)))
}

/// What an image, or a layer, can't be on another engine, as a sentence.
pub(crate) fn warning(args: &ActionArgs, cluster: &Cluster) -> Option<String> {
    if spec::has_layers(args) && args.image.is_none() && cluster.kind() == ClusterKind::Engine {
        return Some(format!(
            "on {} layers lie in the input root and not at their paths: absolute paths are those of the engine's workers",
            cluster.peer()
        ));
    }
    (args.image.is_some() && cluster.kind() == ClusterKind::Engine).then(|| {
        format!(
            "on {} the image lies in the input root and is not the command's root: absolute paths and shared libraries are those of the engine's workers",
            cluster.peer()
        )
    })
}
