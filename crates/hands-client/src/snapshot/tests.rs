//! Agents of other versions. The agent here is the other end of a pair, which says what no real one does.

use hands_proto::v1::{SnapshotDone, SnapshotReply, SnapshotRequest, snapshot_reply};
use hands_types::DigestFunction;
use prost::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use super::{Snapshot, SnapshotSocket};

#[tokio::test]
async fn an_answer_of_a_later_agent_that_nobody_knows_is_passed_over() {
    let (stream, mut agent) = UnixStream::pair().unwrap();
    let serve = async {
        let length = agent.read_u32().await.unwrap();
        let mut request = vec![0; usize::try_from(length).unwrap()];
        agent.read_exact(&mut request).await.unwrap();
        SnapshotRequest::decode(&request[..]).unwrap();
        let done = SnapshotDone {
            root: Some(hands_tree::empty(DigestFunction::Sha256).into()),
            files: 7,
            ..SnapshotDone::default()
        };
        let done = SnapshotReply { kind: Some(snapshot_reply::Kind::Done(done)) };
        // Field 1000, of four bytes: a kind that no version has.
        let later = b"\xc2\x3e\x04more".to_vec();
        for answer in [later, done.encode_to_vec()] {
            agent.write_u32(u32::try_from(answer.len()).unwrap()).await.unwrap();
            agent.write_all(&answer).await.unwrap();
        }
    };
    let mut socket = SnapshotSocket { stream };
    let request = SnapshotRequest::default();
    let mut progress = |_: &_| {};
    let taken = socket.ask(&request, &[], &mut progress);
    let (snapshot, ()) = tokio::join!(taken, serve);
    let snapshot = Snapshot::of(&snapshot.unwrap(), DigestFunction::Sha256).unwrap();
    assert_eq!((snapshot.files, snapshot.root), (7, hands_tree::empty(DigestFunction::Sha256)));
}
