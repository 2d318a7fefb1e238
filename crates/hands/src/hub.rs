//! `hands hub`: queue, scheduler and store of a cluster, as a process of its own.

mod addresses;
mod certificates;

use std::io::IsTerminal as _;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use hands_config::{Environment, Flags, Logins, Places, Settings};
use hands_hub::{Hub, HubConfig, LEAF_TTL, TrustConfig};
use hands_link::{Address, HostPort, LinkError, Listener};
use hands_store::{Durability, Store, StoreConfig};
use hands_types::error::exit;
use hands_types::{ErrorClass, Role, Roles};
use tokio::signal::unix::{SignalKind, signal};

use crate::cli::HubArgs;
use crate::http::{self, Http, Source};
use crate::problem::Problem;
use crate::{least, logging, machine, runtime};

/// Serves until SIGTERM or SIGINT; what is queued and running is taken up again by the next start.
pub(crate) fn run(args: HubArgs, environment: &Environment) -> Result<u8, Problem> {
    #[cfg(target_os = "linux")]
    hands_sandbox::start_server();
    logging::start(&args.log);
    least::check("hub")?;
    let places = Places::find(environment)?;
    let settings = Settings::load(&places, environment, &Flags::default())?;
    for warning in &settings.warnings {
        tracing::warn!("{warning}");
    }
    let wanted = addresses::places(&args, &places)?;
    let at = addresses::flag(&wanted, &places);
    let state = args.state.clone().unwrap_or_else(|| places.hub_state());
    hands_link::private_directory(&state)?;
    let mut store = StoreConfig::new(state.join("store"));
    store.quota = args.quota.map(|q| q.bytes).or(settings.store_quota);
    if settings.durable_against_power {
        store.durability = Durability::Power;
    }
    runtime::for_a_server(async move {
        let mut terminate = signal(SignalKind::terminate()).map_err(no_signals)?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(no_signals)?;
        // Before anything is opened: a second hub on the same address must not touch the first one's state.
        let mut listeners = Vec::new();
        for place in &wanted {
            match Listener::bind(&place.address) {
                Ok(listener) => listeners.push((listener, place.over_tls)),
                // A file system that can't hold a socket.
                Err(LinkError::Io { what, path, source }) if place.is_spare => {
                    tracing::warn!(
                        "no socket beside the state: can't {what} {}: {source}",
                        path.display()
                    );
                }
                Err(error) => return Err(error.into()),
            }
        }
        let mut https = Vec::new();
        for address in &args.http {
            https.push(Http::bind(*address).await?);
        }
        let encrypted: Vec<SocketAddr> = listeners
            .iter()
            .filter(|(_, over_tls)| *over_tls)
            .filter_map(|(listener, _)| match listener.address() {
                Some(Address::Tcp(address)) => Some(*address),
                _ => None,
            })
            .collect();
        let public = addresses::public(&args.public_name, &encrypted)?;
        let hub = open(&args, &state, Store::open(store)?, &public, !encrypted.is_empty())?;
        let mut main = None;
        for (listener, over_tls) in listeners {
            let listener = match hub.tls().filter(|_| over_tls) {
                Some(tls) => listener.over_tls(&tls),
                None => listener,
            };
            let address = listener.address().map(ToString::to_string).unwrap_or_default();
            tracing::info!(%address, tls = over_tls, "listening");
            main.get_or_insert(address);
            hub.serve(listener);
        }
        let mut serving = tokio::task::JoinSet::new();
        for http in https {
            tracing::info!(address = %http.address(), "figures over HTTP");
            let hosts = http::hosts(http.address(), public.iter().map(|name| &name.host));
            serving.spawn(http.serve(vec![Arc::new(Source::Hub(hub.clone()))], hosts));
        }
        let address = main.unwrap_or_default();
        tracing::info!(%address, state = %state.display(), id = hub.id(), "the hub serves");
        if !encrypted.is_empty() {
            invite(&hub, &at)?;
        }
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            () = hub.ended() => {
                return Err(Problem::new(
                    ErrorClass::Environment,
                    "the hub could not go on, as its log says; what it has accepted and its state directory still holds \
                     is taken up by its next start",
                ));
            }
        }
        tracing::info!("the hub stops");
        serving.shutdown().await;
        hub.close().await;
        Ok(exit::OK)
    })?
}

fn open(
    args: &HubArgs,
    state: &Path,
    store: Store,
    public: &[HostPort],
    for_others: bool,
) -> Result<Hub, Problem> {
    let mut config = HubConfig::new(state, store);
    config.version = env!("CARGO_PKG_VERSION").to_owned();
    config.build_id = hands_client::build_id().to_owned();
    // The allocator of other systems gives back by itself.
    #[cfg(target_os = "linux")]
    {
        config.give_back = Some(hands_sandbox::give_back_memory);
    }
    if !for_others {
        return Ok(Hub::open(config)?);
    }
    let roles: Roles = args.client_role.iter().copied().collect();
    let trust = TrustConfig {
        cluster: cluster_name(args)?,
        addresses: public.to_vec(),
        leaf_ttl: args.leaf_ttl.unwrap_or(LEAF_TTL),
        public: certificates::public(args)?,
        client_authorities: certificates::client_authorities(args)?,
        client_roles: if roles.is_empty() { Roles::NONE.with(Role::Submit) } else { roles },
    };
    Ok(Hub::open_for_others(config, trust)?)
}

/// Shows a person how the first node joins. Not into a log: whoever reads it could.
fn invite(hub: &Hub, at: &str) -> Result<(), Problem> {
    if !std::io::stdout().is_terminal() {
        tracing::info!("`hands token create{at}` makes join strings for workers and users");
        return Ok(());
    }
    let join = hub.invite(Roles::NONE.with(Role::Worker).with(Role::Admin))?;
    let text = format!(
        "\nOne node may join with this within the hour, by `hands worker JOIN` or `hands login JOIN`:\n\n{join}\n\n\
         `hands token create{at}` makes more of them.\n\n"
    );
    // A terminal that is gone is no reason to stop.
    drop(std::io::Write::write_all(&mut std::io::stdout(), text.as_bytes()));
    Ok(())
}

/// Under which name others remember this cluster.
fn cluster_name(args: &HubArgs) -> Result<String, Problem> {
    if let Some(name) = &args.name {
        return if Logins::is_name(name) {
            Ok(name.clone())
        } else {
            Err(Problem::new(ErrorClass::User, format!("--name {name}: not a cluster's name"))
                .hint("use letters, digits, dots, dashes and underscores"))
        };
    }
    let name = machine::name().to_lowercase();
    Ok(if Logins::is_name(&name) { name } else { "cluster".to_owned() })
}

/// A machine that denies signal handlers.
pub(crate) fn no_signals(error: std::io::Error) -> Problem {
    Problem::new(ErrorClass::Environment, format!("can't listen for signals: {error}"))
}
