//! `hands store`: how full a blob store is, cleaning it, reading all of it, and the trees that stay in it by name.

mod pins;

use std::ops::ControlFlow;
use std::path::Path;

use hands_client::{ClientError, Cluster, ClusterKind, Invocation, StoreUsage, Target};
use hands_config::{Environment, Places, Settings};
use hands_front::args::GlobalArgs;
use hands_front::eye::bytes;
use hands_front::{Facts, Out, StdoutError};
use hands_store::{Store, StoreConfig};
use hands_types::ErrorClass;
use hands_types::error::exit;
use serde_json::json;

use crate::cli::{StoreArgs, StoreCommand};
use crate::front::{flags, this_program};
use crate::problem::{Problem, unprinted};
use crate::runtime;

/// Who answers: whoever has the store open, or nobody, and then it is opened here.
enum Asked {
    Cluster(Cluster),
    Here(Store),
}

/// What reading all of a store found.
#[derive(Default)]
struct Found {
    blobs: u64,
    bytes: u64,
    corrupt: Vec<String>,
}

/// Answers one question. Exit code 1 says that corrupt blobs were found.
pub(crate) fn run(
    args: &StoreArgs,
    global: &GlobalArgs,
    environment: &Environment,
    out: &Out,
) -> Result<u8, Problem> {
    let places = Places::find(environment)?;
    let settings = Settings::load(&places, environment, &flags(global))?;
    for warning in &settings.warnings {
        out.warning(warning);
    }
    let quota = settings.store_quota;
    runtime::for_a_person(async {
        // To be asked about a store is no reason to start; to read a directory or an image there must be an agent.
        let starts = matches!(&args.command, StoreCommand::Pin(args) if pins::reads(args)?);
        let asked = match &args.state {
            Some(_) if starts => return Err(pins::needs_agent()),
            Some(state) => Asked::Here(open(&state.join("store"), quota)?),
            None => {
                let target = settings.target(&places, this_program()?);
                ask(target, starts, &places.agent_state(), quota, out).await?
            }
        };
        match &args.command {
            StoreCommand::Pin(args) => pins::pin(&asked, args, out).await,
            StoreCommand::Unpin { name, json } => pins::unpin(&asked, name, *json, out).await,
            StoreCommand::Pins { json } => pins::list(&asked, *json, out).await,
            &StoreCommand::Status { json } => {
                let usage = match &asked {
                    Asked::Cluster(cluster) => cluster.store_usage().await?,
                    Asked::Here(store) => hands_hub::store_usage(store).into(),
                };
                answer(&usage, json, out).map_or_else(unprinted, |()| Ok(exit::OK))
            }
            &StoreCommand::Gc { json } => {
                let (before, after) = match &asked {
                    Asked::Cluster(cluster) => {
                        (cluster.store_usage().await?, cluster.collect_store().await?)
                    }
                    Asked::Here(store) => {
                        let before = hands_hub::store_usage(store).into();
                        let _after = store.gc()?;
                        (before, hands_hub::store_usage(store).into())
                    }
                };
                let freed = total(&before).saturating_sub(total(&after));
                if let Err(error) = answer(&after, json, out) {
                    return unprinted(error);
                }
                if out.watched() || out.is_verbose() {
                    out.note(&format!("{} were freed", bytes(freed)));
                }
                Ok(exit::OK)
            }
            &StoreCommand::Verify { json } => {
                let found = verify(&asked, out).await?;
                if let Err(error) = tell(&found, json, out) {
                    return unprinted(error);
                }
                Ok(if found.corrupt.is_empty() { exit::OK } else { exit::FAILED })
            }
        }
    })?
}

/// The hub or agent, if one runs; else the store that this user's agent would open.
async fn ask(
    target: Target,
    starts: bool,
    agent_state: &Path,
    quota: Option<u64>,
    out: &Out,
) -> Result<Asked, Problem> {
    let target = match target {
        Target::Agent(spec) if !starts => {
            Target::Agent(hands_client::AgentSpec { start: false, ..spec })
        }
        agent @ Target::Agent(_) => agent,
        hub @ Target::Hub { .. } => hub,
    };
    let waiting = |reason: String| out.note(&reason);
    match Cluster::connect(target, Invocation::new("store")?, waiting).await {
        Ok(cluster) if cluster.kind() == ClusterKind::Engine => Err(Problem::new(
            ErrorClass::User,
            format!("{} is no hub of hands: its store can't be asked about", cluster.peer()),
        )),
        Ok(cluster) => Ok(Asked::Cluster(cluster)),
        Err(ClientError::NoAgent) => Ok(Asked::Here(open(&agent_state.join("store"), quota)?)),
        Err(error) => Err(error.into()),
    }
}

fn open(dir: &Path, quota: Option<u64>) -> Result<Store, Problem> {
    // A question makes nothing.
    if !dir.join("index.db").exists() {
        return Err(Problem::new(
            ErrorClass::User,
            format!("there is no store in {}", dir.display()),
        ));
    }
    let mut config = StoreConfig::new(dir);
    config.quota = quota;
    Store::open(config).map_err(|error| match error {
        hands_store::StoreError::Locked { .. } => Problem::from(error)
            .hint("ask the hub that has it, with --cluster; a worker has to be stopped first"),
        error => error.into(),
    })
}

