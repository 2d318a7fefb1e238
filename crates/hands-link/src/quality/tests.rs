//! What follows from which quality.

use std::time::Duration;

use super::{Measured, Parameters, Quality, is_better};

const MIB: u32 = 1 << 20;

fn of(millis: u64, throughput: Option<u64>) -> Parameters {
    Parameters::of(Quality { round_trip: Some(Duration::from_millis(millis)), throughput })
}

#[test]
fn what_is_fast_stays_as_it_is_and_what_is_far_gets_more_of_everything() {
    let fast = of(1, None);
    assert_eq!(fast, Parameters::of(Quality::default()), "nothing measured is taken for fast");
    assert_eq!((fast.stream_window, fast.connection_window), (4 * MIB, 16 * MIB));
    assert_eq!((fast.lease, fast.ahead, fast.keepalive.as_secs()), (None, None, 20));
    // Another continent: a gigabit for 100 ms is 12 MB, and leases live longer.
    let far = of(100, None);
    assert_eq!((far.stream_window, far.connection_window), (12 * MIB, 24 * MIB));
    assert_eq!((far.lease, far.ahead), (Some(Duration::from_secs(20)), Some(4)));
    // What answers once in a second or two has a minute, as DESIGN has it for artifacts, and no more.
    for millis in [1000, 5000, u64::MAX / 2] {
        let slow = of(millis, None);
        assert_eq!((slow.stream_window, slow.connection_window), (16 * MIB, 32 * MIB));
        assert_eq!((slow.lease, slow.ahead), (Some(Duration::from_secs(60)), Some(16)));
        assert_eq!((slow.keepalive.as_secs(), slow.keepalive_timeout.as_secs()), (60, 60));
    }
    // A way known to be narrow holds little, however long it is.
    assert_eq!(of(500, Some(1_000_000)).stream_window, 4 * MIB);
    // Longer is never less.
    for (near, far) in (0..3000).map(|n| (of(n, None), of(n + 1, None))) {
        assert!(near.stream_window <= far.stream_window && near.lease <= far.lease, "{far:?}");
        assert!(near.ahead <= far.ahead && near.keepalive <= far.keepalive, "{far:?}");
    }
}

#[test]
fn measurements_are_smoothed() {
    let measured = Measured::default();
    assert_eq!(measured.quality(), Quality::default());
    let after = |millis| {
        measured.answered_after(Duration::from_millis(millis));
        measured.quality().round_trip.expect("measured").as_millis()
    };
    assert_eq!(after(80), 80);
    assert_eq!(after(160), 90, "one slow answer is not believed at once");
    for _ in 0..40 {
        after(160);
    }
    assert!((150..=160).contains(&after(160)));
}

#[test]
fn a_session_moves_for_much_only() {
    let millis = Duration::from_millis;
    assert!(is_better(millis(10), millis(100)) && is_better(millis(40), millis(80)));
    for (other, present) in [(60, 100), (1, 9), (0, 5), (100, 10), (50, 50)] {
        assert!(!is_better(millis(other), millis(present)), "{other} {present}");
    }
}
