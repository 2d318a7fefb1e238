//! Classes of actions with equal needs, kinds of workers with equal offers, and which meets which.
//!
//! A decision looks at classes and kinds, of which there are few, and never at all actions or all workers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hands_types::{Resources, Time};

use crate::needs::Needs;
use crate::offer::{Offer, Profile};
use crate::queue::ClassQueue;
use crate::slab::Slab;
use crate::state::{ClassAt, KindAt, OperationAt, SessionAt};

/// Unused classes are kept up to this number, because the next action is likely to be of one of them.
const KEPT: usize = 256;

/// Actions with equal needs.
#[derive(Debug)]
pub(crate) struct Class {
    pub(crate) needs: Arc<Needs>,
    /// Whether its actions may be handed out ahead and run again.
    pub(crate) rerun: bool,
    /// Kinds of which some worker could take it when empty, and what it takes of one.
    pub(crate) kinds: BTreeMap<KindAt, Resources>,
    pub(crate) queue: ClassQueue,
    pub(crate) n_operations: usize,
    /// Since when no worker could ever take it.
    pub(crate) unmet_since: Option<Time>,
    /// Leases handed out ahead that could be recalled for a worker that has nothing to do.
    pub(crate) ahead: BTreeSet<OperationAt>,
    /// Actions that run far beyond their history and have one lease.
    pub(crate) stragglers: BTreeSet<OperationAt>,
    /// The last sentence about what is unmet, and the version of the offers that it is about.
    pub(crate) unmet: Option<(u64, Arc<str>)>,
}

/// Workers with equal offers but for their sizes.
#[derive(Debug)]
pub(crate) struct Kind {
    pub(crate) profile: Profile,
    /// Classes that list this kind.
    pub(crate) classes: BTreeSet<ClassAt>,
    /// Those of them that have something queued.
    pub(crate) queued: BTreeSet<ClassAt>,
    /// How many of its workers are that large; without those that are being drained.
    pub(crate) sizes: BTreeMap<Resources, usize>,
    /// Workers that could start something at once, least loaded first.
    pub(crate) idle: BTreeSet<(u32, SessionAt)>,
    /// Workers that take something ahead, least loaded first.
    pub(crate) room: BTreeSet<(u32, SessionAt)>,
    /// Sessions of this kind, those that are being drained included.
    n_sessions: usize,
}

/// All classes and kinds.
#[derive(Debug)]
pub(crate) struct Classes {
    pub(crate) classes: Slab<Class>,
    pub(crate) kinds: Slab<Kind>,
    class_by_needs: BTreeMap<(Arc<Needs>, bool), ClassAt>,
    kind_by_profile: BTreeMap<Profile, KindAt>,
    /// Counts changes of what is offered.
    pub(crate) version: u64,
}

impl Classes {
    pub(crate) const fn new() -> Self {
        Self {
            classes: Slab::new(),
            kinds: Slab::new(),
            class_by_needs: BTreeMap::new(),
            kind_by_profile: BTreeMap::new(),
            version: 0,
        }
    }

    /// The class of these needs, made if it is new; none if there are `limit` already.
    pub(crate) fn acquire_class(
        &mut self,
        now: Time,
        needs: &Arc<Needs>,
        rerun: bool,
        limit: usize,
    ) -> Option<ClassAt> {
        let key = (Arc::clone(needs), rerun);
        if let Some(&at) = self.class_by_needs.get(&key) {
            self.classes[at].n_operations += 1;
            return Some(at);
        }
        if self.classes.len() >= limit {
            let unused = self
                .class_by_needs
                .values()
                .copied()
                .find(|at| self.classes[*at].n_operations == 0)?;
            self.drop_class(unused);
        }
        let kinds: BTreeMap<KindAt, Resources> = self
            .kinds
            .iter()
            .filter(|(_, kind)| kind.meets(needs))
            .map(|(at, kind)| (at, kind.profile.charge(&needs.resources)))
            .collect();
        let listed: Vec<KindAt> = kinds.keys().copied().collect();
        let at = self.classes.insert(Class {
            needs: Arc::clone(needs),
            rerun,
            unmet_since: kinds.is_empty().then_some(now),
            kinds,
            queue: ClassQueue::default(),
            n_operations: 1,
            ahead: BTreeSet::new(),
            stragglers: BTreeSet::new(),
            unmet: None,
        });
        for kind in listed {
            self.kinds[kind].classes.insert(at);
        }
        self.class_by_needs.insert(key, at);
        Some(at)
    }

