use std::sync::mpsc::channel;

use super::*;

#[tokio::test]
async fn a_look_ends_with_its_call() {
    let (tell, told) = channel();
    let work = move |room: &mut Room| {
        tell.send("it begins").unwrap();
        // As a tree does, between two directories.
        while room.passes(0).is_ok() && room.rest().passes(0).is_ok() {
            std::thread::yield_now();
        }
        tell.send("it ends").unwrap();
        Ok(())
    };
    let call = tokio::spawn(looking(None, 0, ROOM_WITHIN, work));
    let next = async |told: std::sync::mpsc::Receiver<&'static str>| {
        let hearing = move || (told.recv_timeout(Duration::from_secs(60)), told);
        tokio::task::spawn_blocking(hearing).await.unwrap()
    };
    let (said, told) = next(told).await;
    assert_eq!(said, Ok("it begins"));
    call.abort();
    assert_eq!(next(told).await.0, Ok("it ends"));
}
