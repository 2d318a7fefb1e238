//! Peers of other versions, and peers that are not there. The agents here are servers of the test's own, which say of
//! themselves what no real one of this build would.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use hands_link::{Address, Listener};
use hands_proto::v1::agent_server::{Agent, AgentServer};
use hands_proto::v1::{HelloReply, HelloRequest, Protocol, StopReply, StopRequest};
use hands_types::ErrorClass;
use tonic::{Request, Response, Status};

use super::Holder;
use super::stop::no_longer_held;
use crate::{AgentSockets, AgentSpec, ClientError, Cluster, Invocation, PROTOCOL, Target};

/// An agent that says this of itself, and that must never be stopped.
struct Odd(HelloReply);

#[tonic::async_trait]
impl Agent for Odd {
    async fn hello(&self, _: Request<HelloRequest>) -> Result<Response<HelloReply>, Status> {
        Ok(Response::new(self.0.clone()))
    }

    async fn stop(&self, _: Request<StopRequest>) -> Result<Response<StopReply>, Status> {
        Err(Status::internal("it was told to stop"))
    }
}

struct Dir(PathBuf);

impl Dir {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!(
            "hands-client-agent-{}-{}",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        );
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn spec(&self) -> AgentSpec {
        AgentSpec {
            sockets: vec![AgentSockets::at(&self.0.join("run"))],
            start_lock: self.0.join("run/agent.start"),
            life_lock: self.0.join("run/agent.lock"),
            log: self.0.join("agent.log"),
            program: "/nonexistent/hands".into(),
            environment: Vec::new(),
            arguments: Vec::new(),
            start: true,
        }
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).unwrap();
    }
}

/// Connects to an agent of these versions.
async fn meet(range: (u32, u32), version: &str, busy: bool) -> Result<Cluster, ClientError> {
    let dir = Dir::new();
    let spec = dir.spec();
    let listener = Listener::bind(&Address::Unix(spec.sockets[0].agent.clone())).unwrap();
    let protocol = Protocol {
        low: range.0,
        high: range.1,
        build_id: "another".to_owned(),
        version: version.to_owned(),
    };
    let hello = HelloReply { protocol: Some(protocol), busy, ..HelloReply::default() };
    let serving = hands_link::server()
        .add_service(AgentServer::new(Odd(hello)))
        .serve_with_incoming(listener.incoming());
    let server = tokio::spawn(serving);
    let met = Cluster::connect(Target::Agent(spec), Invocation::new("test").unwrap(), |_| {}).await;
    server.abort();
    met
}

#[tokio::test]
async fn an_agent_without_a_common_version_is_left_alone_and_said_how_to_end() {
    let (low, high) = PROTOCOL;
    for (range, version, busy) in
        [((high + 1, high + 2), "99.0.0", false), ((high + 1, high + 1), "0.0.1", true)]
    {
        let error = meet(range, version, busy).await.unwrap_err();
        assert!(matches!(error, ClientError::Version { peer: "agent", .. }), "{error:?}");
        let says = format!("versions {} to {} (it is {version})", range.0, range.1);
        assert!(error.to_string().contains(&says), "{error}");
        assert!(error.hint().unwrap().contains("hands agent stop"), "{error}");
    }
    // With one version in common it serves, whatever else it speaks: a later one for good, an older one while busy.
    drop(meet((low, high + 5), "99.0.0", false).await.unwrap());
    drop(meet((low, high), "0.0.1", true).await.unwrap());
    // An older one that is idle is asked to leave.
    let asked = meet((low, high), "0.0.1", false).await.unwrap_err();
    assert!(asked.to_string().contains("it was told to stop"), "{asked}");
}

/// A socket on which somebody listens who never says a word, as of an agent that was stopped by a signal.
#[tokio::test(start_paused = true)]
async fn an_agent_that_does_not_answer_is_named_and_given_up_after_thirty_seconds() {
    let dir = Dir::new();
    let spec = dir.spec();
    std::fs::create_dir(spec.sockets[0].agent.parent().unwrap()).unwrap();
    let _listener = std::os::unix::net::UnixListener::bind(&spec.sockets[0].agent).unwrap();
    let began = tokio::time::Instant::now();
    let mut told = Vec::new();
    let invocation = Invocation::new("test").unwrap();
    let connecting = Cluster::connect(Target::Agent(spec.clone()), invocation, |text| {
        told.push((began.elapsed(), text));
    });
    let error = connecting.await.unwrap_err();
    assert!(matches!(error, ClientError::AgentSilent { .. }), "{error:?}");
    assert_eq!((error.class(), began.elapsed().as_secs()), (ErrorClass::Environment, 30));
    assert!(error.hint().unwrap().contains("hands agent stop --force"), "{error}");
    let [(when, text)] = &told[..] else { panic!("{told:?}") };
    assert!(when.as_secs() == 2 && text.contains("does not answer; waiting for 30 s"), "{text}");
    let asked = crate::agent_status(&spec).await.unwrap_err();
    assert!(matches!(asked, ClientError::AgentSilent { .. }), "{asked:?}");
    // Only `--force` would kill.
    let stopped = crate::stop_agent(&spec, false).await.unwrap_err();
    assert!(matches!(stopped, ClientError::AgentSilent { .. }), "{stopped:?}");
}

#[tokio::test(start_paused = true)]
async fn a_hub_that_is_not_there_is_named_at_once_and_given_up_after_thirty_seconds() {
    let dir = Dir::new();
    let address = Address::Unix(dir.0.join("no-hub"));
    let target = Target::Hub {
        address,
        instance: String::new(),
        patience: Duration::from_secs(30),
        agent: dir.spec(),
    };
    let began = tokio::time::Instant::now();
    let mut told = Vec::new();
    let connecting = Cluster::connect(target, Invocation::new("test").unwrap(), |text| {
        told.push((began.elapsed(), text));
    });
    let error = connecting.await.unwrap_err();
    let took = began.elapsed();
    assert!((30..33).contains(&took.as_secs()), "{took:?}");
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].0 < Duration::from_secs(3) && told[0].1.contains("no-hub"), "{told:?}");
    assert!(matches!(error, ClientError::Unreachable { .. }), "{error:?}");
    assert_eq!(error.class(), ErrorClass::Infra { retry: true });
    assert!(error.hint().unwrap().contains("--local"));
    // No agent was started in its place.
    assert!(!dir.0.join("run").exists());
}

/// Whoever waited for an agent that is ended starts the next one, which may hold the lock before the one who ends it looks.
#[tokio::test(start_paused = true)]
async fn an_agent_has_left_when_another_holds_its_lock() {
    let dir = Dir::new();
    let spec = dir.spec();
    std::fs::create_dir(spec.life_lock.parent().unwrap()).unwrap();
    let held = std::fs::File::create_new(&spec.life_lock).unwrap();
    rustix::fs::flock(&held, rustix::fs::FlockOperation::LockExclusive).unwrap();
    super::sign_agent_lock(&held).unwrap();
    let ours = Some(Holder::Process(std::process::id()));
    let another = Some(Holder::Process(1));
    let leaves = async |before| {
        tokio::time::timeout(Duration::from_secs(20), no_longer_held(&spec, before)).await.is_ok()
    };
    assert!(leaves(another).await, "the lock of the next agent was waited for");
    assert!(!leaves(ours).await, "it still holds its lock");
    // One that has locked it and not signed yet may be the agent that is to leave.
    held.set_len(0).unwrap();
    assert!(!leaves(another).await, "nobody knows whose lock it is");
    drop(held);
    assert!(leaves(ours).await, "nobody holds the lock");
}
