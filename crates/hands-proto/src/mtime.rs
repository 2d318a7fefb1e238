//! Modification times in node properties.

use hands_types::Mtime;
use prost_types::Timestamp;

use crate::reapi::NodeProperties;

/// The name by which `Command.output_node_properties` and the capabilities speak of modification times.
pub const MTIME: &str = "mtime";

/// A node property that names no moment: its nanoseconds are a second or more, or negative.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadMtime;

impl std::fmt::Display for BadMtime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("it has a modification time that names no moment")
    }
}

impl std::error::Error for BadMtime {}

impl NodeProperties {
    /// Node properties that tell nothing but a modification time; none where there is none to tell.
    pub fn of_mtime(mtime: Option<Mtime>) -> Option<Self> {
        let mtime = mtime?;
        let nanos = i32::try_from(mtime.nanos()).unwrap_or(0);
        let mtime = Some(Timestamp { seconds: mtime.seconds(), nanos });
        Some(Self { mtime, ..Self::default() })
    }

    /// The modification time among node properties.
    pub fn to_mtime(properties: Option<&Self>) -> Result<Option<Mtime>, BadMtime> {
        let Some(time) = properties.and_then(|properties| properties.mtime.as_ref()) else {
            return Ok(None);
        };
        let nanos = u32::try_from(time.nanos).map_err(|_| BadMtime)?;
        Mtime::new(time.seconds, nanos).map(Some).ok_or(BadMtime)
    }
}
