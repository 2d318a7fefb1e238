//! A few bytes that stand for many.

use std::cell::Cell;

use hands_types::DigestFunction;

use super::*;

#[test]
fn a_look_at_a_bomb_ends_when_nobody_waits_for_it() {
    let zeros = vec![0; 64 << 20];
    let mut hasher = Hasher::new(DigestFunction::Sha256);
    hasher.update(&zeros);
    let digest = hasher.finish();
    let sent = zstd::bulk::compress(&zeros, LEVEL).unwrap();
    let looks = Cell::new(0);
    let look_until = |end: u32| {
        looks.set(0);
        check(std::iter::once(&*sent), &digest, || {
            looks.set(looks.get() + 1);
            looks.get() < end
        })
    };
    assert!(matches!(look_until(3), Err(CodecError::GivenUp)));
    assert_eq!(looks.get(), 3);
    look_until(u32::MAX).unwrap();
}
