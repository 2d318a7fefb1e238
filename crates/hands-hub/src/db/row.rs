//! One operation as the table has it.

use std::sync::Arc;

use hands_proto::{reapi, v1};
use hands_types::{Attempt, Digest, DigestFunction, OperationId, WorkerId};
use prost::Message;
use rusqlite::Row;
use rusqlite::types::Type;

/// What never changes about an operation.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    pub(crate) id: OperationId,
    pub(crate) instance: Arc<str>,
    pub(crate) digest: Digest,
    /// Execute of an equal digest joins it while it runs.
    pub(crate) joinable: bool,
    /// Its result may be recorded in the action cache.
    pub(crate) cacheable: bool,
    /// It carries a salt and is not cached: the same digest again is the same submission.
    pub(crate) salted: bool,
    /// It came with `hands-options-bin`.
    pub(crate) ours: bool,
    /// It was answered from the action cache.
    pub(crate) cached: bool,
    pub(crate) priority: i32,
    /// Which history of durations it belongs to.
    pub(crate) shape: i64,
    /// One for many. Without the action's id, which is its digest.
    pub(crate) metadata: Arc<reapi::RequestMetadata>,
    /// One for many, without its title.
    pub(crate) options: Arc<v1::ExecuteOptions>,
    pub(crate) title: Box<str>,
    /// Milliseconds since 1970.
    pub(crate) created: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Queued,
    Running,
    Done,
}

impl State {
    pub(crate) const fn number(self) -> i64 {
        match self {
            Self::Queued => 0,
            Self::Running => 1,
            Self::Done => 2,
        }
    }
}

/// How an operation ended.
#[derive(Clone, Debug)]
pub(crate) struct Done {
    pub(crate) response: Arc<reapi::ExecuteResponse>,
    /// Milliseconds since 1970.
    pub(crate) finished: i64,
    pub(crate) started: Option<i64>,
    pub(crate) attempt: Attempt,
    pub(crate) worker_name: Arc<str>,
    /// Whether a repeated Execute of the same salted digest gets this answer.
    pub(crate) retained: bool,
}

/// An operation read back.
#[derive(Clone, Debug)]
pub(crate) struct Stored {
    pub(crate) record: Record,
    pub(crate) input_root: Digest,
    /// The effective platform: the action's, else the command's. Empty once it has ended.
    pub(crate) platform: reapi::Platform,
    pub(crate) state: State,
    pub(crate) attempt: Attempt,
    pub(crate) worker: Option<WorkerId>,
    pub(crate) done: Option<Done>,
}

pub(crate) const JOINABLE: i64 = 1;
pub(crate) const CACHEABLE: i64 = 2;
pub(crate) const SALTED: i64 = 4;
pub(crate) const OURS: i64 = 8;
pub(crate) const CACHED: i64 = 16;

impl Record {
    pub(crate) fn flags(&self) -> i64 {
        [
            (self.joinable, JOINABLE),
            (self.cacheable, CACHEABLE),
            (self.salted, SALTED),
            (self.ours, OURS),
            (self.cached, CACHED),
        ]
        .into_iter()
        .filter_map(|(set, bit)| set.then_some(bit))
        .sum()
    }
}

pub(crate) const COLUMNS: &str = "id, instance, function, hash, size, state, flags, retained, priority, shape, \
     input_root, CASE WHEN state < 2 AND platform <> 0 THEN coalesce((SELECT message FROM platforms WHERE \
     platforms.id = operations.platform), 0) END, metadata, options, title, created, attempt, worker, worker_name, started, finished, response";

/// Where an operation's instance stands among them.
pub(crate) const INSTANCE: usize = 1;

pub(crate) const fn function_number(function: DigestFunction) -> i64 {
    match function {
        DigestFunction::Sha256 => 1,
        DigestFunction::Blake3 => 9,
    }
}

impl Stored {
    pub(crate) fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        let id: [u8; 16] = row.get(0)?;
        let function = match row.get::<_, i64>(2)? {
            9 => DigestFunction::Blake3,
            _ => DigestFunction::Sha256,
        };
        let size = u64::try_from(row.get::<_, i64>(4)?).unwrap_or_default();
        let digest = Digest { function, hash: row.get(3)?, size };
        let flags: i64 = row.get(6)?;
        let has = |bit| flags & bit != 0;
        let input_root: String = row.get(10)?;
        let input_root = input_root.parse().map_err(|e| broken(10, e))?;
        let attempt = Attempt(row.get(16)?);
        let worker: Option<[u8; 16]> = row.get(17)?;
        let worker_name: String = row.get(18)?;
        let response: Option<Vec<u8>> = row.get(21)?;
        let done = match response {
            None => None,
            Some(bytes) => Some(Done {
                response: Arc::new(decode(21, &bytes)?),
                finished: row.get::<_, Option<i64>>(20)?.unwrap_or_default(),
                started: row.get(19)?,
                attempt,
                worker_name: worker_name.into(),
                retained: row.get(7)?,
            }),
        };
        let state = match row.get::<_, i64>(5)? {
            0 => State::Queued,
            1 => State::Running,
            _ => State::Done,
        };
        let record = Record {
            id: OperationId(u128::from_be_bytes(id)),
            instance: row.get::<_, String>(1)?.into(),
            digest,
            joinable: has(JOINABLE),
            cacheable: has(CACHEABLE),
            salted: has(SALTED),
            ours: has(OURS),
            cached: has(CACHED),
            priority: row.get(8)?,
            shape: row.get(9)?,
            metadata: Arc::new(decode(12, &row.get::<_, Vec<u8>>(12)?)?),
            options: Arc::new(decode(13, &row.get::<_, Vec<u8>>(13)?)?),
            title: row.get::<_, String>(14)?.into(),
            created: row.get(15)?,
        };
        let worker = worker.map(|id| WorkerId(u128::from_be_bytes(id)));
        // If the platform's row is missing, the column is the number 0, and reading it as a blob fails.
        let platform: Option<Vec<u8>> = row.get(11)?;
        let platform = decode(11, &platform.unwrap_or_default())?;
        Ok(Self { record, input_root, platform, state, attempt, worker, done })
    }
}

fn decode<M: Message + Default>(column: usize, bytes: &[u8]) -> rusqlite::Result<M> {
    M::decode(bytes).map_err(|e| broken(column, e))
}

fn broken(column: usize, error: impl std::error::Error + Send + Sync + 'static) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, Type::Blob, Box::new(error))
}
