//! Who uses which open connection, so that it can be cut when their right to it ends.

use std::collections::{BTreeMap, BTreeSet};
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
    /// The token that was shown on a connection; none where there were several: then somebody carries the calls of many
    /// over one connection, and it speaks for nobody.
    shown: BTreeMap<ConnectionId, Option<TokenId>>,
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
            let Open { by, shown, .. } = &mut *open;
            let still: BTreeSet<ConnectionId> = by.keys().map(|(_, id)| *id).collect();
            shown.retain(|id, _| still.contains(id));
        }
    }

    pub(super) fn has_shown(&self, token: TokenId, connection: &ConnectionInfo) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let shown = open.shown.entry(connection.id).or_insert(Some(token));
        if *shown != Some(token) {
            *shown = None;
        }
    }

    pub(super) fn shown(&self, connection: &ConnectionInfo) -> Option<TokenId> {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.shown.get(&connection.id).copied().flatten()
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
