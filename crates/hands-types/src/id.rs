//! Ids. An id is 128 bits: 48 of milliseconds since 1970, then 80 of randomness, so that ids sort by time. Printed as
//! 26 characters of Crockford's base 32 in lower case; commands accept any unique prefix of at least four.

use std::fmt;
use std::str::FromStr;

const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// Length of a printed id.
pub const ID_LENGTH: usize = 26;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u128);

        impl $name {
            /// Makes an id from wall-clock milliseconds and randomness; the low 80 bits of `random` count.
            pub const fn from_parts(unix_millis: u64, random: u128) -> Self {
                Self(((unix_millis as u128) << 80) | (random & ((1 << 80) - 1)))
            }

            /// The milliseconds since 1970 at which the id was made.
            pub const fn unix_millis(self) -> u64 {
                (self.0 >> 80) as u64
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&encode(self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&encode(self.0))
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, ParseIdError> {
                decode(text).map(Self)
            }
        }
    };
}

id!(
    /// One accepted Execute: REAPI's operation, whose name is `operations/ID`.
    OperationId
);
id!(
    /// One use of a front-end (`RequestMetadata.tool_invocation_id`): the unit of fairness.
    InvocationId
);
id!(
    /// A worker, across its sessions.
    WorkerId
);
id!(
    /// A node that has enrolled with a hub. A worker that is a member has the same id as a worker.
    MemberId
);
id!(
    /// One connection of a worker to the hub. Leases belong to it.
    SessionId
);

/// The number of a lease of one action, from 1. Fences late results.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Attempt(pub u32);

fn encode(value: u128) -> String {
    (0..ID_LENGTH)
        .map(|i| {
            let digit = (value >> (5 * (ID_LENGTH - 1 - i))) & 31;
            char::from(ALPHABET[usize::try_from(digit).expect("five bits")])
        })
        .collect()
}

fn decode(text: &str) -> Result<u128, ParseIdError> {
    // The first of 26 digits holds the top three bits.
    if text.len() != ID_LENGTH || text.as_bytes()[0] > b'7' {
        return Err(ParseIdError);
    }
    text.bytes().try_fold(0, |value, c| {
        let digit = ALPHABET.iter().position(|&a| a == c).ok_or(ParseIdError)?;
        Ok(value << 5 | digit as u128)
    })
}

/// Text that is not an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParseIdError;

impl fmt::Display for ParseIdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not an id: expected 26 characters of 0-9 and a-z without i, l, o, u")
    }
}

impl std::error::Error for ParseIdError {}
