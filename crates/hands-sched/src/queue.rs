//! The queue: by priority, then by fair share between invocations, then the longest first.
//!
//! Each invocation keeps its own actions by priority and class; one line per priority orders the invocations. So when an
//! invocation's share changes, it moves once per priority, however many classes it has queued.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use crate::scheduler::Scheduler;
use crate::state::{ClassAt, InvocationAt, Operation, OperationAt};

/// What orders an operation within its invocation: expected time, longest first, then order of submission.
pub(crate) type Position = (Reverse<u32>, u64, OperationAt);

/// What orders an invocation among others: its share, when it was last served, its place.
pub(crate) type Fairness = (u64, u64, InvocationAt);

/// Below so many invocations they are compared one by one; above, the line is walked from its head.
const FEW: usize = 16;

/// Which invocations have something queued of one class.
#[derive(Debug, Default)]
pub(crate) struct ClassQueue {
    levels: BTreeMap<i32, BTreeSet<InvocationAt>>,
    length: usize,
}

impl ClassQueue {
    pub(crate) const fn len(&self) -> usize {
        self.length
    }
}

impl Scheduler {
    /// Adds an operation to the queue's tables.
    pub(crate) fn push(&mut self, at: OperationAt) {
        let op = &self.operations[at];
        let (priority, class_at, invocation_at) = (op.priority, op.class, op.invocation);
        let fairness = self.fairness(invocation_at);
        let invocation = &mut self.invocations[invocation_at];
        let line = invocation.queued.entry((priority, class_at)).or_default();
        line.insert(position(op, at));
        let class = &mut self.classes.classes[class_at].queue;
        class.length += 1;
        if line.len() == 1 {
            class.levels.entry(priority).or_default().insert(invocation_at);
            self.order.entry(priority).or_default().insert(fairness);
        }
    }

    /// Takes an operation out of the queue's tables.
    pub(crate) fn pull_out(&mut self, at: OperationAt) {
        let op = &self.operations[at];
        let (priority, class_at, invocation_at) = (op.priority, op.class, op.invocation);
        let fairness = self.fairness(invocation_at);
        let invocation = &mut self.invocations[invocation_at];
        let Some(line) = invocation.queued.get_mut(&(priority, class_at)) else { return };
        if !line.remove(&position(op, at)) {
            return;
        }
        let emptied = line.is_empty();
        let class = &mut self.classes.classes[class_at].queue;
        class.length -= 1;
        if !emptied {
            return;
        }
        invocation.queued.remove(&(priority, class_at));
        remove_from(&mut class.levels, priority, &invocation_at);
        if invocation.queued.range((priority, 0)..=(priority, ClassAt::MAX)).next().is_none() {
            remove_from(&mut self.order, priority, &fairness);
        }
    }

    /// The line of the best queued actions among those of some classes.
    pub(crate) fn best_line(&self, classes: &[ClassAt]) -> Option<(ClassAt, &BTreeSet<Position>)> {
        let level = |class: ClassAt| self.classes.classes[class].queue.levels.first_key_value();
        let priority = *classes.iter().filter_map(|class| Some(level(*class)?.0)).min()?;
        let at_level = || {
            classes
                .iter()
                .filter_map(|class| Some((*class, level(*class)?)))
                .filter(|(_, l)| *l.0 == priority)
        };
        let invocation = if at_level().map(|(_, l)| l.1.len()).sum::<usize>() <= FEW {
            at_level().flat_map(|(_, l)| l.1).map(|at| self.fairness(*at)).min()?.2
        } else {
            let queues = |at: InvocationAt| &self.invocations[at].queued;
            let has_one = |at: InvocationAt| {
                at_level().any(|(class, _)| queues(at).contains_key(&(priority, class)))
            };
            self.order.get(&priority)?.iter().map(|(_, _, at)| *at).find(|at| has_one(*at))?
        };
        let lines = &self.invocations[invocation].queued;
        at_level()
            .filter_map(|(class, _)| Some((class, lines.get(&(priority, class))?)))
            .min_by_key(|(_, line)| line.first().copied())
    }

    /// All queued operations of a class, in no order that means anything.
    pub(crate) fn queued_of(&self, class: ClassAt) -> impl Iterator<Item = OperationAt> {
        let levels = self.classes.classes[class].queue.levels.iter();
        levels
            .flat_map(|(priority, invocations)| invocations.iter().map(move |at| (*priority, *at)))
            .filter_map(move |(priority, at)| self.invocations[at].queued.get(&(priority, class)))
            .flatten()
            .map(|(_, _, at)| *at)
    }

    /// By what an invocation is ordered among others.
    pub(crate) fn fairness(&self, at: InvocationAt) -> Fairness {
        let invocation = &self.invocations[at];
        (invocation.share, invocation.turn, at)
    }

    /// Changes an invocation's share, and its turn if it was served.
    pub(crate) fn reshare(&mut self, at: InvocationAt, share: u64, served: bool) {
        let old = self.fairness(at);
        if served {
            self.counter += 1;
            self.invocations[at].turn = self.counter;
        }
        self.invocations[at].share = share;
        let new = self.fairness(at);
        let mut last = None;
        for (priority, _) in self.invocations[at].queued.keys() {
            if last.replace(*priority) != Some(*priority)
                && let Some(line) = self.order.get_mut(priority)
            {
                line.remove(&old);
                line.insert(new);
            }
        }
    }
}

fn position(op: &Operation, at: OperationAt) -> Position {
    (Reverse(op.expected), op.sequence, at)
}

fn remove_from<T: Ord>(sets: &mut BTreeMap<i32, BTreeSet<T>>, priority: i32, value: &T) {
    if let Some(set) = sets.get_mut(&priority) {
        set.remove(value);
        if set.is_empty() {
            sets.remove(&priority);
        }
    }
}
