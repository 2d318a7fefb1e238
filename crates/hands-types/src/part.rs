//! How a front-end adds a part of its own to a worker. What it adds to an agent or to a hub's HTTP listener stands in `hands-client`.

use std::fmt;

/// What a part lets a worker offer. A worker announces it when it meets its hub, and again when it has changed; an action
/// that asks for one of these properties goes to a worker that has it.
pub trait WorkerPart: Send + Sync {
    /// What it is, for messages: a few words.
    fn name(&self) -> &'static str;

    /// Looks at the machine, and returns the properties that it offers now, name and value. May take seconds: it is called
    /// on a thread that nobody else waits for, and never twice at once.
    fn look(&self) -> Vec<(String, String)>;

    /// Whether [`Self::look`] might find something else by now. Asked every few seconds by who must not wait: some stats
    /// of files are fine.
    fn may_have_changed(&self) -> bool;
}

impl fmt::Debug for dyn WorkerPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("WorkerPart").field(&self.name()).finish()
    }
}
