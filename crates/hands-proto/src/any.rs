//! `google.protobuf.Any`: a message together with its type's name.

use std::fmt;

use bytes::Bytes;
use prost::Name;
use prost_types::Any;

use crate::{DecodeBlobError, Shaped, decode_blob};

/// Packs a message, for example into an operation's metadata or response.
pub fn pack<M: Name>(message: &M) -> Any {
    Any { type_url: type_url::<M>(), value: message.encode_to_vec() }
}

/// Unpacks a message if the Any holds this type. Whatever stands before the last slash of its URL does not matter
/// (protobuf's own rule). Bounded as [`decode_blob`] is.
pub fn unpack<M: Name + Shaped + Default>(any: &Any) -> Result<M, AnyError> {
    let name = any.type_url.rsplit_once('/').map_or("", |(_, name)| name);
    if name != M::full_name() {
        return Err(AnyError {
            expected: M::full_name(),
            found: any.type_url.clone(),
            source: None,
        });
    }
    decode_blob(Bytes::copy_from_slice(&any.value)).map_err(|e| AnyError {
        expected: M::full_name(),
        found: any.type_url.clone(),
        source: Some(e),
    })
}

/// The URL under which a type is packed. Clients compare it as text, so it is always on `type.googleapis.com`.
pub fn type_url<M: Name>() -> String {
    format!("type.googleapis.com/{}", M::full_name())
}

/// An Any that does not hold what it should.
#[derive(Debug)]
pub struct AnyError {
    /// Full name of the type that was wanted.
    pub expected: String,
    /// The URL that the Any carries.
    pub found: String,
    source: Option<DecodeBlobError>,
}

impl fmt::Display for AnyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.source {
            Some(_) => write!(f, "a packed {} can't be read", self.expected),
            None => write!(f, "expected a packed {}, found {:?}", self.expected, self.found),
        }
    }
}

impl std::error::Error for AnyError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_ref().map(|e| e as _)
    }
}
