//! Asking about actions, and the way back to what was detached.

mod describe;
mod list;
mod one;

pub use list::{cancel, drain, ps, workers};
pub use one::{attach, fetch, logs, status, wait, why};
