//! The parts of a worker, and what each offers.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use hands_types::WorkerPart;
use tokio::sync::mpsc;

use crate::core::Event;

/// All parts of a worker, with what each offered when it was looked at last.
pub(crate) struct Parts(Vec<Part>);

struct Part {
    part: Arc<dyn WorkerPart>,
    offers: Vec<(String, String)>,
    looking: bool,
}

impl Parts {
    /// Looks at each, which may take seconds.
    pub(crate) fn look_at(parts: impl IntoIterator<Item = Arc<dyn WorkerPart>>) -> Self {
        let look = |part: Arc<dyn WorkerPart>| Part { offers: part.look(), part, looking: false };
        Self(parts.into_iter().map(look).collect())
    }

    /// What they offer together.
    pub(crate) fn offers(&self) -> impl Iterator<Item = (&str, &str)> {
        let offers = self.0.iter().flat_map(|part| &part.offers);
        offers.map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Has those looked at again that may have changed; [`Event::Looked`] brings what was found.
    pub(crate) fn look_again(&mut self, tasks: &mpsc::UnboundedSender<Event>) {
        for (number, held) in self.0.iter_mut().enumerate() {
            if held.looking || !held.part.may_have_changed() {
                continue;
            }
            held.looking = true;
            let (part, tasks) = (Arc::clone(&held.part), tasks.clone());
            let before = held.offers.clone();
            drop(tokio::task::spawn_blocking(move || {
                // A part that panics offers what it did; the hook has told of it.
                let looked = std::panic::catch_unwind(AssertUnwindSafe(|| part.look()));
                // The core may have ended.
                let _gone = tasks.send(Event::Looked(number, looked.unwrap_or(before)));
            }));
        }
    }

    /// Takes what a look has found, and says which part offers something else now.
    pub(crate) fn looked(
        &mut self,
        number: usize,
        offers: Vec<(String, String)>,
    ) -> Option<&'static str> {
        let held = self.0.get_mut(number)?;
        held.looking = false;
        let changed = held.offers != offers;
        held.offers = offers;
        changed.then(|| held.part.name())
    }
}
