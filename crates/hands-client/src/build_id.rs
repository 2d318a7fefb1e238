//! Which program this is, for the handshake between agents and clients.

use std::os::unix::fs::MetadataExt;
use std::sync::OnceLock;

use hands_proto::v1::Protocol;

/// The range of `hands.v1` versions that this program speaks.
pub const PROTOCOL: (u32, u32) = (1, 1);

/// Names this build: the version, and size and time of the program's file, so that a rebuilt program is another one.
/// Found once per process, so that an agent whose file is replaced under it keeps its name.
pub fn build_id() -> &'static str {
    static ID: OnceLock<String> = OnceLock::new();
    ID.get_or_init(|| {
        let file = std::env::current_exe().and_then(std::fs::metadata);
        match file {
            Ok(file) => {
                format!(
                    "{}-{:x}-{:x}.{:x}",
                    env!("CARGO_PKG_VERSION"),
                    file.size(),
                    file.mtime(),
                    file.mtime_nsec()
                )
            }
            // Without /proc there is only the version to go by.
            Err(_) => env!("CARGO_PKG_VERSION").to_owned(),
        }
    })
}

/// What this program says of itself when a conversation opens.
pub fn protocol() -> Protocol {
    Protocol {
        low: PROTOCOL.0,
        high: PROTOCOL.1,
        build_id: build_id().to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    }
}
