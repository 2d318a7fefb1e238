//! Submissions that wait until there is room for their answers, within the session's window.

use std::collections::{HashSet, VecDeque};

use hands_proto::{Reserved, v1};
use prost::Message as _;
use tonic::Status;

use super::WINDOW;

/// Actions, and blobs, of one message.
const MANY: usize = 128;
/// Actions that one message takes up.
const RESUMED: usize = 4096;
/// Messages that wait. Each submission counts in the window; what takes up actions does not, and has few messages.
const MESSAGES: usize = 16 << 10;
/// What a submission takes beside its messages, about; clients count the same.
const SUBMISSION: usize = 256;

/// Messages in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct Line {
    waiting: VecDeque<Waiting>,
    bytes: u64,
}

/// A message, with the memory that it takes.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) message: v1::Submissions,
    /// Of what may have been begun over an earlier stream, that which was given up since. No more than stands in the message.
    pub(super) cancelled: HashSet<u64>,
    bytes: u64,
    _memory: Option<Reserved>,
}

impl Line {
    /// Puts a message behind the others, unless there is too much in it or before it.
    pub(super) fn push(
        &mut self,
        message: v1::Submissions,
        memory: Option<Reserved>,
    ) -> Result<(), Status> {
        if message.actions.len() > MANY || message.blobs.len() > MANY {
            return Err(Status::invalid_argument(format!(
                "a message has no more than {MANY} actions and {MANY} blobs"
            )));
        }
        if message.resume.len() > RESUMED {
            return Err(Status::invalid_argument(format!(
                "a message takes up no more than {RESUMED} actions"
            )));
        }
        if message.encoded_len() == 0 {
            // It would take memory here that nobody pays.
            return Ok(());
        }
        if self.waiting.len() >= MESSAGES {
            return Err(Status::invalid_argument(format!(
                "more than {MESSAGES} messages wait to be looked at"
            )));
        }
        let bytes = size(&message);
        // What a client has given up it counts no more, and it may still be here.
        if !self.waiting.is_empty() && self.bytes + bytes > 2 * WINDOW {
            return Err(Status::invalid_argument(format!(
                "more was submitted than the window of {WINDOW} bytes"
            )));
        }
        let waiting = Waiting { message, cancelled: HashSet::new(), bytes, _memory: memory };
        self.put(waiting, VecDeque::push_back);
        Ok(())
    }

    /// Puts back what is left of the first.
    pub(super) fn put_back(&mut self, mut waiting: Waiting) {
        waiting.bytes = size(&waiting.message);
        self.put(waiting, VecDeque::push_front);
    }

    fn put(&mut self, waiting: Waiting, put: fn(&mut VecDeque<Waiting>, Waiting)) {
        self.bytes += waiting.bytes;
        put(&mut self.waiting, waiting);
    }

    pub(super) fn pop(&mut self) -> Option<Waiting> {
        let first = self.waiting.pop_front()?;
        self.bytes -= first.bytes;
        Some(first)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Takes actions out, sorted by number, that are not to be begun any more. Gives the numbers of those that were here. What
    /// may have been begun before stays, to be taken up first and then given up.
    pub(super) fn take_out(&mut self, ids: &[u64]) -> Vec<u64> {
        let is_meant = |id: &u64| ids.binary_search(id).is_ok();
        let mut found = Vec::new();
        for Waiting { message, cancelled, bytes, .. } in &mut self.waiting {
            cancelled.extend(message.resume.iter().map(|it| it.id).filter(is_meant));
            message.actions.retain(|action| {
                let is_meant = is_meant(&action.id);
                if is_meant && action.sent_before {
                    cancelled.insert(action.id);
                } else if is_meant {
                    found.push(action.id);
                }
                !is_meant || action.sent_before
            });
            let left = size(message);
            self.bytes -= *bytes - left;
            *bytes = left;
        }
        found
    }

    /// Takes all out.
    pub(super) fn take_all(&mut self) -> VecDeque<Waiting> {
        std::mem::take(self).waiting
    }
}

fn size(message: &v1::Submissions) -> u64 {
    let actions = message.actions.iter();
    let actions: usize = actions.map(|it| it.action.len() + it.command.len() + SUBMISSION).sum();
    let blobs: usize = message.blobs.iter().map(bytes::Bytes::len).sum();
    (actions + blobs) as u64
}

#[cfg(test)]
mod tests;
