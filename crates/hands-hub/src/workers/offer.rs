//! The bounds of what a worker says of itself: it stands in lists and explanations for everybody.

use hands_proto::v1;
use hands_types::limits::{MAX_OFFERED, MAX_PLATFORM};
use hands_types::text::check_name;
use tonic::Status;

/// Checks the texts of a Hello, and how many there are.
pub(super) fn check(hello: &v1::Hello) -> Result<(), Status> {
    text("the worker's name", &hello.name)?;
    if let Some(protocol) = &hello.protocol {
        text("the worker's version", &protocol.version)?;
        text("the worker's build", &protocol.build_id)?;
    }
    let numbers = [("properties", hello.properties.len()), ("counters", hello.custom.len())];
    for (what, n) in numbers {
        if n > MAX_OFFERED {
            return Err(Status::invalid_argument(format!(
                "the worker offers {n} {what}, and {MAX_OFFERED} are the most"
            )));
        }
    }
    let properties = hello.properties.iter().map(|p| p.name.len() + p.value.len());
    let bytes: usize = properties.chain(hello.custom.iter().map(|c| c.name.len())).sum();
    if bytes > MAX_PLATFORM {
        return Err(Status::invalid_argument(format!(
            "what the worker offers has {bytes} bytes, and {MAX_PLATFORM} are the most"
        )));
    }
    for property in &hello.properties {
        text("a property of the worker", &property.name)?;
        text("a property's value of the worker", &property.value)?;
    }
    hello.custom.iter().try_for_each(|counter| text("a counter of the worker", &counter.name))
}

fn text(what: &str, text: &str) -> Result<(), Status> {
    check_name(text)
        .map_err(|error| Status::invalid_argument(format!("{what} can't be taken: {error}")))
}
