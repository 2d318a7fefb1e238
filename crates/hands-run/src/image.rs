//! A container image as an action's root.

use std::time::{Duration, Instant};

use hands_client::{Cluster, ImageRoot, ImageSource, JobSpec};
use hands_front::args::ActionArgs;
use hands_front::eye::bytes;
use hands_front::{FrontEnd, RunError, spec};
use hands_types::Platform;
use hands_types::platform::property;

/// How long an image is read before a bar shows how far it is.
const UNSEEN: Duration = Duration::from_millis(500);

/// Opens the image that `--image` names.
pub(crate) fn open(text: &str, args: &ActionArgs) -> Result<ImageSource, RunError> {
    if args.prop.iter().any(|prop| prop.key == property::LAYER && prop.value.starts_with("/=")) {
        return Err(RunError::Usage(
            "--image and --prop layer=/=… both give the action its root".to_owned(),
        ));
    }
    Ok(ImageSource::open(text, args.os.as_deref(), args.arch.as_deref())?)
}

/// Puts the image into the cluster's store and makes it the action's root.
pub(crate) async fn become_root(
    image: &ImageSource,
    job: &mut JobSpec,
    args: &ActionArgs,
    cluster: &Cluster,
    front: &FrontEnd,
) -> Result<(), RunError> {
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
    }
    apply(&root, job, args, front);
    Ok(())
}

/// May be done again with the same image.
fn apply(root: &ImageRoot, job: &mut JobSpec, args: &ActionArgs, front: &FrontEnd) {
    let is_root =
        |(name, value): &&(String, String)| name == property::LAYER && value.starts_with("/=");
    let mut properties: Vec<(String, String)> =
        job.platform.properties().iter().filter(|p| !is_root(p)).cloned().collect();
    properties.push((property::LAYER.to_owned(), format!("/={}", root.tree.root)));
    job.platform = Platform::new(properties);
    job.env = spec::environment(args, &front.caller, &root.env);
}
