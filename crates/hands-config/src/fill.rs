//! From settings to the plain structs that other crates take.

use std::path::{Path, PathBuf};
use std::time::Duration;

use hands_client::Target;
use hands_types::limits;

use crate::{ClusterChoice, Places, Settings};

/// How long a front-end waits for a hub that can't be reached.
const HUB_PATIENCE: Duration = Duration::from_secs(30);

impl Settings {
    /// Where a front-end's work goes; `program` is the front-end's own, for starting the agent.
    pub fn target(&self, places: &Places, program: PathBuf) -> Target {
        let agent = places.agent_spec(program);
        match &self.cluster {
            ClusterChoice::Local => Target::Agent(agent),
            ClusterChoice::Hub { address, instance, .. } => Target::Hub {
                address: address.clone(),
                instance: instance.clone(),
                patience: HUB_PATIENCE,
                agent,
            },
        }
    }
}

/// The store's quota where none is configured: 20 GiB, or a tenth of the disk that `dir` is on if that is less. None
/// when the disk can't be asked.
pub fn default_quota(dir: &Path) -> Option<u64> {
    // The directory may not be there yet; the nearest above it that is, is on the same disk.
    let disk = dir.ancestors().find_map(|d| rustix::fs::statvfs(d).ok())?;
    let tenth = disk.f_blocks.saturating_mul(disk.f_frsize) / 10;
    Some(tenth.min(limits::STORE_QUOTA))
}
