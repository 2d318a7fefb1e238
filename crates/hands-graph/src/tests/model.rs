//! Random graphs and histories against a graph that looks at everything each time.

use std::collections::{BTreeMap, BTreeSet};

use super::*;

/// splitmix64.
struct Rng(u64);

impl Rng {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        usize::try_from((z ^ (z >> 31)) % n as u64).unwrap()
    }
}

#[derive(Clone, PartialEq, Debug)]
enum State {
    Open,
    Out { cancelling: bool },
    Ended { well: bool, reason: Option<SkipReason> },
}

struct ModelJob {
    seconds: u64,
    after: BTreeSet<usize>,
    state: State,
    /// What counts in the paths of others: all that was not skipped as it came.
    counts: bool,
}

/// Nothing is kept but the jobs themselves.
struct Model {
    limit: usize,
    on_failure: OnFailure,
    jobs: Vec<ModelJob>,
    stopped: Option<SkipReason>,
}

impl Model {
    fn path(&self, at: usize, known: &mut BTreeMap<usize, u64>) -> u64 {
        if let Some(path) = known.get(&at) {
            return *path;
        }
        let behind = (0..self.jobs.len())
            .filter(|b| self.jobs[*b].counts && self.jobs[*b].after.contains(&at))
            .map(|b| self.path(b, known))
            .max();
        let path = self.jobs[at].seconds + behind.unwrap_or(0);
        known.insert(at, path);
        path
    }

    /// Skips whatever waits for something that ended badly; then hands out.
    fn settle(&mut self) -> (BTreeMap<usize, SkipReason>, Vec<usize>) {
        let mut skipped = BTreeMap::new();
        // Each job after those that it waits for: of several reasons the first of them in their order counts.
        let mut left: BTreeSet<usize> = (0..self.jobs.len()).collect();
        let free = |jobs: &[ModelJob], left: &BTreeSet<usize>| {
            left.iter().copied().find(|at| jobs[*at].after.is_disjoint(left))
        };
        while let Some(at) = free(&self.jobs, &left) {
            left.remove(&at);
            let mut reasons = self.jobs[at].after.iter().map(|a| &self.jobs[*a].state);
            let reason = reasons.find_map(|state| match state {
                State::Ended { well: false, reason } => {
                    reason.filter(|r| matches!(r, SkipReason::Needs(_) | SkipReason::Cancelled(_)))
                }
                State::Open | State::Out { .. } | State::Ended { well: true, .. } => None,
            });
            if let (State::Open, Some(reason)) = (&self.jobs[at].state, reason) {
                self.jobs[at].state = State::Ended { well: false, reason: Some(reason) };
                skipped.insert(at, reason);
            }
        }
        if let Some(reason) = self.stopped {
            for (at, job) in
                self.jobs.iter_mut().enumerate().filter(|(_, j)| j.state == State::Open)
            {
                job.state = State::Ended { well: false, reason: Some(reason) };
                skipped.insert(at, reason);
            }
        }
        let mut submitted = Vec::new();
        let mut known = BTreeMap::new();
        loop {
            let n_out = self.jobs.iter().filter(|j| matches!(j.state, State::Out { .. })).count();
            let done = |a: &usize| matches!(self.jobs[*a].state, State::Ended { well: true, .. });
            let ready = (0..self.jobs.len())
                .filter(|at| self.jobs[*at].state == State::Open)
                .filter(|at| self.jobs[*at].after.iter().all(done));
            let best = ready.min_by_key(|at| (u64::MAX - self.path(*at, &mut known), *at));
            match best {
                Some(at) if self.limit == 0 || n_out < self.limit => {
                    self.jobs[at].state = State::Out { cancelling: false };
                    submitted.push(at);
                }
                _ => return (skipped, submitted),
            }
        }
    }

    fn cancel_what_is_out(&mut self) -> Vec<usize> {
        let mut cancelled = Vec::new();
        for (at, job) in self.jobs.iter_mut().enumerate() {
            if job.state == (State::Out { cancelling: false }) {
                job.state = State::Out { cancelling: true };
                cancelled.push(at);
            }
        }
        cancelled
    }