    pub(crate) fn release_class(&mut self, at: ClassAt) {
        let class = &mut self.classes[at];
        class.n_operations -= 1;
        if class.n_operations == 0 && self.classes.len() > KEPT {
            self.drop_class(at);
        }
    }

    fn drop_class(&mut self, at: ClassAt) {
        let class = self.classes.remove(at).expect("only live classes are dropped");
        for kind in class.kinds.keys() {
            self.kinds[*kind].classes.remove(&at);
        }
        self.class_by_needs.remove(&(class.needs, class.rerun));
    }

    /// Tells the kinds that the class's queue is empty or is not any more.
    pub(crate) fn mark_queued(&mut self, at: ClassAt) {
        let class = &self.classes[at];
        for kind in class.kinds.keys() {
            if class.queue.len() > 0 {
                self.kinds[*kind].queued.insert(at);
            } else {
                self.kinds[*kind].queued.remove(&at);
            }
        }
    }

    /// The kind of a new worker's offer.
    pub(crate) fn acquire_kind(&mut self, offer: &Offer) -> KindAt {
        let profile = Profile::new(offer);
        let at = *self.kind_by_profile.entry(profile).or_insert_with_key(|profile| {
            self.kinds.insert(Kind {
                profile: profile.clone(),
                classes: BTreeSet::new(),
                queued: BTreeSet::new(),
                sizes: BTreeMap::new(),
                idle: BTreeSet::new(),
                room: BTreeSet::new(),
                n_sessions: 0,
            })
        });
        self.kinds[at].n_sessions += 1;
        at
    }

    pub(crate) fn release_kind(&mut self, at: KindAt) {
        self.kinds[at].n_sessions -= 1;
        if self.kinds[at].n_sessions == 0 {
            let kind = self.kinds.remove(at).expect("only live kinds are released");
            self.kind_by_profile.remove(&kind.profile);
            debug_assert!(
                kind.classes.is_empty(),
                "the last worker's size took all classes with it"
            );
        }
    }

    /// A worker of this size takes actions from now on.
    pub(crate) fn add_size(&mut self, kind_at: KindAt, size: &Resources) {
        self.version += 1;
        let kind = &mut self.kinds[kind_at];
        let n = kind.sizes.entry(size.clone()).or_default();
        *n += 1;
        if *n > 1 {
            return;
        }
        for (at, class) in self.classes.iter() {
            if kind.profile.unmet(size, &class.needs).is_none() {
                kind.classes.insert(at);
            }
        }
        for at in kind.classes.clone() {
            let class = &mut self.classes[at];
            class.unmet_since = None;
            let charge = kind.profile.charge(&class.needs.resources);
            class.kinds.insert(kind_at, charge);
            if class.queue.len() > 0 {
                kind.queued.insert(at);
            }
        }
    }

    /// A worker of this size takes nothing more. Returns the classes that nobody can take any more.
    pub(crate) fn remove_size(
        &mut self,
        now: Time,
        kind_at: KindAt,
        size: &Resources,
    ) -> Vec<ClassAt> {
        self.version += 1;
        let kind = &mut self.kinds[kind_at];
        if let Some(n) = kind.sizes.get_mut(size) {
            *n -= 1;
            if *n > 0 {
                return Vec::new();
            }
        }
        kind.sizes.remove(size);
        let mut unmet = Vec::new();
        for at in kind.classes.clone() {
            let class = &mut self.classes[at];
            if kind.meets(&class.needs) {
                continue;
            }
            kind.classes.remove(&at);
            kind.queued.remove(&at);
            class.kinds.remove(&kind_at);
            if class.kinds.is_empty() {
                class.unmet_since = Some(now);
                unmet.push(at);
            }
        }
        unmet
    }
}

impl Kind {
    fn meets(&self, needs: &Needs) -> bool {
        self.sizes.keys().any(|size| self.profile.unmet(size, needs).is_none())
    }
}
