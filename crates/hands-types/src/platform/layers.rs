//! The property `layer`: trees of the store that an action sees beside its input root, or as its whole root.

#[cfg(test)]
mod tests;

use std::fmt;

use super::{Platform, property};
use crate::limits::MAX_ROOT_LAYERS;
use crate::{Digest, DigestFunction, TreeRef};

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
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layers<T = Digest> {
    /// The trees that are the root in place of the host's, topmost first, each once; none for the host's.
    pub root: Vec<T>,
    /// Trees at absolute paths of their own.
    pub mounted: Vec<(String, T)>,
}

impl<T> Default for Layers<T> {
    fn default() -> Self {
        Self { root: Vec::new(), mounted: Vec::new() }
    }
}

/// How a tree is expected to be written, alone and as one of several.
struct Form {
    one: &'static str,
    several: &'static str,
}

impl<T: PartialEq> Layers<T> {
    fn gather<'a>(
        values: impl Iterator<Item = &'a str>,
        form: &Form,
        tree: impl Fn(&str) -> Result<T, Option<&'static str>>,
    ) -> Result<Self, BadLayer> {
        let mut layers = Self::default();
        for value in values {
            let bad = |expected| BadLayer { value: value.to_owned(), expected };
            let (path, trees) = value.split_once('=').ok_or_else(|| bad(form.one))?;
            if path == "/" {
                if !layers.root.is_empty() {
                    return Err(bad(
                        "one property for the root, /=TREE,TREE… with the topmost first",
                    ));
                }
                for text in trees.split(',') {
                    let tree = tree(text).map_err(|why| bad(why.unwrap_or(form.several)))?;
                    if !layers.root.contains(&tree) {
                        layers.root.push(tree);
                    }
                }
                if layers.root.len() > MAX_ROOT_LAYERS {
                    return Err(bad("at most 128 layers"));
                }
            } else {
                if !is_plain(path) {
                    return Err(bad(form.one));
                }
                let tree = tree(trees).map_err(|why| bad(why.unwrap_or(form.one)))?;
                layers.mounted.push((path.to_owned(), tree));
            }
        }
        Ok(layers)
    }
}

impl Layers<TreeRef> {
    /// Reads what people write: as [`Layers::read`], with names in place of digests as well.
    pub fn written<'a>(values: impl Iterator<Item = &'a str>) -> Result<Self, BadLayer> {
        let form = Form {
            one: "PATH=TREE with an absolute path; a tree is HASH/SIZE, or the name that it has in the cluster's store",
            several: "/=TREE,TREE… with the topmost layer first; a tree is HASH/SIZE, or the name that it has in the cluster's store",
        };
        Self::gather(values, &form, |text| text.parse().map_err(|_| None))
    }

    /// All trees.
    pub fn trees(&self) -> impl Iterator<Item = &TreeRef> {
        self.root.iter().chain(self.mounted.iter().map(|(_, tree)| tree))
    }

    /// The same with the digest of each tree.
    pub fn resolved<E>(&self, digest: impl Fn(&TreeRef) -> Result<Digest, E>) -> Result<Layers, E> {
        let mut layers = Layers::default();
        for tree in &self.root {
            let tree = digest(tree)?;
            if !layers.root.contains(&tree) {
                layers.root.push(tree);
            }
        }
        for (path, tree) in &self.mounted {
            layers.mounted.push((path.clone(), digest(tree)?));
        }
        Ok(layers)
    }
}

impl Layers {
    /// Reads `PATH=HASH/SIZE`, and for the whole root `/=HASH/SIZE,HASH/SIZE…`, topmost first: properties are sorted by
    /// their values, so that the order of a stack has to be in one value. The hashes are of the action's function, which
    /// may stand before them (`blake3/HASH/SIZE`).
    pub fn read(platform: &Platform, function: DigestFunction) -> Result<Self, BadLayer> {
        let form = Form {
            one: "PATH=HASH/SIZE with an absolute path",
            several: "/=HASH/SIZE,HASH/SIZE… with the topmost layer first",
        };
        Self::gather(platform.all(property::LAYER), &form, |text| digest(text, function))
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

fn digest(text: &str, function: DigestFunction) -> Result<Digest, Option<&'static str>> {
    match text.parse::<Digest>() {
        // Without a function before it a hash is the action's.
        Ok(digest) if !text.starts_with(digest.function.name()) => {
            Ok(Digest { function, ..digest })
        }
        Ok(digest) if digest.function == function => Ok(digest),
        Ok(_) => Err(Some("trees that are named by the action's own digest function")),
        Err(_) => Err(None),
    }
}

fn is_plain(path: &str) -> bool {
    path.strip_prefix('/').is_some_and(|rest| {
        let mut names = rest.split('/');
        !path.contains('\0')
            && names.clone().any(|name| !name.is_empty())
            && names.all(|name| !matches!(name, "." | ".."))
    })
}
