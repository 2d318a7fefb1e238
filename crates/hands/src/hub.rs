//! `hands hub`: queue, scheduler and store of a cluster, as a process of its own.

use hands_config::{Environment, Flags, Places, Settings};
use hands_hub::{Hub, HubConfig};
use hands_link::{Address, Listener};
use hands_store::{Durability, Store, StoreConfig};
use hands_types::ErrorClass;
use hands_types::error::exit;
use tokio::signal::unix::{SignalKind, signal};

use crate::cli::HubArgs;
use crate::problem::Problem;
use crate::{logging, runtime};

/// Serves until SIGTERM or SIGINT; what is queued and running is taken up again by the next start.
pub(crate) fn run(args: HubArgs, environment: &Environment) -> Result<u8, Problem> {
    logging::start(&args.log);
    let places = Places::find(environment)?;
    let settings = Settings::load(&places, environment, &Flags::default())?;
    for warning in &settings.warnings {
        tracing::warn!("{warning}");
    }
    let address = address(&args, &places)?;
    let state = args.state.clone().unwrap_or_else(|| places.hub_state());
    let mut store = StoreConfig::new(state.join("store"));
    store.quota = args.quota.map(|q| q.bytes).or(settings.store_quota);
    if settings.durable_against_power {
        store.durability = Durability::Power;
    }
    runtime::for_a_server(async move {
        let mut terminate = signal(SignalKind::terminate()).map_err(no_signals)?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(no_signals)?;
        // Before anything is opened: a second hub on the same address must not touch the first one's state.
        let listener = Listener::bind(&address)?;
        let mut config = HubConfig::new(&state, Store::open(store)?);
        config.version = env!("CARGO_PKG_VERSION").to_owned();
        config.build_id = hands_client::build_id().to_owned();
        let hub = Hub::open(config)?;
        let listening = listener.address().unwrap_or(&address).clone();
        hub.serve(listener);
        tracing::info!(address = %listening, state = %state.display(), id = hub.id(), "the hub serves");
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            () = hub.ended() => {
                return Err(Problem::new(
                    ErrorClass::Bug,
                    "the hub could not go on; what it has accepted is taken up by its next start",
                ));
            }
        }
        tracing::info!("the hub stops");
        hub.close().await;
        Ok(exit::OK)
    })?
}

fn address(args: &HubArgs, places: &Places) -> Result<Address, Problem> {
    let Some(text) = &args.listen else {
        return Ok(Address::Unix(places.runtime.join("hub.sock")));
    };
    let address: Address = text
        .parse()
        .map_err(|error| Problem::new(ErrorClass::User, format!("--listen {text}: {error}")))?;
    if !address.is_local() {
        return Err(Problem::new(
            ErrorClass::User,
            format!("--listen {text}: a hub has no identities yet, so it does not listen to other machines"),
        )
        .hint("listen on unix:PATH or 127.0.0.1:PORT, and let ssh forward it"));
    }
    if matches!(address, Address::Tcp(_)) && !args.insecure_loopback {
        return Err(Problem::new(
            ErrorClass::User,
            format!("--listen {text}: every user and program of this machine could use the hub"),
        )
        .hint("add --insecure-loopback if that is wanted, or listen on unix:PATH"));
    }
    Ok(address)
}

/// A machine that denies signal handlers.
pub(crate) fn no_signals(error: std::io::Error) -> Problem {
    Problem::new(ErrorClass::Environment, format!("can't listen for signals: {error}"))
}
