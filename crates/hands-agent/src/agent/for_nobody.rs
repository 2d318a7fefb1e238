//! Where there is no worker there is none for others either: actions need Linux.

use hands_store::Store;

use crate::AgentConfig;

#[derive(Debug, Default)]
pub(super) struct ForOthers;

impl ForOthers {
    pub(super) async fn look(&mut self, _config: &AgentConfig, _store: &Store, _again: bool) {}

    pub(super) fn serves(&self) -> bool {
        false
    }

    pub(super) fn leases(&self) -> usize {
        0
    }

    pub(super) fn cluster(&self) -> String {
        String::new()
    }

    pub(super) fn note(&self) -> String {
        String::new()
    }

    pub(super) async fn stop(&mut self) {}
}
