//! What an image says of the programs in it.

use crate::documents::ConfigDocument;

/// How the maker of an image wants its programs to be run. Data only: who runs something decides what of it counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImageConfig {
    /// Variables, in their order.
    pub env: Vec<(String, String)>,
    /// Where a command begins; empty where nothing is said.
    pub working_directory: String,
    /// What a command's words are put behind.
    pub entrypoint: Vec<String>,
    /// The command, where nobody names one.
    pub command: Vec<String>,
    /// The user, by name or number, with a group after a colon; empty where nothing is said.
    pub user: String,
}

impl ImageConfig {
    pub(crate) fn of(document: &ConfigDocument) -> Self {
        let Some(run) = &document.config else { return Self::default() };
        let variables = run.env.iter().flatten();
        Self {
            env: variables
                .map(|text| text.split_once('=').unwrap_or((text, "")))
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
            working_directory: run.working_dir.clone().unwrap_or_default(),
            entrypoint: run.entrypoint.clone().unwrap_or_default(),
            command: run.cmd.clone().unwrap_or_default(),
            user: run.user.clone().unwrap_or_default(),
        }
    }
}
