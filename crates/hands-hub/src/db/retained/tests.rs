use super::{Retained, SPAN};

/// Hashes of which many share the part that is kept.
fn hash(n: i64) -> [u8; 32] {
    let mut hash = [0; 32];
    hash[3] = u8::try_from(n % 7).expect("a digit");
    hash
}

#[test]
fn every_answer_is_found_for_its_time_whatever_the_clock_does() {
    let hour = 3_600_000;
    let span = i64::from(SPAN);
    let known = Retained::default();
    // Most by a clock that goes on, some while it was set back by a minute, a day, and forward again.
    let times: Vec<i64> = (0..4_000)
        .map(|n| 1_000_000_000 + n * span / 1_000 - if n % 1_000 == 7 { 60_000 } else { 0 })
        .chain([1_000_000_000 - 86_400_000, 1_000_000_000])
        .collect();
    for (n, time) in (0..).zip(&times) {
        known.note(&hash(n), *time);
        let found = known.candidates(&hash(n), time - hour);
        assert!(found.contains(time), "answer {n} of {time}");
    }
    let since = times[3_999] - hour;
    for (n, time) in (0..).zip(&times) {
        let found = known.candidates(&hash(n), since);
        assert_eq!(found.contains(time), *time >= since, "answer {n} of {time}");
        assert!(found.iter().all(|time| *time >= since));
    }
    assert!(known.candidates(&[9; 32], since).is_empty());
}
