//! Joining, staying, leaving; and those who stand in between.

use std::time::Duration;

use hands_link::trust::{EnrolTranscript, NodeKey, sign_renewal};
use hands_link::{
    Address, Connection, Identity, IdentityError, JoinString, LinkError, Peer, Standing,
};
use hands_proto::v1;
use hands_proto::v1::authority_client::AuthorityClient;
use hands_proto::v1::enrolment_client::EnrolmentClient;
use hands_proto::v1::workers_client::WorkersClient;
use hands_types::{MemberId, Role, Roles};
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};

use super::door::{Gate, knock};

const DAY: Duration = Duration::from_secs(24 * 3600);
const INFO: &str = "/hands.v1.Jobs/Info";
const WORKER: Roles = Roles::NONE.with(Role::Worker);

fn worker(status: Result<Identity, IdentityError>) -> String {
    match status {
        Err(IdentityError::Refused { message }) => message,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_string_for_one_node_takes_one_node_in() {
    let gate = Gate::open(DAY);
    let join = gate.invite(WORKER);
    assert!(join.is_one_use);
    let dir = gate.dir.join("w");
    let first = hands_link::enrol(&join, "w", Roles::all(), &dir).await.unwrap();
    assert_eq!((first.cluster.as_str(), first.roles), ("test", WORKER));
    let mode = |path: &std::path::Path| {
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::metadata(path).unwrap().permissions().mode() & 0o777
    };
    assert_eq!((mode(&dir), mode(&first.key_file())), (0o700, 0o600));
    let life = first.expires - first.renew_at;
    assert_eq!(life, 8 * 3600, "renewed at two thirds");

    // The answer got lost, and the node tries again: it is the same member.
    std::fs::rename(first.key_file(), dir.join("key.next.pem")).unwrap();
    std::fs::remove_file(dir.join("member")).unwrap();
    let again = hands_link::enrol(&join, "w", Roles::all(), &dir).await.unwrap();
    assert_eq!(again.member, first.member);

    // Another node with the same string.
    let other = gate.dir.join("other");
    let why = worker(hands_link::enrol(&join, "thief", Roles::all(), &other).await);
    assert!(why.contains("used up"), "{why}");
    assert!(!Identity::is_at(&other));
    // A role that the token does not carry.
    let why = worker(
        hands_link::enrol(&gate.invite(WORKER), "w2", Roles::NONE.with(Role::Admin), &other).await,
    );
    assert!(why.contains("the token is for worker"), "{why}");
    // A restart knows members and tokens as before: what is in memory is what is on disk.
    let members = gate.operator().list_members(v1::ListMembersRequest::default()).await.unwrap();
    assert_eq!(members.into_inner().members.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_not_the_hub_gets_nothing() {
    let (hub, attacker) = (Gate::open(DAY), Gate::open(DAY));
    let join = hub.invite(WORKER);
    // The way leads to somebody with an authority of his own, who would even take the token.
    let diverted = JoinString { routes: vec![attacker.address.clone().into()], ..join.clone() };
    let error = hands_link::enrol(&diverted, "w", WORKER, &hub.dir.join("w")).await.unwrap_err();
    assert!(matches!(&error, IdentityError::Link(LinkError::WrongHub { .. })), "{error:?}");
    assert!(!error.class().retry());
    let figures = attacker.hub.metrics().await.unwrap();
    assert!(!figures.contains("Enrol"), "{figures}");
    // A member's certificate is not the hub's: a member can't pose as the hub either. And the right hub, among others.
    let routes = [&attacker.address, &hub.address].map(|at| at.clone().into()).to_vec();
    let both = JoinString { routes, ..join };
    hands_link::enrol(&both, "w", WORKER, &hub.dir.join("w")).await.unwrap();
}

/// A connection with its binding, and a channel over it and no other.
async fn bound(dir: &std::path::Path) -> ([u8; 32], Channel) {
    let connection: Connection = hands_link::dial(&Address::Member(dir.to_owned())).await.unwrap();
    let binding = connection.info().tls.as_ref().unwrap().binding.unwrap();
    let connection = std::sync::Mutex::new(Some(connection));
    let channel = Endpoint::from_static("http://hub").connect_with_connector_lazy(
        tower::service_fn(move |_: http::Uri| {
            let connection = connection.lock().unwrap().take();
            let lost = || std::io::Error::other("used");
            std::future::ready(connection.map(hyper_util::rt::TokioIo::new).ok_or_else(lost))
        }),
    );
    (binding, channel)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_signed_for_one_connection_is_worthless_on_another() {
    let gate = Gate::open(DAY);
    let (dir, _) = gate.join("relay", Role::Worker).await;
    let (binding, channel) = bound(&dir).await;
    let (other_binding, _other) = bound(&dir).await;
    assert_ne!(binding, other_binding);
    let join = gate.invite(WORKER);
    let key = NodeKey::generate().unwrap();
    let public_key = key.public_key();
    let roles = vec!["worker".to_owned()];
    let request = |binding: &[u8; 32], name: &str| {
        let transcript = EnrolTranscript {
            binding,
            token_id: &join.token.id,
            public_key: &public_key,
            name: "victim",
            roles: &roles,
        };
        let (by_token, by_key) = transcript.sign(&join.token, &key).unwrap();
        v1::EnrolRequest {
            token_id: join.token.id.to_vec().into(),
            public_key: public_key.clone().into(),
            name: name.to_owned(),
            roles: roles.clone(),
            by_token: by_token.into(),
            by_key: by_key.into(),
        }
    };
    let mut client = EnrolmentClient::new(channel);
    let relayed = client.enrol(request(&other_binding, "victim")).await.unwrap_err();
    assert_eq!(relayed.code(), Code::PermissionDenied);
    let changed = client.enrol(request(&binding, "thief")).await.unwrap_err();
    assert_eq!(changed.code(), Code::PermissionDenied);
    // Another node's key under the token's signature.
    let mut swapped = request(&binding, "victim");
    swapped.public_key = NodeKey::generate().unwrap().public_key().into();
    assert_eq!(client.enrol(swapped).await.unwrap_err().code(), Code::PermissionDenied);
    client.enrol(request(&binding, "victim")).await.unwrap();

    // Bad signatures are told so when there are many, and the right one comes through all the same.
    for _ in 0..10 {
        client.enrol(request(&other_binding, "victim")).await.unwrap_err();
    }
    let tired = client.enrol(request(&other_binding, "victim")).await.unwrap_err();
    assert_eq!(tired.code(), Code::ResourceExhausted);
    client.enrol(request(&binding, "victim")).await.unwrap();
}

/// What names nobody costs others of its address nothing, nor does a bad signature in the name of one of them.
#[tokio::test(flavor = "multi_thread")]
async fn calls_of_a_stranger_keep_nobody_else_out() {
    let gate = Gate::open(DAY);
    let (dir, _) = gate.join("early", Role::Worker).await;
    let (binding, channel) = bound(&dir).await;
    let mut client = EnrolmentClient::new(channel);
    let id = Identity::load(&dir).unwrap().member.to_string();
    for _ in 0..12 {
        let empty = client.renew(v1::RenewRequest::default()).await.unwrap_err();
        assert_eq!(empty.code(), Code::PermissionDenied);
        let empty = client.enrol(v1::EnrolRequest::default()).await.unwrap_err();
        assert_eq!(empty.code(), Code::PermissionDenied);
        let forged = NodeKey::generate().unwrap();
        let by_key = sign_renewal(&binding, &id, &forged).unwrap().into();
        client.renew(v1::RenewRequest { member_id: id.clone(), by_key }).await.unwrap_err();
    }
    gate.join("later", Role::Worker).await;
    let key = Identity::load(&dir).unwrap().key;
    let by_key = sign_renewal(&binding, &id, &key).unwrap().into();
    client.renew(v1::RenewRequest { member_id: id, by_key }).await.unwrap();
}

type Session = (mpsc::UnboundedSender<v1::WorkerMessage>, tonic::Streaming<v1::HubMessage>);

async fn session(channel: Channel, id: MemberId) -> Result<Session, Status> {
    let (sender, queue) = mpsc::unbounded_channel();
    let hello = v1::Hello {
        protocol: Some(v1::Protocol { low: 1, high: 1, ..Default::default() }),
        worker_id: id.to_string(),
        name: "w".to_owned(),
        slots: 1,
        ..Default::default()
    };
    let kind = Some(v1::worker_message::Kind::Hello(hello));
    sender.send(v1::WorkerMessage { kind }).unwrap();
    let mut stream = WorkersClient::new(channel)
        .session(UnboundedReceiverStream::new(queue))
        .await?
        .into_inner();
    stream.message().await?.unwrap();
    Ok((sender, stream))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_worker_is_thrown_out_at_once_and_can_not_renew() {
    let gate = Gate::open(DAY);
    let (dir, channel) = gate.join("w", Role::Worker).await;
    let (_, other) = gate.join("other", Role::Worker).await;
    let id = Identity::load(&dir).unwrap().member;
    // Nobody has a session under another's name.
    let posing = session(other.clone(), id).await.unwrap_err();
    assert_eq!(posing.code(), Code::PermissionDenied);
    let (_sender, mut stream) = session(channel.clone(), id).await.unwrap();

    let remove = v1::RemoveMemberRequest { member: "w".to_owned(), all: false };
    let removed = gate.operator().remove_member(remove.clone()).await.unwrap().into_inner();
    assert_eq!(removed.removed.len(), 1);
    // The session breaks now and not when its lease ends.
    stream.message().await.unwrap_err();
    let back = hands_link::connect(&Address::Member(dir.clone()));
    assert_eq!(session(back, id).await.unwrap_err().code(), Code::Unauthenticated);
    let path = dir.join("member");
    let due = std::fs::read_to_string(&path).unwrap();
    let due: String =
        due.lines()
            .map(|l| {
                if l.starts_with("renew-at") {
                    "renew-at = 0\n".to_owned()
                } else {
                    format!("{l}\n")
                }
            })
            .collect();
    std::fs::write(&path, due).unwrap();
    let why = worker(hands_link::renew(&dir).await);
    assert!(why.contains("not any more"), "{why}");
    assert_eq!(gate.operator().remove_member(remove).await.unwrap_err().code(), Code::NotFound);
    // The other one is still here.
    assert_ne!(
        knock(&other, "/build.bazel.remote.execution.v2.Capabilities/GetCapabilities", None).await,
        Code::Unauthenticated
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_revoked_with_all_who_came_by_it() {
    let gate = Gate::open(DAY);
    let request =
        v1::CreateTokenRequest { roles: vec!["read".to_owned()], uses: 3, ..Default::default() };
    let made = gate.operator().create_token(request).await.unwrap().into_inner();
    let join: JoinString = made.secret.parse().unwrap();
    assert!(!join.is_one_use);
    let read = Roles::NONE.with(Role::Read);
    let mut members = Vec::new();
    for name in ["a", "b"] {
        let dir = gate.dir.join(name);
        hands_link::enrol(&join, name, read, &dir).await.unwrap();
        let address = Address::Member(dir);
        let channel = hands_link::connect(&address);
        assert_eq!(knock(&channel, INFO, None).await, Code::Ok);
        members.push((address, channel));
    }
    let (_, other) = gate.join("other", Role::Read).await;
    let id = made.token.unwrap().id;
    let revoke = v1::RevokeTokenRequest { id, members: true };
    let gone = gate.operator().revoke_token(revoke).await.unwrap().into_inner().removed;
    assert_eq!(gone.len(), 2);
    for (address, _cut) in &members {
        let back = hands_link::connect(address);
        assert_eq!(knock(&back, INFO, None).await, Code::Unauthenticated);
    }
    assert_eq!(knock(&other, INFO, None).await, Code::Ok);
    worker(hands_link::enrol(&join, "c", read, &gate.dir.join("c")).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_ran_out_is_renewed_by_proof_of_its_key() {
    let gate = Gate::open(Duration::from_secs(2));
    let (dir, channel) = gate.join("laptop", Role::Read).await;
    drop(channel);
    let old = Identity::load(&dir).unwrap();
    let until = |seconds: i64| {
        let at = Duration::from_secs(u64::try_from(seconds).unwrap());
        at.saturating_sub(std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap())
    };
    // What is tested is that this time is over.
    tokio::time::sleep(until(old.expires + 1)).await;
    assert!(old.is_due());
    let back = hands_link::connect(&Address::Member(dir.clone()));
    assert_eq!(knock(&back, INFO, None).await, Code::Ok);
    let new = Identity::load(&dir).unwrap();
    assert_eq!((new.member, new.key.public_key()), (old.member, old.key.public_key()));
    assert_ne!(new.chain[0], old.chain[0]);
    // The connection outlives the certificate that it was opened with; membership is what counts.
    tokio::time::sleep(until(new.expires + 1)).await;
    assert_eq!(knock(&back, INFO, None).await, Code::Ok);
    // The hub's own certificate has been renewed meanwhile, several times; and a key is needed, not the name.
    let strange = NodeKey::generate().unwrap();
    let pem = hands_link::pem::encode("PRIVATE KEY", strange.pkcs8().secret_pkcs8_der());
    std::fs::write(new.key_file(), pem).unwrap();
    let why = worker(hands_link::renew(&dir).await);
    assert!(why.contains("not a member"), "{why}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_identity_may_name_routes_that_this_version_does_not_know() {
    let gate = Gate::open(DAY);
    let (dir, _) = gate.join("w", Role::Worker).await;
    let file = dir.join("member");
    let text = std::fs::read_to_string(&file).unwrap();
    // Where there is nothing but TCP the file is as it always was, so that a version before this one reads it.
    assert!(!text.contains("routes = "), "{text}");
    let known = Identity::load(&dir).unwrap().routes;
    assert_eq!(known.len(), 1);
    let with = |line: &str| text.replace("pin = ", &format!("{line}\npin = "));
    std::fs::write(&file, with("routes = quic://10.0.0.1:8980,tcp://127.0.0.1:9")).unwrap();
    let routes = Identity::load(&dir).unwrap().routes;
    assert_eq!((&routes[0], routes[1].to_string().as_str()), (&known[0], "127.0.0.1:9"));
    hands_link::dial(&Address::Member(dir.clone())).await.unwrap();
    std::fs::write(&file, with("routes = a b")).unwrap();
    assert!(matches!(Identity::load(&dir), Err(IdentityError::Broken { what: "routes", .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hub_takes_streams_that_it_is_handed() {
    let gate = Gate::open(DAY);
    let (dir, _) = gate.join("w", Role::Worker).await;
    let (listener, door) = hands_link::Listener::door();
    gate.hub.serve(listener.over_tls(&gate.hub.tls().unwrap()));
    let over = async |peer: Peer, identity: Option<&std::path::Path>| {
        let (ours, theirs) = tokio::io::duplex(1 << 16);
        door.hand_in(theirs, peer).await.unwrap();
        let channel = hands_link::Way::over(ours, identity).await?.channel();
        Ok::<_, LinkError>(
            AuthorityClient::new(channel).list_members(v1::ListMembersRequest::default()).await,
        )
    };
    let stranger = || Peer::by_way("test", "somebody", Standing::Stranger);
    // As the member that it shows to be, whose role is not the operator's; and as the hub's own user where somebody vouches.
    let status = over(stranger(), Some(&dir)).await.unwrap().unwrap_err();
    assert_eq!(status.code(), Code::PermissionDenied, "{status}");
    let own = Peer::by_way("test", "a process", Standing::Own);
    let members = over(own, None).await.unwrap().unwrap().into_inner().members;
    assert_eq!(members[0].name, "w");
    // Nobody vouches, and no TLS is spoken.
    let status = over(stranger(), None).await.unwrap().unwrap_err();
    let is_broken = std::error::Error::source(&status).is_some();
    assert!(is_broken, "hung up on, and not answered: {status}");
}
