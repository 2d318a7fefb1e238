//! Who uses which open connection, so that it can be cut when their right to it ends.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use hands_link::{ConnectionId, ConnectionInfo, TokenId};
use hands_types::MemberId;

/// Whose right a request is made by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Subject {
    Member(MemberId),
    Token(TokenId),
}

#[derive(Debug, Default)]
pub(super) struct Connections {
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    by: BTreeMap<(Subject, ConnectionId), ConnectionInfo>,
    /// Entries at which ended connections are looked for.
    look_at: usize,
}

const LOOK_AT: usize = 64;

impl Connections {
    pub(super) fn note(&self, subject: Subject, connection: &ConnectionInfo) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.by.contains_key(&(subject, connection.id)) {
            return;
        }
        open.by.insert((subject, connection.id), connection.clone());
        if open.by.len() > open.look_at {
            open.by.retain(|_, connection| !connection.is_gone());
            open.look_at = (open.by.len() * 2).max(LOOK_AT);
        }
    }

    pub(super) fn cut(&self, subject: &Subject) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.by.retain(|(who, _), connection| {
            if who == subject {
                connection.cut();
            }
            who != subject
        });
    }
}
