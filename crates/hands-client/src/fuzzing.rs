//! What no tree of outputs may do, whatever its bytes are: for `fuzz/` and for the tests.

#[cfg(test)]
mod tests;

use hands_proto::reapi::{Directory, Tree};
use hands_types::DigestFunction;
use prost::Message as _;

use crate::fetch::paths_of_tree;

/// Reads bytes as a `Tree`, as it is and with digests that fit, and lists what would be written.
pub fn trees(data: &[u8]) {
    let Ok(mut tree) = Tree::decode(data) else { return };
    check(&tree);
    // A change somewhere breaks every digest above it, and nothing more would be looked at.
    for at in 0..tree.children.len() {
        let (above, below) = tree.children.split_at_mut(at);
        link(&mut below[0], above);
    }
    if let Some(root) = &mut tree.root {
        link(root, &tree.children);
    }
    check(&tree);
}

/// Lets a directory's directories be those.
fn link(directory: &mut Directory, below: &[Directory]) {
    for (node, child) in directory.directories.iter_mut().zip(below.iter().rev()) {
        let digest = hands_tree::hash(DigestFunction::Sha256, &child.encode_to_vec());
        node.digest = Some(digest.into());
    }
}

fn check(tree: &Tree) {
    for path in paths_of_tree(tree).unwrap_or_default() {
        let below = path.strip_prefix("out").expect("below its output");
        assert!(below.is_empty() || below.starts_with('/'), "{path:?} is beside its output");
        assert!(path.len() <= 4096 && !path.contains('\0'), "{path:?} is a path");
        assert!(!path.split('/').any(|name| matches!(name, "" | "." | "..")), "{path:?} is plain");
    }
}
