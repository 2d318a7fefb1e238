//! Results that may be wrong because their inputs were found damaged. Each is told to the hub in every session until the
//! hub has said that it has heard.

use std::collections::VecDeque;

use hands_proto::v1::{self, worker_message};
use hands_store::Damage;

use crate::output::{self, Outgoing};

#[cfg(test)]
mod tests;

/// Messages that are kept while no hub hears of them.
const MOST: usize = 64;
/// Results of one message, so that it stays far below the most that a hub takes.
const RESULTS: usize = 10_000;

#[derive(Debug, Default)]
pub(crate) struct Doubts {
    /// The number of the last one.
    last: u64,
    /// Those that no hub has acknowledged, and whether this session's was told.
    waiting: VecDeque<(v1::Doubted, bool)>,
}

impl Doubts {
    /// Takes in a damaged tree.
    pub(crate) fn add(&mut self, damage: &Damage) {
        for some in damage.made.chunks(RESULTS) {
            let results = some.iter().map(|made| v1::DoubtedResult {
                operation: made.operation.to_string(),
                instance_name: made.instance.to_string(),
                action: made.action.to_string(),
            });
            self.last += 1;
            let doubted = v1::Doubted {
                reason: format!("the input tree {} was damaged on its disk", damage.root),
                results: results.collect(),
                number: self.last,
            };
            self.waiting.push_back((doubted, false));
        }
        while self.waiting.len() > MOST
            && let Some((lost, _)) = self.waiting.pop_front()
        {
            // The store has logged which they are.
            tracing::error!(
                reason = lost.reason,
                results = lost.results.len(),
                "no hub hears of results that may be wrong, and there are too many to keep"
            );
        }
    }

    /// Tells the hub what it was not told in this session.
    pub(crate) fn tell(&mut self, session: &Outgoing) {
        for (doubted, is_told) in self.waiting.iter_mut().filter(|(_, is_told)| !is_told) {
            *is_told = true;
            output::send(session, worker_message::Kind::Doubted(doubted.clone()));
        }
    }

    /// The session is over: what it was told may not have arrived.
    pub(crate) fn session_lost(&mut self) {
        for (_, is_told) in &mut self.waiting {
            *is_told = false;
        }
    }

    /// The hub has heard.
    pub(crate) fn acknowledged(&mut self, number: u64) {
        self.waiting.retain(|(doubted, _)| doubted.number != number);
    }
}