async fn verify(asked: &Asked, out: &Out) -> Result<Found, Problem> {
    let mut found = Found::default();
    let show = |blobs: u64, read: u64| {
        out.progress(&format!("reading: {blobs} blobs, {}", bytes(read)));
    };
    match asked {
        Asked::Cluster(cluster) => {
            cluster
                .verify_store(|reply| {
                    found.blobs = reply.blobs;
                    found.bytes = reply.bytes;
                    found.corrupt.extend(reply.corrupt.iter().cloned());
                    show(reply.blobs, reply.bytes);
                })
                .await?;
        }
        Asked::Here(store) => {
            let verified = store.verify(|so_far| {
                show(so_far.blobs, so_far.bytes);
                ControlFlow::Continue(())
            })?;
            found.blobs = verified.blobs;
            found.bytes = verified.bytes;
            found.corrupt = verified.corrupt.iter().map(ToString::to_string).collect();
        }
    }
    Ok(found)
}

fn tell(found: &Found, as_json: bool, out: &Out) -> Result<(), StdoutError> {
    let text = if as_json {
        let object = json!({
            "blobs": found.blobs,
            "bytes": found.bytes,
            "corrupt": found.corrupt,
        });
        format!("{object}\n")
    } else {
        found.corrupt.iter().map(|digest| format!("{digest}\n")).collect()
    };
    out.data(text.as_bytes())?;
    if as_json {
        return Ok(());
    }
    let of = format!("{} blobs, {}", found.blobs, bytes(found.bytes));
    match found.corrupt.len() {
        0 => out.note(&format!("all is as it should be: {of}")),
        n => {
            let blobs = if n == 1 { "blob was" } else { "blobs were" };
            out.error(&format!(
                "{n} corrupt {blobs} put into quarantine, of {of}; \
                 they are fetched or asked for anew when somebody needs them"
            ));
            out.hint("a disk that spoils files should be looked at: `dmesg`, `smartctl -a`");
        }
    }
    Ok(())
}

fn total(usage: &StoreUsage) -> u64 {
    usage.pack_bytes + usage.file_bytes + usage.tree_bytes + usage.temp_bytes
}

fn answer(usage: &StoreUsage, as_json: bool, out: &Out) -> Result<(), StdoutError> {
    if as_json { out.data_line(&in_json(usage)) } else { in_words(usage).print(out) }
}

fn in_json(usage: &StoreUsage) -> String {
    let object = json!({
        "directory": usage.directory,
        "bytes": total(usage),
        "quota": usage.quota,
        "small_bytes": usage.pack_bytes,
        "large_bytes": usage.file_bytes,
        "tree_bytes": usage.tree_bytes,
        "unfinished_bytes": usage.temp_bytes,
        "trees": usage.trees,
        "named": usage.named,
        "named_bytes": usage.named_bytes,
        "pinned": usage.pinned,
        "corrupt": usage.corrupt,
        "grace_seconds": usage.grace_s,
    });
    object.to_string()
}

fn in_words(usage: &StoreUsage) -> Facts {
    let mut facts = Facts::default();
    facts.add("directory", usage.directory.as_str());
    facts.add("holds", format!("{} of {}", bytes(total(usage)), bytes(usage.quota)));
    facts.add("small", format!("{} of blobs in packs", bytes(usage.pack_bytes)));
    facts.add("large", format!("{} of blobs in files", bytes(usage.file_bytes)));
    facts.add("trees", format!("{} staged, {}", usage.trees, bytes(usage.tree_bytes)));
    facts.add("unfinished", bytes(usage.temp_bytes));
    facts.add("pinned", format!("{} pins of open work", usage.pinned));
    facts.add("named", format!("{} trees that stay, {}", usage.named, bytes(usage.named_bytes)));
    facts.add("corrupt", format!("{} since it was opened", usage.corrupt));
    facts.extend(why_beyond(usage).map(|why| ("beyond", why)));
    facts
}

/// Why it holds more than its quota, if it does.
fn why_beyond(usage: &StoreUsage) -> Option<String> {
    if total(usage) <= usage.quota {
        return None;
    }
    let mut why = Vec::new();
    if usage.grace_s > 0 {
        why.push(format!(
            "what was used before its start stays for {} min more, for who comes back",
            usage.grace_s.div_ceil(60)
        ));
    }
    if usage.pinned > 0 {
        why.push("what open work needs stays".to_owned());
    }
    if usage.named_bytes > usage.quota / 2 {
        why.push("trees that have names stay: `hands store pins`".to_owned());
    }
    if usage.temp_bytes > 0 {
        why.push("uploads that have not ended may go on".to_owned());
    }
    if why.is_empty() {
        why.push("what may go has not gone yet: `hands store gc` takes it away".to_owned());
    }
    Some(why.join("; "))
}
