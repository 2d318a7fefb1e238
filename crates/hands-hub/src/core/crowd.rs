//! How many actions wait or run, and whose they are: nobody fills the hub's memory and its disk, and a member that sends
//! without an end leaves room for others.

use std::collections::HashMap;
use std::net::IpAddr;

use hands_types::MemberId;
use hands_types::limits::{
    MAX_ACTION_BYTES, MAX_ACTION_BYTES_OF_ONE, MAX_ACTIONS, MAX_ACTIONS_OF_ONE,
};
use prost::Message as _;
use tonic::Status;

use crate::db::Record;

/// Whose an action is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Owner {
    Member(MemberId),
    /// Somebody who is no member, by where the call came from.
    Address(IpAddr),
    /// This user, on this machine.
    Local,
}

/// One action's place; counted until it is given back.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seat {
    /// None where it was taken before a restart.
    owner: Option<Owner>,
    bytes: usize,
}

#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    n: usize,
    bytes: usize,
}

/// All actions that have not ended.
#[derive(Debug, Default)]
pub(crate) struct Crowd {
    all: Sum,
    of: HashMap<Owner, Sum>,
}

/// What an action costs beside its texts.
const ROW: usize = 512;

impl Crowd {
    /// A place for one more, or what to tell whoever wants it.
    pub(crate) fn enter(&mut self, owner: Owner, record: &Record) -> Result<Seat, Status> {
        let bytes = bytes_of(record);
        let of_one = self.of.get(&owner).copied().unwrap_or_default();
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
        Ok(self.sit(Some(owner), bytes))
    }

    /// One that was accepted by a hub before this one.
    pub(crate) fn restore(&mut self, record: &Record) -> Seat {
        self.sit(None, bytes_of(record))
    }

    fn sit(&mut self, owner: Option<Owner>, bytes: usize) -> Seat {
        let of_one = owner.map(|owner| self.of.entry(owner).or_default());
        for sum in [Some(&mut self.all), of_one].into_iter().flatten() {
            sum.n += 1;
            sum.bytes += bytes;
        }
        Seat { owner, bytes }
    }

    /// It has ended.
    pub(crate) fn leave(&mut self, seat: Seat) {
        let of_one = seat.owner.and_then(|owner| self.of.get_mut(&owner));
        for sum in [Some(&mut self.all), of_one].into_iter().flatten() {
            sum.n -= 1;
            sum.bytes -= seat.bytes;
        }
        if let Some(owner) = seat.owner
            && self.of.get(&owner).is_some_and(|sum| sum.n == 0)
        {
            self.of.remove(&owner);
        }
    }
}

fn bytes_of(record: &Record) -> usize {
    let texts = record.instance.len() + record.title.len();
    ROW + texts + record.metadata.encoded_len() + record.options.encoded_len()
}

#[cfg(test)]
mod tests;
