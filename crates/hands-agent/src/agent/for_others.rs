//! Work for others: with `worker = true` this machine is a worker of the cluster that its user has logged in to, beside
//! the embedded one that works for its user.
//!
//! It keeps actions apart as every worker for others does: at isolation `full`, or at the level that the configuration
//! names, and without the toolchains that only this user's own actions may see.

use hands_exec::{ExposedPath, Isolation};
use hands_link::{Address, Identity};
use hands_store::Store;
use hands_types::{MemberId, Role, WorkerId};
use hands_worker::{IsolationChoice, Worker, WorkerConfig, WorkerError};

use crate::error::sentence;
use crate::{AgentConfig, Login};

#[derive(Debug, Default)]
pub(super) struct ForOthers {
    serving: Option<Serving>,
    refused: Option<Refused>,
}

#[derive(Debug)]
struct Serving {
    as_whom: AsWhom,
    worker: Worker,
}

/// Why this machine does not work for a cluster though it is configured to.
#[derive(Debug)]
struct Refused {
    as_whom: AsWhom,
    why: String,
    /// The hub has said so, and will as long as this machine is who it is.
    for_good: bool,
}

/// A cluster, and the member of it that this machine is: whoever logs in again is another.
#[derive(Debug, PartialEq, Eq)]
struct AsWhom {
    login: Login,
    member: Option<MemberId>,
}

impl ForOthers {
    /// Makes it so that this machine works for the cluster that is the default one now. `again` also tries what failed
    /// before, unless the hub has refused this machine for good.
    pub(super) async fn look(&mut self, config: &AgentConfig, store: &Store, again: bool) {
        let Some(find) = config.works_for else { return };
        let found = find(&config.logins).map(|login| {
            let identity = Identity::load(&login.dir).map_err(|e| sentence(&e));
            let member = identity.as_ref().ok().map(|identity| identity.member);
            (AsWhom { login, member }, identity)
        });
        let as_whom = found.as_ref().map(|(as_whom, _)| as_whom);
        if let Some(serving) = self.serving.take_if(|serving| serving.worker.failure().is_some())
            && let Some(error) = serving.worker.failure()
        {
            let why = sentence(error);
            tracing::warn!(cluster = serving.as_whom.login.name, "works for it no more: {why}");
            let for_good = matches!(error, WorkerError::Refused { .. });
            self.refused = Some(Refused { as_whom: serving.as_whom, why, for_good });
        }
        if self.serving.as_ref().map(|serving| &serving.as_whom) == as_whom && as_whom.is_some() {
            return;
        }
        if let Some(Serving { as_whom, worker }) = self.serving.take() {
            tracing::info!(cluster = as_whom.login.name, "works for it no more, after what runs");
            drop(tokio::spawn(async move {
                worker.drain().await;
            }));
        }
        let Some((as_whom, identity)) = found else {
            self.refused = None;
            return;
        };
        let refused = self.refused.as_ref().filter(|refused| refused.as_whom == as_whom);
        if refused.is_some_and(|refused| refused.for_good || !again) {
            return;
        }
        let started = match identity {
            Ok(identity) => start(config, store, &as_whom.login, identity).await,
            Err(why) => Err(why),
        };
        match started {
            Ok(worker) => {
                tracing::info!(cluster = as_whom.login.name, "works for it");
                self.refused = None;
                self.serving = Some(Serving { as_whom, worker });
            }
            Err(why) => {
                if self.refused.as_ref().is_none_or(|refused| refused.why != why) {
                    tracing::warn!(cluster = as_whom.login.name, "does not work for it: {why}");
                }
                self.refused = Some(Refused { as_whom, why, for_good: false });
            }
        }
    }

    /// Whether somebody else may need this agent.
    pub(super) fn serves(&self) -> bool {
        self.serving.is_some()
    }

    /// Actions of others that it has.
    pub(super) fn leases(&self) -> usize {
        self.serving.as_ref().map_or(0, |serving| serving.worker.leases())
    }

    /// The cluster's name; empty where there is none.
    pub(super) fn cluster(&self) -> String {
        self.serving.as_ref().map(|serving| serving.as_whom.login.name.clone()).unwrap_or_default()
    }

    /// How it works for others, or why it does not though it is to.
    pub(super) fn note(&self) -> String {
        let failure = self.serving.as_ref().and_then(|serving| serving.worker.failure());
        match (&self.serving, &self.refused) {
            (Some(serving), _) if failure.is_some() => {
                let why = failure.map(|error| sentence(error)).unwrap_or_default();
                format!("for {}: {why}", serving.as_whom.login.name)
            }
            (Some(serving), _) if !serving.worker.is_connected() => {
                "no connection to its hub, trying again".to_owned()
            }
            (Some(serving), _) => match serving.worker.leases() {
                0 => "connected, idle".to_owned(),
                1 => "connected, 1 action".to_owned(),
                n => format!("connected, {n} actions"),
            },
            (None, Some(refused)) => format!("for {}: {}", refused.as_whom.login.name, refused.why),
            (None, None) => String::new(),
        }
    }

    /// Ends at once; the hub runs elsewhere what ran here.
    pub(super) async fn stop(&mut self) {
        if let Some(serving) = self.serving.take() {
            serving.worker.stop().await;
        }
    }
}

async fn start(
    config: &AgentConfig,
    store: &Store,
    login: &Login,
    identity: Identity,
) -> Result<Worker, String> {
    if !identity.roles.has(Role::Worker) {
        return Err(format!(
            "its membership has the roles {} and not worker: log in again with a join string of `hands token create --role submit --role worker`",
            identity.roles
        ));
    }
    let wanted = &config.worker;
    let address = Address::Member(login.dir.clone());
    let expose = wanted.expose.iter();
    let worker = WorkerConfig {
        // The cluster knows the worker as the member that it is.
        id: WorkerId(identity.member.0),
        name: identity.name,
        build_id: hands_client::build_id().to_owned(),
        version: hands_client::protocol().version,
        hub: hands_link::Way::to(&address),
        hub_name: address.describe(),
        store: store.clone(),
        same_store: false,
        state_dir: config.state_dir.join("worker-for-others"),
        program: wanted.program.clone(),
        isolation: match wanted.isolation {
            IsolationChoice::Best => IsolationChoice::Exactly(Isolation::Full),
            IsolationChoice::Exactly(level) => IsolationChoice::Exactly(level),
        },
        slots: wanted.slots,
        memory: wanted.memory,
        custom: std::collections::BTreeMap::new(),
        expose: expose
            .map(|path| ExposedPath { host: path.clone(), inside: path.clone() })
            .collect(),
        default_env: Vec::new(),
        tags: wanted.tags.clone(),
        properties: Vec::new(),
        lease: None,
        ahead: None,
        parts: wanted.parts.clone(),
        compress: !address.is_local(),
    };
    Worker::start(worker).await.map_err(|e| sentence(&e))
}
