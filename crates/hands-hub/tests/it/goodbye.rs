//! Clients that announce their end (GOAWAY), reset no stream and stay connected: Bazel 2 when it is interrupted, and
//! whoever asks for nothing more but still waits for answers.

use std::path::PathBuf;
use std::sync::Arc;

use hands_link::{Address, Listener};
use hands_proto::reapi::execution_client::ExecutionClient;
use hands_proto::reapi::{ExecuteRequest, RequestMetadata, ToolDetails};
use hands_proto::{REQUEST_METADATA, v1};
use hyper_util::rt::TokioIo;
use prost::Message as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex, split};
use tokio::net::UnixStream;
use tokio::sync::Notify;
use tonic::metadata::MetadataValue;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request};

use crate::support::{Following, World, code, soon};

/// A frame with a length of 8, of type 7, on stream 0: no stream is the last one, no error.
const GOAWAY: [u8; 17] = [0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

#[tokio::test]
async fn bazel_leaves_by_saying_goodbye_and_others_still_wait() {
    let world = World::new();
    let socket = world.dir.path().join("socket/hub.sock");
    world.hub.serve(Listener::bind(&Address::Unix(socket.clone())).unwrap());
    let mut worker = world.worker("w").await;
    for (tool, leaves) in [("bazel", true), ("another", false)] {
        let say = Arc::new(Notify::new());
        let channel = relayed(socket.clone(), Arc::clone(&say));
        let digest = world.salted(if leaves { "leaves" } else { "stays" });
        let mut request = Request::new(ExecuteRequest {
            action_digest: Some(digest.into()),
            ..ExecuteRequest::default()
        });
        let metadata = RequestMetadata {
            tool_details: Some(ToolDetails {
                tool_name: tool.to_owned(),
                ..ToolDetails::default()
            }),
            ..RequestMetadata::default()
        };
        let metadata = MetadataValue::from_bytes(&metadata.encode_to_vec());
        request.metadata_mut().insert_bin(REQUEST_METADATA, metadata);
        let stream = soon("the answer", ExecutionClient::new(channel).execute(request)).await;
        let following = Following::new(stream.unwrap().into_inner()).await.unwrap();
        let id = following.id();
        let lease = worker.lease().await;
        worker.started(&lease).await;
        say.notify_one();
        if leaves {
            worker.cancelled(&lease).await;
            let client = world.client();
            let job = client.job_until(&id, |job| job.state() == v1::JobState::Done).await;
            assert_eq!(job.status.unwrap().code, i32::from(Code::Cancelled));
            drop(following);
        } else {
            worker.finish(&lease, 0, b"").await;
            assert_eq!(code(&following.response().await), Code::Ok);
        }
    }
}

/// A connection into which a goodbye is put when it is asked for.
fn relayed(socket: PathBuf, say: Arc<Notify>) -> Channel {
    let connect = tower::service_fn(move |_: http::Uri| {
        let (socket, say) = (socket.clone(), Arc::clone(&say));
        async move {
            let hub = UnixStream::connect(socket).await?;
            let (ours, theirs) = duplex(1 << 20);
            tokio::spawn(async move {
                let (mut from_client, mut to_client) = split(theirs);
                let (mut from_hub, mut to_hub) = hub.into_split();
                let up = async {
                    let mut buffer = vec![0; 64 << 10];
                    loop {
                        tokio::select! {
                            read = from_client.read(&mut buffer) => match read? {
                                0 => return to_hub.shutdown().await,
                                n => to_hub.write_all(&buffer[..n]).await?,
                            },
                            // The client is silent then, so that this is between two of its frames.
                            () = say.notified() => to_hub.write_all(&GOAWAY).await?,
                        }
                    }
                };
                let down = tokio::io::copy(&mut from_hub, &mut to_client);
                // The end of either is the end of the test's connection, however it comes.
                let _ended = tokio::join!(up, down);
            });
            Ok::<_, std::io::Error>(TokioIo::new(ours))
        }
    });
    Endpoint::from_static("http://hub").connect_with_connector_lazy(connect)
}
