//! Tokens and members: a table on disk, and the same in memory for every call to look at.

mod rows;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use hands_link::{TokenId, TokenSecret};
use hands_types::text::cut;
use hands_types::{MemberId, Roles};
use rusqlite::{Connection, Transaction};
use tonic::Status;

use super::{schema, unix_millis};
use crate::HubError;
use crate::place::Place;
pub(super) use rows::hex;
pub(crate) use rows::{MemberRow, TokenRow};

const DAY: i64 = 24 * 3600 * 1000;
/// How long what has ended is still listed.
const LISTED: i64 = 30 * DAY;
/// How long a member that is never seen may come back: machines of a CI join once each and are never removed.
const REMEMBERED: i64 = 400 * DAY;

/// Why a node is not taken in. The node hears one sentence for all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Denied {
    /// Not a token for enrolment, used up, expired or revoked.
    Token,
    /// The token carries none of the roles that were asked for.
    Roles(Roles),
}

/// A token to be made.
pub(crate) struct NewToken<'a> {
    pub(crate) secret: &'a TokenSecret,
    pub(crate) roles: Roles,
    pub(crate) bearer: bool,
    pub(crate) uses: u32,
    pub(crate) ttl: Duration,
}

#[derive(Debug)]
pub(crate) struct Registry {
    path: PathBuf,
    place: Place,
    /// Taken by whoever changes something, for as long as that takes.
    writer: Mutex<Connection>,
    known: RwLock<Known>,
}

#[derive(Debug, Default)]
struct Known {
    tokens: BTreeMap<TokenId, TokenRow>,
    members: BTreeMap<MemberId, MemberRow>,
}

impl Registry {
    pub(super) fn open(path: &Path) -> Result<Self, HubError> {
        let connection = schema::open(path)?;
        let now = unix_millis();
        let known = rows::forget(&connection, now - LISTED, now - REMEMBERED)
            .and_then(|()| rows::read(&connection))
            .map_err(|source| HubError::Database { what: "read", path: path.to_owned(), source })?;
        Ok(Self {
            path: path.to_owned(),
            place: Self::place(path)?,
            writer: Mutex::new(connection),
            known: RwLock::new(Known { tokens: known.0, members: known.1 }),
        })
    }

    /// Its file.
    pub(super) fn place(path: &Path) -> Result<Place, HubError> {
        Place::of("the table of the cluster's members", path)
    }

    fn known(&self) -> RwLockReadGuard<'_, Known> {
        self.known.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn known_mut(&self) -> RwLockWriteGuard<'_, Known> {
        self.known.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// A member that has not been removed.
    pub(crate) fn member(&self, id: MemberId) -> Option<MemberRow> {
        self.known().members.get(&id).filter(|member| !member.removed).cloned()
    }

    /// A token, whatever has become of it.
    pub(crate) fn token(&self, id: TokenId) -> Option<TokenRow> {
        self.known().tokens.get(&id).cloned()
    }

    /// The roles of a bearer token and when it expires, if it is one and in force.
    pub(crate) fn bearer(&self, secret: &TokenSecret) -> Option<(Roles, i64)> {
        let known = self.known();
        let token = known.tokens.get(&secret.id)?;
        (token.bearer && token.is_in_force(unix_millis()) && token.hash == secret.hash())
            .then_some((token.roles, token.expires))
    }

    /// The same for somebody who has shown the secret before.
    pub(crate) fn bearer_by_id(&self, id: TokenId) -> Option<Roles> {
        let known = self.known();
        let token = known.tokens.get(&id)?;
        (token.bearer && token.is_in_force(unix_millis())).then_some(token.roles)
    }

    pub(crate) fn tokens(&self) -> Vec<TokenRow> {
        let mut tokens: Vec<_> = self.known().tokens.values().cloned().collect();
        tokens.sort_by_key(|token| std::cmp::Reverse(token.created));
        tokens
    }

    pub(crate) fn members(&self) -> Vec<MemberRow> {
        let mut members: Vec<_> = self.known().members.values().cloned().collect();
        members.sort_by(|a, b| (&a.name, a.id).cmp(&(&b.name, b.id)));
        members
    }

    pub(super) fn add_token(&self, new: NewToken<'_>) -> Result<TokenRow, Status> {
        let now = unix_millis();
        let ttl = i64::try_from(new.ttl.as_millis()).unwrap_or(i64::MAX);
        let row = TokenRow {
            id: new.secret.id,
            roles: new.roles,
            bearer: new.bearer,
            public_key: new.secret.public_key().to_vec(),
            hash: new.secret.hash(),
            uses: new.uses,
            used: 0,
            created: now,
            expires: now.saturating_add(ttl),
            revoked: false,
        };
        self.change(|change, known| {
            row.write(change)?;
            // A hub that runs for years forgets as it goes.
            rows::forget(change, now - LISTED, now - REMEMBERED)?;
            (known.tokens, known.members) = rows::read(change)?;
            Ok(row.clone())
        })
    }

