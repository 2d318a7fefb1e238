#!/bin/sh
# tonic 0.14.9 (Rust, gRPC): a status that an Encoder returns does not reach the client.
#
# `tonic::codec::Encoder` has `Error: From<io::Error>`, and every encoder of tonic uses `Error = Status`. One would guess that
# an encoder which returns `Status::resource_exhausted("…")`, because an answer is too large, ends the call with that code. The
# client gets INTERNAL (13) with "Error encoding: " before the text of the whole status; code, details and metadata are gone.
# So a server must refuse a large answer before it hands it to the encoder.
#
# Seen on 2026-12-01: `grpc-status: 13`, `Error encoding: code: 'Some resource has been exhausted', message: "the answer is too
# large"` (percent-encoded). Exits with 1 if it is otherwise. Needs cargo; takes about a minute.
set -eu
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
cd "$directory"
mkdir src
cat > Cargo.toml <<'TOML'
[package]
name = "encoder-status"
version = "0.1.0"
edition = "2021"
[dependencies]
bytes = "=1.12.0"
http-body-util = "=0.1.3"
tokio = { version = "=1.53.1", features = ["macros", "rt"] }
tokio-stream = "=0.1.18"
tonic = { version = "=0.14.9", default-features = false, features = ["codegen"] }
TOML
cat > src/main.rs <<'RUST'
use http_body_util::BodyExt;
use tonic::codec::{EncodeBody, EncodeBuf, Encoder, SingleMessageCompressionOverride};
use tonic::Status;

struct Full;

impl Encoder for Full {
    type Item = ();
    type Error = Status;

    fn encode(&mut self, (): (), _: &mut EncodeBuf<'_>) -> Result<(), Status> {
        Err(Status::resource_exhausted("the answer is too large"))
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let answers = tokio_stream::iter([Ok(())]);
    let body =
        EncodeBody::new_server(Full, answers, None, SingleMessageCompressionOverride::default(), None);
    let trailers = body.collect().await.unwrap().trailers().cloned().unwrap();
    println!("{}", trailers["grpc-status"].to_str().unwrap());
    println!("{}", trailers["grpc-message"].to_str().unwrap());
}
RUST
cargo run --quiet > seen
cat seen
[ "$(head -n 1 seen)" = 13 ] && grep -q 'Error%20encoding' seen
