use hands_store::Made;
use hands_types::DigestFunction;
use tokio::sync::mpsc;

use super::*;

fn damage(n: u8) -> Damage {
    let digest = hands_tree::hash(DigestFunction::Sha256, &[n]);
    let made = Made { operation: n.to_string().into(), instance: "".into(), action: digest };
    Damage { root: digest, made: vec![made] }
}

/// What a new session is told: the operations.
fn told(doubts: &mut Doubts) -> Vec<(String, u64)> {
    let (session, mut messages) = mpsc::unbounded_channel();
    doubts.tell(&session);
    doubts.tell(&session);
    drop(session);
    let mut all = Vec::new();
    while let Ok(message) = messages.try_recv() {
        let Some(worker_message::Kind::Doubted(doubted)) = message.kind else { panic!() };
        all.push((doubted.results[0].operation.clone(), doubted.number));
    }
    all
}

#[test]
fn a_doubt_is_told_once_in_each_session_until_it_is_heard() {
    let mut doubts = Doubts::default();
    doubts.add(&damage(1));
    doubts.add(&Damage { made: Vec::new(), ..damage(9) });
    assert_eq!(told(&mut doubts), [("1".to_owned(), 1)]);
    doubts.add(&damage(2));
    assert_eq!(told(&mut doubts), [("2".to_owned(), 2)]);
    doubts.session_lost();
    assert_eq!(told(&mut doubts), [("1".to_owned(), 1), ("2".to_owned(), 2)]);
    doubts.acknowledged(1);
    doubts.session_lost();
    assert_eq!(told(&mut doubts), [("2".to_owned(), 2)]);
    doubts.acknowledged(2);
    doubts.session_lost();
    assert_eq!(told(&mut doubts), []);
}

#[test]
fn what_no_hub_hears_of_is_bounded() {
    let mut doubts = Doubts::default();
    for n in 0..=u8::MAX {
        doubts.add(&damage(n));
    }
    let told = told(&mut doubts);
    assert_eq!((told.len(), told[MOST - 1].1), (MOST, 256), "the newest are kept");
}
