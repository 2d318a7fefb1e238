//! How good a connection is, and what follows from that. What is above this crate sees these numbers and never the kind of
//! way.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

#[cfg(test)]
mod tests;

/// A connection as it was measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quality {
    /// From a word to its answer, smoothed; none where nothing was measured yet.
    pub round_trip: Option<Duration>,
    /// Most bytes a second that have come or gone within a tenth of a second; it fades when little is to do. None where so
    /// little has passed that it says nothing.
    pub throughput: Option<u64>,
}

/// What follows from a connection's quality.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parameters {
    /// Bytes that may be under way on one HTTP/2 stream: what a fast way of this length holds.
    pub stream_window: u32,
    /// The same of all streams together.
    pub connection_window: u32,
    /// After how long a silence the other end is asked whether it is there.
    pub keepalive: Duration,
    /// How long its answer may take.
    pub keepalive_timeout: Duration,
    /// How long a worker's leases live without a sign of life; none where what the hub has for fast ways will do.
    pub lease: Option<Duration>,
    /// Leases that a worker takes beyond its slots; none where what the hub has for fast ways will do.
    pub ahead: Option<u32>,
}

/// Ways up to this long are fast: what was chosen for a local network fits them.
const FAST: Duration = Duration::from_millis(30);
/// Windows are for this many bytes a second: a gigabit.
const FULL: u64 = 125_000_000;
const MIB: u64 = 1 << 20;
/// Smallest and largest window of a stream. A peer may make us hold as much of what we have not read.
const STREAM: (u64, u64) = (4 * MIB, 16 * MIB);
const CONNECTION: (u64, u64) = (16 * MIB, 32 * MIB);
const KEEPALIVE: (Duration, Duration) = (Duration::from_secs(20), Duration::from_secs(60));
/// Leases of fast ways, and of those that answer once in a second or less.
const LEASE: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(60));
/// What a worker takes ahead where a round trip takes no time, and at most.
const AHEAD: (u32, u32) = (2, 16);

impl Parameters {
    /// What follows from a quality. One without a measurement is taken for fast.
    pub fn of(quality: Quality) -> Self {
        let round_trip = quality.round_trip.unwrap_or_default();
        let millis = u64::try_from(round_trip.as_millis()).unwrap_or(u64::MAX);
        // Twice what was seen leaves room to become faster; where nothing was seen the way may hold anything.
        let rate = quality.throughput.map_or(FULL, |seen| seen.saturating_mul(2).clamp(MIB, FULL));
        let held = rate.saturating_mul(millis) / 1000;
        let window = |(least, most): (u64, u64), bytes: u64| {
            u32::try_from(bytes.clamp(least, most).next_multiple_of(MIB)).unwrap_or(u32::MAX)
        };
        let between = |(least, most): (Duration, Duration), trips: u32| {
            least.saturating_add(round_trip.saturating_mul(trips)).min(most)
        };
        let is_fast = round_trip <= FAST;
        Self {
            stream_window: window(STREAM, held),
            connection_window: window(CONNECTION, held.saturating_mul(2)),
            keepalive: if is_fast { KEEPALIVE.0 } else { between(KEEPALIVE, 40) },
            keepalive_timeout: if is_fast { KEEPALIVE.0 } else { between(KEEPALIVE, 40) },
            lease: (!is_fast).then(|| between(LEASE, 100)),
            // One more for each twentieth of a second, in which a short action ends.
            ahead: (!is_fast).then(|| {
                AHEAD.0.saturating_add(u32::try_from(millis / 50).unwrap_or(u32::MAX)).min(AHEAD.1)
            }),
        }
    }
}

/// Whether one way is so much better than another that a session is worth moving: half as long, and by more than what a busy
/// machine adds.
pub(crate) fn is_better(other: Duration, present: Duration) -> bool {
    other * 2 <= present && present - other >= NOISE
}

/// What a busy machine may add to a measurement.
const NOISE: Duration = Duration::from_millis(10);
/// How long bytes are counted before they say anything.
const WINDOW: Duration = Duration::from_millis(100);
/// Fewer of them in a window were not held back by the way.
const MUCH: u64 = 256 << 10;

/// What is measured of one connection, for all who ask.
#[derive(Debug, Default)]
pub(crate) struct Measured {
    /// Microseconds, and 0 for none.
    round_trip: AtomicU64,
    /// Bytes a second, and 0 for none.
    throughput: AtomicU64,
}

impl Measured {
    pub(crate) fn quality(&self) -> Quality {
        let some = |value: &AtomicU64| Some(value.load(Ordering::Relaxed)).filter(|n| *n > 0);
        Quality {
            round_trip: some(&self.round_trip).map(Duration::from_micros),
            throughput: some(&self.throughput),
        }
    }

    /// Takes a measurement: the first as it is, each further one as an eighth (as RFC 6298 has it for TCP).
    pub(crate) fn answered_after(&self, sample: Duration) {
        let sample = u64::try_from(sample.as_micros()).unwrap_or(u64::MAX / 8).max(1);
        let known = self.round_trip.load(Ordering::Relaxed);
        let smooth = if known == 0 { sample } else { known - known / 8 + sample / 8 };
        self.round_trip.store(smooth.max(1), Ordering::Relaxed);
    }

    fn passed(&self, bytes: u64, within: Duration) {
        let nanos = u64::try_from(within.as_nanos()).unwrap_or(u64::MAX).max(1);
        let rate = bytes.saturating_mul(1000).saturating_mul(1_000_000) / nanos;
        let known = self.throughput.load(Ordering::Relaxed);
        let rate = if rate >= known { rate } else { known - known / 16 + rate / 16 };
        self.throughput.store(rate, Ordering::Relaxed);
    }
}

/// Counts the bytes of one connection.
#[derive(Debug, Default)]
pub(crate) struct Count {
    bytes: u64,
    since: Option<Instant>,
}

impl Count {
    /// Notes bytes that came or went.
    pub(crate) fn add(&mut self, bytes: usize, measured: &Measured) {
        self.bytes += bytes as u64;
        if self.bytes < MUCH {
            // The clock is asked when something is going on, and not for each short message.
            return;
        }
        let now = Instant::now();
        let Some(since) = self.since else {
            (self.bytes, self.since) = (0, Some(now));
            return;
        };
        let within = now - since;
        if within < WINDOW {
            return;
        }
        // After a silence the count begins anew.
        if within < WINDOW * 10 {
            measured.passed(self.bytes, within);
        }
        (self.bytes, self.since) = (0, Some(now));
    }
}
