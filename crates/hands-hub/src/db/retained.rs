//! Which salted digests have an answer in the table, by part of their hash. Almost every Execute asks and almost
//! none has one, so the question must not cost a query; and a busy hub gives millions an hour, so an answer must not
//! cost much memory.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

#[cfg(test)]
mod tests;

/// Answers of this time are dropped together, milliseconds.
const SPAN: u32 = 600_000;

/// May name a time at which another digest was answered, never misses one of this.
#[derive(Debug, Default)]
pub(super) struct Retained(Mutex<Vec<Span>>);

#[derive(Debug)]
struct Span {
    /// Milliseconds since 1970.
    begins: i64,
    /// Part of a hash, and when it was answered: milliseconds after `begins`, less than [`SPAN`].
    answers: BTreeSet<(u32, u32)>,
}

impl Span {
    fn ends(&self) -> i64 {
        self.begins + i64::from(SPAN)
    }
}

impl Retained {
    /// `finished` in milliseconds since 1970.
    pub(super) fn note(&self, hash: &[u8; 32], finished: i64) {
        let mut spans = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // The last one, unless the clock was set.
        let fitting = spans.iter_mut().rev().find_map(|span| {
            let after = u32::try_from(finished - span.begins).ok().filter(|after| *after < SPAN)?;
            Some((span, after))
        });
        match fitting {
            Some((span, after)) => drop(span.answers.insert((part(hash), after))),
            None => spans.push(Span { begins: finished, answers: [(part(hash), 0)].into() }),
        }
    }

    /// When this hash may have been answered, at `since` or later. Forgets what is older.
    pub(super) fn candidates(&self, hash: &[u8; 32], since: i64) -> Vec<i64> {
        let mut spans = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        spans.retain(|span| span.ends() > since);
        let part = part(hash);
        let times = spans.iter().flat_map(|span| {
            let all = span.answers.range((part, 0)..=(part, SPAN));
            all.map(|(_, after)| span.begins + i64::from(*after))
        });
        times.filter(|finished| *finished >= since).collect()
    }
}

fn part(hash: &[u8; 32]) -> u32 {
    u32::from_be_bytes(*hash.first_chunk().expect("a hash has 32 bytes"))
}
