//! What is kept of standard input.

use bytes::Bytes;

use super::kept::{Kept, MOST};

/// All that can be had again from a place.
fn rest(kept: &Kept, mut place: u64) -> Vec<u8> {
    let mut rest = Vec::new();
    while let Some(piece) = kept.from(place) {
        place += piece.len() as u64;
        rest.extend_from_slice(&piece);
    }
    rest
}

#[test]
fn what_was_not_taken_can_be_had_again_from_any_byte() {
    let mut kept = Kept::default();
    for piece in ["ab", "", "cde", "f"] {
        kept.push(Bytes::from_static(piece.as_bytes()));
    }
    assert!(kept.is_whole() && kept.end() == 6);
    for taken in 0..=6 {
        kept.forget(taken);
        assert_eq!((kept.first(), kept.end()), (taken, 6));
        for place in taken..=6 {
            let whole = &b"abcdef"[usize::try_from(place).unwrap()..];
            assert_eq!(rest(&kept, place), whole, "{taken} {place}");
        }
        assert!(taken == 0 || kept.from(taken - 1).is_none(), "{taken}");
    }
    // An older reply comes late.
    kept.forget(3);
    assert_eq!(kept.first(), 6);
    kept.push(Bytes::from_static(b"g"));
    assert_eq!((kept.first(), rest(&kept, 6)), (6, b"g".to_vec()));
}

#[test]
fn what_is_kept_is_bounded_in_bytes_and_pieces() {
    let mut kept = Kept::default();
    let piece = Bytes::from(vec![0; 64 << 10]);
    while kept.has_room() {
        kept.push(piece.clone());
    }
    assert_eq!(kept.end(), MOST as u64);
    kept.forget(1);
    assert!(kept.has_room());
    let mut kept = Kept::default();
    while kept.has_room() {
        kept.push(Bytes::from_static(b"a"));
    }
    assert!(kept.end() < 10_000, "{}", kept.end());
}
