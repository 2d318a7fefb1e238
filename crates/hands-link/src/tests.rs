mod dialing;
mod places;
mod strings;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hands_proto::bytestream::byte_stream_client::ByteStreamClient;
use hands_proto::bytestream::byte_stream_server::{ByteStream, ByteStreamServer};
use hands_proto::bytestream::{
    QueryWriteStatusRequest, QueryWriteStatusResponse, ReadRequest, ReadResponse, WriteRequest,
    WriteResponse,
};
use hands_proto::v1;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Request, Response, Status, Streaming};

use crate::{
    Address, ConnectionInfo, Engine, LinkError, Listener, StreamEnd, connect, dial, server,
};

#[test]
fn engines_are_read_as_other_clients_write_them() {
    for (text, shown) in [
        ("grpc://build:50051", "grpc://build:50051"),
        ("http://10.0.0.1", "grpc://10.0.0.1:8980"),
        ("grpcs://remote.example.com", "grpcs://remote.example.com:443"),
        ("grpcs://Remote.Example.com:1985/", "grpcs://remote.example.com:1985"),
        ("grpcs://[::1]", "grpcs://[::1]:443"),
        ("https://[::1]:99", "grpcs://[::1]:99"),
    ] {
        let engine: Engine = text.parse().unwrap_or_else(|e| panic!("{text}: {e}"));
        assert_eq!(engine.to_string(), shown);
        let whole = Engine {
            headers: vec![("x-key".to_owned(), "secret".to_owned())],
            ca: Some("/ca.pem".into()),
            identity: Some(("/cert.pem".into(), "/key.pem".into())),
            ..engine
        };
        assert_eq!(Engine::try_from(&v1::EngineTarget::from(&whole)), Ok(whole.clone()));
        assert!(!format!("{whole:?}").contains("secret"));
    }
    for text in
        ["", "build:50051", "unix:/run/h.sock", "ftp://h", "grpc://", "grpc://a b", "grpc://h:x"]
    {
        let error = text.parse::<Engine>().unwrap_err().to_string();
        assert!(error.starts_with(&format!("the address {text:?} ")), "{error}");
    }
}

#[test]
fn addresses_are_read_as_people_write_them() {
    let ok = [
        ("unix:/run/h.sock", "unix:/run/h.sock"),
        ("unix:///run/h.sock", "unix:/run/h.sock"),
        ("127.0.0.1:99", "127.0.0.1:99"),
        ("http://127.0.0.1:99/", "127.0.0.1:99"),
        ("grpc://[::1]:99", "[::1]:99"),
        ("localhost", "127.0.0.1:8980"),
        ("localhost:99", "127.0.0.1:99"),
        ("10.0.0.1", "10.0.0.1:8980"),
        ("::1", "[::1]:8980"),
    ];
    for (text, shown) in ok {
        let address: Address = text.parse().unwrap_or_else(|e| panic!("{text}: {e}"));
        assert_eq!(address.to_string(), shown);
        assert_eq!(shown.parse(), Ok(address));
    }
    for text in [
        "",
        "unix:",
        "unix:relative",
        "localhost:x",
        "localhost:70000",
        "ftp://h",
        "https://h:1",
        "a.b:1",
    ] {
        text.parse::<Address>().expect_err(text);
    }
}

#[tokio::test]
async fn a_socket_is_private_taken_over_from_the_dead_and_never_from_the_living() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("a/b/hub.sock");
    let address = Address::Unix(path.clone());
    let first = Listener::bind(&address).unwrap();
    let mode = |p: &std::path::Path| fs::metadata(p).unwrap().permissions().mode() & 0o7777;
    assert_eq!((mode(path.parent().unwrap()), mode(&path)), (0o700, 0o600));
    assert!(matches!(Listener::bind(&address), Err(LinkError::AlreadyRunning(_))));
    drop(first);
    assert!(!path.exists(), "the file goes with its listener");

    // What a process that was killed leaves behind.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    let second = Listener::bind(&address).unwrap();
    // A successor's file is not removed by a predecessor's end.
    fs::remove_file(&path).unwrap();
    let third = Listener::bind(&address).unwrap();
    drop(second);
    assert!(path.exists());
    drop(third);

    fs::write(&path, "not a socket").unwrap();
    assert!(matches!(Listener::bind(&address), Err(LinkError::NotASocket(_))));
    assert_eq!(fs::read(&path).unwrap(), b"not a socket");
    fs::set_permissions(path.parent().unwrap(), fs::Permissions::from_mode(0o777)).unwrap();
    assert!(matches!(Listener::bind(&address), Err(LinkError::InsecureDirectory { .. })));
    let long = Address::Unix(home.path().join("x".repeat(120)));
    assert!(matches!(Listener::bind(&long), Err(LinkError::PathTooLong { .. })));
}

