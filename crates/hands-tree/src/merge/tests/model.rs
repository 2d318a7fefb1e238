//! Random stacks against an overlay over maps, one layer after another.

use super::*;

/// splitmix64.
pub(super) struct Rng(pub(super) u64);

impl Rng {
    pub(super) fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % n
    }
}

/// A directory of a layer, or of the result, where nothing is marked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Dir {
    pub(super) entries: BTreeMap<String, Thing>,
    pub(super) mtime: Option<i64>,
    pub(super) opaque: bool,
    pub(super) gone: BTreeSet<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Thing {
    File { content: u64, executable: bool, mtime: i64 },
    Symlink { target: String, mtime: i64 },
    Dir(Dir),
}

impl Dir {
    /// What is seen with `upper` on top.
    pub(super) fn under(&self, upper: &Self) -> Self {
        let mut all = if upper.opaque { BTreeMap::new() } else { self.entries.clone() };
        all.retain(|name, _| !upper.gone.contains(name));
        for (name, thing) in &upper.entries {
            let nothing = Self::default();
            let seen = match (all.get(name), thing) {
                (Some(Thing::Dir(low)), Thing::Dir(up)) => Thing::Dir(low.under(up)),
                (_, Thing::Dir(up)) => Thing::Dir(nothing.under(up)),
                (_, Thing::File { .. } | Thing::Symlink { .. }) => thing.clone(),
            };
            all.insert(name.clone(), seen);
        }
        let mtime = if upper.opaque { upper.mtime } else { upper.mtime.or(self.mtime) };
        Self { entries: all, mtime, ..Self::default() }
    }

    /// A random directory of a layer. With `seen`, only what is there is taken away, and every directory has a time.
    pub(super) fn random(rng: &mut Rng, depth: u64, seen: Option<&Self>, below: &Self) -> Self {
        let mut dir = Self::default();
        for name in ["a", "b", "c", "d"] {
            let low = below.entries.get(name);
            let low_dir = if let Some(Thing::Dir(low)) = low { low } else { &Self::default() };
            let seen_dir = seen.map(|seen| match seen.entries.get(name) {
                Some(Thing::Dir(seen)) => seen,
                _ => const { &Self::EMPTY },
            });
            let mtime = i64::try_from(rng.below(3)).unwrap();
            let thing = match rng.below(9) {
                0 | 1 => {
                    Thing::File { content: rng.below(3), executable: rng.below(2) == 0, mtime }
                }
                2 => Thing::Symlink { target: format!("t{}", rng.below(2)), mtime },
                // What is below once more.
                3 => match low {
                    Some(low) => low.clone(),
                    None => continue,
                },
                4..7 if depth > 0 => Thing::Dir(Self::random(rng, depth - 1, seen_dir, low_dir)),
                _ => continue,
            };
            dir.entries.insert(name.to_owned(), thing);
        }
        for name in ["a", "b", "c"] {
            let is_there = seen.is_none_or(|seen| seen.entries.contains_key(name));
            if rng.below(6) == 0 && is_there {
                dir.gone.insert(name.to_owned());
            }
        }
        dir.opaque = rng.below(8) == 0;
        dir.mtime =
            (seen.is_some() || rng.below(2) == 0).then(|| i64::try_from(rng.below(3)).unwrap());
        dir
    }

    const EMPTY: Self =
        Self { entries: BTreeMap::new(), mtime: None, opaque: false, gone: BTreeSet::new() };

    /// The tree, and its marks.
    pub(super) fn tree(&self, trees: &mut Trees) -> (Digest, Marks) {
        let time = |seconds| Mtime::new(seconds, 0);
        let mut directory = Directory { mtime: self.mtime.and_then(time), ..Directory::default() };
        let mut marks = Marks { opaque: self.opaque, gone: self.gone.clone(), ..Marks::default() };
        for (name, thing) in &self.entries {
            let name = name.clone();
            match thing {
                Thing::File { content, executable, mtime } => directory.files.push(FileNode {
                    name,
                    digest: hash(SHA, content.to_string().as_bytes()),
                    executable: *executable,
                    mtime: time(*mtime),
                }),
                Thing::Symlink { target, mtime } => {
                    let (target, mtime) = (target.clone(), time(*mtime));
                    directory.symlinks.push(SymlinkNode { name, target, mtime });
                }
                Thing::Dir(below) => {
                    let (digest, of_below) = below.tree(trees);
                    if of_below != Marks::default() {
                        marks.below.insert(name.clone(), of_below);
                    }
                    directory.directories.push(DirectoryNode { name, digest });
                }
            }
        }
        (trees.put(directory), marks)
    }
}

#[test]
fn random_stacks_are_seen_as_in_a_naive_overlay() {
    for seed in 0..3000 {
        let mut rng = Rng(seed);
        let mut trees = Trees::default();
        let mut layers: Vec<(Digest, Marks)> = Vec::new();
        let mut seen = Dir::default();
        let mut last = Dir::default();
        for _ in 0..=rng.below(5) {
            let layer = Dir::random(&mut rng, 3, None, &last);
            seen = seen.under(&layer);
            layers.push(layer.tree(&mut trees));
            last = layer;
        }
        let layers: Vec<MergeLayer<'_>> =
            layers.iter().map(|(root, marks)| MergeLayer { root: *root, marks }).collect();
        let root = trees.merge(&layers, &[]);
        let (expected, none) = seen.tree(&mut trees);
        assert_eq!(none, Marks::default());
        if root != expected {
            let mut lists = [Vec::new(), Vec::new()];
            trees.list(&root, "", &mut lists[0]);
            trees.list(&expected, "", &mut lists[1]);
            panic!("seed {seed}: {lists:#?}");
        }
    }
}
