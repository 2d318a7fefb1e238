//! A process of its own, because it lowers the process's limit of open files.
#![cfg(target_os = "linux")]

use std::os::unix::net::UnixStream;

use hands_link::{Address, Listener};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio_stream::StreamExt as _;

#[tokio::test(start_paused = true)]
async fn accepting_goes_on_after_the_descriptors_ran_out() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("s");
    let listener = Listener::bind(&Address::Unix(path.clone())).unwrap();
    let mut incoming = listener.incoming();
    let _waiting = UnixStream::connect(&path).unwrap();
    let before = getrlimit(Resource::Nofile);
    // Below the number of any descriptor that accept could use.
    setrlimit(Resource::Nofile, Rlimit { current: Some(3), maximum: before.maximum }).unwrap();
    // Time is paused: it advances only while the listener waits, so this passes at once if it does wait.
    let none = tokio::time::timeout(std::time::Duration::from_secs(60), incoming.next()).await;
    assert!(none.is_err(), "nothing can be accepted: {none:?}");
    setrlimit(Resource::Nofile, before).unwrap();
    incoming.next().await.unwrap().unwrap();
}
