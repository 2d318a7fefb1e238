//! `hands.v1.Authority`: who may come in, and who has to go.

use std::sync::Arc;

use hands_proto::v1;
use hands_proto::v1::authority_server::Authority;
use tonic::{Request, Response, Status};

use crate::enrolment::no_authority;
use crate::pages::{PAGE_BYTES, Page};
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
        request: Request<v1::ListTokensRequest>,
    ) -> Result<Response<v1::ListTokensReply>, Status> {
        let skip = skipped(&request.into_inner().page_token)?;
        self.with(move |trust| {
            let all = trust.registry().tokens();
            let page =
                Page::of(all.iter().skip(skip).map(TokenRow::to_proto), usize::MAX, PAGE_BYTES);
            let next_page_token = next(skip, &page);
            Ok(v1::ListTokensReply { tokens: page.rows, next_page_token })
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
        request: Request<v1::ListMembersRequest>,
    ) -> Result<Response<v1::ListMembersReply>, Status> {
        let skip = skipped(&request.into_inner().page_token)?;
        self.with(move |trust| {
            let all = trust.registry().members();
            let page =
                Page::of(all.iter().skip(skip).map(MemberRow::to_proto), usize::MAX, PAGE_BYTES);
            let next_page_token = next(skip, &page);
            Ok(v1::ListMembersReply { members: page.rows, next_page_token })
        })
        .await
    }

    async fn remove_member(
        &self,
        request: Request<v1::RemoveMemberRequest>,
    ) -> Result<Response<v1::RemoveMemberReply>, Status> {
        let v1::RemoveMemberRequest { member, all } = request.into_inner();
        self.with(move |trust| trust.remove_member(&member, all)).await
    }
}

/// A page's token is the number of rows before it. What joins or ends between two pages may be missed or shown twice.
fn skipped(token: &str) -> Result<usize, Status> {
    match token {
        "" => Ok(0),
        token => token.parse().map_err(|_| Status::invalid_argument("page_token is not ours")),
    }
}

fn next<T>(skip: usize, page: &Page<T>) -> String {
    if page.is_cut { (skip + page.rows.len()).to_string() } else { String::new() }
}
