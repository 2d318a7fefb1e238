//! How many actions wait or run, and whose they are: nobody fills the hub's memory and its disk, and a member that sends
//! without an end leaves room for others.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use hands_link::{Source, TokenId};
use hands_types::MemberId;
use hands_types::limits::{
    MAX_ACTION_BYTES, MAX_ACTION_BYTES_OF_ONE, MAX_ACTIONS, MAX_ACTIONS_OF_ONE,
    MAX_PLATFORMS_OF_ONE,
};
use prost::Message as _;
use tonic::Status;

use crate::access::KeyId;
use crate::db::Record;

/// Whose an action is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Owner {
    Member(MemberId),
    /// Whoever has this token.
    Token(TokenId),
    /// Whoever has the key of a certificate of the operator's authority.
    Certificate(KeyId),
    /// Somebody of whom nothing is known but where the call came from.
    Source(Source),
    /// This user, on this machine.
    Local,
}

/// One action's place; counted until it is given back.
#[derive(Clone, Debug)]
pub(crate) struct Seat {
    bytes: usize,
    /// None where it was taken before a restart.
    row: Option<Arc<Row>>,
}

/// What all actions of one owner that ask for one platform have in common.
#[derive(Debug)]
struct Row {
    owner: Owner,
    /// Encoded.
    platform: Bytes,
}

#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    n: usize,
    bytes: usize,
}

#[derive(Debug, Default)]
struct OfOne {
    sum: Sum,
    /// How many actions ask for each platform: the scheduler has room for so many kinds of actions, for all.
    platforms: HashMap<Bytes, (Arc<Row>, usize)>,
}

/// All actions that have not ended.
#[derive(Debug, Default)]
pub(crate) struct Crowd {
    all: Sum,
    of: HashMap<Owner, OfOne>,
}

/// What an action costs beside its texts.
const ROW: usize = 512;

impl Crowd {
    /// A place for one more, or what to tell whoever wants it.
    pub(crate) fn enter(
        &mut self,
        owner: Owner,
        record: &Record,
        platform: &Bytes,
    ) -> Result<Seat, Status> {
        let bytes = bytes_of(record);
        let known = self.of.get(&owner);
        let of_one = known.map(|known| known.sum).unwrap_or_default();
        let refuse = |whose: &str, what: String| {
            Err(Status::resource_exhausted(format!(
                "{whose} {what} waiting and running, which is the most: submit more when some have ended"
            )))
        };
        if of_one.n >= MAX_ACTIONS_OF_ONE {
            return refuse("this client has", format!("{} actions", of_one.n));
        }
        if of_one.bytes + bytes > MAX_ACTION_BYTES_OF_ONE {
            let what = format!("{} actions with {} MiB of metadata", of_one.n, of_one.bytes >> 20);
            return refuse("this client has", what);
        }
        if self.all.n >= MAX_ACTIONS {
            return refuse("the hub has", format!("{} actions", self.all.n));
        }
        if self.all.bytes + bytes > MAX_ACTION_BYTES {
            let what =
                format!("{} actions with {} MiB of metadata", self.all.n, self.all.bytes >> 20);
            return refuse("the hub has", what);
        }
        let is_new = known.is_none_or(|known| !known.platforms.contains_key(platform));
        let n_platforms = known.map_or(0, |known| known.platforms.len());
        if is_new && n_platforms >= MAX_PLATFORMS_OF_ONE {
            return refuse("this client has", format!("actions of {n_platforms} platforms"));
        }
        Ok(self.sit(Some(owner), bytes, platform))
    }

    /// One that was accepted by a hub before this one.
    pub(crate) fn restore(&mut self, record: &Record) -> Seat {
        self.sit(None, bytes_of(record), &Bytes::new())
    }

    fn sit(&mut self, owner: Option<Owner>, bytes: usize, platform: &Bytes) -> Seat {
        self.all.n += 1;
        self.all.bytes += bytes;
        let row = owner.map(|owner| {
            let of_one = self.of.entry(owner).or_default();
            of_one.sum.n += 1;
            of_one.sum.bytes += bytes;
            let known = of_one.platforms.entry(platform.clone());
            let (row, n) =
                known.or_insert_with(|| (Arc::new(Row { owner, platform: platform.clone() }), 0));
            *n += 1;
            Arc::clone(row)
        });
        Seat { bytes, row }
    }

    /// It has ended.
    pub(crate) fn leave(&mut self, seat: &Seat) {
        self.all.n -= 1;
        self.all.bytes -= seat.bytes;
        let Some(row) = &seat.row else { return };
        let Some(of_one) = self.of.get_mut(&row.owner) else { return };
        of_one.sum.n -= 1;
        of_one.sum.bytes -= seat.bytes;
        if let Some((_, n)) = of_one.platforms.get_mut(&row.platform) {
            *n -= 1;
            if *n == 0 {
                of_one.platforms.remove(&row.platform);
            }
        }
        if of_one.sum.n == 0 {
            self.of.remove(&row.owner);
        }
    }
}

fn bytes_of(record: &Record) -> usize {
    let texts = record.instance.len() + record.title.len();
    ROW + texts + record.metadata.encoded_len() + record.options.encoded_len()
}

#[cfg(test)]
mod tests;
