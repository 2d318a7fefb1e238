//! Files, environment and flags: the only reader of our configuration, of `HANDS_*` and of the directories' places.
//!
//! Precedence: flag, `HANDS_*` variable, the project's `hands.toml`, the user's, built in. The project's file is foreign
//! input: some of it takes the user's consent, and some is refused. Other crates get plain structs and never look themselves.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod environment;
mod error;
mod file;
mod fill;
mod logins;
mod places;
mod settings;
mod trust;

pub use environment::Environment;
pub use error::ConfigError;
pub use fill::default_quota;
pub use logins::Logins;
pub use places::Places;
pub use settings::{ClusterChoice, Flags, RunDefaults, Settings, WorkerSettings, hidden};
pub use trust::{Ask, Project, trusted_exposures};

#[cfg(test)]
mod tests;
