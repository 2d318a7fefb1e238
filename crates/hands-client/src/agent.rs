//! The user's agent: finding it, starting it, agreeing on a version with it.

mod find;
mod holder;
mod start;
mod stop;

use std::time::Duration;

use hands_proto::v1::agent_client::AgentClient;
use hands_proto::v1::{HelloReply, HelloRequest, Protocol};
use tonic::transport::Channel;

use crate::{AgentSpec, AgentStatus, ClientError, Code, build_id, protocol};
pub(crate) use find::snapshot_socket;
pub use holder::{Holder, agent_holder, sign_agent_lock};
use start::start;
pub use stop::stop_agent;

/// What an agent writes on its stdout when it listens, a line.
pub const READY: &str = "ready";
/// How the line begins that an agent writes instead when it can't serve: the class's name and one sentence follow.
pub const REFUSED: &str = "refused";

/// How long an agent that is there may take to answer. One that stands still has its socket, and never does.
const ANSWER_PATIENCE: Duration = Duration::from_secs(30);
/// When somebody who waits for that is told.
const UNTIL_TOLD: Duration = Duration::from_secs(2);

/// Asks a running agent for its state, without starting one. None when there is none; one that lives and can't be reached
/// is an error.
pub async fn agent_status(spec: &AgentSpec) -> Result<Option<AgentStatus>, ClientError> {
    let Some(place) = find::place_of_living(spec).await? else { return Ok(None) };
    match hello(place.peer(), &place.channel(), &mut |_| {}).await {
        Ok(reply) => Ok(Some(reply.into())),
        Err(error) if error.is_lost_connection() => Ok(None),
        Err(error) => Err(error),
    }
}

/// The state of the agent, which is started where it does not run.
pub async fn greet_agent(spec: &AgentSpec) -> Result<AgentStatus, ClientError> {
    ensure(spec, &mut |_| {}).await.map(|(_, reply)| reply.into())
}

/// A connection to the agent, started first where needed, and what it said. `waiting` is told if that takes long.
pub(crate) async fn ensure(
    spec: &AgentSpec,
    waiting: &mut impl FnMut(String),
) -> Result<(Channel, HelloReply), ClientError> {
    let mut place = find::place(spec).await;
    let mut replaced = false;
    // A second round is needed when an agent leaves between our look and our call; a third when it was replaced.
    for _ in 0..6 {
        let Some(found) = &place else {
            start(spec).await?;
            place = find::place(spec).await;
            continue;
        };
        let channel = found.channel();
        let reply = match hello(found.peer(), &channel, waiting).await {
            Ok(reply) => reply,
            Err(error) if error.is_lost_connection() => {
                place = None;
                continue;
            }
            Err(error) => return Err(error),
        };
        let theirs = reply.protocol.clone().unwrap_or_default();
        let fits = check_version("agent", &theirs);
        if !is_older(&theirs) || replaced || !spec.start || reply.busy {
            fits?;
            return Ok((channel, reply));
        }
        replaced = true;
        match stop_agent(spec, false).await {
            Ok(_) => start(spec).await?,
            // It got work meanwhile: use it if it fits.
            Err(ClientError::Rpc { code: Code::FailedPrecondition, .. }) => {}
            Err(error) => return Err(error),
        }
        place = find::place(spec).await;
    }
    Err(ClientError::AgentStart {
        program: spec.program.clone(),
        why: "it ends as soon as it has started".to_owned(),
        log: spec.log.clone(),
        source: None,
    })
}

fn silent(peer: String, waited: Duration) -> ClientError {
    ClientError::AgentSilent { peer, waited }
}

async fn hello(
    peer: String,
    channel: &Channel,
    waiting: &mut impl FnMut(String),
) -> Result<HelloReply, ClientError> {
    let mut client = AgentClient::new(channel.clone());
    let mut asking = std::pin::pin!(client.hello(HelloRequest { protocol: Some(protocol()) }));
    let reply = match tokio::time::timeout(UNTIL_TOLD, &mut asking).await {
        Ok(reply) => reply,
        Err(_) => {
            let seconds = ANSWER_PATIENCE.as_secs();
            waiting(format!("{peer} does not answer; waiting for {seconds} s"));
            tokio::time::timeout(ANSWER_PATIENCE - UNTIL_TOLD, asking)
                .await
                .map_err(|_| silent(peer.clone(), ANSWER_PATIENCE))?
        }
    };
    Ok(reply.map_err(|status| ClientError::rpc("the greeting", &peer, &status))?.into_inner())
}

/// Whether their range overlaps ours.
pub(crate) fn check_version(peer: &'static str, theirs: &Protocol) -> Result<(), ClientError> {
    let (low, high) = crate::PROTOCOL;
    if theirs.low <= high && low <= theirs.high {
        return Ok(());
    }
    Err(ClientError::Version {
        peer,
        theirs_low: theirs.low,
        theirs_high: theirs.high,
        theirs: crate::printable(&theirs.version).into_owned(),
        ours_low: low,
        ours_high: high,
        ours: env!("CARGO_PKG_VERSION"),
    })
}

/// Whether the agent should make room for this program's own when it is idle: another build that is not a later version.
fn is_older(theirs: &Protocol) -> bool {
    let parts = |version: &str| -> Vec<u64> {
        version.split(['.', '-']).map_while(|p| p.parse().ok()).collect()
    };
    theirs.build_id != build_id() && parts(&theirs.version) <= parts(env!("CARGO_PKG_VERSION"))
}

#[cfg(test)]
mod tests;
