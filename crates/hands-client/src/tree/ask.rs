//! What the agent is asked for: it reads what lies on this machine, and brings it to the store of the cluster.

use std::os::fd::{AsFd, BorrowedFd};

use hands_link::Address;
use hands_proto::reapi::digest_function::Value;
use hands_proto::v1::{SnapshotDone, SnapshotInput, SnapshotRequest, StreamRequest, TarRequest};

use super::{Paths, StreamPart, TarPart};
use crate::snapshot::SnapshotSocket;
use crate::{ClientError, Cluster, Snapshot, SnapshotProgress, Target, agent};

impl Cluster {
    /// A request without anything in it, for the store of this cluster.
    pub(crate) fn snapshot_request(&self) -> SnapshotRequest {
        let mut request = SnapshotRequest {
            instance_name: self.instance().to_owned(),
            digest_function: Value::from(self.function()).into(),
            ..SnapshotRequest::default()
        };
        if let Target::Hub { address, .. } = self.target() {
            request.target = address.to_string();
            if let Address::Engine(engine) = address {
                request.engine = Some(engine.as_ref().into());
            }
        }
        request
    }

    /// Has the agent do it; starts one where it is needed. Where the connection to it is lost, it is asked once more, unless
    /// something was read that can't be read again.
    pub(crate) async fn ask_agent(
        &self,
        request: &SnapshotRequest,
        handles: &[BorrowedFd<'_>],
        progress: &mut impl FnMut(&SnapshotProgress),
    ) -> Result<SnapshotDone, ClientError> {
        let spec = self.agent_spec();
        let mut tried = false;
        loop {
            let asked = async {
                let mut socket =
                    SnapshotSocket::connect(&agent::snapshot_socket(spec).await?).await?;
                socket.ask(request, handles, progress).await
            };
            match asked.await {
                Err(error) if error.is_lost_connection() && !tried && request.stream.is_none() => {
                    tried = true;
                    let _greeted = agent::ensure(spec, &mut |_| {}).await?;
                }
                done => return done,
            }
        }
    }

    pub(super) async fn walk(
        &self,
        paths: &Paths,
        progress: &mut impl FnMut(&SnapshotProgress),
    ) -> Result<Snapshot, ClientError> {
        let inputs = paths.inputs.iter().enumerate().map(|(i, input)| SnapshotInput {
            descriptor: u32::try_from(i).unwrap_or(u32::MAX),
            entry: input.entry.clone(),
            place: input.place.as_str().to_owned(),
            respect_ignore: input.respect_ignore,
            display: input.display.to_string_lossy().into_owned(),
        });
        let request = SnapshotRequest {
            inputs: inputs.collect(),
            working_directory: paths.directory.as_str().to_owned(),
            times: paths.times,
            ..self.snapshot_request()
        };
        let handles: Vec<_> = paths.inputs.iter().map(|input| input.directory.as_fd()).collect();
        let done = self.ask_agent(&request, &handles, progress).await?;
        Snapshot::of(&done, self.function())
    }

    pub(super) async fn pour(
        &self,
        part: &StreamPart,
        progress: &mut impl FnMut(&SnapshotProgress),
    ) -> Result<Snapshot, ClientError> {
        let stream = Some(StreamRequest { place: part.path.as_str().to_owned() });
        let request = SnapshotRequest { stream, ..self.snapshot_request() };
        let done = self.ask_agent(&request, &[part.from.as_fd()], progress).await?;
        Snapshot::of(&done, self.function())
    }

    pub(super) async fn unpack(
        &self,
        part: &TarPart,
        progress: &mut impl FnMut(&SnapshotProgress),
    ) -> Result<Snapshot, ClientError> {
        let tar = Some(TarRequest { display: part.display.to_string_lossy().into_owned() });
        let request = SnapshotRequest { tar, ..self.snapshot_request() };
        let done = self.ask_agent(&request, &[part.file.as_fd()], progress).await?;
        Snapshot::of(&done, self.function())
    }
}
