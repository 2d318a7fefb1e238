//! Why an action waits, in one sentence.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Arc;

use hands_types::{OperationId, Time};

use crate::offer::Unmet;
use crate::scheduler::Scheduler;
use crate::state::{ClassAt, Holder, OperationAt};
use crate::view::Waiting;

impl Scheduler {
    /// Why an operation does not run yet; none if it runs or is unknown.
    pub fn explain(&self, now: Time, operation: OperationId) -> Option<Waiting> {
        let op = &self.operations[self.by_id.get(operation)?];
        if op.leases.iter().any(|l| l.started.is_some() && matches!(l.holder, Holder::Session(_))) {
            return None;
        }
        match op.leases.first().map(|lease| lease.holder) {
            None => Some(self.explain_queued(op.class)),
            Some(Holder::Away(worker, until)) => {
                Some(Waiting::Away { worker: worker.to_string(), remaining: until.since(now) })
            }
            Some(Holder::Session(at)) => {
                let session = &self.sessions[at];
                let worker = session.name.clone();
                Some(if session.connected {
                    Waiting::Preparing { worker }
                } else {
                    Waiting::Away {
                        worker,
                        remaining: session.last_seen.after(session.lease).since(now),
                    }
                })
            }
        }
    }

    fn explain_queued(&self, class_at: ClassAt) -> Waiting {
        let class = &self.classes.classes[class_at];
        if class.unmet_since.is_some() {
            return self.explain_unmet(class_at);
        }
        let n_workers = class.kinds.keys().flat_map(|at| self.classes.kinds[*at].sizes.iter());
        Waiting::Busy {
            n_workers: n_workers
                .filter(|(size, _)| size.cpu_millis >= class.needs.resources.cpu_millis)
                .map(|(_, n)| n)
                .sum(),
            n_others: class.queue.len().saturating_sub(1),
        }
    }

    fn explain_unmet(&self, class_at: ClassAt) -> Waiting {
        let needs = &self.classes.classes[class_at].needs;
        let mut by_need: BTreeMap<Unmet, (usize, BTreeMap<String, usize>)> = BTreeMap::new();
        for (_, kind) in self.classes.kinds.iter() {
            for (size, n) in &kind.sizes {
                // A class that is unmet is unmet by every size of every kind.
                if let Some(unmet) = kind.profile.unmet(size, needs) {
                    let instead = kind.profile.instead(size, &unmet);
                    let (count, has) = by_need.entry(unmet).or_default();
                    *count += n;
                    if let Some(instead) = instead {
                        *has.entry(instead).or_default() += n;
                    }
                }
            }
        }
        if by_need.len() > 1 {
            let parts: Vec<String> = by_need
                .iter()
                .map(|(unmet, (n, _))| format!("{n} worker{} no {unmet}", offer(*n)))
                .collect();
            return Waiting::Unmet {
                unmet: format!("no worker offers all that it needs; {}", parts.join(", ")),
            };
        }
        let Some((unmet, (_, has))) = by_need.pop_first() else { return Waiting::NoWorkers };
        let mut text = format!("no worker offers {unmet}");
        for (i, (instead, n)) in has.iter().enumerate() {
            let _ = write!(
                text,
                "{} {n} worker{} {}",
                if i == 0 { ";" } else { "," },
                offer(*n),
                instead.escape_debug()
            );
        }
        Waiting::Unmet { unmet: text }
    }

    /// The sentence about a class that nobody can take; made once until the offers change.
    pub(crate) fn unmet_sentence(&mut self, class_at: ClassAt) -> Arc<str> {
        let version = self.classes.version;
        if let Some((at, sentence)) = &self.classes.classes[class_at].unmet
            && *at == version
        {
            return Arc::clone(sentence);
        }
        let sentence: Arc<str> = self.explain_unmet(class_at).to_string().into();
        self.classes.classes[class_at].unmet = Some((version, Arc::clone(&sentence)));
        sentence
    }

    /// The workers that an operation's leases are with.
    pub(crate) fn holders(&self, at: OperationAt) -> BTreeSet<u32> {
        let session = |holder| match holder {
            Holder::Session(at) => Some(at),
            Holder::Away(..) => None,
        };
        self.operations[at].leases.iter().filter_map(|l| session(l.holder)).collect()
    }
}

fn offer(n: usize) -> &'static str {
    if n == 1 { " offers" } else { "s offer" }
}
