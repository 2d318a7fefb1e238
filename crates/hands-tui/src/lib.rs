//! `hands top`: what goes on in a cluster, live on a terminal or once as text.
//!
//! Asks the hub each second and draws what changed. Reads no configuration; prints only what is drawn. Whatever ends it
//! — a key, a signal, an error, a panic — the terminal is as it was found.
#![forbid(unsafe_code)]

mod keys;
mod live;
mod screen;
mod times;
mod view;

#[cfg(test)]
mod tests;

use std::io;

use hands_client::{ClientError, Cluster};
use hands_types::ErrorClass;

pub use live::live;
use view::View;

/// Rows of each list that are asked for: more than any screen has.
const ROWS: u32 = 200;
/// Columns of a snapshot that is not for a terminal.
const COLUMNS: u16 = 120;

/// Why a dashboard ended.
#[derive(Debug, thiserror::Error)]
pub enum TopError {
    /// The cluster, or the way to it.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The terminal does not do what terminals do.
    #[error("can't use the terminal")]
    Terminal(#[source] io::Error),
}

impl TopError {
    /// Whose it is.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Client(error) => error.class(),
            Self::Terminal(_) => ErrorClass::Environment,
        }
    }
}

/// What goes on right now, as lines of text; as wide as the terminal where there is one.
pub async fn snapshot(cluster: &Cluster) -> Result<String, TopError> {
    let overview = cluster.overview(ROWS).await?;
    let width = hands_front::terminal::stdout_size().map_or(COLUMNS, |(_, columns)| columns);
    Ok(View { overview: &overview, peer: cluster.peer(), trouble: None }.text(width))
}
