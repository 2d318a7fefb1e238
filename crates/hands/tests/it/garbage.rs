//! Bytes that are no message, and files that are no database any more: whose mistake it is, and the way out.

use std::fs;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use hands_link::Address;
use hands_testkit::raw::Raw;
use tonic::client::Grpc;
use tonic::{Code, Request};

use crate::home::{Home, names};

fn find(directory: &Path, name: &str) -> Option<PathBuf> {
    fs::read_dir(directory).unwrap().flatten().find_map(|entry| {
        if entry.file_type().unwrap().is_dir() {
            return find(&entry.path(), name);
        }
        (entry.file_name() == name).then(|| entry.path())
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_are_no_message_are_their_senders_mistake() {
    let home = Home::new().warm();
    let socket = find(&home.hands_home(), "agent.sock").expect("the agent's socket");
    let address: Address = format!("unix:{}", socket.display()).parse().unwrap();
    let channel = hands_link::connect(&address);
    for path in [
        "/build.bazel.remote.execution.v2.ContentAddressableStorage/FindMissingBlobs",
        "/build.bazel.remote.execution.v2.Execution/Execute",
        "/google.bytestream.ByteStream/Read",
        "/hands.v1.Actions/Session",
        "/hands.v1.Jobs/List",
        "/hands.v1.Agent/Hello",
    ] {
        let mut client = Grpc::new(channel.clone());
        client.ready().await.unwrap();
        // A field of seven bytes, of which there are none.
        let garbage = Request::new(tokio_stream::once(Bytes::from_static(&[0x0a, 7])));
        let answer = client.streaming(garbage, path.parse().unwrap(), Raw).await;
        let refused = match answer {
            Err(status) => status,
            Ok(mut answers) => answers.get_mut().message().await.expect_err(path),
        };
        assert_eq!(refused.code(), Code::InvalidArgument, "{path}: {refused:?}");
    }
    assert_eq!(home.run(&["run", "--", "true"]).code, 0);
}

#[test]
fn a_damaged_table_names_a_way_out_that_works() {
    let home = Home::new().warm();
    assert_eq!(home.run(&["agent", "stop", "--force"]).code, 0);
    let table = find(&home.hands_home(), "hub.db").expect("the hub's table");
    let hub = table.parent().unwrap();
    for name in names(hub).iter().filter(|name| name.starts_with("hub.db")) {
        fs::write(hub.join(name), "no table ".repeat(10_000)).unwrap();
    }
    let index = find(&home.hands_home(), "index.db").expect("the store's index");
    fs::write(&index, "no index ".repeat(10_000)).unwrap();
    let ended = home.run(&["run", "--", "true"]);
    let way_out = "move hub.db, hub.db-wal and hub.db-shm away";
    assert!(ended.code == 125 && ended.err.contains(way_out), "{ended:?}");
    fs::create_dir(hub.join("aside")).unwrap();
    for name in names(hub).iter().filter(|name| name.starts_with("hub.db")) {
        fs::rename(hub.join(name), hub.join("aside").join(name)).unwrap();
    }
    let ended = home.run(&["run", "--", "echo", "here"]);
    assert_eq!((ended.code, ended.out.as_str()), (0, "here\n"), "{ended:?}");
    // The index is made anew from what the store holds, and the old one is kept.
    assert!(index.with_extension("damaged.db").exists());
}
