//! What goes along with every request: who asks, and for what.

use bytes::Bytes;
use hands_proto::reapi::{RequestMetadata, ToolDetails};
use hands_proto::v1::ExecuteOptions;
use hands_types::InvocationId;
use hands_types::limits::MAX_TITLE;
use hands_types::text::cut;
use prost::Message;
use tonic::metadata::{BinaryMetadataValue, MetadataMap};

/// One use of a front-end, as hubs and other engines see it.
#[derive(Clone, Debug)]
pub struct Invocation {
    /// Its id, the unit of fairness.
    pub id: InvocationId,
    /// The front-end: `run`, `batch`, `cc` …
    pub front_end: &'static str,
}

/// What our clients call themselves in the metadata of requests (REAPI: `ToolDetails.tool_name`).
pub const TOOL: &str = "hands";

impl Invocation {
    /// A new one.
    pub fn new(front_end: &'static str) -> Result<Self, crate::ClientError> {
        Ok(Self { id: crate::new_invocation_id()?, front_end })
    }

    /// The `RequestMetadata` of a request that belongs to this invocation.
    pub(crate) fn request_metadata(
        &self,
        action: Option<&str>,
        mnemonic: &str,
        target: &str,
    ) -> RequestMetadata {
        RequestMetadata {
            tool_details: Some(ToolDetails {
                tool_name: TOOL.to_owned(),
                tool_version: env!("CARGO_PKG_VERSION").to_owned(),
            }),
            action_id: action.unwrap_or_default().to_owned(),
            tool_invocation_id: self.id.to_string(),
            correlated_invocations_id: String::new(),
            action_mnemonic: if mnemonic.is_empty() {
                self.front_end.to_owned()
            } else {
                bounded(mnemonic)
            },
            target_id: bounded(target),
            configuration_id: String::new(),
        }
    }
}

/// A user's text for a header. Servers bound the headers of a call, ours at 16 KiB, and end the connection beyond that.
pub(crate) fn bounded(text: &str) -> String {
    cut(text, MAX_TITLE).into_owned()
}

/// Adds `RequestMetadata` to a request.
pub(crate) fn insert_metadata(map: &mut MetadataMap, encoded: &Bytes) {
    map.insert_bin(hands_proto::REQUEST_METADATA, BinaryMetadataValue::from_bytes(encoded));
}

/// Adds our options to an Execute request, unless there is nothing to say.
pub(crate) fn insert_options(map: &mut MetadataMap, options: &ExecuteOptions) {
    let encoded = options.encode_to_vec();
    if !encoded.is_empty() {
        map.insert_bin(hands_proto::EXECUTE_OPTIONS, BinaryMetadataValue::from_bytes(&encoded));
    }
}
