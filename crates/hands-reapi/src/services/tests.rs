//! Shares of the threads for what blocks.

use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};

use super::{Line, blocking, blocking_in};

#[tokio::test]
async fn many_long_calls_leave_threads_for_others() {
    static LINE: Line = Line::new();
    let places = LINE.places.available_permits();
    let n_calls = 3 * places;
    let running = Arc::new(Mutex::new((0, 0)));
    let (began, begun) = channel();
    let (end, ended) = channel();
    let ended = Arc::new(Mutex::new(ended));
    let call = || {
        let (running, began, ended) = (Arc::clone(&running), began.clone(), Arc::clone(&ended));
        blocking_in(&LINE, move |_| {
            {
                let mut running = running.lock().unwrap();
                running.0 += 1;
                running.1 = running.0.max(running.1);
            }
            began.send(()).unwrap();
            ended.lock().unwrap().recv().unwrap();
            running.lock().unwrap().0 -= 1;
        })
    };
    let calls: Vec<_> = (0..n_calls).map(|_| tokio::spawn(call())).collect();
    let begun = tokio::task::spawn_blocking(move || {
        (0..places).for_each(|_| begun.recv().unwrap());
        begun
    })
    .await
    .unwrap();
    // All calls were begun before this one, and none of them has ended.
    blocking(|| ()).await.unwrap();
    assert!(begun.try_recv().is_err(), "more calls than places");
    // One that waits and is given up takes no place.
    calls[n_calls - 1].abort();
    (0..n_calls).for_each(|_| end.send(()).unwrap());
    for call in calls.into_iter().take(n_calls - 1) {
        call.await.unwrap().unwrap();
    }
    assert_eq!(running.lock().unwrap().1, places);
    assert_eq!(LINE.places.available_permits(), places);
}
