//! From messages to plain data, and back for what is asked.

use std::time::SystemTime;

use hands_proto::{rpc, v1};
use hands_types::TreeName;
use prost_types::Timestamp;

use super::{
    AgentStatus, HubInfo, InvocationInfo, JobFailure, JobInfo, JobState, LeftOut, LeftOutEntry,
    MadeToken, Member, NamedTree, NewToken, Overview, Removed, SnapshotProgress, StoreUsage,
    Terminal, Token, Usage, VerifyProgress, WorkerInfo,
};
use crate::{Code, LostAttempt, printable};

/// A moment, where it is one that this machine can tell. What lies before 1970 is none: engines in Go say the year 1 where
/// they know no time.
pub(crate) fn moment(time: Option<Timestamp>) -> Option<SystemTime> {
    let moment = time.and_then(|time| SystemTime::try_from(time).ok());
    moment.filter(|moment| *moment >= SystemTime::UNIX_EPOCH)
}

fn all<T, U: From<T>>(of: Vec<T>) -> Vec<U> {
    of.into_iter().map(U::from).collect()
}

impl From<v1::JobState> for JobState {
    fn from(state: v1::JobState) -> Self {
        match state {
            v1::JobState::Unspecified => Self::Unknown,
            v1::JobState::Queued => Self::Queued,
            v1::JobState::Running => Self::Running,
            v1::JobState::Done => Self::Done,
        }
    }
}

fn failure(status: Option<rpc::Status>) -> Option<JobFailure> {
    let status = status.filter(|status| status.code != 0)?;
    Some(JobFailure { code: Code::of(status.code), message: status.message })
}

impl From<v1::Job> for JobInfo {
    fn from(job: v1::Job) -> Self {
        Self {
            state: job.state().into(),
            id: job.id,
            instance: job.instance_name,
            action_digest: job.action_digest,
            title: job.title,
            waiting: job.waiting,
            worker: job.worker,
            attempt: job.attempt,
            created: moment(job.created),
            started: moment(job.started),
            finished: moment(job.finished),
            invocation: job.invocation,
            tool: job.tool,
            mnemonic: job.mnemonic,
            target: job.target,
            detached: job.detached,
            cached: job.cached,
            exit_code: job.exit_code,
            failure: failure(job.status),
            message: job.message,
            usage: job.usage.map(Usage::from),
            priority: job.priority,
            has_terminal: job.has_terminal,
            lost: all(job.lost),
        }
    }
}

impl From<v1::LostAttempt> for LostAttempt {
    fn from(lost: v1::LostAttempt) -> Self {
        Self {
            attempt: lost.attempt,
            worker: printable(&lost.worker).into_owned(),
            reason: printable(&lost.reason).into_owned(),
            given_up: lost.given_up,
            overtaken: false,
        }
    }
}

impl From<v1::Usage> for Usage {
    fn from(usage: v1::Usage) -> Self {
        Self {
            user_us: usage.user_us,
            system_us: usage.system_us,
            peak_memory: usage.peak_memory,
            isolation: usage.isolation,
            attempt: usage.attempt,
            oom_killed: usage.oom_killed,
            network_attempted: usage.network_attempted,
            signal: usage.signal,
            staging_us: usage.staging_us,
            output_closed: usage.output_closed,
        }
    }
}

/// Entries that are kept of what was left out.
const SHOWN: usize = 100;

impl From<v1::LeftOut> for LeftOut {
    fn from(left_out: v1::LeftOut) -> Self {
        let entries = left_out.entries.into_iter().take(SHOWN).map(|entry| LeftOutEntry {
            path: printable(&entry.path).into_owned(),
            why: printable(&entry.why).into_owned(),
        });
        let entries: Vec<LeftOutEntry> = entries.collect();
        Self { total: left_out.total.max(entries.len() as u64), entries }
    }
}

impl From<v1::WorkerInfo> for WorkerInfo {
    fn from(worker: v1::WorkerInfo) -> Self {
        Self {
            id: worker.worker_id,
            name: worker.name,
            properties: worker.properties.into_iter().map(|it| (it.name, it.value)).collect(),
            slots: worker.slots,
            busy: worker.busy,
            cpu_millis: worker.cpu_millis,
            memory: worker.memory,
            custom: worker.custom.into_iter().map(|it| (it.name, it.count)).collect(),
            draining: worker.draining,
            connected: moment(worker.connected),
            last_seen: moment(worker.last_seen),
            version: worker.protocol.map(|protocol| protocol.version),
        }
    }
}

impl From<v1::InfoReply> for HubInfo {
    fn from(info: v1::InfoReply) -> Self {
        Self {
            version: info.protocol.unwrap_or_default().version,
            hub_id: info.hub_id,
            started: moment(info.started),
            workers: info.workers,
            host_roots: info.host_roots,
            store_bytes: info.store_bytes,
            store_quota: info.store_quota,
            queued: info.queued,
            running: info.running,
        }
    }
}

