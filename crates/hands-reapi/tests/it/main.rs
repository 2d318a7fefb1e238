//! Real servers on real sockets, spoken to in raw gRPC and through the client.

mod actions;
mod assets;
mod batches;
mod capabilities;
mod chunks;
mod client;
mod streams;
mod trees;

use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream;
use hands_link::{Address, Listener, connect, server};
use hands_proto::bytestream::byte_stream_client::ByteStreamClient;
use hands_proto::bytestream::{ReadRequest, WriteRequest};
use hands_proto::reapi::action_cache_client::ActionCacheClient;
use hands_proto::reapi::capabilities_client::CapabilitiesClient;
use hands_proto::reapi::content_addressable_storage_client::ContentAddressableStorageClient;
use hands_reapi::{Backend, LogName, LogSource, LogStream, services};
use hands_store::{Store, StoreConfig};
use hands_types::limits::MAX_MESSAGE;
use hands_types::{Digest, DigestFunction};
use tonic::transport::Channel;
use tonic::{Code, Status};

const SHA: DigestFunction = DigestFunction::Sha256;

/// A server and a channel to it. Ends with the test's runtime.
struct Hub {
    store: Store,
    channel: Channel,
    _home: tempfile::TempDir,
}

impl Hub {
    async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    async fn start_with(change: impl FnOnce(&mut Backend)) -> Self {
        let home = tempfile::tempdir().unwrap();
        let address = Address::Unix(home.path().join("socket/hub.sock"));
        Self::start_on(&address, home, change)
    }

    async fn start_tcp() -> Self {
        Self::start_on(&"127.0.0.1:0".parse().unwrap(), tempfile::tempdir().unwrap(), |_| {})
    }

    fn start_on(
        address: &Address,
        home: tempfile::TempDir,
        change: impl FnOnce(&mut Backend),
    ) -> Self {
        let mut config = StoreConfig::new(home.path().join("store"));
        config.quota = Some(8 << 30);
        config.reserve = 0;
        let store = Store::open(config).unwrap();
        let mut backend = Backend {
            store: store.clone(),
            logs: Arc::new(Echo),
            exec_enabled: true,
            update_enabled: true,
        };
        change(&mut backend);
        let listener = Listener::bind(address).unwrap();
        let address = listener.address().unwrap().clone();
        let serving = server()
            .add_service(services::capabilities(&backend))
            .add_service(services::cas(&backend))
            .add_service(services::action_cache(&backend))
            .add_service(services::byte_stream(&backend))
            .add_service(services::fetch(&backend))
            .add_service(services::push(&backend))
            .serve_with_incoming(listener.incoming());
        tokio::spawn(serving);
        Self { store, channel: connect(&address), _home: home }
    }

    fn cas(&self) -> ContentAddressableStorageClient<Channel> {
        ContentAddressableStorageClient::new(self.channel.clone())
            .max_decoding_message_size(MAX_MESSAGE)
    }

    fn actions(&self) -> ActionCacheClient<Channel> {
        ActionCacheClient::new(self.channel.clone())
    }

    fn streams(&self) -> ByteStreamClient<Channel> {
        ByteStreamClient::new(self.channel.clone())
    }

    fn capabilities(&self) -> CapabilitiesClient<Channel> {
        CapabilitiesClient::new(self.channel.clone())
    }

    /// Sends one blob as a stream of messages.
    async fn write(&self, messages: Vec<WriteRequest>) -> Result<i64, Status> {
        let reply = self.streams().write(stream::iter(messages)).await?;
        Ok(reply.into_inner().committed_size)
    }

    async fn read(&self, name: &str, offset: i64, limit: i64) -> Result<Vec<u8>, Status> {
        let request =
            ReadRequest { resource_name: name.to_owned(), read_offset: offset, read_limit: limit };
        let mut stream = self.streams().read(request).await?.into_inner();
        let mut out = Vec::new();
        while let Some(message) = stream.message().await? {
            out.extend_from_slice(&message.data);
        }
        Ok(out)
    }

    fn put(&self, content: &[u8]) -> Digest {
        self.store.put_bytes(SHA, content).unwrap()
    }
}

/// A log source whose logs say their own names.
struct Echo;

#[tonic::async_trait]
impl LogSource for Echo {
    async fn read(&self, name: &LogName, offset: u64) -> Result<LogStream, Status> {
        if name.operation == "unknown" {
            return Err(Status::not_found("no such operation"));
        }
        let text = Bytes::from(name.to_string().into_bytes());
        let rest = text.slice(usize::try_from(offset).unwrap()..);
        Ok(Box::pin(stream::iter(
            rest.chunks(3).map(Bytes::copy_from_slice).map(Ok).collect::<Vec<_>>(),
        )))
    }
}

/// One message that holds a whole blob.
fn whole(name: String, data: impl Into<Bytes>) -> Vec<WriteRequest> {
    vec![WriteRequest {
        resource_name: name,
        write_offset: 0,
        finish_write: true,
        data: data.into(),
    }]
}

fn digest(content: &[u8]) -> Digest {
    hands_tree::hash(SHA, content)
}

/// Content that does not compress and differs by seed.
fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..len)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()[3]
        })
        .collect()
}

#[track_caller]
fn assert_code<T: std::fmt::Debug>(outcome: Result<T, Status>, code: Code) -> Status {
    let status = outcome.expect_err("an error was expected");
    assert_eq!(status.code(), code, "{status:?}");
    status
}
