//! Who uses which open connection, so that it can be cut when their right to it ends.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use hands_link::{ConnectionId, ConnectionInfo, TokenId};
use hands_types::MemberId;
use tokio::sync::Notify;

/// Whose right a request is made by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Subject {
    Member(MemberId),
    Token(TokenId),
}

#[derive(Debug, Default)]
pub(super) struct Connections {
    open: Mutex<Open>,
    /// Told when a connection ends sooner than all that were known.
    sooner: Notify,
}

#[derive(Debug, Default)]
struct Open {
    by: BTreeMap<(Subject, ConnectionId), ConnectionInfo>,
    /// The token that was shown on a connection; none where there were several: then somebody carries the calls of many
    /// over one connection, and it speaks for nobody.
    shown: BTreeMap<ConnectionId, Option<TokenId>>,
    /// When a right ends by which a connection is used, milliseconds since 1970.
    ends: BTreeMap<(i64, ConnectionId), ConnectionInfo>,
    /// Entries of `ends` at which ended connections are looked for.
    look_at_ends: usize,
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

    pub(super) fn ends_at(&self, expires: i64, connection: &ConnectionInfo) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let is_first = open.ends.first_key_value().is_none_or(|(&(first, _), _)| expires < first);
        if open.ends.insert((expires, connection.id), connection.clone()).is_some() {
            return;
        }
        if open.ends.len() > open.look_at_ends {
            open.ends.retain(|_, connection| !connection.is_gone());
            open.look_at_ends = (open.ends.len() * 2).max(LOOK_AT);
        }
        if is_first {
            self.sooner.notify_one();
        }
    }

    /// Waits until something ends sooner than was known.
    pub(super) async fn sooner(&self) {
        self.sooner.notified().await;
    }

    /// Cuts what has ended by now; how long it is until the next one.
    pub(super) fn cut_expired(&self, now: i64) -> Option<Duration> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(first) = open.ends.first_entry() {
            let (expires, _) = *first.key();
            if expires > now {
                return Some(Duration::from_millis(expires.abs_diff(now)));
            }
            first.remove().cut();
        }
        None
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
