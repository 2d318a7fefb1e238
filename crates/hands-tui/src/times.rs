//! Times between moments of the hub.

use std::time::Duration;

use hands_client::proto::Timestamp;
use hands_front::eye::narrow_time;

/// From one moment of the hub's clock to another; nothing where either is unknown or they are in the wrong order.
pub(crate) fn between(from: Option<&Timestamp>, to: Option<&Timestamp>) -> Option<Duration> {
    let nanos = |t: &Timestamp| i128::from(t.seconds) * 1_000_000_000 + i128::from(t.nanos);
    let nanos = nanos(to?) - nanos(from?);
    Some(u64::try_from(nanos).map_or(Duration::ZERO, Duration::from_nanos))
}

/// A time in a column; nothing where it is unknown.
pub(crate) fn short(time: Option<Duration>) -> String {
    time.map_or_else(String::new, narrow_time)
}
