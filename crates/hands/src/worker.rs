//! `hands worker`: works for a hub, as a process of its own.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use hands_config::{Environment, Flags, Logins, Places, Settings, WorkerSettings};
use hands_exec::ExposedPath;
use hands_link::{Address, Identity, Stdio, Way};
use hands_store::{Store, StoreConfig};
use hands_types::Isolation;
use hands_types::error::exit;
use hands_types::{ErrorClass, Role, Roles, WorkerId};
use hands_worker::{IsolationChoice, Worker, WorkerConfig};
use tokio::signal::unix::{SignalKind, signal};

use crate::agent::launcher_program;
use crate::cli::{StdioForm, WorkerArgs};
use crate::http::{self, Http, Source};
use crate::hub::no_signals;
use crate::join::{self, Wanted};
use crate::problem::Problem;
use crate::{least, logging, machine, runtime};

/// Works until SIGTERM or SIGINT, until its hub drains it or refuses it for good, until its state is deleted, or until the one
/// stream that it was given ends. The first signal lets running actions end, a second one kills them; the hub runs them again
/// elsewhere.
pub(crate) fn run(args: WorkerArgs, environment: &Environment) -> Result<u8, Problem> {
    // Before there is anybody else who could read or write them.
    let stdio = args.stdio.map(|form| take_stdio(&args, form)).transpose()?;
    hands_sandbox::start_server();
    logging::start(&args.log);
    least::check("worker")?;
    let places = Places::find(environment)?;
    let settings = Settings::load(&places, environment, &Flags::default())?;
    for warning in &settings.warnings {
        tracing::warn!("{warning}");
    }
    let state = args.state.clone().unwrap_or_else(|| places.worker_state());
    // Its sandboxes are made in other directories than this one.
    let state = std::path::absolute(&state).map_err(|error| {
        Problem::new(ErrorClass::Environment, format!("can't use {}: {error}", state.display()))
    })?;
    hands_link::private_directory(&state)?;
    let mut store = StoreConfig::new(state.join("store"));
    store.quota = settings.store_quota;
    runtime::for_a_server(async move {
        let mut terminate = signal(SignalKind::terminate()).map_err(no_signals)?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(no_signals)?;
        let mut https = Vec::new();
        for address in &args.http {
            let http = Http::bind(*address).await?;
            // Whoever looks from now on has an answer once the worker has started.
            tracing::info!(address = %http.address(), "figures over HTTP");
            https.push(http);
        }
        // Before a token is used up and an identity replaced that another worker goes by.
        let store = Store::open(store)?;
        let name = args.name.clone().unwrap_or_else(machine::name);
        let logins = Logins::new(state.join("clusters"));
        let found = tokio::select! {
            found = reach(&args, stdio, &name, &logins) => found?,
            _ = terminate.recv() => return Ok(exit::OK),
            _ = interrupt.recv() => return Ok(exit::OK),
        };
        let mut renewing = tokio::task::JoinSet::new();
        if let Some(member) = &found.member {
            renewing.spawn(hands_link::keep_fresh(member.dir.clone()));
        }
        let worker =
            Worker::start(configure(&args, &found, &state, store, &settings.worker)?).await?;
        let worker = Arc::new(worker);
        let mut serving = tokio::task::JoinSet::new();
        for http in https {
            let hosts = http::hosts(http.address(), &args.name);
            let figures = Source::Worker(Arc::clone(&worker));
            serving.spawn(http.serve(vec![Arc::new(figures)], hosts));
        }
        let level = worker.isolation();
        tracing::info!(isolation = %level.isolation, hub = found.name, "the worker has started");
        for sentence in level.note.iter().chain(&level.warnings) {
            tracing::warn!("{sentence}");
        }
        tokio::select! {
            () = worker.ended() => return how_it_ended(&worker),
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

/// The hub that it works for.
struct Found {
    way: Way,
    /// For messages.
    name: String,
    /// Who we are there.
    member: Option<Identity>,
    is_local: bool,
}

/// The hub that is meant, and the way to it.
async fn reach(
    args: &WorkerArgs,
    stdio: Option<Stdio>,
    node: &str,
    logins: &Logins,
) -> Result<Found, Problem> {
    if let Some(stdio) = stdio {
        return reach_over(args, stdio, node, logins).await;
    }
    let address = find_hub(args.hub.as_deref(), node, logins).await?;
    let (way, member) = (Way::to(&address), member(&address)?);
    Ok(Found { way, name: address.describe(), member, is_local: address.is_local() })
}

/// The same at the other end of standard input and output.
async fn reach_over(
    args: &WorkerArgs,
    stdio: Stdio,
    node: &str,
    logins: &Logins,
) -> Result<Found, Problem> {
    let stream = stdio.stream().map_err(bad_stdio)?;
    if args.stdio == Some(StdioForm::Trusted) {
        let name = "the hub at the other end of standard input and output".to_owned();
        let way = Way::over(stream, None).await?;
        return Ok(Found { way, name, member: None, is_local: false });
    }
    let address = find_hub(args.hub.as_deref(), node, logins).await?;
    let Some(member) = member(&address)? else {
        let what = "--stdio takes the name of a cluster that was joined, not an address";
        return Err(Problem::new(ErrorClass::User, what.to_owned()).hint(
            "without TLS, where whoever starts this worker answers for both ends: --stdio=trusted",
        ));
    };
    let way = Way::over(stream, Some(&member.dir)).await?;
    let name = format!("{}, over standard input and output", address.describe());
    Ok(Found { way, name, member: Some(member), is_local: false })
}

/// Who we are at a hub that was joined.
fn member(address: &Address) -> Result<Option<Identity>, Problem> {
    Ok(match address {
        Address::Member(dir) => Some(Identity::load(dir)?),
        Address::Unix(_) | Address::Tcp(_) | Address::Engine(_) => None,
    })
}

/// Takes standard input and output, before anything is read from them for another purpose.
fn take_stdio(args: &WorkerArgs, form: StdioForm) -> Result<Stdio, Problem> {
    let wrong = |what: &str| Err(Problem::new(ErrorClass::User, what.to_owned()));
    match args.hub.as_deref() {
        Some("-") => {
            return wrong(
                "standard input can't be the join string and the way to the hub: give the one as @FILE",
            );
        }
        Some(_) if form == StdioForm::Trusted => {
            return wrong(
                "with --stdio=trusted there is nothing to join: leave out what stands there",
            );
        }
        _ => {}
    }
    Stdio::take().map_err(bad_stdio)
}

fn bad_stdio(error: std::io::Error) -> Problem {
    Problem::new(ErrorClass::User, format!("--stdio: {error}"))
        .hint("it is for programs that carry the bytes to the hub, as ssh does")
}

/// Drained by its hub, or unable to go on.
fn how_it_ended(worker: &Worker) -> Result<u8, Problem> {
    let Some(error) = worker.failure() else { return Ok(exit::OK) };
    let problem = Problem::of(error, error.class());
    Err(match error.hint() {
        Some(hint) => problem.hint(hint),
        None => problem,
    })
}

/// What was asked for, as far as there are open files for it.
fn worker_slots(args: &WorkerArgs, settings: &WorkerSettings) -> u32 {
    let (slots, fewer) = machine::slots(args.slots.or(settings.slots));
    if let Some(sentence) = fewer {
        tracing::warn!("{sentence}");
    }
    slots
}

/// The hub that is meant: by join string, name, address, or because it is the only one.
async fn find_hub(wanted: Option<&str>, node: &str, logins: &Logins) -> Result<Address, Problem> {
    let Some(wanted) = wanted else {
        let names = logins.names();
        return match (&names[..], logins.default_name()) {
            ([name], _) => Ok(Address::Member(logins.place(name))),
            (_, Some(name)) => Ok(Address::Member(logins.place(&name))),
            ([], None) => Err(Problem::new(ErrorClass::User, "this worker has not joined a cluster")
                .hint("`hands worker JOIN`; `hands token create --role worker` on the hub's machine makes the join string")),
            (names, None) => Err(Problem::new(
                ErrorClass::User,
                format!("this worker has joined several clusters: {}", names.join(", ")),
            )
            .hint("name one: `hands worker NAME`")),
        };
    };
    if let Some(join) = join::read(wanted)? {
        let roles = Roles::NONE.with(Role::Worker);
        let wanted = Wanted { node, roles, cluster: None, patience: None };
        let waiting = |why: &str| tracing::warn!("waiting for the hub: {why}");
        let (name, address) = join::join(&join, &wanted, logins, waiting).await?;
        logins.set_default(&name)?;
        tracing::info!(cluster = name, "joined; from now on `hands worker` alone finds it");
        return Ok(address);
    }
    if let Some(address) = logins.find(wanted) {
        return Ok(address);
    }
    wanted.parse().map_err(|error| {
        let known = logins.names().join(", ");
        let problem = Problem::new(
            ErrorClass::User,
            format!(
                "{wanted} is no join string and no cluster that this worker has joined, and {error}"
            ),
        );
        if known.is_empty() { problem } else { problem.hint(format!("joined: {known}")) }
    })
}

fn configure(
    args: &WorkerArgs,
    hub: &Found,
    state: &Path,
    store: Store,
    settings: &WorkerSettings,
) -> Result<WorkerConfig, Problem> {
    // Whoever works for others keeps their actions apart, unless its owner says otherwise.
    let isolation = match args.isolation {
        None => machine::isolation(settings, IsolationChoice::Exactly(Isolation::Full)),
        Some(level) => IsolationChoice::Exactly(level),
    };
    for why in args.expose.iter().filter_map(|path| hands_config::hidden(path)) {
        tracing::warn!("--expose: {why}");
    }
    let expose = settings.expose.iter().chain(&args.expose);
    // A member keeps the name by which it joined: by that name it is removed.
    let joined_as = hub.member.as_ref().map(|member| member.name.clone());
    Ok(WorkerConfig {
        id: match &hub.member {
            Some(member) => WorkerId(member.member.0),
            None => id(state)?,
        },
        name: args.name.clone().or(joined_as).unwrap_or_else(machine::name),
        build_id: hands_client::build_id().to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        hub: hub.way.clone(),
        hub_name: hub.name.clone(),
        store,
        same_store: false,
        state_dir: state.join("work"),
        program: launcher_program(),
        isolation,
        slots: worker_slots(args, settings),
        memory: args.memory.map_or_else(|| machine::memory(settings), |m| m.bytes),
        custom: args.counter.iter().map(|c| (c.name.clone(), c.count)).collect(),
        expose: expose
            .map(|path| ExposedPath { host: path.clone(), inside: path.clone() })
            .collect(),
        default_env: Vec::new(),
        tags: settings.tags.iter().chain(&args.tag).cloned().collect(),
        properties: args.prop.iter().map(|p| (p.key.clone(), p.value.clone())).collect(),
        lease: None,
        ahead: None,
        parts: Vec::new(),
        // A Unix socket or the loopback moves bytes faster than any compressor.
        compress: !hub.is_local,
    })
}

/// The same over restarts, so that the hub knows the worker again.
fn id(state: &Path) -> Result<WorkerId, Problem> {
    let path = state.join("worker-id");
    if let Some(id) = fs::read_to_string(&path).ok().and_then(|text| text.trim().parse().ok()) {
        return Ok(id);
    }
    let fresh = WorkerId(hands_client::new_invocation_id()?.0);
    hands_link::write_private(state, "worker-id", &fresh.to_string())?;
    Ok(fresh)
}
