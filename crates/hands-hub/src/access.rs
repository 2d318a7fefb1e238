//! Who calls, and whether they may: looked at before any service sees a call.

mod bounds;
mod count;
mod layer;
mod meter;
mod shorten;
mod table;

use std::sync::Arc;

use hands_link::trust::{Named, read_uri};
use hands_link::{ConnectionInfo, Standing, TokenId, TokenSecret};
use hands_types::{MemberId, Role, Roles};
use http::HeaderMap;
use http::header::AUTHORIZATION;
use tonic::Status;

use crate::trust::{Subject, Trust};
pub(crate) use layer::AccessLayer;
pub(crate) use meter::Actions;
pub use meter::MeterLayer;
pub(crate) use table::{Method, method};

/// A certificate's key, which stays the same when it is renewed with it.
pub(crate) type KeyId = [u8; 32];

/// How the paths of our own services begin.
const OURS: &str = "/hands.v1.";

/// Who calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Principal {
    /// This user, or this process.
    Local,
    /// Whoever reaches a loopback port that was opened for all of the machine.
    Loopback,
    /// A member of the cluster.
    Member(MemberId, Roles),
    /// Somebody with a certificate of the operator's own authority.
    Certificate(KeyId, Roles),
    /// Somebody with a bearer token.
    Bearer(TokenId, Roles),
}

impl Principal {
    pub(crate) const fn roles(&self) -> Roles {
        match self {
            Self::Local => Roles::all(),
            Self::Loopback => Roles::all().without(Role::Admin),
            Self::Member(_, roles) | Self::Certificate(_, roles) => *roles,
            // A session is a member's: its worker id is in its certificate.
            Self::Bearer(_, roles) => roles.without(Role::Worker),
        }
    }
}

/// What is known about a connection and a header. `method` is what is called.
pub(crate) fn identify(
    trust: Option<&Arc<Trust>>,
    connection: Option<&ConnectionInfo>,
    method: Option<&Method>,
    headers: &HeaderMap,
) -> Result<Principal, Status> {
    let nobody = || {
        Status::unauthenticated(
            "this hub wants a certificate or a token: join with `hands login`, or send `authorization: Bearer handst1_…`",
        )
    };
    let connection = connection.ok_or_else(nobody)?;
    let tls = match (connection.peer.standing, &connection.tls) {
        (Standing::Own, _) => return Ok(Principal::Local),
        (Standing::Machine | Standing::Stranger, Some(tls)) => tls,
        // Not encrypted: the listener was opened so on purpose, on the loopback.
        (Standing::Machine, None) => return Ok(Principal::Loopback),
        (Standing::Stranger, None) => return Err(nobody()),
    };
    let trust = trust.ok_or_else(nobody)?;
    if let Some(certificate) = &tls.certificate {
        let ours = certificate.uris.iter().find_map(|uri| read_uri(trust.domain(), uri));
        return match ours {
            Some(Named::Member(id, _)) => {
                trust.note(Subject::Member(id), connection);
                trust
                    .registry()
                    .member(id)
                    .filter(|member| certificate.p256.as_ref() == Some(&member.public_key))
                    .map(|member| Principal::Member(id, member.roles))
                    .ok_or_else(|| {
                        Status::unauthenticated(
                            "this node was removed from the cluster; join it again",
                        )
                    })
            }
            Some(Named::Hub) => Err(nobody()),
            None => {
                // Nobody can take such a certificate back: its own end is all that bounds it. A member's bounds nothing,
                // because whoever has its key gets another until the member is removed.
                if let Some(expires) = certificate.not_after {
                    trust.ends_at(expires.saturating_mul(1000), connection);
                }
                Ok(Principal::Certificate(certificate.key, trust.client_roles()))
            }
        };
    }
    let refuse = || Status::unauthenticated("this token is not known, has expired or was revoked");
    let Some(header) = headers.get(AUTHORIZATION) else {
        // Whoever showed a token on this connection has it still.
        let shown = trust.shown(connection).filter(|_| method.is_some_and(|m| m.may_be_bare));
        let id = shown.ok_or_else(nobody)?;
        let roles = trust.registry().bearer_by_id(id);
        return roles.map(|roles| Principal::Bearer(id, roles)).ok_or_else(refuse);
    };
    let text = header.to_str().ok().and_then(|text| text.split_once(' '));
    let token = match text {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => token.trim(),
        _ => {
            return Err(Status::unauthenticated(
                "the authorization header must be `Bearer handst1_…`",
            ));
        }
    };
    let secret = TokenSecret::parse_bearer(token)
        .map_err(|error| Status::unauthenticated(format!("the token is {error}")))?;
    let (roles, expires) = trust.registry().bearer(&secret).ok_or_else(refuse)?;
    // Only what is right is noted, and then looked at again: a revocation in between did not find the connection.
    trust.note(Subject::Token(secret.id), connection);
    trust.ends_at(expires, connection);
    trust.registry().bearer_by_id(secret.id).ok_or_else(refuse)?;
    trust.has_shown(secret.id, connection);
    Ok(Principal::Bearer(secret.id, roles))
}

/// What our own programs say to each other goes over TLS 1.3, where it goes over TLS: only engines' clients bring an older one.
pub(crate) fn check_version(path: &str, connection: Option<&ConnectionInfo>) -> Result<(), Status> {
    let tls = connection.and_then(|connection| connection.tls.as_ref());
    if path.starts_with(OURS) && tls.is_some_and(|tls| tls.binding.is_none()) {
        return Err(Status::permission_denied(
            "hands.v1 is spoken over TLS 1.3 only; this connection has an older version",
        ));
    }
    Ok(())
}

/// Whether somebody may call a method.
pub(crate) fn check(method: Option<&Method>, principal: &Principal) -> Result<(), Status> {
    let Some(method) = method else {
        return Err(Status::unimplemented("this hub has no such method"));
    };
    if method.roles.meets(principal.roles()) {
        return Ok(());
    }
    Err(Status::permission_denied(format!(
        "{} takes one of the roles {}, and this caller has {}",
        method.path,
        method.roles,
        match principal.roles() {
            roles if roles.is_empty() => "none".to_owned(),
            roles => roles.to_string(),
        }
    )))
}

#[cfg(test)]
mod tests;
