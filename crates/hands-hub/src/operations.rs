//! google.longrunning.Operations over the same operations.

use std::sync::Arc;
use std::time::Duration;

use hands_link::ConnectionInfo;
use hands_proto::Charge;
use hands_proto::longrunning::operations_server::Operations;
use hands_proto::longrunning::{
    CancelOperationRequest, DeleteOperationRequest, GetOperationRequest, ListOperationsRequest,
    ListOperationsResponse, Operation, WaitOperationRequest,
};
use hands_types::OperationId;
use tokio::sync::oneshot;
use tonic::{Request, Response, Status};

use crate::core::{Claim, Event, States};
use crate::db::{Commit, Stored, Write};
use crate::ended::{Memory, ended};
use crate::execution::{Found, Waiter, operation_id, ticket};
use crate::follow::{ended_operation, operation_of};
use crate::pages::{PAGE_BYTES, Page, with_ended};
use crate::shared::{Shared, table_status};

mod filter;

pub(crate) use filter::Filter;

/// The service.
#[derive(Clone, Debug)]
pub(crate) struct OperationsService(pub(crate) Arc<Shared>);

const PAGE: usize = 100;
const PAGE_MAX: usize = 1000;

#[tonic::async_trait]
impl Operations for OperationsService {
    async fn list_operations(
        &self,
        request: Request<ListOperationsRequest>,
    ) -> Result<Response<ListOperationsResponse>, Status> {
        let request = request.into_inner();
        let size = match usize::try_from(request.page_size) {
            Ok(0) => PAGE,
            Ok(n) => n.min(PAGE_MAX),
            Err(_) => return Err(Status::invalid_argument("page_size is negative")),
        };
        let filter = Filter::read(&request.name, &request.filter)?;
        // A page's token is the last id that was given; newest first.
        let before = match request.page_token.as_str() {
            "" => u128::MAX,
            token => {
                token
                    .parse::<OperationId>()
                    .map_err(|_| Status::invalid_argument("page_token is not ours"))?
                    .0
            }
        };
        let wanted = filter.clone();
        // One row more than a page shows whether another page follows.
        let states = States { filter: wanted, limit: size + 1, found: Vec::new() };
        let active = self.0.walk(before, states).await?.found;
        let active = active
            .into_iter()
            .map(|(record, state)| (record.id, operation_of(&record, &state)))
            .collect();
        let hub = Arc::clone(&self.0);
        let (page, last) = crate::task::listing(move |given_up| {
            let page = Page::new(size, PAGE_BYTES);
            let row_of =
                |it: &Stored| it.done.as_ref().map(|done| ended_operation(&it.record, done));
            with_ended(&hub.db, active, before, &filter, given_up, page, row_of)
        })
        .await?
        .map_err(|e| table_status(&e))?;
        let next_page_token = last.filter(|_| page.is_cut).map(|id| id.to_string());
        Ok(Response::new(ListOperationsResponse {
            operations: page.rows,
            next_page_token: next_page_token.unwrap_or_default(),
        }))
    }

    async fn get_operation(
        &self,
        request: Request<GetOperationRequest>,
    ) -> Result<Response<Operation>, Status> {
        let charge = Charge::of(&request);
        let id = operation_id(&request.into_inner().name)?;
        get(&self.0, id, charge.as_ref()).await.map(Response::new)
    }

    async fn delete_operation(
        &self,
        request: Request<DeleteOperationRequest>,
    ) -> Result<Response<()>, Status> {
        let id = operation_id(&request.into_inner().name)?;
        if !has_ended(&self.0, id).await? {
            return Err(Status::failed_precondition(format!(
                "the operation {id} has not ended: cancel it first"
            )));
        }
        self.0.accepts()?;
        let (reply, written) = oneshot::channel();
        let then = Box::new(move || {
            // Who asked may have lost interest.
            let _gone = reply.send(());
        });
        self.0.db.submit(Commit {
            writes: vec![Write::Delete { id }],
            then: vec![then],
            ..Default::default()
        });
        self.0.durable(written).await?;
        Ok(Response::new(()))
    }

    async fn cancel_operation(
        &self,
        request: Request<CancelOperationRequest>,
    ) -> Result<Response<()>, Status> {
        let connection = ConnectionInfo::of(&request).map(|connection| connection.id);
        let id = operation_id(&request.into_inner().name)?;
        let (reply, answer) = oneshot::channel();
        self.0.core.send(Event::Cancel { id, connection, reply }).await;
        if !self.0.durable(answer).await? {
            // Cancelling what has ended is no error; what never was is one.
            has_ended(&self.0, id).await?;
        }
        Ok(Response::new(()))
    }

    async fn wait_operation(
        &self,
        request: Request<WaitOperationRequest>,
    ) -> Result<Response<Operation>, Status> {
        let connection = ConnectionInfo::of(&request).cloned();
        let charge = Charge::of(&request);
        let charge = charge.as_ref();
        let request = request.into_inner();
        let id = operation_id(&request.name)?;
        let timeout = request
            .timeout
            .and_then(|timeout| hands_proto::to_duration(&timeout))
            .unwrap_or(Duration::MAX);
        let found = ticket(&self.0, id, connection.as_ref().map(|c| c.id), charge).await?;
        let (ticket, hub) = match found {
            Found::Ended(record, done, look) => {
                return ended(record, done, Memory::Paid(look)).await.map(Response::new);
            }
            Found::Live(ticket) => (ticket, Arc::clone(&self.0)),
        };
        // A poll that runs out is no wish to end the action.
        let waiter = Waiter {
            id,
            waiter: ticket.claim.map_or(0, Claim::take),
            hub,
            connection,
            polls: true,
        };
        let mut state = ticket.state;
        // Whether it ends, the time runs out or the hub ends: the state then is the answer.
        let waiting = async { drop(state.until(|state| state.done.is_some()).await) };
        let _ended = tokio::time::timeout(timeout, waiting).await;
        let state = state.borrow().clone();
        drop(waiter);
        Ok(Response::new(match state.done {
            Some(done) => ended(ticket.record, *done, Memory::Of(charge)).await?,
            None => operation_of(&ticket.record, &state),
        }))
    }
}

/// The state now, without waiting.
async fn get(
    hub: &Arc<Shared>,
    id: OperationId,
    charge: Option<&Arc<Charge>>,
) -> Result<Operation, Status> {
    if let Some((record, state)) = hub.ask(move |core| core.state(id)).await? {
        return match state.done {
            Some(done) => ended(record, *done, Memory::Of(charge)).await,
            None => Ok(operation_of(&record, &state)),
        };
    }
    let (stored, look) = hub.stored_answer(id, charge).await?;
    let found = stored.and_then(|stored| Some((Arc::new(stored.record), stored.done?)));
    let (record, done) = found.ok_or_else(|| no_operation(id))?;
    ended(record, done, Memory::Paid(look)).await
}

/// Whether an operation that must be there has ended.
async fn has_ended(hub: &Arc<Shared>, id: OperationId) -> Result<bool, Status> {
    if let Some((_, state)) = hub.ask(move |core| core.state(id)).await? {
        return Ok(state.done.is_some());
    }
    // What the core does not know has ended, or never was.
    let size = hub.db.answer_size(id).map_err(|e| table_status(&e))?;
    if size == 0 && hub.db.operation(id).map_err(|e| table_status(&e))?.is_none() {
        return Err(no_operation(id));
    }
    Ok(true)
}

fn no_operation(id: OperationId) -> Status {
    Status::not_found(format!("no operation {id}"))
}
