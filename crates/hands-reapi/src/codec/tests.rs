//! A few bytes that stand for many, and many that stand for themselves.

use std::cell::Cell;

use hands_types::DigestFunction;

use super::deflate::BLOCK;
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
        let mut check = Check::new(digest)?;
        check.push(&sent, || {
            looks.set(looks.get() + 1);
            looks.get() < end
        })?;
        check.finish()
    };
    assert!(matches!(look_until(3), Err(CodecError::GivenUp)));
    assert_eq!(looks.get(), 3);
    look_until(u32::MAX).unwrap();
}

/// Bytes that do not compress; the same for the same number.
pub(crate) fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    std::iter::repeat_with(&mut next).flatten().take(length).collect()
}

/// All of it, pushed in pieces.
fn packed(data: &[u8], piece: usize) -> Vec<u8> {
    let (mut deflate, mut out) = (Deflate::new(), Vec::new());
    for piece in data.chunks(piece) {
        deflate.push(piece, &mut out).unwrap();
    }
    deflate.finish(&mut out).unwrap();
    out
}

#[test]
fn what_does_not_shrink_is_stored_in_a_frame_that_every_decoder_reads() {
    let noise = noise((3 << 20) + 5);
    for piece in [1000, BLOCK, BLOCK + 1, 1 << 20] {
        let out = packed(&noise, piece);
        assert!(out.len() > noise.len());
        // Behind the heads of the frame and of its first block.
        assert!(out[9..][..piece.min(BLOCK)] == noise[..piece.min(BLOCK)], "a copy");
        assert!(zstd::stream::decode_all(&*out).unwrap() == noise);
        assert!(expand(&out, noise.len() as u64).unwrap() == noise);
    }
    // What follows a beginning that does not shrink is not looked at again.
    let mixed = [&noise[..SAMPLE], &vec![b'a'; 1 << 20]].concat();
    assert!(packed(&mixed, 1 << 20).len() > mixed.len());
    assert!(expand(&packed(&mixed, 1 << 20), mixed.len() as u64).unwrap() == mixed);
}

#[test]
fn what_shrinks_is_compressed_whatever_follows() {
    let text = b"as of text, whose words come again, ".repeat(10_000);
    let out = packed(&text, 1 << 20);
    assert!(out.len() < text.len() / 20);
    assert!(expand(&out, text.len() as u64).unwrap() == text);
    let mixed = [text, noise(1 << 20)].concat();
    let out = packed(&mixed, 1 << 20);
    assert!(out.len() < mixed.len() - 300_000);
    assert!(expand(&out, mixed.len() as u64).unwrap() == mixed);
    assert_eq!(expand(&packed(&[], 1), 0).unwrap(), Bytes::new());
}

#[test]
fn one_blob_is_compressed_where_its_beginning_shrinks() {
    let (noise, text) = (noise(8 * SAMPLE), vec![b'a'; 8 * SAMPLE]);
    assert!(shrink(&noise).is_none() && shrink(&noise[..4096]).is_none());
    assert!(shrink(&text).is_some_and(|packed| packed.len() < 10_000));
    assert!(!shrinks(&noise) && !shrinks(&noise[..100]) && !shrinks(&[]));
    assert!(shrinks(&text[..4096]) && shrinks(&text));
    // A sample decides for a large one only; a small one is tried whole.
    let late = [&noise[..SAMPLE], &text[..SAMPLE]].concat();
    assert!(shrink(&late).is_some());
    assert!(shrink(&[&noise[..SAMPLE], &text[..7 * SAMPLE]].concat()).is_none());
}
