use super::*;

const MINUTE: Duration = limits::ORPHAN;
const SECOND: Duration = Duration::from_secs(1);

fn refused(for_own: bool) -> Option<Refused> {
    Some(Refused { message: "full".to_owned(), for_own })
}

#[test]
fn a_hub_that_answers_nothing_because_its_disk_is_full_is_given_up_like_one_that_refuses() {
    let start = Instant::now();
    let mut patience = Patience::default();
    patience.trouble(start, "the disk is full");
    patience.trouble(start + SECOND, "the disk is full");
    assert_eq!(patience.due(), Some(start + MINUTE), "the trouble is the same");
    assert!(!patience.heard(start + SECOND, None), "what others hear is no sign of room");
    assert_eq!(patience.passed(start + MINUTE - SECOND), None);
    let (waited, message) = patience.passed(start + MINUTE).unwrap();
    assert_eq!((waited, message.as_str()), (MINUTE, "the disk is full"));
    assert_eq!(patience.passed(start + MINUTE), None, "once");
    patience.trouble(start + MINUTE, "");
    assert_eq!(patience.due(), None);

    let mut patience = Patience::default();
    patience.heard(start, refused(false));
    patience.heard(start + MINUTE / 2, refused(false));
    assert!(patience.passed(start + MINUTE).is_some());
    patience.heard(start + MINUTE, refused(false));
    assert!(patience.heard(start + MINUTE, None), "it takes some");
    assert_eq!(patience.passed(start + 3 * MINUTE), None);
}

#[test]
fn what_waits_for_its_own_session_waits_for_as_long_as_that_takes() {
    let start = Instant::now();
    let mut patience = Patience::default();
    for minute in 0..3 {
        patience.heard(start + minute * MINUTE, refused(true));
        assert_eq!(patience.passed(start + (minute + 1) * MINUTE), None);
    }
    patience.heard(start, refused(false));
    assert!(patience.passed(start + MINUTE).is_some());
}

#[test]
fn a_hub_that_goes_on_refusing_is_asked_less_often() {
    let start = Instant::now();
    let mut patience = Patience::default();
    let mut pause = || {
        patience.heard(start, refused(true));
        assert!(patience.is_paused());
        let pause = patience.due().unwrap() - start;
        assert_eq!(patience.passed(start + pause), None);
        assert!(!patience.is_paused());
        pause
    };
    assert_eq!([pause(), pause(), pause(), pause()], [PAUSE, 2 * PAUSE, LAST, LAST]);
}
