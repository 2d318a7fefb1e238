//! Sizes and words as people write them.

use crate::retry::Reruns;
use crate::{Isolation, Network, Privilege, Word, parse_size};

#[test]
fn sizes_are_read_or_refused() {
    let sizes = [
        ("0", Some(0)),
        ("512M", Some(512 << 20)),
        ("20 GiB", Some(20 << 30)),
        (" 4 g ", Some(4 << 30)),
        ("1kb", Some(1024)),
        ("1T", Some(1 << 40)),
        ("7b", Some(7)),
        ("", None),
        ("M", None),
        ("x", None),
        ("-1", None),
        ("1.5G", None),
        ("4ib", None),
        ("4bb", None),
        ("4giib", None),
        ("99999999999T", None),
    ];
    for (text, expected) in sizes {
        assert_eq!(parse_size(text), expected, "{text}");
    }
}

#[test]
fn words_are_read_as_they_are_written() {
    fn round<W: Word + std::fmt::Debug>() {
        assert_eq!(W::ALL.len(), W::NAMES.len());
        for (word, name) in W::ALL.iter().zip(W::NAMES) {
            assert_eq!((word.name(), W::read(name)), (*name, Some(*word)));
            assert_eq!(W::read(&name.to_uppercase()), None);
        }
    }
    round::<Network>();
    round::<Privilege>();
    round::<Isolation>();
    round::<crate::Scratch>();
    round::<crate::InputRoot>();
    let refused = |error: Result<Network, crate::UnknownWord>| error.unwrap_err().to_string();
    assert_eq!(refused("".parse()), "must be none, loopback or host");
    assert_eq!("root".parse::<Privilege>().unwrap_err().to_string(), "must be userns");
    assert!(Isolation::Full < Isolation::Process, "the strongest is the first");
}

#[test]
fn an_action_is_run_three_times_at_most_and_as_often_as_its_user_says() {
    let runs = |said, has_effects| {
        let mut reruns = Reruns::new(said, has_effects);
        1 + (0..100).take_while(|_| reruns.lose(1).is_ok()).count()
    };
    let all = [(None, false), (None, true), (Some(0), false), (Some(1), true), (Some(9), true)];
    assert_eq!(all.map(|(said, effects)| runs(said, effects)), [3, 1, 1, 2, 3]);
    // What is submitted anew says what is left.
    let mut reruns = Reruns::new(None, false);
    assert_eq!((reruns.lose(0), reruns.left()), (Ok(()), None));
    assert_eq!((reruns.lose(1), reruns.left()), (Ok(()), Some(1)));
    assert_eq!((reruns.lose(1), reruns.left()), (Ok(()), Some(0)));
    assert_eq!((reruns.lose(1), reruns.lost()), (Err("no retries are left"), 3));
}
