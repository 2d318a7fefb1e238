//! Looking at many operations without holding the core up: in steps of a moment, between which it does everything else. What
//! changes between two steps is seen as it is then.

use std::time::{Duration, Instant};

use hands_types::OperationId;
use tonic::Status;

use super::{Core, Operation};
use crate::shared::{Shared, ended};

/// The core's time for one step.
const STEP: Duration = Duration::from_micros(300);
/// Operations that are looked at before the clock is.
const GRAIN: usize = 32;

/// What a walk gathers.
pub(crate) trait Visit: Send + Sized + 'static {
    /// Looks at an operation. False ends the walk.
    fn visit(&mut self, core: &Core, id: OperationId, operation: &Operation) -> bool;
}

impl Core {
    /// Goes over operations with ids below `before`, newest first. Where it stopped, if there is more to see.
    fn walk(&self, before: u128, visitor: &mut impl Visit) -> Option<u128> {
        let until = Instant::now() + STEP;
        for (n, (id, operation)) in self.operations.range(..OperationId(before)).rev().enumerate() {
            if n % GRAIN == GRAIN - 1 && Instant::now() > until {
                return Some(id.0 + 1);
            }
            if !visitor.visit(self, *id, operation) {
                return None;
            }
        }
        None
    }
}

impl Shared {
    /// Goes over what has not ended with ids below `before`, newest first.
    pub(crate) async fn walk<V: Visit>(&self, before: u128, mut visitor: V) -> Result<V, Status> {
        // A few at a time, or the core would have as many steps between any two other events as there are who look.
        let _turn = self.walks.acquire().await.map_err(|_| ended())?;
        let mut at = before;
        loop {
            let step = move |core: &Core| (core.walk(at, &mut visitor), visitor);
            let next;
            (next, visitor) = self.ask(step).await?;
            match next {
                Some(next) => at = next,
                None => return Ok(visitor),
            }
        }
    }

    /// Asks the core about each of many things, in steps; those that it knows nothing of are left out.
    pub(crate) async fn ask_each<K, T>(
        &self,
        keys: Vec<K>,
        question: impl Fn(&Core, &K) -> Option<T> + Copy + Send + 'static,
    ) -> Result<Vec<T>, Status>
    where
        K: Send + 'static,
        T: Send + 'static,
    {
        let mut answers = Vec::with_capacity(keys.len());
        let mut keys = keys.into_iter();
        loop {
            let step = move |core: &Core| {
                let until = Instant::now() + STEP;
                let mut some = Vec::new();
                for key in keys.by_ref() {
                    some.extend(question(core, &key));
                    if Instant::now() > until {
                        break;
                    }
                }
                (some, keys)
            };
            let some;
            (some, keys) = self.ask(step).await?;
            answers.extend(some);
            if keys.len() == 0 {
                return Ok(answers);
            }
        }
    }
}