    fn stop(&mut self, reason: SkipReason) -> Vec<usize> {
        if self.stopped.is_some() {
            return Vec::new();
        }
        self.stopped = Some(reason);
        self.cancel_what_is_out()
    }

    /// Takes an input; what is cancelled.
    fn take(&mut self, input: Input) -> Vec<usize> {
        let out =
            |model: &Self, job: JobId| matches!(model.jobs[job.index()].state, State::Out { .. });
        match input {
            Input::Done { job } if out(self, job) => {
                self.jobs[job.index()].state = State::Ended { well: true, reason: None };
            }
            Input::Failed { job } if out(self, job) => {
                let reason = Some(SkipReason::Needs(job));
                self.jobs[job.index()].state = State::Ended { well: false, reason };
                if self.on_failure == OnFailure::Stop {
                    return self.stop(SkipReason::Stopped(job));
                }
            }
            Input::Cancelled { job } if out(self, job) => {
                let reason = Some(SkipReason::Cancelled(job));
                self.jobs[job.index()].state = State::Ended { well: false, reason };
            }
            Input::Cancel { job } => match self.jobs[job.index()].state {
                State::Out { cancelling: false } => {
                    self.jobs[job.index()].state = State::Out { cancelling: true };
                    return vec![job.index()];
                }
                State::Open => {
                    let reason = Some(SkipReason::Cancelled(job));
                    self.jobs[job.index()].state = State::Ended { well: false, reason };
                }
                State::Out { cancelling: true } | State::Ended { .. } => {}
            },
            Input::CancelAll => return self.stop(SkipReason::CancelledAll),
            Input::Done { .. } | Input::Failed { .. } | Input::Cancelled { .. } => {}
        }
        Vec::new()
    }

    /// Whether jobs can be reached from themselves.
    fn has_cycle(batch: &[(u64, BTreeSet<usize>)], first: usize) -> bool {
        let mut left: BTreeSet<usize> = (first..first + batch.len()).collect();
        loop {
            let free = left.iter().copied().find(|at| batch[at - first].1.is_disjoint(&left));
            match free {
                Some(at) => left.remove(&at),
                None => return !left.is_empty(),
            };
        }
    }
}

/// One history of some fifty jobs.
fn history(seed: u64) {
    let mut rng = Rng(seed);
    let limit = [0, 1, 2, 5][rng.below(4)];
    let on_failure = [OnFailure::KeepGoing, OnFailure::Stop][rng.below(2)];
    let mut graph = graph(limit, on_failure);
    let mut model = Model { limit, on_failure, jobs: Vec::new(), stopped: None };
    let failures = rng.below(4);
    let mut n_batches = 1 + rng.below(5);
    while n_batches > 0 || !graph.is_finished() {
        let mut out = Vec::new();
        let mut cancelled = Vec::new();
        let mut expect_skipped = BTreeMap::new();
        if n_batches > 0 && (model.jobs.is_empty() || rng.below(4) == 0) {
            n_batches -= 1;
            if !add(&mut rng, &mut graph, &mut model, &mut out, seed) {
                continue;
            }
        } else if let Some(input) = input(&mut rng, &model, failures) {
            let before: Vec<State> = model.jobs.iter().map(|j| j.state.clone()).collect();
            cancelled = model.take(input);
            // A job that is skipped by its own cancellation.
            if let Input::Cancel { job } = input
                && before[job.index()] == State::Open
            {
                expect_skipped.insert(job.index(), SkipReason::Cancelled(job));
            }
            graph.step(input, &mut out);
        }
        graph.check();
        let n_before = model.jobs.iter().filter(|j| j.state == State::Open).count();
        let (skipped, submitted) = model.settle();
        assert!(n_before >= skipped.len(), "the model is sound");
        expect_skipped.extend(skipped);
        let got_submitted: Vec<usize> = out
            .iter()
            .filter_map(|e| if let Effect::Submit { job } = e { Some(job.index()) } else { None })
            .collect();
        let mut got_skipped = BTreeMap::new();
        let mut got_cancelled = Vec::new();
        for effect in &out {
            match effect {
                Effect::Submit { .. } => {}
                Effect::Skip { job, reason } => {
                    assert!(got_skipped.insert(job.index(), *reason).is_none(), "seed {seed}");
                }
                Effect::Cancel { job } => got_cancelled.push(job.index()),
            }
        }
        assert_eq!(got_submitted, submitted, "seed {seed}: submitted");
        assert_eq!(got_skipped, expect_skipped, "seed {seed}: skipped");
        assert_eq!(got_cancelled, cancelled, "seed {seed}: cancelled");
    }
}

