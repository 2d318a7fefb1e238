use std::time::Duration;

use super::*;

const HOUR: u32 = 3_600_000;

#[tokio::test(start_paused = true)]
async fn a_session_outlives_a_clock_that_is_set_back() {
    let begun = Clock::of(0);
    assert!(begun.sent(HOUR).is_err(), "in the future");
    // The clock of the day stands still meanwhile.
    tokio::time::advance(Duration::from_millis(HOUR.into())).await;
    assert_eq!(begun.sent(HOUR).unwrap(), begun.epoch + u64::from(HOUR));
    assert!(begun.sent(HOUR + HOUR / 30).is_err());
    // It comes back over another stream, or to the next hub, whose clock is behind.
    let back = Clock::of(now() + u64::from(HOUR));
    assert!(back.sent(HOUR).is_ok());
    assert!(Clock::of(now() + 25 * u64::from(HOUR)).sent(1).is_err(), "more than a day ahead");
    assert!(Clock::of(u64::MAX).sent(1).is_err(), "no id says that");
}
