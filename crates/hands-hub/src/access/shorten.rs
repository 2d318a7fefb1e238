//! What is said of an error stands in a header, for which clients have little room: a text that is as long as what somebody
//! sent would cost the whole answer, so it ends earlier.

use http::{HeaderMap, HeaderValue};
use tonic::Status;

/// Bytes of a message, in percent-encoding, and of encoded details.
const MESSAGE: usize = 4 << 10;
const DETAILS: usize = 8 << 10;

/// Shortens the headers, or trailers, of an answer.
pub(super) fn shorten(headers: &mut HeaderMap) {
    if let Some(message) = headers.get_mut(Status::GRPC_MESSAGE)
        && message.len() > MESSAGE
        && let Ok(short) = HeaderValue::from_bytes(beginning(&message.as_bytes()[..MESSAGE]))
    {
        *message = short;
    }
    // Half a message is none.
    if headers.get(Status::GRPC_STATUS_DETAILS).is_some_and(|details| details.len() > DETAILS) {
        headers.remove(Status::GRPC_STATUS_DETAILS);
    }
}

/// Without the last character if it is beyond ASCII, where it is several `%XX` of which some may be missing.
fn beginning(mut text: &[u8]) -> &[u8] {
    if let Some(at) = text.iter().rposition(|byte| *byte == b'%')
        && at + 3 > text.len()
    {
        text = &text[..at];
    }
    while let [rest @ .., b'%', b'8' | b'9' | b'A' | b'B', _] = text {
        text = rest;
    }
    match text {
        [rest @ .., b'%', b'C'..=b'F', _] => rest,
        text => text,
    }
}

#[cfg(test)]
mod tests;
