use super::*;

const MINUTE: Duration = limits::ORPHAN;
const SECOND: Duration = Duration::from_secs(1);

fn refused(for_own: bool) -> Heard {
    let refused = Some(Refused { message: "full".to_owned(), for_own });
    Heard { refused, took: false }
}

const TOOK: Heard = Heard { refused: None, took: true };

/// What waits since long before.
fn long_ago() -> Option<Instant> {
    Some(Instant::now() - SECOND)
}

#[test]
fn a_hub_that_answers_nothing_because_its_disk_is_full_is_given_up_like_one_that_refuses() {
    let start = Instant::now();
    let mut patience = Patience::of(false);
    patience.trouble(start, "the disk is full");
    patience.trouble(start + SECOND, "the disk is full");
    assert_eq!(patience.due(), Some(start + MINUTE), "the trouble is the same");
    assert!(!patience.heard(start + SECOND, TOOK), "what others hear is no sign of room");
    assert_eq!(patience.passed(start + MINUTE - SECOND, long_ago), None);
    let (waited, message) = patience.passed(start + MINUTE, long_ago).unwrap();
    assert_eq!((waited, message.as_str()), (MINUTE, "the disk is full"));
    let other = || Some(start + SECOND);
    assert_eq!(patience.passed(start + MINUTE, other), None, "once for each");
    assert_eq!(patience.due(), Some(start + SECOND + MINUTE));
    patience.trouble(start + MINUTE, "");
    assert_eq!(patience.due(), None);

    let mut patience = Patience::of(false);
    patience.heard(start, refused(false));
    patience.heard(start + MINUTE / 2, refused(false));
    assert!(patience.passed(start + MINUTE, long_ago).is_some());
    patience.heard(start + MINUTE, refused(false));
    assert!(patience.heard(start + MINUTE, TOOK), "it takes some");
    assert_eq!(patience.passed(start + 3 * MINUTE, long_ago), None);
}

#[test]
fn what_waits_for_its_own_session_waits_for_as_long_as_that_takes() {
    let start = Instant::now();
    let mut patience = Patience::of(false);
    for minute in 0..3 {
        patience.heard(start + minute * MINUTE, refused(true));
        assert_eq!(patience.passed(start + (minute + 1) * MINUTE, long_ago), None);
    }
    patience.heard(start, refused(false));
    assert!(patience.passed(start + MINUTE, long_ago).is_some());
}

#[test]
fn a_hub_that_goes_on_refusing_is_asked_less_often() {
    let start = Instant::now();
    let mut patience = Patience::of(false);
    let mut pause = || {
        patience.heard(start, refused(true));
        assert!(patience.is_paused());
        let pause = patience.due().unwrap() - start;
        assert_eq!(patience.passed(start + pause, long_ago), None);
        assert!(!patience.is_paused());
        pause
    };
    assert_eq!([pause(), pause(), pause(), pause()], [PAUSE, 2 * PAUSE, LAST, LAST]);
}

#[test]
fn what_was_submitted_a_moment_ago_has_its_own_minute() {
    let start = Instant::now();
    let mut patience = Patience::of(false);
    patience.heard(start, refused(false));
    assert!(patience.tells(start + MINUTE).is_some());
    assert_eq!(patience.passed(start + MINUTE, || None), None, "nothing waits");
    let late = start + MINUTE + SECOND;
    assert_eq!(patience.passed(start + 2 * MINUTE, || Some(late)), None);
    assert_eq!(patience.due(), Some(late + MINUTE));
    let (waited, _) = patience.passed(late + MINUTE, || Some(late)).unwrap();
    assert_eq!(waited, MINUTE);
}

#[test]
fn a_refusal_is_told_after_a_second_and_what_happens_to_others_does_not_end_it() {
    let start = Instant::now();
    let mut patience = Patience::of(false);
    let mut both = refused(false);
    both.refuses(Refused { message: "own".to_owned(), for_own: true });
    assert_eq!(both, refused(false), "what has a limit counts");
    patience.heard(start, both);
    assert_eq!(patience.tells(start), None);
    assert!(!patience.heard(start + SECOND / 2, Heard::default()), "a state of another action");
    patience.heard(start + SECOND / 2, refused(false));
    assert_eq!(patience.passed(start + 3 * SECOND / 4, long_ago), None);
    assert_eq!(patience.tells(start + SECOND).as_deref(), Some("full"));
    assert_eq!(patience.tells(start + 2 * SECOND), None, "once");
    assert!(!patience.heard(start + 40 * SECOND, Heard::default()));
    assert!(patience.passed(start + MINUTE, long_ago).is_some());
}
