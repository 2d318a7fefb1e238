//! `hands batch`: many commands.

mod joblog;
mod json;
mod progress;
mod source;
mod template;
