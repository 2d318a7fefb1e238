use std::path::Path;

use bytes::Bytes;
use hands_store::{Store, StoreConfig};
use hands_types::{Digest, DigestFunction};

pub(crate) const SHA: DigestFunction = DigestFunction::Sha256;

/// A small generator; equal seeds give equal numbers.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }

    pub(crate) fn pick(&mut self, n: usize) -> usize {
        usize::try_from(self.below(n as u64)).unwrap()
    }
}

pub(crate) fn config(dir: &Path) -> StoreConfig {
    let mut config = StoreConfig::new(dir.join("store"));
    config.reserve = 0;
    config.restart_grace = std::time::Duration::ZERO;
    config
}

pub(crate) fn open(dir: &Path) -> Store {
    Store::open(config(dir)).unwrap()
}

/// A blob of `size` bytes that is told from others by `name`.
pub(crate) fn blob(function: DigestFunction, name: u64, size: usize) -> (Digest, Bytes) {
    let mut random = Random(name ^ 0x5555);
    let mut bytes = vec![0; size];
    for piece in bytes.chunks_mut(4) {
        let number = random.below(1 << 31).to_le_bytes();
        piece.copy_from_slice(&number[..piece.len()]);
    }
    (hands_tree::hash(function, &bytes), bytes.into())
}
