//! The one thread that writes the database. It owns the connection; it commits everything that has queued up while it
//! was committing in one transaction; it stops when its last sender is gone.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use rusqlite::Connection;

use crate::db::lock;
use crate::error::StoreError;

/// A change. It may be run again when another change of the same transaction fails.
type Change = Box<dyn FnMut(&Connection) -> rusqlite::Result<()> + Send>;
type Done = Box<dyn FnOnce(Result<(), StoreError>) + Send>;

struct Job {
    what: &'static str,
    change: Change,
    done: Done,
}

/// Most changes in one transaction.
const GROUP: usize = 512;

/// Hands changes to the writing thread, in order.
#[derive(Clone, Debug)]
pub(crate) struct Writer {
    jobs: Sender<Job>,
}

impl Writer {
    pub(crate) fn start(connection: Connection) -> Result<(Self, JoinHandle<()>), StoreError> {
        let (jobs, queue) = channel();
        let thread = std::thread::Builder::new()
            .name("hands-index".to_owned())
            .spawn(move || write(connection, &queue))
            .map_err(StoreError::io("start a thread for", std::path::Path::new("the index")))?;
        Ok((Self { jobs }, thread))
    }

    /// Queues a change; `done` is called on the writing thread once it is durable or has failed.
    pub(crate) fn submit(
        &self,
        what: &'static str,
        change: impl FnMut(&Connection) -> rusqlite::Result<()> + Send + 'static,
        done: impl FnOnce(Result<(), StoreError>) + Send + 'static,
    ) {
        if let Err(unsent) =
            self.jobs.send(Job { what, change: Box::new(change), done: Box::new(done) })
        {
            (unsent.0.done)(Err(StoreError::Closed));
        }
    }

    /// Queues a change that nobody waits for; its failure is logged.
    pub(crate) fn submit_quietly(
        &self,
        what: &'static str,
        change: impl FnMut(&Connection) -> rusqlite::Result<()> + Send + 'static,
    ) {
        self.submit(what, change, move |result| {
            if let Err(error) = result {
                tracing::warn!(%error, cause = ?std::error::Error::source(&error), "the store's index was not updated");
            }
        });
    }

    /// Makes a change and waits until it is durable.
    pub(crate) fn run<T: Send + 'static>(
        &self,
        what: &'static str,
        mut change: impl FnMut(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let value = Arc::new(Mutex::new(None));
        let slot = Arc::clone(&value);
        let (answer, wait) = channel();
        self.submit(
            what,
            move |connection| {
                let result = change(connection)?;
                *lock(&slot) = Some(result);
                Ok(())
            },
            move |result| {
                // The waiter is in `recv` below until this is sent.
                let _sent = answer.send(result);
            },
        );
        wait.recv().unwrap_or(Err(StoreError::Closed))?;
        lock(&value).take().ok_or(StoreError::Closed)
    }
}

fn write(mut connection: Connection, queue: &Receiver<Job>) {
    while let Ok(first) = queue.recv() {
        let mut group = vec![first];
        while group.len() < GROUP
            && let Ok(next) = queue.try_recv()
        {
            group.push(next);
        }
        if let Ok(()) = commit(&mut connection, &mut group) {
            for job in group {
                (job.done)(Ok(()));
            }
            continue;
        }
        // One of them failed: let each stand for itself.
        for mut job in group {
            let result = commit(&mut connection, std::slice::from_mut(&mut job));
            (job.done)(result.map_err(StoreError::database(job.what)));
        }
    }
}

fn commit(connection: &mut Connection, group: &mut [Job]) -> rusqlite::Result<()> {
    let transaction =
        connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    for job in group {
        (job.change)(&transaction)?;
    }
    transaction.commit()
}
