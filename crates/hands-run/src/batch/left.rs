//! What a batch leaves half done that is ended before its end: said, so that nobody takes what is here for all of it.

use std::collections::BTreeMap;

use hands_client::JobResult;

use crate::batch::progress::commands;
use crate::batch::source::Task;
use crate::quote::in_a_line;

/// Commands that are named: of a thousand more nobody reads.
const NAMED: usize = 5;

/// Commands that have ended and whose outputs are on their way here.
#[derive(Debug, Default)]
pub(crate) struct OnTheirWay(BTreeMap<usize, Half>);

#[derive(Debug)]
struct Half {
    title: String,
    /// None for a result of the action cache, which was no operation.
    id: Option<String>,
}

impl OnTheirWay {
    pub(crate) fn begin(&mut self, task: &Task, result: &JobResult) {
        if result.output_paths().next().is_some() {
            let id = (!result.id.is_empty()).then(|| result.id.clone());
            self.0.insert(task.number, Half { title: task.title.clone(), id });
        }
    }

    pub(crate) fn end(&mut self, task: &Task) {
        self.0.remove(&task.number);
    }

    /// Which outputs are not all here, and what brings them.
    pub(crate) fn sentences(&self) -> Vec<String> {
        let named = self.0.iter().take(NAMED).map(|(number, Half { title, id })| {
            let title = in_a_line(title);
            let how = match id {
                Some(id) => format!("`hands fetch {id}` brings them once more"),
                None => "the same command brings them once more, from the cache".to_owned(),
            };
            format!("command {number} ({title}): not all of its outputs are here; {how}")
        });
        let more = self.0.len().saturating_sub(NAMED);
        let more = (more > 0).then(|| {
            format!(
                "the same of {} more; `hands ps -a` has their ids for `hands fetch`",
                commands(more)
            )
        });
        named.chain(more).collect()
    }
}