    /// By its id or a unique prefix of at least four digits.
    pub(super) fn find_token(&self, text: &str) -> Result<TokenId, Status> {
        let known = self.known();
        let fits = |id: &TokenId| text.len() >= 4 && hex(id).starts_with(text);
        let mut found = known.tokens.keys().filter(|id| fits(id));
        match (found.next(), found.next()) {
            (Some(id), None) => Ok(*id),
            (None, _) => {
                Err(Status::not_found(format!("no token's id begins with {:?}", cut(text, 32))))
            }
            (Some(_), Some(_)) => Err(Status::invalid_argument(format!(
                "several tokens' ids begin with {:?}",
                cut(text, 32)
            ))),
        }
    }

    /// Ends a token, and its members if wanted; gives those.
    pub(super) fn revoke_token(
        &self,
        id: TokenId,
        members: bool,
    ) -> Result<Vec<MemberRow>, Status> {
        self.change(|change, known| {
            if let Some(token) = known.tokens.get_mut(&id) {
                let mut row = token.clone();
                row.revoked = true;
                row.write(change)?;
                *token = row;
            }
            let of_it: Vec<MemberId> =
                known.members.values().filter(|m| m.token == id).map(|m| m.id).collect();
            if members { remove(change, known, &of_it) } else { Ok(Vec::new()) }
        })
    }

    /// Members that have not been removed, by name, id or a prefix of the id.
    pub(super) fn find_members(&self, text: &str) -> Vec<MemberId> {
        let known = self.known();
        let active = known.members.values().filter(|member| !member.removed);
        let fits = |member: &&MemberRow| {
            member.name == text || (text.len() >= 4 && member.id.to_string().starts_with(text))
        };
        active.filter(fits).map(|member| member.id).collect()
    }

    pub(super) fn remove_members(&self, ids: &[MemberId]) -> Result<Vec<MemberRow>, Status> {
        self.change(|change, known| remove(change, known, ids))
    }

    /// Makes a member. One that enrols again with the same token and key is the same member: the answer was lost.
    pub(super) fn enrol(
        &self,
        token: TokenId,
        public_key: &[u8],
        name: &str,
        wanted: Roles,
    ) -> Result<Result<MemberRow, Denied>, Status> {
        self.change(|change, known| {
            let now = unix_millis();
            let again = |m: &&MemberRow| m.token == token && m.public_key == public_key;
            if let Some(member) = known.members.values().find(again).filter(|m| !m.removed) {
                return Ok(Ok(member.clone()));
            }
            let Some(row) = known.tokens.get(&token) else { return Ok(Err(Denied::Token)) };
            if row.bearer || row.used >= row.uses || !row.is_in_force(now) {
                return Ok(Err(Denied::Token));
            }
            let roles = row.roles.and(wanted);
            if roles.is_empty() {
                return Ok(Err(Denied::Roles(row.roles)));
            }
            let mut row = row.clone();
            row.used += 1;
            let member = MemberRow {
                id: MemberId::from_parts(u64::try_from(now).unwrap_or(0), crate::id::random()),
                name: name.to_owned(),
                roles,
                public_key: public_key.to_vec(),
                token,
                joined: now,
                renewed: now,
                removed: false,
            };
            row.write(change)?;
            member.write(change)?;
            known.tokens.insert(token, row);
            known.members.insert(member.id, member.clone());
            Ok(Ok(member))
        })
    }

    /// Notes that a member gets a new certificate. None if it is no member any more.
    pub(super) fn renewed(&self, id: MemberId) -> Result<Option<MemberRow>, Status> {
        self.change(|change, known| {
            let Some(member) = known.members.get_mut(&id).filter(|m| !m.removed) else {
                return Ok(None);
            };
            let mut row = member.clone();
            row.renewed = unix_millis();
            row.write(change)?;
            *member = row.clone();
            Ok(Some(row))
        })
    }

    /// Changes disk and memory together: what is in memory was committed.
    fn change<T>(
        &self,
        work: impl FnOnce(&Transaction<'_>, &mut Known) -> rusqlite::Result<T>,
    ) -> Result<T, Status> {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let failed = |error: rusqlite::Error| {
            tracing::error!(%error, path = %self.path.display(), "can't write who belongs to the cluster");
            Status::unavailable("the hub can't write its table of members now")
        };
        let change = writer.transaction().map_err(failed)?;
        // A copy, so that a commit that fails changes nothing; calls go on meanwhile.
        let mut next = {
            let known = self.known();
            Known { tokens: known.tokens.clone(), members: known.members.clone() }
        };
        let result = work(&change, &mut next).map_err(failed)?;
        change.commit().map_err(failed)?;
        // A removal that is told must be remembered; the hub finds it out by itself, and ends.
        if !self.place.is_there() {
            return Err(Status::unavailable(
                "the hub's table of members was deleted while it was in use; see the hub's log",
            ));
        }
        *self.known_mut() = next;
        Ok(result)
    }
}

fn remove(
    change: &Transaction<'_>,
    known: &mut Known,
    ids: &[MemberId],
) -> rusqlite::Result<Vec<MemberRow>> {
    let mut removed = Vec::new();
    for id in ids {
        let Some(member) = known.members.get_mut(id).filter(|m| !m.removed) else { continue };
        member.removed = true;
        member.write(change)?;
        removed.push(member.clone());
    }
    Ok(removed)
}

#[cfg(test)]
mod tests;
