//! Rows of the tables.

use std::collections::BTreeMap;

use hands_link::TokenId;
use hands_proto::v1;
use hands_types::{MemberId, Roles};
use rusqlite::types::Type;
use rusqlite::{Connection, Row, Transaction, params};

use crate::time::timestamp;

/// A token. Times in milliseconds since 1970.
#[derive(Clone, Debug)]
pub(crate) struct TokenRow {
    pub(crate) id: TokenId,
    pub(crate) roles: Roles,
    pub(crate) bearer: bool,
    pub(crate) public_key: Vec<u8>,
    pub(crate) hash: [u8; 32],
    pub(crate) uses: u32,
    pub(crate) used: u32,
    pub(crate) created: i64,
    pub(crate) expires: i64,
    pub(crate) revoked: bool,
}

/// A member. Times in milliseconds since 1970.
#[derive(Clone, Debug)]
pub(crate) struct MemberRow {
    pub(crate) id: MemberId,
    pub(crate) name: String,
    pub(crate) roles: Roles,
    pub(crate) public_key: Vec<u8>,
    pub(crate) token: TokenId,
    pub(crate) joined: i64,
    pub(crate) renewed: i64,
    pub(crate) removed: bool,
}

pub(crate) fn hex(id: &TokenId) -> String {
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl TokenRow {
    pub(super) const fn is_in_force(&self, now: i64) -> bool {
        !self.revoked && now < self.expires
    }

    pub(crate) fn to_proto(&self) -> v1::Token {
        v1::Token {
            id: hex(&self.id),
            roles: self.roles.names(),
            bearer: self.bearer,
            uses: self.uses,
            used: self.used,
            created: Some(timestamp(self.created)),
            expires: Some(timestamp(self.expires)),
            revoked: self.revoked,
        }
    }

    pub(super) fn write(&self, change: &Transaction<'_>) -> rusqlite::Result<()> {
        change.execute(
            "INSERT OR REPLACE INTO tokens(id, roles, bearer, public_key, hash, uses, used, created, expires, revoked)
             VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
            params![
                self.id,
                self.roles.to_string(),
                self.bearer,
                self.public_key,
                self.hash,
                self.uses,
                self.used,
                self.created,
                self.expires,
                self.revoked,
            ],
        )?;
        Ok(())
    }

    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            id: row.get(0)?,
            roles: roles(row, 1)?,
            bearer: row.get(2)?,
            public_key: row.get(3)?,
            hash: row.get(4)?,
            uses: row.get(5)?,
            used: row.get(6)?,
            created: row.get(7)?,
            expires: row.get(8)?,
            revoked: row.get(9)?,
        })
    }
}

impl MemberRow {
    pub(crate) fn to_proto(&self) -> v1::Member {
        v1::Member {
            id: self.id.to_string(),
            name: self.name.clone(),
            roles: self.roles.names(),
            token_id: hex(&self.token),
            joined: Some(timestamp(self.joined)),
            renewed: Some(timestamp(self.renewed)),
            removed: self.removed,
        }
    }

    pub(super) fn write(&self, change: &Transaction<'_>) -> rusqlite::Result<()> {
        change.execute(
            "INSERT OR REPLACE INTO members(id, name, roles, public_key, token, joined, renewed, removed)
             VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            params![
                self.id.0.to_be_bytes(),
                self.name,
                self.roles.to_string(),
                self.public_key,
                self.token,
                self.joined,
                self.renewed,
                self.removed,
            ],
        )?;
        Ok(())
    }

    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            id: MemberId(u128::from_be_bytes(row.get(0)?)),
            name: row.get(1)?,
            roles: roles(row, 2)?,
            public_key: row.get(3)?,
            token: row.get(4)?,
            joined: row.get(5)?,
            renewed: row.get(6)?,
            removed: row.get(7)?,
        })
    }
}

fn roles(row: &Row<'_>, column: usize) -> rusqlite::Result<Roles> {
    let text: String = row.get(column)?;
    text.parse::<Roles>()
        .map_err(|e| rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::new(e)))
}

type Tables = (BTreeMap<TokenId, TokenRow>, BTreeMap<MemberId, MemberRow>);

/// Forgets what ended before `listed`, and members that were last seen before `remembered`; milliseconds since 1970.
pub(super) fn forget(
    connection: &Connection,
    listed: i64,
    remembered: i64,
) -> rusqlite::Result<()> {
    connection.execute(
        "DELETE FROM members WHERE (removed = 1 AND renewed < ?1) OR renewed < ?2",
        [listed, remembered],
    )?;
    // A token whose members are still here is the way to end them all.
    connection.execute(
        "DELETE FROM tokens WHERE expires < ?1 AND id NOT IN (SELECT token FROM members)",
        [listed],
    )?;
    Ok(())
}

/// Both tables.
pub(super) fn read(connection: &Connection) -> rusqlite::Result<Tables> {
    let tokens = connection
        .prepare(
            "SELECT id, roles, bearer, public_key, hash, uses, used, created, expires, revoked FROM tokens",
        )?
        .query_map([], TokenRow::read)?
        .map(|row| row.map(|row| (row.id, row)))
        .collect::<rusqlite::Result<_>>()?;
    let members = connection
        .prepare(
            "SELECT id, name, roles, public_key, token, joined, renewed, removed FROM members",
        )?
        .query_map([], MemberRow::read)?
        .map(|row| row.map(|row| (row.id, row)))
        .collect::<rusqlite::Result<_>>()?;
    Ok((tokens, members))
}
