//! The control: a server that takes the same calls and does nothing with them, so that what an honest member waits beside it
//! is the machine's doing.

use std::convert::Infallible;
use std::future::poll_fn;
use std::io::{BufRead as _, BufReader, Read as _};
use std::net::SocketAddr;
use std::pin::Pin;
use std::process::{Child, Command, Stdio};
use std::task::{Context, Poll};

use anyhow::{Context as _, Result};
use hands_link::{Address, Listener};
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::http::{Request, Response};
use tonic::codegen::{Body as _, Service};

use crate::report::say;

/// `--sink`: says where it listens, and serves until its input ends.
pub(crate) fn serve() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let listener = runtime
        .block_on(async { Listener::bind(&Address::Tcp(SocketAddr::from(([127, 0, 0, 1], 0)))) })?;
    let Some(Address::Tcp(address)) = listener.address() else { anyhow::bail!("no address") };
    say(&address.to_string());
    let serving = hands_link::server().serve_with_incoming(Drain, listener.incoming());
    runtime.spawn(async move {
        if let Err(error) = serving.await {
            say(&format!("the sink has ended: {error}"));
        }
    });
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

/// Reads a call to its end and says that there is no such method.
#[derive(Clone)]
struct Drain;

impl Service<Request<Body>> for Drain {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let mut body = request.into_body();
        Box::pin(async move {
            while let Some(Ok(_)) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {}
            Ok(Status::unimplemented("this takes everything and does nothing").into_http())
        })
    }
}

/// A sink as a process.
pub(super) struct Sink {
    process: Child,
    pub(super) address: String,
}

impl Sink {
    pub(super) fn start() -> Result<Self> {
        let mut process = Command::new(std::env::current_exe()?)
            .arg("--sink")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut address = String::new();
        BufReader::new(process.stdout.take().context("piped above")?).read_line(&mut address)?;
        Ok(Self { process, address: address.trim().to_owned() })
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        if let Err(error) = self.process.wait() {
            say(&format!("the sink did not end: {error}"));
        }
    }
}