#[tokio::test]
async fn a_tcp_port_in_use_is_reported_and_port_0_is_resolved() {
    let listener = Listener::bind(&"127.0.0.1:0".parse().unwrap()).unwrap();
    let address = listener.address().unwrap().clone();
    assert!(matches!(&address, Address::Tcp(a) if a.port() != 0));
    assert!(matches!(Listener::bind(&address), Err(LinkError::AlreadyRunning(_))));
    dial(&address).await.unwrap();
    drop(listener);
    assert!(matches!(dial(&address).await, Err(LinkError::Unreachable { .. })));
}

/// Without it an answer in two writes waits 40 ms for an acknowledgement that the peer delays.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn no_tcp_socket_waits_to_fill_its_packets() {
    let listener = Listener::bind(&"127.0.0.1:0".parse().unwrap()).unwrap();
    let Address::Tcp(address) = listener.address().unwrap().clone() else { panic!("not tcp") };
    let (_ended, server) = serve(listener);
    let channel = connect(&Address::Tcp(address));
    connection_id(&channel).await.unwrap();
    // Both ends are in this process: every connected socket of this port is one of them.
    let this = rustix::process::getpid();
    let this = rustix::process::pidfd_open(this, rustix::process::PidfdFlags::empty()).unwrap();
    let mut n_sockets = 0;
    for entry in fs::read_dir("/proc/self/fd").unwrap().flatten() {
        let number: i32 = entry.file_name().to_str().unwrap().parse().unwrap();
        let none = rustix::process::PidfdGetfdFlags::empty();
        let Ok(fd) = rustix::process::pidfd_getfd(&this, number, none) else { continue };
        let ends =
            [rustix::net::getsockname(&fd).ok(), rustix::net::getpeername(&fd).ok().flatten()];
        let ports = ends
            .map(|end| end.and_then(|a| std::net::SocketAddr::try_from(a).ok()).map(|a| a.port()));
        if ports[1].is_some() && ports.contains(&Some(address.port())) {
            n_sockets += 1;
            assert!(rustix::net::sockopt::tcp_nodelay(&fd).unwrap(), "{ports:?}");
        }
    }
    assert_eq!(n_sockets, 2, "the client's and the server's");
    server.abort();
}

/// Streams for ever, and says why each stream ended.
struct Endless {
    ends: mpsc::Sender<StreamEnd>,
}

#[tonic::async_trait]
impl ByteStream for Endless {
    type ReadStream = ReceiverStream<Result<ReadResponse, Status>>;

    async fn read(
        &self,
        request: Request<ReadRequest>,
    ) -> Result<Response<Self::ReadStream>, Status> {
        let connection = ConnectionInfo::of(&request).expect("our listener").clone();
        let (sender, receiver) = mpsc::channel(1);
        let ends = self.ends.clone();
        tokio::spawn(async move {
            sender.send(Ok(ReadResponse::default())).await.unwrap();
            sender.closed().await;
            ends.send(connection.stream_end().await).await.unwrap();
        });
        Ok(Response::new(ReceiverStream::new(receiver)))
    }

    async fn write(
        &self,
        _: Request<Streaming<WriteRequest>>,
    ) -> Result<Response<WriteResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn query_write_status(
        &self,
        request: Request<QueryWriteStatusRequest>,
    ) -> Result<Response<QueryWriteStatusResponse>, Status> {
        let id = ConnectionInfo::of(&request).expect("our listener").id.0;
        Ok(Response::new(QueryWriteStatusResponse { committed_size: id as i64, complete: true }))
    }
}

fn serve(listener: Listener) -> (mpsc::Receiver<StreamEnd>, tokio::task::JoinHandle<()>) {
    let (ends, ended) = mpsc::channel(8);
    let service = ByteStreamServer::new(Endless { ends });
    let task = tokio::spawn(async move {
        server().add_service(service).serve_with_incoming(listener.incoming()).await.unwrap();
    });
    (ended, task)
}

async fn read(channel: Channel) -> Streaming<ReadResponse> {
    let mut stream =
        ByteStreamClient::new(channel).read(ReadRequest::default()).await.unwrap().into_inner();
    stream.message().await.unwrap().unwrap();
    stream
}

