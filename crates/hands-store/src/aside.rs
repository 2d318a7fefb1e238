//! Hashing beside the writing: the two slow things that are done to a large blob on its way in, on a core each.

use std::fmt;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use bytes::Bytes;
use hands_tree::Hasher;
use hands_types::{Digest, DigestFunction};

/// Bytes that have come before a thread is worth its start.
const MANY: u64 = 4 << 20;
/// Pieces that wait to be hashed. The writer is never further ahead.
const AHEAD: usize = 2;

/// Computes the digest of a blob that arrives in pieces; of a large one in a thread of its own, while the caller does
/// something else with the piece that it has just given. The thread ends with this.
pub struct SideHasher {
    size: u64,
    place: Place,
}

enum Place {
    Here(Hasher),
    Aside { pieces: SyncSender<Bytes>, thread: JoinHandle<Hasher> },
}

impl SideHasher {
    /// Nothing hashed yet.
    pub fn new(function: DigestFunction) -> Self {
        Self { size: 0, place: Place::Here(Hasher::new(function)) }
    }

    /// Takes the next piece.
    pub fn update(&mut self, bytes: Bytes) {
        self.size += bytes.len() as u64;
        match &mut self.place {
            Place::Here(hasher) => {
                hasher.update(&bytes);
                if self.size >= MANY {
                    self.move_aside();
                }
            }
            // It listens until it is told to end; had it panicked, `finish` would say so.
            Place::Aside { pieces, .. } => drop(pieces.send(bytes)),
        }
    }

    /// Bytes taken so far.
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// The digest of all pieces; waits for the last of them.
    pub fn finish(self) -> Digest {
        match self.place {
            Place::Here(hasher) => hasher.finish(),
            Place::Aside { pieces, thread } => {
                drop(pieces);
                thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)).finish()
            }
        }
    }

    fn move_aside(&mut self) {
        let Place::Here(hasher) = &self.place else { return };
        let hasher = hasher.clone();
        let (pieces, queue) = sync_channel(AHEAD);
        let started = std::thread::Builder::new()
            .name("hands-hash".to_owned())
            .spawn(move || hash(hasher, &queue));
        // Where there are no more threads to be had, it goes on here.
        if let Ok(thread) = started {
            self.place = Place::Aside { pieces, thread };
        }
    }
}

fn hash(mut hasher: Hasher, queue: &Receiver<Bytes>) -> Hasher {
    while let Ok(bytes) = queue.recv() {
        hasher.update(&bytes);
    }
    hasher
}

impl fmt::Debug for SideHasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SideHasher").field("size", &self.size).finish_non_exhaustive()
    }
}
