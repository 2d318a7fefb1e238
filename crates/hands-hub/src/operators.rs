//! `hands.v1.Authority`: who may come in, and who has to go.

use std::sync::Arc;

use hands_proto::v1;
use hands_proto::v1::authority_server::Authority;
use tonic::{Request, Response, Status};

use crate::enrolment::no_authority;
use crate::shared::Shared;
use crate::trust::{MemberRow, TokenRow, Trust};

/// The service.
#[derive(Clone, Debug)]
pub(crate) struct AuthorityService(pub(crate) Arc<Shared>);

impl AuthorityService {
    /// Does something that waits for the disk.
    async fn with<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Trust) -> Result<T, Status> + Send + 'static,
    ) -> Result<Response<T>, Status> {
        let trust = self.0.trust.clone().ok_or_else(no_authority)?;
        crate::task::blocking(move || work(&trust)).await?.map(Response::new)
    }
}

#[tonic::async_trait]
impl Authority for AuthorityService {
    async fn create_token(
        &self,
        request: Request<v1::CreateTokenRequest>,
    ) -> Result<Response<v1::CreateTokenReply>, Status> {
        self.with(move |trust| trust.create_token(request.get_ref())).await
    }

    async fn list_tokens(
        &self,
        _: Request<v1::ListTokensRequest>,
    ) -> Result<Response<v1::ListTokensReply>, Status> {
        self.with(|trust| {
            let tokens = trust.registry().tokens().iter().map(TokenRow::to_proto).collect();
            Ok(v1::ListTokensReply { tokens })
        })
        .await
    }

    async fn revoke_token(
        &self,
        request: Request<v1::RevokeTokenRequest>,
    ) -> Result<Response<v1::RevokeTokenReply>, Status> {
        let request = request.into_inner();
        self.with(move |trust| trust.revoke_token(&request.id, request.members)).await
    }

    async fn list_members(
        &self,
        _: Request<v1::ListMembersRequest>,
    ) -> Result<Response<v1::ListMembersReply>, Status> {
        self.with(|trust| {
            let members = trust.registry().members().iter().map(MemberRow::to_proto).collect();
            Ok(v1::ListMembersReply { members })
        })
        .await
    }

    async fn remove_member(
        &self,
        request: Request<v1::RemoveMemberRequest>,
    ) -> Result<Response<v1::RemoveMemberReply>, Status> {
        let member = request.into_inner().member;
        self.with(move |trust| trust.remove_member(&member)).await
    }
}
