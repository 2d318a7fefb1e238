//! Join strings and bearer tokens: what an operator hands to whoever may come in.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest::{SHA256, digest};
use ring::signature::{Ed25519KeyPair, KeyPair as _};

use crate::{Pin, Route};

pub(crate) const JOIN: &str = "hands1:";
pub(crate) const BEARER: &str = "handst1_";
const ONE_USE: u8 = 1;
const CHECK: usize = 4;
/// Routes that one join string names at most.
const MAX_ROUTES: usize = 32;
/// Longest join string that is looked at.
const MAX_LENGTH: usize = 16 << 10;

/// Names a token in the hub's table.
pub type TokenId = [u8; 8];

/// A token's id and its secret: the seed of an Ed25519 key.
#[derive(Clone, PartialEq, Eq)]
pub struct TokenSecret {
    /// Names it in the hub's table.
    pub id: TokenId,
    seed: [u8; 32],
}

impl TokenSecret {
    /// From an id and 32 random bytes.
    pub const fn new(id: TokenId, seed: [u8; 32]) -> Self {
        Self { id, seed }
    }

    /// The key that signs an enrolment.
    pub(crate) fn key(&self) -> Ed25519KeyPair {
        Ed25519KeyPair::from_seed_unchecked(&self.seed).expect("any 32 bytes are an Ed25519 seed")
    }

    /// What the hub keeps to check enrolments.
    pub fn public_key(&self) -> [u8; 32] {
        let key = self.key();
        key.public_key().as_ref().try_into().expect("an Ed25519 public key has 32 bytes")
    }

    /// What the hub keeps to check a bearer.
    pub fn hash(&self) -> [u8; 32] {
        sha256(&[b"hands token v1\0", &self.id, &self.seed])
    }

    /// The token for the `authorization` header.
    pub fn bearer(&self) -> String {
        format!("{BEARER}{}", seal(&[BEARER.as_bytes()], &[&[0], &self.id, &self.seed]))
    }

    /// Reads a bearer token.
    pub fn parse_bearer(text: &str) -> Result<Self, ParseJoinError> {
        let data = text.strip_prefix(BEARER).ok_or(ParseJoinError::NotAToken)?;
        let bytes: [u8; 41] = open(&[BEARER.as_bytes()], data)?;
        let (id, seed) = (slice(&bytes[1..9]), slice(&bytes[9..]));
        Ok(Self { id, seed })
    }
}

/// The id: what of a token may be shown.
impl fmt::Display for TokenSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.id.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for TokenSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenSecret").finish_non_exhaustive()
    }
}

/// Everything that it takes to join: where the hub is, how it is recognized, and the right to come in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinString {
    /// Where the hub may be reached; at least one. Those of kinds that this version does not know are left out.
    pub routes: Vec<Route>,
    /// The key of its authority.
    pub pin: Pin,
    /// The right to come in.
    pub token: TokenSecret,
    /// Whether the token is good for one enrolment only, so that whoever reads it later gains nothing.
    pub is_one_use: bool,
}

impl JoinString {
    /// Whether a word looks like a join string and not like a name.
    pub fn looks_like(text: &str) -> bool {
        text.starts_with("hands1:")
    }
}

impl fmt::Display for JoinString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Of a hub with more addresses than a string may hold, those that it named first.
        let first = self.routes.iter().take(MAX_ROUTES);
        let routes: Vec<String> = first.map(ToString::to_string).collect();
        let routes = routes.join(",");
        let flags = if self.is_one_use { ONE_USE } else { 0 };
        let data = seal(
            &[JOIN.as_bytes(), routes.as_bytes()],
            &[&[flags], &self.pin.0, &self.token.id, &self.token.seed],
        );
        write!(f, "{JOIN}{routes}/{data}")
    }
}

impl FromStr for JoinString {
    type Err = ParseJoinError;

    fn from_str(text: &str) -> Result<Self, ParseJoinError> {
        let text = text.trim();
        let rest = text.strip_prefix(JOIN).ok_or(ParseJoinError::NotAJoinString)?;
        if text.len() > MAX_LENGTH {
            return Err(ParseJoinError::Damaged);
        }
        // What comes last has no slash in it; a route may.
        let (list, data) = rest.rsplit_once('/').ok_or(ParseJoinError::Damaged)?;
        let bytes: [u8; 73] = open(&[JOIN.as_bytes(), list.as_bytes()], data)?;
        if list.split(',').count() > MAX_ROUTES {
            return Err(ParseJoinError::Damaged);
        }
        let routes = Route::read_all(list.split(',')).map_err(|_| ParseJoinError::Damaged)?;
        if routes.is_empty() {
            return Err(ParseJoinError::NoRoute);
        }
        Ok(Self {
            routes,
            pin: Pin(slice(&bytes[1..33])),
            token: TokenSecret { id: slice(&bytes[33..41]), seed: slice(&bytes[41..]) },
            is_one_use: bytes[0] & ONE_USE != 0,
        })
    }
}

/// Text that is no join string, or no token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseJoinError {
    /// It does not begin like one.
    #[error("not a join string: one begins with `hands1:`")]
    NotAJoinString,
    /// It does not begin like one.
    #[error("not a token: one begins with `handst1_`")]
    NotAToken,
    /// Something of it is missing or changed.
    #[error("damaged: a part of it is missing or was changed; copy the whole line")]
    Damaged,
    /// It is whole, and of a later version.
    #[error(
        "of a hub that can be reached only in ways that this version of hands does not know: update it"
    )]
    NoRoute,
}

pub(crate) fn seal(context: &[&[u8]], parts: &[&[u8]]) -> String {
    let mut bytes = parts.concat();
    let check = check(context, &bytes);
    bytes.extend(check);
    URL_SAFE_NO_PAD.encode(bytes)
}

fn open<const N: usize>(context: &[&[u8]], text: &str) -> Result<[u8; N], ParseJoinError> {
    let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| ParseJoinError::Damaged)?;
    let (body, sum) = bytes
        .len()
        .checked_sub(CHECK)
        .map(|at| bytes.split_at(at))
        .ok_or(ParseJoinError::Damaged)?;
    if check(context, body) != sum {
        return Err(ParseJoinError::Damaged);
    }
    body.try_into().map_err(|_| ParseJoinError::Damaged)
}

fn check(context: &[&[u8]], body: &[u8]) -> [u8; CHECK] {
    let sum = sha256(&[&context.concat(), body]);
    slice(&sum[..CHECK])
}

/// Callers cut the slice to the array's length.
fn slice<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes.try_into().expect("cut to this length by the caller")
}

fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    slice(digest(&SHA256, &parts.concat()).as_ref())
}
