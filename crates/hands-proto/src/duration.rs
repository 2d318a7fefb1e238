//! Durations that others name.

use std::time::Duration;

const NANOS_PER_SECOND: u32 = 1_000_000_000;

/// A duration; none if it is negative, or its nanoseconds are a second or more, which protobuf's `Duration` forbids.
/// prost-types 0.14.4 panics at the least number of seconds when it converts one where overflows are checked, as ours are.
pub fn to_duration(duration: &prost_types::Duration) -> Option<Duration> {
    let seconds = u64::try_from(duration.seconds).ok()?;
    let nanos = u32::try_from(duration.nanos).ok().filter(|nanos| *nanos < NANOS_PER_SECOND)?;
    Some(Duration::new(seconds, nanos))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_what_it_says_or_none() {
        let of = |seconds, nanos| to_duration(&prost_types::Duration { seconds, nanos });
        assert_eq!(of(3, 500), Some(Duration::new(3, 500)));
        assert_eq!(of(i64::MAX, 999_999_999), Some(Duration::new(i64::MAX as u64, 999_999_999)));
        for (seconds, nanos) in
            [(i64::MIN, 0), (-1, 0), (0, -1), (0, 1_000_000_000), (i64::MAX, i32::MAX)]
        {
            assert_eq!(of(seconds, nanos), None);
        }
    }
}
