//! `hands.v1.Enrolment`: becoming a member, and staying one. Answers those who have no identity, so it believes nothing
//! that is not signed over the connection that it came by.

use std::sync::Arc;
use std::time::Instant;

use hands_link::trust::{Binding, EnrolTranscript, verify_renewal};
use hands_link::{ConnectionInfo, Source, TokenId};
use hands_proto::v1;
use hands_proto::v1::enrolment_server::Enrolment;
use hands_types::{MemberId, Roles};
use tonic::{Request, Response, Status};

use crate::shared::Shared;
use crate::trust::{Claimed, Denied, Trust};

/// The service.
#[derive(Clone, Debug)]
pub(crate) struct EnrolmentService(pub(crate) Arc<Shared>);

#[tonic::async_trait]
impl Enrolment for EnrolmentService {
    async fn enrol(
        &self,
        request: Request<v1::EnrolRequest>,
    ) -> Result<Response<v1::Membership>, Status> {
        let call = Call::of(&self.0, &request)?;
        let request = request.into_inner();
        const WHY: &str = "the token is not known, used up, expired, revoked, or not for this hub";
        let refuse = || call.refuse(WHY);
        let id: TokenId = request.token_id.as_ref().try_into().map_err(|_| refuse())?;
        let token = call.trust.registry().token(id).ok_or_else(refuse)?;
        let transcript = EnrolTranscript {
            binding: &call.binding,
            token_id: &request.token_id,
            public_key: &request.public_key,
            name: &request.name,
            roles: &request.roles,
        };
        if !transcript.verify(&token.public_key, &request.by_token, &request.by_key) {
            return Err(call.bad_signature(Claimed::Token(id), WHY));
        }
        let wanted = roles(&request.roles)?;
        let trust = Arc::clone(&call.trust);
        let taken = crate::task::blocking(move || {
            trust.enrol(&token, &request.public_key, &request.name, wanted)
        })
        .await??;
        match taken {
            Ok(membership) => Ok(Response::new(membership)),
            Err(Denied::Token) => Err(refuse()),
            Err(Denied::Roles(has)) => {
                Err(call
                    .refuse(&format!("the token is for {has}; ask for one with the role {wanted}")))
            }
        }
    }

    async fn renew(
        &self,
        request: Request<v1::RenewRequest>,
    ) -> Result<Response<v1::Membership>, Status> {
        let call = Call::of(&self.0, &request)?;
        let request = request.into_inner();
        const WHY: &str = "this node is not a member, or not any more: join again";
        let refuse = || call.refuse(WHY);
        let id: MemberId = request.member_id.parse().map_err(|_| refuse())?;
        let member = call.trust.registry().member(id).ok_or_else(refuse)?;
        let text = &request.member_id;
        if !verify_renewal(&call.binding, text, &member.public_key, &request.by_key) {
            return Err(call.bad_signature(Claimed::Member(id), WHY));
        }
        let trust = Arc::clone(&call.trust);
        let renewed = crate::task::blocking(move || trust.renew(id)).await??;
        renewed.map(Response::new).ok_or_else(refuse)
    }
}

/// The connection of one call.
struct Call {
    trust: Arc<Trust>,
    binding: Binding,
    from: Source,
}

impl Call {
    fn of<T>(hub: &Shared, request: &Request<T>) -> Result<Self, Status> {
        let trust = hub.trust.as_ref().ok_or_else(no_authority)?;
        let connection = ConnectionInfo::of(request);
        let over_tls = connection.and_then(|connection| {
            Some((connection.tls.as_ref()?.binding?, connection.peer.source))
        });
        let (binding, from) = over_tls
            .ok_or_else(|| Status::failed_precondition("joining takes a connection of TLS 1.3"))?;
        Ok(Self { trust: Arc::clone(trust), binding, from })
    }

    /// Of a call that names nobody, or somebody who is not let in. It cost a look into a table and nothing more.
    fn refuse(&self, why: &str) -> Status {
        self.log(Claimed::Nobody(self.from), why);
        Status::permission_denied(why)
    }

    /// Of a call whose signature was checked and is not that of the one it names. The words stay the same until there are
    /// too many.
    fn bad_signature(&self, claimed: Claimed, why: &str) -> Status {
        if self.log(claimed, why) {
            return Status::permission_denied(why);
        }
        Status::resource_exhausted(format!("too many bad signatures within a minute: {why}"))
    }

    /// False when there were too many to write them all down.
    fn log(&self, claimed: Claimed, why: &str) -> bool {
        let is_few = self.trust.budget().spend(claimed, Instant::now());
        if is_few {
            tracing::warn!(from = %self.from, ?claimed, why, "refused to take a node in");
        } else {
            tracing::debug!(from = %self.from, ?claimed, why, "refused to take a node in");
        }
        is_few
    }
}

/// A hub that listens on no network has nobody to take in.
pub(crate) fn no_authority() -> Status {
    Status::failed_precondition(
        "this hub serves its own machine only and has no members: start it with --listen ADDRESS:PORT",
    )
}

pub(crate) fn roles(names: &[String]) -> Result<Roles, Status> {
    names.join(",").parse().map_err(|error| Status::invalid_argument(format!("{error}")))
}
