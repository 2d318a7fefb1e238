//! Becoming a member, and staying one.

use std::path::Path;

use futures_util::future::BoxFuture;
use hands_proto::v1;
use hands_proto::v1::enrolment_client::EnrolmentClient;
use hands_types::Roles;
use tonic::transport::Channel;
use tonic::{Code, Status};

use crate::error::IdentityError;
use crate::member::{blocking, load};
use crate::race::{STAGGER, race};
use crate::tls::{ClientTls, client_config};
use crate::trust::{Binding, EnrolTranscript, sign_renewal};
use crate::way::once;
use crate::{Identity, JoinString, LinkError, Pin, Route, identity};

/// Enrols with a hub, and keeps the membership in `dir`, which is made. `name` is for people; of `roles` the hub grants
/// those that the token carries. Tries once.
pub async fn enrol(
    join: &JoinString,
    name: &str,
    roles: Roles,
    dir: &Path,
) -> Result<Identity, IdentityError> {
    let path = dir.to_owned();
    let key = blocking(dir, move || identity::prepare(&path)).await?;
    let (channel, binding) = connect(&join.routes, join.pin, "this join string").await?;
    let public_key = key.public_key();
    let roles = roles.names();
    let transcript = EnrolTranscript {
        binding: &binding,
        token_id: &join.token.id,
        public_key: &public_key,
        name,
        roles: &roles,
    };
    let (by_token, by_key) =
        transcript.sign(&join.token, &key).ok_or(IdentityError::NoRandomness)?;
    let request = v1::EnrolRequest {
        token_id: join.token.id.to_vec().into(),
        public_key: public_key.into(),
        name: name.to_owned(),
        roles,
        by_token: by_token.into(),
        by_key: by_key.into(),
    };
    let answer = EnrolmentClient::new(channel).enrol(request).await;
    let membership = answer.map_err(|status| refused(&status))?.into_inner();
    let (path, pin, token) = (dir.to_owned(), join.pin, join.token.to_string());
    blocking(dir, move || {
        Identity::store(&path, pin, &key, &token, &membership)?;
        Identity::load(&path)
    })
    .await
}

/// Gets a new certificate for the membership in `dir`, by proof of its key; how old the present one is does not matter.
/// Does nothing if another process has just done it.
pub fn renew(dir: &Path) -> BoxFuture<'_, Result<Identity, IdentityError>> {
    Box::pin(renew_member(dir))
}

async fn renew_member(dir: &Path) -> Result<Identity, IdentityError> {
    let path = dir.to_owned();
    let lock = blocking(dir, move || identity::lock(&path)).await?;
    let own = load(dir).await?;
    if !own.is_due() {
        return Ok(own);
    }
    let (channel, binding) = connect(&own.routes, own.pin, &own.cluster).await?;
    let member_id = own.member.to_string();
    let by_key = sign_renewal(&binding, &member_id, &own.key).ok_or(IdentityError::NoRandomness)?;
    let request = v1::RenewRequest { member_id, by_key: by_key.into() };
    let answer = EnrolmentClient::new(channel).renew(request).await;
    let membership = answer.map_err(|status| not_renewed(&status))?.into_inner();
    let path = dir.to_owned();
    blocking(dir, move || {
        Identity::store(&path, own.pin, &own.key, &own.token, &membership)?;
        drop(lock);
        Identity::load(&path)
    })
    .await
}

/// One connection without a certificate of ours, and what binds signatures to it.
async fn connect(
    routes: &[Route],
    pin: Pin,
    cluster: &str,
) -> Result<(Channel, Binding), IdentityError> {
    let config = client_config(pin, None)
        .map_err(|source| IdentityError::Tls { path: std::path::PathBuf::new(), source })?;
    let tls = ClientTls::new(config, &pin);
    let (_, connection) = race(routes, STAGGER, &tls, cluster).await?;
    let binding = connection.info().tls.as_ref().and_then(|tls| tls.binding);
    let binding = binding.ok_or(IdentityError::Strange { what: "no TLS 1.3" })?;
    // The signatures hold over this connection only, so there is no second one.
    Ok((once(connection), binding))
}

fn refused(status: &Status) -> IdentityError {
    let message: String = status.message().chars().filter(|c| !c.is_control()).collect();
    match status.code() {
        Code::PermissionDenied
        | Code::Unauthenticated
        | Code::InvalidArgument
        | Code::FailedPrecondition
        | Code::Unimplemented => IdentityError::Refused { message },
        _ => IdentityError::Unanswered { message },
    }
}

/// Only what is said of the member itself is a refusal: a hub of another version, or one that is not ready, is asked again.
fn not_renewed(status: &Status) -> IdentityError {
    match refused(status) {
        IdentityError::Refused { message }
            if !matches!(status.code(), Code::PermissionDenied | Code::Unauthenticated) =>
        {
            IdentityError::Unanswered { message }
        }
        error => error,
    }
}

impl From<IdentityError> for LinkError {
    fn from(error: IdentityError) -> Self {
        match error {
            IdentityError::Link(error) => error,
            error => Self::Identity(Box::new(error)),
        }
    }
}