/// Adds some jobs to both, or sees both refuse them.
fn add(
    rng: &mut Rng,
    graph: &mut Graph,
    model: &mut Model,
    out: &mut Vec<Effect>,
    seed: u64,
) -> bool {
    let first = model.jobs.len();
    let n = 1 + rng.below(15);
    // In one of eight, jobs may wait for any other one; else for those before them in a shuffled order.
    let wild = rng.below(8) == 0;
    let mut shuffled: Vec<usize> = (first..first + n).collect();
    for at in (1..n).rev() {
        shuffled.swap(at, rng.below(at + 1));
    }
    let mut batch = vec![(0, BTreeSet::new()); n];
    for (place, at) in shuffled.iter().enumerate() {
        let seconds = 1 + rng.below(9) as u64;
        let mut after = BTreeSet::new();
        for _ in 0..rng.below(4) {
            let among = if wild { first + n } else { first + place };
            if among > 0 {
                let drawn = rng.below(among);
                after.insert(if drawn < first { drawn } else { shuffled[drawn - first] });
            }
        }
        batch[at - first] = (seconds, after);
    }
    let specs = batch.iter().enumerate().map(|(at, (seconds, after))| JobSpec {
        name: format!("j{}", first + at),
        expected: Duration::from_secs(*seconds),
        after: after.iter().map(|a| format!("j{a}")).collect(),
        ..JobSpec::default()
    });
    let result = graph.add(specs.collect(), out);
    if Model::has_cycle(&batch, first) {
        let Err(AddError::Cycle(names)) = result else { panic!("seed {seed}: {result:?}") };
        assert!(names.len() > 1 && names.first() == names.last(), "seed {seed}: {names:?}");
        for pair in names.windows(2) {
            let [from, to] = [&pair[0], &pair[1]].map(|n| n[1..].parse::<usize>().unwrap());
            assert!(batch[from - first].1.contains(&to), "seed {seed}: {from} waits for {to}");
        }
        let once: BTreeSet<_> = names[1..].iter().collect();
        assert_eq!(once.len(), names.len() - 1, "seed {seed}: each job of it once");
        assert!(out.is_empty());
        return false;
    }
    result.unwrap();
    for (seconds, after) in batch {
        model.jobs.push(ModelJob { seconds, after, state: State::Open, counts: true });
    }
    // Those that are skipped as they come count for nobody.
    let dead = |model: &Model, at: usize| {
        matches!(model.jobs[at].state, State::Ended { well: false, .. }) || !model.jobs[at].counts
    };
    for _ in 0..n {
        for at in first..first + n {
            if model.stopped.is_some() || model.jobs[at].after.iter().any(|a| dead(model, *a)) {
                model.jobs[at].counts = false;
            }
        }
    }
    true
}

fn input(rng: &mut Rng, model: &Model, failures: usize) -> Option<Input> {
    let job = JobId(u32::try_from(rng.below(model.jobs.len())).unwrap());
    Some(match rng.below(40) {
        0 if failures > 1 => Input::Cancel { job },
        1 if failures > 2 && rng.below(8) == 0 => Input::CancelAll,
        // Of any job: most are not out.
        2 => Input::Done { job },
        3 => Input::Failed { job },
        _ => {
            let out: Vec<usize> = (0..model.jobs.len())
                .filter(|at| matches!(model.jobs[*at].state, State::Out { .. }))
                .collect();
            let at = *out.get(rng.below(out.len().max(1)))?;
            let job = JobId(u32::try_from(at).unwrap());
            match rng.below(12) {
                0 if failures > 0 => Input::Failed { job },
                1 if failures > 1 => Input::Cancelled { job },
                _ => Input::Done { job },
            }
        }
    })
}

#[test]
fn random_histories_go_as_in_a_naive_graph() {
    for seed in 0..1500 {
        history(seed);
    }
}
