//! Times between moments of the hub.

use std::time::{Duration, SystemTime};

use hands_front::eye::narrow_time;

/// From one moment of the hub's clock to another; nothing where either is unknown or they are in the wrong order.
pub(crate) fn between(from: Option<SystemTime>, to: Option<SystemTime>) -> Option<Duration> {
    Some(to?.duration_since(from?).unwrap_or_default())
}

/// A time in a column; nothing where it is unknown.
pub(crate) fn short(time: Option<Duration>) -> String {
    time.map_or_else(String::new, narrow_time)
}
