//! The property `layer`: trees of the store that an action sees beside its input root, or as its whole root.

#[cfg(test)]
mod tests;

use std::fmt;

use super::{Platform, property};
use crate::limits::MAX_ROOT_LAYERS;
use crate::{Digest, DigestFunction};

/// What an action sees as its file system beside its input root.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Root {
    /// The part of its worker's files that is shown to actions.
    #[default]
    Host,
    /// These trees and nothing of the worker's, topmost first.
    Layers(Vec<Digest>),
}

/// A tree that an action sees, read-only, at a path of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer {
    /// Where: an absolute path.
    pub path: String,
    /// The root of the tree, which must be in the store.
    pub tree: Digest,
}

/// What all `layer` properties of a platform say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layers {
    /// The trees that are the root in place of the host's, topmost first, each once; none for the host's.
    pub root: Vec<Digest>,
    /// Trees at absolute paths of their own.
    pub mounted: Vec<(String, Digest)>,
}

impl Layers {
    /// Reads `PATH=HASH/SIZE`, and for the whole root `/=HASH/SIZE,HASH/SIZE…`, topmost first: properties are sorted by
    /// their values, so that the order of a stack has to be in one value. The hashes are of the action's function, which
    /// may stand before them (`blake3/HASH/SIZE`).
    pub fn read(platform: &Platform, function: DigestFunction) -> Result<Self, BadLayer> {
        let mut layers = Self::default();
        for value in platform.all(property::LAYER) {
            let bad = |expected| BadLayer { value: value.to_owned(), expected };
            let (path, digests) =
                value.split_once('=').ok_or_else(|| bad("PATH=HASH/SIZE with an absolute path"))?;
            if path == "/" {
                if !layers.root.is_empty() {
                    return Err(bad(
                        "one property for the root, /=HASH/SIZE,HASH/SIZE… with the topmost first",
                    ));
                }
                for text in digests.split(',') {
                    let digest = digest(text, function).ok_or_else(|| {
                        bad("/=HASH/SIZE,HASH/SIZE… with the topmost layer first")
                    })?;
                    if !layers.root.contains(&digest) {
                        layers.root.push(digest);
                    }
                }
                if layers.root.len() > MAX_ROOT_LAYERS {
                    return Err(bad("at most 128 layers"));
                }
            } else {
                let digest = digest(digests, function).filter(|_| is_plain(path));
                let digest = digest.ok_or_else(|| bad("PATH=HASH/SIZE with an absolute path"))?;
                layers.mounted.push((path.to_owned(), digest));
            }
        }
        Ok(layers)
    }

    /// The properties that say the same.
    pub fn properties(root: &Root, layers: &[Layer]) -> Vec<(String, String)> {
        let mut values: Vec<String> =
            layers.iter().map(|layer| format!("{}={}", layer.path, layer.tree)).collect();
        if let Root::Layers(stack) = root {
            let stack: Vec<String> = stack.iter().map(Digest::to_string).collect();
            values.push(format!("/={}", stack.join(",")));
        }
        values.into_iter().map(|value| (property::LAYER.to_owned(), value)).collect()
    }

    /// The same, as an action is described.
    pub fn into_parts(self) -> (Root, Vec<Layer>) {
        let root = if self.root.is_empty() { Root::Host } else { Root::Layers(self.root) };
        let mounted = self.mounted.into_iter();
        (root, mounted.map(|(path, tree)| Layer { path, tree }).collect())
    }

    /// All trees.
    pub fn digests(&self) -> impl Iterator<Item = Digest> {
        self.root.iter().copied().chain(self.mounted.iter().map(|(_, digest)| *digest))
    }
}

/// A `layer` property that can't be read. The user's error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadLayer {
    /// Its value.
    pub value: String,
    /// What was expected.
    pub expected: &'static str,
}

impl fmt::Display for BadLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.value.escape_debug();
        write!(f, "platform property {}={value}: expected {}", property::LAYER, self.expected)
    }
}

impl std::error::Error for BadLayer {}

fn digest(text: &str, function: DigestFunction) -> Option<Digest> {
    let plain =
        text.strip_prefix(function.name()).and_then(|rest| rest.strip_prefix('/')).unwrap_or(text);
    let (hash, size) = plain.split_once('/')?;
    Digest::from_hex(function, hash, size.parse().ok()?).ok()
}

fn is_plain(path: &str) -> bool {
    path.strip_prefix('/').is_some_and(|rest| {
        let mut names = rest.split('/');
        !path.contains('\0')
            && names.clone().any(|name| !name.is_empty())
            && names.all(|name| !matches!(name, "." | ".."))
    })
}