async fn connection_id(channel: &Channel) -> Result<i64, Status> {
    let mut client = ByteStreamClient::new(channel.clone());
    let reply = client.query_write_status(QueryWriteStatusRequest::default()).await?;
    Ok(reply.into_inner().committed_size)
}

/// Dials on a runtime of its own, whose end closes the connection as a killed process would: without a word.
fn read_and_die(dial: impl FnOnce() -> Channel + Send + 'static) -> std::thread::JoinHandle<()> {
    std::thread::Builder::new()
        .spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let stream = runtime.block_on(async { read(dial()).await });
            drop(runtime);
            drop(stream);
        })
        .unwrap()
}

async fn cancelled_is_told_from_lost(
    listener: Listener,
    dial: Arc<dyn Fn() -> Channel + Send + Sync>,
    has_goodbyes: bool,
) {
    let (mut ends, server) = serve(listener);
    let channel = dial();
    let stream = read(channel.clone()).await;
    let other = read(channel.clone()).await;
    drop(stream);
    assert_eq!(ends.recv().await, Some(StreamEnd::Cancelled));
    for _ in 0..20 {
        let dial = Arc::clone(&dial);
        let dead = read_and_die(move || dial());
        assert_eq!(ends.recv().await, Some(StreamEnd::Lost));
        dead.join().unwrap();
    }
    // As many clients end: all calls given up and the connection ended at once, but not without a word.
    let end = if has_goodbyes { StreamEnd::Cancelled } else { StreamEnd::Lost };
    for _ in 0..20 {
        drop(read(dial()).await);
        assert_eq!(ends.recv().await, Some(end));
    }
    assert_eq!(connection_id(&channel).await.unwrap(), connection_id(&channel).await.unwrap());
    drop(other);
    assert_eq!(ends.recv().await, Some(StreamEnd::Cancelled));
    server.abort();
}

#[tokio::test]
async fn a_cancelled_stream_is_told_from_a_lost_connection_over_each_kind_of_link() {
    let home = tempfile::tempdir().unwrap();
    for address in [Address::Unix(home.path().join("s")), "127.0.0.1:0".parse().unwrap()] {
        let listener = Listener::bind(&address).unwrap();
        let address = listener.address().unwrap().clone();
        cancelled_is_told_from_lost(listener, Arc::new(move || connect(&address)), true).await;
    }
    let (listener, pipe) = Listener::pipe();
    cancelled_is_told_from_lost(listener, Arc::new(move || pipe.connect()), false).await;
}

#[tokio::test]
async fn a_channel_dials_again_after_its_hub_was_away() {
    let home = tempfile::tempdir().unwrap();
    let address = Address::Unix(home.path().join("s"));
    let channel = connect(&address);
    let early = connection_id(&channel).await.expect_err("nobody listens yet");
    assert_eq!(early.code(), tonic::Code::Unavailable);
    let mut seen = Vec::new();
    for _ in 0..2 {
        let listener = Listener::bind(&address).unwrap();
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let (ends, _ended) = mpsc::channel(1);
        let server = tokio::spawn(
            server()
                .add_service(ByteStreamServer::new(Endless { ends }))
                .serve_with_incoming_shutdown(listener.incoming(), async {
                    let _told = stopped.await;
                }),
        );
        seen.push(connection_id(&channel).await.unwrap());
        stop.send(()).unwrap();
        server.await.unwrap().unwrap();
        let away = connection_id(&channel).await.expect_err("the hub is away");
        assert_eq!(away.code(), tonic::Code::Unavailable);
    }
    assert!(seen[0] < seen[1], "two connections: {seen:?}");
}

#[tokio::test]
async fn another_user_is_refused() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("SKIPPED another_user_is_refused: needs root to become another user");
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let path: PathBuf = home.path().join("s");
    let listener = Listener::bind(&Address::Unix(path.clone())).unwrap();
    // Past the file modes, so that it is the check of the peer that refuses.
    for p in [home.path(), path.as_path()] {
        fs::set_permissions(p, fs::Permissions::from_mode(0o755)).unwrap();
    }
    fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).unwrap();
    let (_ends, _server) = serve(listener);
    let stranger = std::thread::Builder::new().spawn(move || {
        let nobody = rustix::process::Uid::from_raw(65534);
        rustix::thread::set_thread_res_uid(nobody, nobody, nobody).unwrap();
        let mut stream = std::os::unix::net::UnixStream::connect(&path).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        std::io::Read::read(&mut stream, &mut [0; 16]).unwrap()
    });
    let read =
        tokio::task::spawn_blocking(move || stranger.unwrap().join().unwrap()).await.unwrap();
    assert_eq!(read, 0, "hung up on without a byte");
}
