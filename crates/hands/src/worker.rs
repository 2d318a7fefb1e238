//! `hands worker`: works for a hub, as a process of its own.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use hands_config::{Environment, Flags, Places, Settings, WorkerSettings};
use hands_exec::ExposedPath;
use hands_link::Address;
use hands_store::{Store, StoreConfig};
use hands_types::error::exit;
use hands_types::{ErrorClass, WorkerId};
use hands_worker::{IsolationChoice, Worker, WorkerConfig};
use tokio::signal::unix::{SignalKind, signal};

use crate::agent::launcher_program;
use crate::cli::{Isolation, WorkerArgs};
use crate::hub::no_signals;
use crate::problem::Problem;
use crate::{logging, machine, runtime};

/// Works until SIGTERM or SIGINT, or until its hub drains it. The first signal lets running actions end, a second one
/// kills them; the hub runs them again elsewhere.
pub(crate) fn run(args: WorkerArgs, environment: &Environment) -> Result<u8, Problem> {
    logging::start(&args.log);
    let address: Address = args
        .hub
        .parse()
        .map_err(|error| Problem::new(ErrorClass::User, format!("{}: {error}", args.hub)))?;
    let places = Places::find(environment)?;
    let settings = Settings::load(&places, environment, &Flags::default())?;
    for warning in &settings.warnings {
        tracing::warn!("{warning}");
    }
    let state = args.state.clone().unwrap_or_else(|| places.worker_state());
    let mut store = StoreConfig::new(state.join("store"));
    store.quota = settings.store_quota;
    runtime::for_a_server(async move {
        let mut terminate = signal(SignalKind::terminate()).map_err(no_signals)?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(no_signals)?;
        let store = Store::open(store)?;
        let worker =
            Worker::start(configure(&args, &address, &state, store, &settings.worker)?).await?;
        let level = worker.isolation();
        tracing::info!(isolation = %level.isolation, hub = %address, "the worker has started");
        for sentence in level.note.iter().chain(&level.warnings) {
            tracing::warn!("{sentence}");
        }
        tokio::select! {
            () = worker.ended() => return Ok(exit::OK),
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("draining: what runs is finished first; a second signal ends it at once");
        tokio::select! {
            () = worker.drain() => {}
            _ = terminate.recv() => worker.stop().await,
            _ = interrupt.recv() => worker.stop().await,
        }
        Ok(exit::OK)
    })?
}

fn configure(
    args: &WorkerArgs,
    address: &Address,
    state: &Path,
    store: Store,
    settings: &WorkerSettings,
) -> Result<WorkerConfig, Problem> {
    let isolation = match args.isolation {
        // Whoever works for others keeps their actions apart, unless its owner says otherwise.
        None => {
            machine::isolation(settings, IsolationChoice::Exactly(hands_sandbox::Isolation::Full))?
        }
        Some(Isolation::Full) => IsolationChoice::Exactly(hands_sandbox::Isolation::Full),
        Some(Isolation::NoNetns) => IsolationChoice::Exactly(hands_sandbox::Isolation::NoNetns),
        Some(Isolation::Process) => IsolationChoice::Exactly(hands_sandbox::Isolation::Process),
    };
    let expose = settings.expose.iter().chain(&args.expose);
    Ok(WorkerConfig {
        id: id(state)?,
        name: args.name.clone().unwrap_or_else(machine::name),
        build_id: hands_client::build_id().to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        hub: hands_link::connect(address),
        hub_name: address.to_string(),
        store,
        same_store: false,
        state_dir: state.join("work"),
        program: launcher_program(),
        isolation,
        slots: args.slots.unwrap_or_else(|| machine::slots(settings)),
        memory: args.memory.map_or_else(|| machine::memory(settings), |m| m.bytes),
        custom: BTreeMap::new(),
        expose: expose
            .map(|path| ExposedPath { host: path.clone(), inside: path.clone() })
            .collect(),
        default_env: Vec::new(),
        tags: settings.tags.iter().chain(&args.tag).cloned().collect(),
        properties: args.prop.iter().map(|p| (p.key.clone(), p.value.clone())).collect(),
        lease: None,
        ahead: None,
        // A Unix socket or the loopback moves bytes faster than any compressor.
        compress: !address.is_local(),
    })
}

/// The same over restarts, so that the hub knows the worker again.
fn id(state: &Path) -> Result<WorkerId, Problem> {
    let path = state.join("worker-id");
    if let Some(id) = fs::read_to_string(&path).ok().and_then(|text| text.trim().parse().ok()) {
        return Ok(id);
    }
    let fresh = WorkerId(hands_client::new_invocation_id()?.0);
    fs::create_dir_all(state).and_then(|()| fs::write(&path, fresh.to_string())).map_err(
        |error| {
            Problem::new(
                ErrorClass::Environment,
                format!("can't write {}: {error}", path.display()),
            )
        },
    )?;
    Ok(fresh)
}
