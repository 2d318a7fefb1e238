//! What the services stand on.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::Stream;
use hands_store::Store;
use tonic::Status;

/// What the services stand on. Cheap to clone.
#[derive(Clone)]
pub struct Backend {
    /// Where blobs and action results are.
    pub store: Store,
    /// Where live streams are.
    pub logs: Arc<dyn LogSource>,
    /// Whether the capabilities announce execution.
    pub exec_enabled: bool,
    /// Whether clients may write the action cache.
    pub update_enabled: bool,
}

impl fmt::Debug for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Backend")
            .field("exec_enabled", &self.exec_enabled)
            .field("update_enabled", &self.update_enabled)
            .finish_non_exhaustive()
    }
}

/// Pieces of a log. A live log's pieces come as they are written.
pub type LogStream = Pin<Box<dyn Stream<Item = Result<Bytes, Status>> + Send>>;

/// The output streams of actions, as the hub keeps them.
#[tonic::async_trait]
pub trait LogSource: Send + Sync + 'static {
    /// Opens a stream from `offset` on. At the end of a running action's stream the pieces pause; they end when it
    /// has. NOT_FOUND for an action that is not known, OUT_OF_RANGE for an offset beyond the end.
    async fn read(&self, name: &LogName, offset: u64) -> Result<LogStream, Status>;
}

/// The name of a log: `{instance}/logs/{operation}/{attempt}/stdout` or `…/stderr`. Without the attempt's number: of the
/// attempt that writes when it is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogName {
    /// May hold slashes, may be empty.
    pub instance: String,
    /// The operation's id, without `operations/`.
    pub operation: String,
    /// Which attempt's: from 1.
    pub attempt: Option<u32>,
    /// Whether it is standard error.
    pub stderr: bool,
}

impl LogName {
    /// Reads a resource name; none if it is not a log's.
    pub fn parse(name: &str) -> Option<Self> {
        let (rest, stream) = name.rsplit_once('/')?;
        let (rest, last) = rest.rsplit_once('/')?;
        let (rest, operation, attempt) = match (rest.rsplit_once('/'), last.parse()) {
            (Some((before, operation)), Ok(attempt)) if instance_of(before).is_some() => {
                (before, operation, Some(attempt))
            }
            _ => (rest, last, None),
        };
        let instance = instance_of(rest)?;
        let stderr = match stream {
            "stdout" => false,
            "stderr" => true,
            _ => return None,
        };
        (!operation.is_empty()).then(|| Self {
            instance: instance.to_owned(),
            operation: operation.to_owned(),
            attempt,
            stderr,
        })
    }
}

impl fmt::Display for LogName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.instance.is_empty() {
            write!(f, "{}/", self.instance)?;
        }
        write!(f, "logs/{}/", self.operation)?;
        if let Some(attempt) = self.attempt {
            write!(f, "{attempt}/")?;
        }
        f.write_str(if self.stderr { "stderr" } else { "stdout" })
    }
}

/// What stands before `logs`; none if that does not stand there.
fn instance_of(rest: &str) -> Option<&str> {
    match rest.strip_suffix("logs")? {
        "" => Some(""),
        instance => instance.strip_suffix('/'),
    }
}
