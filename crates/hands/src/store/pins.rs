//! `hands store pin`, `unpin` and `pins`: trees that stay by their names.

use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime};

use hands_client::{Cluster, ImageSource, Input, NamedTree, Paths, TreeSpec, unknown_name};
use hands_front::eye::bytes;
use hands_front::{Out, Table};
use hands_store::Store;
use hands_types::error::exit;
use hands_types::{Digest, ErrorClass, RelPath, TreeName};
use serde_json::{Value, json};

use super::Asked;
use crate::cli::PinArgs;
use crate::problem::{Problem, unprinted};

/// How long something is read before a bar shows how far it is.
const UNSEEN: Duration = Duration::from_millis(500);

/// What gets the name.
enum Wanted<'a> {
    Tree(Digest),
    Directory(&'a Path),
    Image(&'a str),
}

fn user(why: String) -> Problem {
    Problem::new(ErrorClass::User, why)
}

fn name(text: &str) -> Result<TreeName, Problem> {
    TreeName::new(text).map_err(|error| user(error.to_string()))
}

fn wanted(args: &PinArgs) -> Result<Wanted<'_>, Problem> {
    match (&args.input, &args.tree) {
        (Some(directory), _) => Ok(Wanted::Directory(directory)),
        (None, Some(text)) => match text.parse() {
            Ok(digest) => Ok(Wanted::Tree(digest)),
            Err(_) if text.contains(':') => Ok(Wanted::Image(text)),
            Err(error) => Err(user(format!(
                "`{}` is {error}; it is no image either, oci:DIR[:NAME] or docker-archive:FILE[:NAME]",
                hands_client::printable(text)
            ))),
        },
        (None, None) => Err(user("name a tree, an image, or a directory with --input".to_owned())),
    }
}

/// Whether something of this machine is to be read. Wrong words are told before anybody is asked.
pub(super) fn reads(args: &PinArgs) -> Result<bool, Problem> {
    let _name = name(&args.name)?;
    Ok(!matches!(wanted(args)?, Wanted::Tree(_)))
}

pub(super) fn needs_agent() -> Problem {
    user("a directory or an image is read by an agent, into a store that is served: leave --state out".to_owned())
}

pub(super) async fn pin(asked: &Asked, args: &PinArgs, out: &Out) -> Result<u8, Problem> {
    let name = name(&args.name)?;
    let (tree, before) = match asked {
        Asked::Cluster(cluster) => {
            let root = root(cluster, &wanted(args)?, out).await?;
            cluster.pin_tree(&name, &root).await?
        }
        Asked::Here(store) => {
            let Wanted::Tree(root) = wanted(args)? else { return Err(needs_agent()) };
            let named = store.name_tree(&name, &root);
            let (tree, before) = named.map_err(|error| Problem::of(&error, error.class()))?;
            (plain(tree), before)
        }
    };
    let line = if args.json { json_of(&tree).to_string() } else { tree.tree.to_string() };
    if let Err(error) = out.data_line(&line) {
        return unprinted(error);
    }
    if let Some(before) = before {
        out.note(&format!("{name} was the name of {before}, which goes when room is needed"));
    }
    if out.watched() || out.is_verbose() {
        out.note(&format!("{name} stays: {} blobs, {}", tree.blobs, bytes(tree.bytes)));
    }
    Ok(exit::OK)
}

/// The root of what gets the name, in the cluster's store.
async fn root(cluster: &Cluster, wanted: &Wanted<'_>, out: &Out) -> Result<Digest, Problem> {
    let began = SystemTime::now();
    let watched = out.watched();
    let mut show = |now: &hands_client::SnapshotProgress| {
        if watched && began.elapsed().is_ok_and(|time| time > UNSEEN) {
            out.draw_bar(&format!("reading: {} files, {}", now.files, bytes(now.bytes_hashed)));
        }
    };
    let made = match wanted {
        Wanted::Tree(root) => return Ok(*root),
        Wanted::Directory(directory) => {
            let here = directory.canonicalize().and_then(|path| match path.is_dir() {
                true => Ok(path),
                false => Err(io::ErrorKind::NotADirectory.into()),
            });
            let here =
                here.map_err(|error| user(format!("--input {}: {error}", directory.display())))?;
            let input = Input::open(&here, RelPath::default(), true)?;
            let directory = RelPath::default();
            let paths = Paths { inputs: vec![input], directory, times: false };
            cluster.tree(TreeSpec::Paths(paths), &mut show).await
        }
        Wanted::Image(text) => {
            let image = ImageSource::open(text, None, None)?;
            cluster.image(&image, &mut show).await.map(|image| image.tree)
        }
    };
    out.wipe_bar();
    let made = made?;
    let lost = [
        (made.ignored_count, "by ignore files"),
        (made.vanished_count, "since they went while they were read"),
        (made.unfit_count, "since they are neither files, directories nor links"),
    ];
    for (count, why) in lost.iter().filter(|(count, _)| *count > 0) {
        out.warning(&format!("{count} left out {why}"));
    }
    Ok(made.root)
}

pub(super) async fn unpin(
    asked: &Asked,
    text: &str,
    as_json: bool,
    out: &Out,
) -> Result<u8, Problem> {
    let name = name(text)?;
    let gone = match asked {
        Asked::Cluster(cluster) => cluster.unpin_tree(&name).await?,
        Asked::Here(store) => store.unname_tree(&name)?.map(plain),
    };
    let Some(tree) = gone else {
        let all = all(asked).await?;
        return Err(user(unknown_name(&name, all.iter().map(|tree| tree.name.as_str()))));
    };
    let line = if as_json { json_of(&tree).to_string() } else { tree.tree.to_string() };
    out.data_line(&line).map_or_else(unprinted, |()| Ok(exit::OK))
}

pub(super) async fn list(asked: &Asked, as_json: bool, out: &Out) -> Result<u8, Problem> {
    let all = all(asked).await?;
    if as_json {
        let lines: String = all.iter().map(|tree| format!("{}\n", json_of(tree))).collect();
        return out.data(lines.as_bytes()).map_or_else(unprinted, |()| Ok(exit::OK));
    }
    let mut table = Table::new(&["NAME", "SIZE", "BLOBS", "TREE"], 3);
    for tree in &all {
        let (size, blobs) = (bytes(tree.bytes), tree.blobs.to_string());
        table.row(vec![tree.name.to_string(), size, blobs, tree.tree.to_string()]);
    }
    table.print(out).map_or_else(unprinted, |()| Ok(exit::OK))
}

async fn all(asked: &Asked) -> Result<Vec<NamedTree>, Problem> {
    Ok(match asked {
        Asked::Cluster(cluster) => cluster.named_trees(&[]).await?,
        Asked::Here(store) => here(store)?,
    })
}

fn here(store: &Store) -> Result<Vec<NamedTree>, Problem> {
    Ok(store.named_trees(&[])?.into_iter().map(plain).collect())
}

fn plain(tree: hands_store::NamedTree) -> NamedTree {
    let hands_store::NamedTree { name, root, blobs, bytes, since } = tree;
    NamedTree { name, tree: root, blobs, bytes, since: Some(since) }
}

fn json_of(tree: &NamedTree) -> Value {
    let since = tree.since.and_then(|time| time.duration_since(SystemTime::UNIX_EPOCH).ok());
    json!({
        "name": tree.name.as_str(),
        "tree": tree.tree.to_string(),
        "blobs": tree.blobs,
        "bytes": tree.bytes,
        "since": since.map(|since| since.as_secs()),
    })
}
