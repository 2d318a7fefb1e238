use std::collections::HashSet;
use std::sync::Barrier;

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panic_is_that_of_whoever_waits_and_ends_no_thread() {
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    for _ in 0..2 * OF_A_CORE * cores {
        let failed = bulk(|| -> u32 { panic!("as meant") }).await.unwrap_err();
        let panic = catch_unwind(AssertUnwindSafe(|| failed.resume())).unwrap_err();
        assert_eq!(panic.downcast_ref::<&str>(), Some(&"as meant"));
    }
    assert_eq!(bulk(|| 7).await.unwrap(), 7);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn its_threads_are_few_and_work_at_once() {
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    let all = OF_A_CORE * cores;
    // Other tests have works of their own under way.
    let some = all / 2;
    let (seen, together) = (Arc::new(Mutex::new(HashSet::new())), Arc::new(Barrier::new(some)));
    let works: Vec<Bulk<()>> = (0..3 * all)
        .map(|_| {
            let (seen, together) = (Arc::clone(&seen), Arc::clone(&together));
            bulk(move || {
                seen.lock().unwrap().insert(thread::current().id());
                // Not one of them passes before as many are here.
                together.wait();
            })
        })
        .collect();
    for work in works {
        work.await.unwrap();
    }
    let seen = seen.lock().unwrap().len();
    assert!((some..=all).contains(&seen), "{seen}");
}
