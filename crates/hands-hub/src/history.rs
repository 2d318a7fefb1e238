//! How long actions of a kind took, so that the longest are started first and stragglers are noticed.

use std::collections::BTreeMap;
use std::time::Duration;

use hands_proto::reapi;

use crate::db::Write;

/// Kinds that are remembered.
const MAX_SHAPES: usize = 100_000;

/// Moving averages by shape.
#[derive(Debug)]
pub(crate) struct History {
    micros: BTreeMap<i64, i64>,
}

impl History {
    pub(crate) const fn new(micros: BTreeMap<i64, i64>) -> Self {
        Self { micros }
    }

    pub(crate) fn expected(&self, shape: i64) -> Option<Duration> {
        self.micros.get(&shape).map(|micros| Duration::from_micros(micros.unsigned_abs()))
    }

    /// Learns from one run. Returns what is worth writing down: a change of a fifth or more.
    pub(crate) fn learn(&mut self, shape: i64, took: Duration) -> Option<Write> {
        let took = i64::try_from(took.as_micros()).unwrap_or(i64::MAX);
        let before = self.micros.get(&shape).copied();
        let micros = before.map_or(took, |before| before / 4 * 3 + took / 4);
        if before.is_none() && self.micros.len() >= MAX_SHAPES {
            self.micros.pop_first();
        }
        self.micros.insert(shape, micros);
        let worth = before
            .is_none_or(|before| (micros - before).unsigned_abs() > before.unsigned_abs() / 5);
        worth.then_some(Write::Duration { shape, micros })
    }
}

/// What makes two actions the same kind of work, whatever their inputs are: the rule or target that they belong to, the
/// command line and where its outputs go.
pub(crate) fn shape(metadata: &reapi::RequestMetadata, command: &reapi::Command) -> i64 {
    let mut hash = Fnv::new();
    hash.text(&metadata.action_mnemonic);
    hash.text(&metadata.target_id);
    for text in command.arguments.iter().chain(&command.output_paths).chain(&command.output_files) {
        hash.text(text);
    }
    hash.0.cast_signed()
}

/// FNV-1a: the table outlives the program's version, so the hash must too. A collision costs a wrong guess.
struct Fnv(u64);

impl Fnv {
    const fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    fn text(&mut self, text: &str) {
        for byte in text.bytes().chain([0xff]) {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}
