//! Streams of attempts and of executions.

use bytes::Bytes;
use hands_types::DigestFunction;

use super::logs::Log;
use crate::{ClientError, JobStream};

fn log() -> Log {
    let mut log = Log::idle(JobStream::Stdout, DigestFunction::Sha256);
    assert!(!log.turn_to(1));
    assert_eq!(log.take(Bytes::from_static(b"abc")).unwrap().unwrap(), "abc");
    log
}

#[test]
fn another_execution_is_never_put_behind_the_first() {
    // Its attempts have the numbers that the first one's had, or, on other engines, none.
    for attempt in [1, 0] {
        let mut other = log();
        assert!(!other.turn_to_other_execution());
        assert!(!other.turn_to(attempt));
        let error = other.take(Bytes::from_static(b"abX")).unwrap_err();
        assert!(matches!(error, ClientError::OtherOutput { bytes: 3, first: 1, .. }), "{error}");
        assert!(error.to_string().contains("the first execution"), "{error}");
        let mut same = log();
        assert!(!same.turn_to_other_execution());
        assert!(!same.turn_to(attempt));
        assert_eq!(same.take(Bytes::from_static(b"ab")).unwrap().unwrap(), "");
        assert_eq!(same.take(Bytes::from_static(b"cd")).unwrap().unwrap(), "d");
        let mut anew = log();
        anew.restart();
        assert!(anew.turn_to_other_execution());
        assert!(!anew.turn_to(attempt));
        assert_eq!(anew.take(Bytes::from_static(b"X")).unwrap().unwrap(), "X");
    }
    // Nothing was shown yet.
    let mut nothing = Log::idle(JobStream::Stdout, DigestFunction::Sha256);
    assert!(!nothing.turn_to(1) && !nothing.turn_to_other_execution() && !nothing.turn_to(1));
    assert_eq!(nothing.take(Bytes::from_static(b"X")).unwrap().unwrap(), "X");
}
