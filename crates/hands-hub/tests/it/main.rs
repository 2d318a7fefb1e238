//! The hub as clients and workers meet it: real services over in-memory pipes, a real store and table, and a worker that
//! speaks the session's protocol and is stricter than a real one.

mod actions;
mod bounds;
mod cancel;
mod checklist;
mod clock;
mod execute;
mod feeds;
mod foreign;
mod goodbye;
mod jobs;
mod large;
mod logs;
mod restart;
mod support;
mod trees;
mod worker;
mod workers;
