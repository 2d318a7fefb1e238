use super::*;

/// A hub that is away for an hour, dialed every two seconds.
#[test]
fn an_absence_is_said_once_and_then_once_a_minute() {
    let began = Instant::now();
    let at = |seconds: u64| began + Duration::from_secs(seconds);
    let mut absence = Absence::default();
    assert_eq!(absence.ends(at(0)), Return::First);
    let said: Vec<u64> =
        (10..3610).step_by(2).filter(|second| absence.lost(at(*second), false)).collect();
    assert_eq!(said, (0..60).map(|minute| 10 + 60 * minute).collect::<Vec<_>>());
    assert_eq!(absence.ends(at(3620)), Return::Again(Duration::from_secs(3610)));
    // The next one is news at once.
    assert!(absence.lost(at(3621), false) && !absence.lost(at(3622), false));
}

#[test]
fn a_refusal_is_news_once_after_an_absence() {
    let now = Instant::now();
    let mut absence = Absence::default();
    let said = [false, true, true, false].map(|is_refusal| absence.lost(now, is_refusal));
    assert_eq!(said, [true, true, false, false]);
    assert_eq!(absence.ends(now), Return::First, "it was never there");
}
