use futures_util::FutureExt as _;

use super::*;

#[tokio::test]
async fn changes_are_heard_of_once_and_the_end_after_them() {
    let teller = Teller::new(0);
    let mut hearer = teller.hearer();
    assert!(hearer.changed().now_or_never().is_none());
    teller.change(|value| *value = 1);
    teller.change(|value| *value = 2);
    assert!(hearer.changed().await.is_ok());
    assert_eq!(*hearer.borrow(), 2);
    assert!(hearer.changed().now_or_never().is_none(), "once");
    // Who comes later hears of what comes later.
    assert!(teller.hearer().changed().now_or_never().is_none());
    teller.change(|value| *value = 3);
    drop(teller);
    assert!(hearer.changed().await.is_ok());
    assert!(hearer.changed().await.is_err());
    assert!(hearer.until(|value| *value == 4).await.is_err());
    assert_eq!(*hearer.until(|value| *value == 3).await.unwrap(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_who_waits_misses_the_last_change() {
    for _ in 0..2000 {
        let teller = Teller::new(0);
        let waiting: Vec<_> = (0..3)
            .map(|_| {
                let mut hearer = teller.hearer();
                tokio::spawn(async move { hearer.until(|value| *value == 2).await.is_ok() })
            })
            .collect();
        teller.change(|value| *value += 1);
        teller.change(|value| *value += 1);
        for waits in waiting {
            let heard = tokio::time::timeout(std::time::Duration::from_secs(20), waits).await;
            assert!(heard.expect("it waits for ever").unwrap());
        }
    }
}

#[test]
fn it_is_small() {
    assert!(size_of::<Shared<u64>>() <= 80, "{}", size_of::<Shared<u64>>());
}
