//! The coordinator: the asynchronous shell around `hands-sched` and `hands-store`.
//!
//! A hub owns the table of operations (`hub.db`), the spools of their output streams and, through the scheduler, which
//! worker may run what. One task holds all state that changes (the module `core`); services send it events and wait for answers.
//! It never waits while it handles an event: whatever must be durable before it may be said travels with the rows to the
//! database's thread, which says it after the commit.
//!
//! What it must never do: answer an Execute before its row is durable; accept a result that the scheduler refused; record
//! a result whose blobs are not in the store; run an action that may have had effects a second time unasked.
//!
//! It stops by [`Hub::close`]. A hub that is killed instead finds everything again at its next start.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod access;
mod action;
mod actions;
mod check;
mod config;
mod core;
mod db;
mod doubted;
mod ended;
mod enrolment;
mod error;
mod execution;
mod feed;
mod follow;
mod history;
mod hub;
mod id;
mod jobs;
mod ledger;
mod log_source;
mod logs;
mod metrics;
mod operations;
mod operators;
mod pages;
mod place;
mod platform;
mod shared;
mod spool;
mod sqlite;
mod status;
mod stores;
mod task;
mod time;
mod told;
mod trees;
mod trust;
mod workers;

pub use access::MeterLayer;
pub use config::HubConfig;
pub use error::HubError;
pub use hub::{Activity, Hub};
pub use stores::store_usage;
pub use trust::{LEAF_TTL, TrustConfig};
