//! Which salted digests have an answer in the table, by part of their hash. Almost every Execute asks and almost
//! none has one, so the question must not cost a query; and a busy hub gives millions an hour, so an answer must not
//! cost much memory.

use std::sync::{Mutex, PoisonError};

#[cfg(test)]
mod tests;

/// Answers of this time are dropped together, milliseconds.
const SPAN: u32 = 600_000;
/// Answers that are kept as they came.
const NEWEST: usize = 512;

/// May name a time at which another digest was answered, never misses one of this.
#[derive(Debug, Default)]
pub(super) struct Retained(Mutex<Vec<Span>>);

#[derive(Debug)]
struct Span {
    /// Milliseconds since 1970.
    begins: i64,
    /// The last ones, fewer than [`NEWEST`].
    newest: Vec<Answer>,
    /// The others, each list sorted and longer than the next: few large allocations, where the nodes of a tree would
    /// lie between all that comes and goes.
    older: Vec<Vec<Answer>>,
}

/// Part of a hash, and when it was answered: milliseconds after the span began, less than [`SPAN`].
type Answer = (u32, u32);

impl Span {
    fn ends(&self) -> i64 {
        self.begins + i64::from(SPAN)
    }

    fn note(&mut self, answer: Answer) {
        self.newest.push(answer);
        if self.newest.len() < NEWEST {
            return;
        }
        let mut sorted = std::mem::take(&mut self.newest);
        sorted.sort_unstable();
        while let Some(last) = self.older.pop_if(|last| last.len() <= sorted.len()) {
            sorted = [last, sorted].concat();
            // The stable sort finds two sorted halves and merges them.
            sorted.sort();
        }
        self.older.push(sorted);
    }

    fn answers(&self, part: u32) -> impl Iterator<Item = i64> {
        let newest = self.newest.iter().filter(move |answer| answer.0 == part);
        let older = self.older.iter().flat_map(move |sorted| {
            let from = sorted.partition_point(|answer| answer.0 < part);
            sorted[from..].iter().take_while(move |answer| answer.0 == part)
        });
        newest.chain(older).map(|answer| self.begins + i64::from(answer.1))
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
            Some((span, after)) => span.note((part(hash), after)),
            None => {
                let newest = vec![(part(hash), 0)];
                spans.push(Span { begins: finished, newest, older: Vec::new() });
            }
        }
    }

    /// When this hash may have been answered, at `since` or later. Forgets what is older.
    pub(super) fn candidates(&self, hash: &[u8; 32], since: i64) -> Vec<i64> {
        let mut spans = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        spans.retain(|span| span.ends() > since);
        let part = part(hash);
        let times = spans.iter().flat_map(|span| span.answers(part));
        times.filter(|finished| *finished >= since).collect()
    }
}

fn part(hash: &[u8; 32]) -> u32 {
    u32::from_be_bytes(*hash.first_chunk().expect("a hash has 32 bytes"))
}
