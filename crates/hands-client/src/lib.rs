//! Submit, follow, fetch: the part of Manyhands that every front-end is written against.
//!
//! A [`Cluster`] is a connection to a hub (or to the user's agent, which embeds one). A front-end describes each of its
//! actions as a [`JobSpec`], gets a [`Job`] that yields [`Event`]s (or, for many of them, a [`Session`]), and puts the outputs of its [`JobResult`] in place
//! with [`Cluster::fetch_outputs`]. Everything here runs as well on a runtime of one thread; nothing prints.
//!
//! What it must never do: follow a link that an action brought, leave a file half written, or send an uncached action
//! twice as two different submissions.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod agent;
mod answers;
mod attach;
mod authority;
mod blob;
mod build_id;
mod cluster;
mod code;
mod error;
mod event;
mod execution;
#[cfg(test)]
mod fake;
mod feed;
mod fetch;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod host_root;
mod ids;
mod image;
mod job;
mod metadata;
mod output;
mod part;
mod result;
mod retry;
mod session;
mod snapshot;
mod spec;
mod stores;
mod target;
mod told;
mod tree;
mod uploader;

pub use agent::{
    Holder, READY, REFUSED, agent_holder, agent_status, greet_agent, sign_agent_lock, stop_agent,
};
pub use answers::{
    AgentStatus, HubInfo, InvocationInfo, JobFailure, JobInfo, JobState, LeftOut, LeftOutEntry,
    ListRequest, MadeToken, Member, NamedTree, NewToken, Overview, Removed, SnapshotProgress,
    StoreUsage, Terminal, Token, Usage, VerifyProgress, WorkerInfo,
};
pub use attach::{Attachment, AttachmentInput};
pub use build_id::{PROTOCOL, build_id, protocol};
pub use cluster::{Cluster, ClusterKind};
pub use code::Code;
pub use error::ClientError;
pub use event::{Event, JobStream, LostAttempt};
pub use feed::Feed;
pub use fetch::{Fetched, WrittenOutput, check_place, is_temporary_name};
pub use hands_types::platform::{Layer, Root};
pub use hands_types::text::printable;
pub use ids::{new_invocation_id, random_u128};
pub use image::{ImageRoot, ImageSource};
pub use job::Job;
pub use metadata::{Invocation, TOOL};
pub use output::{Made, Output};
pub use part::{AgentPart, BoxFuture, HttpBody, HttpPart, WorkerPart, whole_body};
pub use result::{Failure, JobResult, StageSpan, Stages, lacks_outputs};
pub use session::{ActionId, Session, Submitted};
pub use snapshot::{Input, Snapshot};
pub use spec::{Caching, EncodedJob, JobSpec, Logs};
pub use stores::unknown_name;
pub use target::{AgentSockets, AgentSpec, SNAPSHOT_PART, Target};
pub use tree::{FilePart, Paths, Program, StreamPart, TarPart, TreeSpec};

#[cfg(test)]
mod tests;