impl From<v1::Invocation> for InvocationInfo {
    fn from(invocation: v1::Invocation) -> Self {
        Self {
            id: invocation.id,
            tool: invocation.tool,
            queued: invocation.queued,
            running: invocation.running,
            succeeded: invocation.succeeded,
            failed: invocation.failed,
            cached: invocation.cached,
            created: moment(invocation.created),
            ended: moment(invocation.ended),
        }
    }
}

impl From<v1::OverviewReply> for Overview {
    fn from(overview: v1::OverviewReply) -> Self {
        Self {
            hub: overview.info.unwrap_or_default().into(),
            workers: all(overview.workers),
            invocations: all(overview.invocations),
            running: all(overview.running),
            queued: all(overview.queued),
            failures: all(overview.failures),
            now: moment(overview.now),
            slots: overview.slots,
            busy: overview.busy,
        }
    }
}

impl From<v1::HelloReply> for AgentStatus {
    fn from(hello: v1::HelloReply) -> Self {
        let protocol = hello.protocol.unwrap_or_default();
        Self {
            version: protocol.version,
            build_id: protocol.build_id,
            protocol: (protocol.low, protocol.high),
            pid: hello.pid,
            started: moment(hello.started),
            idle_left_s: hello.idle_left_s,
            busy: hello.busy,
            state_dir: hello.state_dir,
            isolation: hello.isolation,
            isolation_note: hello.isolation_note,
            log: hello.log,
            works_for: hello.works_for,
            works_for_note: hello.works_for_note,
            inherited: hello.inherited,
        }
    }
}

impl From<v1::SnapshotProgress> for SnapshotProgress {
    fn from(progress: v1::SnapshotProgress) -> Self {
        let v1::SnapshotProgress { files, bytes_hashed, bytes_sent } = progress;
        Self { files, bytes_hashed, bytes_sent }
    }
}

impl From<v1::StoreUsage> for StoreUsage {
    fn from(usage: v1::StoreUsage) -> Self {
        Self {
            directory: usage.directory,
            pack_bytes: usage.pack_bytes,
            file_bytes: usage.file_bytes,
            tree_bytes: usage.tree_bytes,
            temp_bytes: usage.temp_bytes,
            quota: usage.quota,
            pinned: usage.pinned,
            trees: usage.trees,
            named: usage.named,
            named_bytes: usage.named_bytes,
            corrupt: usage.corrupt,
            grace_s: usage.grace_s,
        }
    }
}

impl TryFrom<v1::NamedTree> for NamedTree {
    type Error = ();

    fn try_from(tree: v1::NamedTree) -> Result<Self, ()> {
        Ok(Self {
            name: TreeName::new(&tree.name).map_err(|_| ())?,
            tree: tree.tree.parse().map_err(|_| ())?,
            blobs: tree.blobs,
            bytes: tree.bytes,
            since: moment(tree.since),
        })
    }
}

impl From<v1::VerifyStoreReply> for VerifyProgress {
    fn from(reply: v1::VerifyStoreReply) -> Self {
        Self { blobs: reply.blobs, bytes: reply.bytes, corrupt: reply.corrupt }
    }
}

impl From<NewToken> for v1::CreateTokenRequest {
    fn from(token: NewToken) -> Self {
        let NewToken { roles, uses, ttl_s, bearer } = token;
        Self { roles, uses, ttl_s, bearer }
    }
}

impl From<v1::CreateTokenReply> for MadeToken {
    fn from(reply: v1::CreateTokenReply) -> Self {
        Self { token: reply.token.unwrap_or_default().into(), secret: reply.secret }
    }
}

impl From<v1::Token> for Token {
    fn from(token: v1::Token) -> Self {
        Self {
            id: token.id,
            roles: token.roles,
            bearer: token.bearer,
            uses: token.uses,
            used: token.used,
            created: moment(token.created),
            expires: moment(token.expires),
            revoked: token.revoked,
        }
    }
}

impl From<v1::Member> for Member {
    fn from(member: v1::Member) -> Self {
        Self {
            id: member.id,
            name: member.name,
            roles: member.roles,
            token_id: member.token_id,
            joined: moment(member.joined),
            renewed: moment(member.renewed),
            removed: member.removed,
        }
    }
}

impl Removed {
    pub(crate) fn of(members: Vec<v1::Member>, more: u32) -> Self {
        Self { members: all(members), more }
    }
}

impl From<Terminal> for v1::Terminal {
    fn from(terminal: Terminal) -> Self {
        let Terminal { rows, columns, term } = terminal;
        Self { rows, columns, term }
    }
}
