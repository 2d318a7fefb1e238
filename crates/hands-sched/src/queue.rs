//! The queue of one class: by priority, then by fair share between invocations, then the longest first.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use crate::state::{InvocationAt, OperationAt};

/// What orders an operation within its invocation: expected time, longest first, then order of submission.
pub(crate) type Position = (Reverse<u32>, u64, OperationAt);

/// What orders the heads of different classes against each other.
pub(crate) type Rank = (i32, u64, u64, Reverse<u32>, u64);

#[derive(Debug, Default)]
pub(crate) struct Queue {
    levels: BTreeMap<i32, Level>,
    length: usize,
}

#[derive(Debug, Default)]
struct Level {
    /// Share, turn and place of each invocation that has something here.
    order: BTreeSet<(u64, u64, InvocationAt)>,
    queues: BTreeMap<InvocationAt, BTreeSet<Position>>,
}

impl Queue {
    pub(crate) const fn len(&self) -> usize {
        self.length
    }

    /// Adds; true if the invocation had nothing at this priority before.
    pub(crate) fn push(
        &mut self,
        priority: i32,
        (share, turn, invocation): (u64, u64, InvocationAt),
        position: Position,
    ) -> bool {
        let level = self.levels.entry(priority).or_default();
        level.queues.entry(invocation).or_default().insert(position);
        self.length += 1;
        level.order.insert((share, turn, invocation))
    }

    /// Takes out; true if the invocation has nothing left at this priority.
    pub(crate) fn remove(
        &mut self,
        priority: i32,
        key: (u64, u64, InvocationAt),
        position: Position,
    ) -> bool {
        let Some(level) = self.levels.get_mut(&priority) else { return false };
        let Some(queue) = level.queues.get_mut(&key.2) else { return false };
        if queue.remove(&position) {
            self.length -= 1;
        }
        if !queue.is_empty() {
            return false;
        }
        level.queues.remove(&key.2);
        level.order.remove(&key);
        if level.queues.is_empty() {
            self.levels.remove(&priority);
        }
        true
    }

    /// An invocation's share or turn has changed.
    pub(crate) fn reorder(
        &mut self,
        priority: i32,
        old: (u64, u64, InvocationAt),
        new: (u64, u64, InvocationAt),
    ) {
        if let Some(level) = self.levels.get_mut(&priority)
            && level.order.remove(&old)
        {
            level.order.insert(new);
        }
    }

    /// The next operation's rank, and the first few that could go in its place.
    pub(crate) fn head(&self) -> Option<(Rank, impl Iterator<Item = OperationAt>)> {
        let (priority, level) = self.levels.first_key_value()?;
        let (share, turn, invocation) = level.order.first()?;
        let queue = level.queues.get(invocation)?;
        let (expected, sequence, _) = queue.first()?;
        Some(((*priority, *share, *turn, *expected, *sequence), queue.iter().map(|(_, _, at)| *at)))
    }

    /// All, in no order that means anything.
    pub(crate) fn iter(&self) -> impl Iterator<Item = OperationAt> {
        self.levels.values().flat_map(|l| l.queues.values()).flatten().map(|(_, _, at)| *at)
    }
}
