//! `hands.v1.Agent`: greetings and farewells.

use hands_proto::v1::agent_server::Agent;
use hands_proto::v1::{HelloReply, HelloRequest, StopReply, StopRequest};
use tokio::sync::{mpsc, oneshot};
use tonic::{Request, Response, Status};

/// What the service asks of the agent's own task, which knows how busy it is.
#[derive(Debug)]
pub(crate) enum Ask {
    Hello(oneshot::Sender<HelloReply>),
    Stop { force: bool, answer: oneshot::Sender<Result<(), Status>> },
}

#[derive(Debug)]
pub(crate) struct AgentService {
    pub(crate) ask: mpsc::Sender<Ask>,
}

impl AgentService {
    async fn ask<T>(&self, ask: Ask, answer: oneshot::Receiver<T>) -> Result<T, Status> {
        let leaving = || Status::unavailable("the agent is leaving");
        self.ask.send(ask).await.map_err(|_| leaving())?;
        answer.await.map_err(|_| leaving())
    }
}

#[tonic::async_trait]
impl Agent for AgentService {
    async fn hello(&self, _: Request<HelloRequest>) -> Result<Response<HelloReply>, Status> {
        let (sender, answer) = oneshot::channel();
        Ok(Response::new(self.ask(Ask::Hello(sender), answer).await?))
    }

    async fn stop(&self, request: Request<StopRequest>) -> Result<Response<StopReply>, Status> {
        let (sender, answer) = oneshot::channel();
        let ask = Ask::Stop { force: request.into_inner().force, answer: sender };
        self.ask(ask, answer).await??;
        Ok(Response::new(StopReply {}))
    }
}
