//! Modification times of files.

/// A modification time: REAPI's `NodeProperties.mtime`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mtime {
    seconds: i64,
    nanos: u32,
}

const NANOS: u32 = 1_000_000_000;

impl Mtime {
    /// Seconds since 1970, negative before it, and nanoseconds on top of them. None where those are a second or more.
    pub const fn new(seconds: i64, nanos: u32) -> Option<Self> {
        if nanos < NANOS { Some(Self { seconds, nanos }) } else { None }
    }

    /// From nanoseconds since 1970, which are negative before it.
    pub fn from_nanos(nanos: i64) -> Self {
        let below = nanos.rem_euclid(NANOS.into());
        Self {
            seconds: nanos.div_euclid(NANOS.into()),
            nanos: u32::try_from(below).expect("less than a second"),
        }
    }

    /// Seconds since 1970, rounded down.
    pub const fn seconds(self) -> i64 {
        self.seconds
    }

    /// Nanoseconds on top of the seconds.
    pub const fn nanos(self) -> u32 {
        self.nanos
    }

    /// Nanoseconds since 1970.
    pub fn total_nanos(self) -> i128 {
        i128::from(self.seconds) * i128::from(NANOS) + i128::from(self.nanos)
    }
}
