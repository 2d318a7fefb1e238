//! What is left of a message can still be read.

use http::HeaderMap;
use tonic::{Code, Status};

use super::{MESSAGE, shorten};

#[test]
fn a_long_message_ends_at_a_whole_character() {
    for (n, text) in ["x", "ü", "€ ", "%", "\n"].into_iter().enumerate() {
        for before in 0..4 {
            let whole = format!("{}{}", "a".repeat(before), text.repeat(MESSAGE));
            let mut headers = HeaderMap::new();
            Status::invalid_argument(&whole).add_header(&mut headers).unwrap();
            shorten(&mut headers);
            let read = Status::from_header_map(&headers).unwrap();
            assert_eq!(read.code(), Code::InvalidArgument, "{n}: {}", read.message());
            assert!(whole.starts_with(read.message()) && read.message().len() > 300, "{n}");
        }
    }
}
