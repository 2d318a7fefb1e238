//! Between milliseconds since 1970 and protobuf's timestamps.

use prost_types::Timestamp;

/// Milliseconds since 1970 as a timestamp.
pub(crate) fn timestamp(millis: i64) -> Timestamp {
    let nanos = i32::try_from(millis.rem_euclid(1000) * 1_000_000).unwrap_or_default();
    Timestamp { seconds: millis.div_euclid(1000), nanos }
}

/// A timestamp as microseconds since 1970.
pub(crate) fn micros(time: &Timestamp) -> i64 {
    time.seconds.saturating_mul(1_000_000).saturating_add(i64::from(time.nanos) / 1000)
}
