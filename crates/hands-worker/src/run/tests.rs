//! What waits for an action's standard input.

use bytes::Bytes;
use hands_exec::{ControlEvent, InputEvent, Stream};
use hands_proto::v1::input::Kind;

use super::Feed;

const PIECE: usize = 256 << 10;
const MOST: u64 = 4 << 20;

fn feed() -> Feed {
    Feed::bounded(&std::env::temp_dir(), false, MOST, 1 << 20)
}

fn push(feed: &Feed, offset: u64, length: usize) {
    feed.push(Kind::Data(Bytes::from(vec![0; length])), offset);
}

#[test]
fn input_is_bounded_by_what_waits_and_not_by_what_came() {
    let feed = feed();
    let mut sent = 0;
    let mut taken = 0;
    // A little always waits, so that nothing is ever taken whole.
    push(&feed, sent, 100);
    sent += 100;
    for _ in 0..70 {
        push(&feed, sent, PIECE);
        sent += PIECE as u64;
        while taken + PIECE as u64 / 2 < sent {
            let Ok(Some(InputEvent::Data(bytes))) = feed.next() else {
                panic!("{taken} of {sent}")
            };
            taken += bytes.len() as u64;
        }
    }
    assert!(sent > 4 * MOST);
    feed.push(Kind::Eof(true), sent);
    while let Some(InputEvent::Data(bytes)) = feed.next().unwrap() {
        taken += bytes.len() as u64;
    }
    assert_eq!(taken, sent);
}

#[test]
fn too_much_that_waits_is_named_whatever_comes_after_it() {
    let feed = feed();
    for n in 0..18 {
        push(&feed, n * PIECE as u64, PIECE);
    }
    let why = feed.next().unwrap_err();
    assert!(why.contains("4 MiB of standard input are waiting"), "{why}");
}

#[test]
fn what_controls_an_action_does_not_wait_behind_its_input() {
    let feed = feed();
    push(&feed, 0, 10);
    feed.push(Kind::StdoutClosed(true), 0);
    assert_eq!(feed.next_control(), Some(ControlEvent::Close(Stream::Stdout)));
    assert!(matches!(feed.next(), Ok(Some(InputEvent::Data(_)))));
}
