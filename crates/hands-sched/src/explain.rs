//! Why an action waits, in one sentence.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Arc;

use hands_types::{OperationId, Resources, Time};

use crate::offer::Unmet;
use crate::scheduler::Scheduler;
use crate::state::{ClassAt, Holder, Lease, OperationAt, Session};
use crate::view::{Short, Waiting};

/// Sessions that are looked at for a sentence: a list has one for each action.
const LOOKED_AT: usize = 64;

impl Scheduler {
    /// Why an operation does not run yet; none if it runs, or is unknown.
    pub fn explain(&self, now: Time, operation: OperationId) -> Option<Waiting> {
        let at = self.at(operation)?;
        let op = &self.operations[at];
        let runs = |lease: &Lease| match lease.holder {
            Holder::Session(session) => lease.started.is_some() && self.sessions[session].connected,
            Holder::Away(..) => false,
        };
        if op.leases.iter().any(runs) {
            return None;
        }
        let Some(lease) = op.leases.first() else { return Some(self.explain_queued(op.class)) };
        let again = self.reruns(at);
        Some(match lease.holder {
            Holder::Away(worker, until) => {
                Waiting::Away { worker: worker.to_string(), remaining: until.since(now), again }
            }
            Holder::Session(session_at) => {
                let session = &self.sessions[session_at];
                let worker = session.name.clone();
                if !session.connected {
                    let remaining = session.last_seen.after(session.lease).since(now);
                    let again = again || lease.started.is_none();
                    Waiting::Away { worker, remaining, again }
                } else if lease.active {
                    Waiting::Preparing { worker }
                } else {
                    let before = session.ahead.iter().position(|other| *other == at);
                    Waiting::Ahead {
                        worker,
                        n_before: before.unwrap_or(0),
                        short: short_of(session, &self.charge(at, session_at)),
                    }
                }
            }
        })
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
            short: self.short_besides_cpu(class_at),
        }
    }

    /// What a worker with a free cpu has too little of for this class, whatever else it is; none where cpus are short, too.
    fn short_besides_cpu(&self, class_at: ClassAt) -> Option<Short> {
        let class = &self.classes.classes[class_at];
        let wanted = &class.needs.resources;
        if wanted.memory == 0 && wanted.custom.is_empty() {
            return None;
        }
        let sessions = self.sessions.iter().map(|(_, session)| session).take(LOOKED_AT);
        sessions
            .filter(|session| session.connected && !session.draining)
            .filter_map(|session| short_of(session, class.kinds.get(&session.kind)?))
            .find(|short| !matches!(short, Short::Cpu { .. }))
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
        let Some((unmet, (_, has))) = by_need.pop_first() else {
            let drained = |session: &Session| session.connected && session.draining;
            let n_drained = self.sessions.iter().filter(|(_, session)| drained(session)).count();
            return Waiting::NoWorkers { n_drained };
        };
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

/// What a worker has too little of at the moment; cpus first. None if all fits.
fn short_of(session: &Session, charge: &Resources) -> Option<Short> {
    let (total, used) = (&session.total, &session.used);
    let mut free = total.clone();
    free.cpu_millis = total.cpu_millis.saturating_sub(used.cpu_millis);
    free.memory = total.memory.saturating_sub(used.memory);
    for (name, n) in &used.custom {
        if let Some(left) = free.custom.get_mut(name) {
            *left = left.saturating_sub(*n);
        }
    }
    let lacks = free.lacks(charge);
    if lacks.cpu_millis > 0 {
        let (used, total) = (used.cpu_millis, total.cpu_millis);
        return Some(Short::Cpu { wanted: charge.cpu_millis, used, total });
    }
    if lacks.memory > 0 {
        let (used, total) = (used.memory, total.memory);
        return Some(Short::Memory { wanted: charge.memory, used, total });
    }
    let (name, _) = lacks.custom.first_key_value()?;
    let of = |all: &Resources| all.custom.get(name).copied().unwrap_or(0);
    Some(Short::Counter {
        name: name.clone(),
        wanted: of(charge),
        used: of(used),
        total: of(total),
    })
}

fn offer(n: usize) -> &'static str {
    if n == 1 { " offers" } else { "s offer" }
}
