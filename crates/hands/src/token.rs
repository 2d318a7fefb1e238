//! `hands token` and `hands workers remove|members`: an operator's questions to a hub.

use std::time::{Duration, SystemTime};

use hands_client::{Cluster, Invocation, Member, NewToken, Removed, Target, Token};
use hands_config::{Environment, Places, Settings};
use hands_front::args::GlobalArgs;
use hands_front::{Out, Table};
use hands_link::Address;
use hands_types::ErrorClass;
use hands_types::error::exit;
use serde_json::{Value, json};

use crate::cli::{TokenArgs, TokenCommand, TokenCreateArgs, WorkersCommand};
use crate::front::{flags, this_program};
use crate::problem::{self, Problem};
use crate::runtime;

/// How long a hub that can't be reached is waited for.
const PATIENCE: Duration = Duration::from_secs(10);

/// Makes, lists and ends tokens.
pub(crate) fn run(
    args: TokenArgs,
    global: &GlobalArgs,
    environment: &Environment,
    out: &Out,
) -> Result<u8, Problem> {
    let target = hub(global, environment)?;
    runtime::for_a_person(async {
        let cluster =
            Cluster::connect(target, Invocation::new("token")?, |why| out.waiting(&why)).await?;
        match args.command {
            TokenCommand::Create(args) => create(&cluster, &args, out).await,
            TokenCommand::List { json } => list(&cluster, json, out).await,
            TokenCommand::Revoke(args) => {
                let (id, members) = cluster.revoke_token(&args.id, args.members).await?;
                out.note(&format!("token {id} is revoked"));
                removed(&members, out);
                Ok(exit::OK)
            }
        }
    })?
}

/// Removes a member, or lists all.
pub(crate) fn workers(
    command: &WorkersCommand,
    global: &GlobalArgs,
    environment: &Environment,
    out: &Out,
) -> Result<u8, Problem> {
    let target = hub(global, environment)?;
    runtime::for_a_person(async {
        let cluster =
            Cluster::connect(target, Invocation::new("workers")?, |why| out.waiting(&why)).await?;
        match command {
            WorkersCommand::Remove { name, all } => {
                removed(&cluster.remove_member(name, *all).await?, out);
                Ok(exit::OK)
            }
            WorkersCommand::Members { json } => members(&cluster, *json, out).await,
        }
    })?
}

/// The hub that is meant: the one that was named, else one of this user's on this machine, else the one that work goes to.
pub(crate) fn hub(global: &GlobalArgs, environment: &Environment) -> Result<Target, Problem> {
    let places = Places::find(environment)?;
    let settings = Settings::load(&places, environment, &flags(global))?;
    let target = settings.target(&places, this_program()?);
    let own = || {
        let mut all = places.hub_sockets().into_iter();
        all.find(|own| hands_link::is_served(own))
    };
    let is_named = global.cluster.is_some() || environment.get("HANDS_CLUSTER").is_some();
    if !is_named && let Some(own) = own() {
        return Ok(Target::Hub {
            address: Address::Unix(own),
            instance: String::new(),
            patience: PATIENCE,
            agent: places.agent_spec(this_program()?),
        });
    }
    if matches!(target, Target::Agent(_)) {
        return Err(Problem::new(ErrorClass::User, "no hub runs here, and no cluster is configured")
            .hint("ask this on the hub's machine as the hub's user, log in with the role admin, or name the hub with --cluster"));
    }
    Ok(target)
}

async fn create(cluster: &Cluster, args: &TokenCreateArgs, out: &Out) -> Result<u8, Problem> {
    let request = NewToken {
        roles: args.role.iter().map(|role| role.name().to_owned()).collect(),
        uses: args.uses.unwrap_or(0),
        ttl_s: args.ttl.map_or(0, |ttl| ttl.as_secs().max(1)),
        bearer: args.bearer,
    };
    let made = cluster.create_token(request).await?;
    let token = made.token;
    let line = if args.json {
        let mut object = token_json(&token);
        object["secret"] = json!(made.secret);
        object.to_string()
    } else {
        made.secret
    };
    if let Err(error) = out.data_line(&line) {
        return problem::unprinted(error);
    }
    if out.watched() {
        let for_whom = if token.bearer {
            "for a header".to_owned()
        } else {
            format!("for {}", nodes(token.uses))
        };
        out.note(&format!(
            "token {}, {} {for_whom}, good for {}",
            token.id,
            token.roles.join(","),
            left(&token)
        ));
        if !token.bearer && token.uses > 1 {
            out.hint("hand it to each node on standard input: `hands worker -`, `hands login -`");
        }
    }
    Ok(exit::OK)
}

async fn list(cluster: &Cluster, as_json: bool, out: &Out) -> Result<u8, Problem> {
    let tokens = cluster.tokens().await?;
    if as_json {
        let lines: String = tokens.iter().map(|token| format!("{}\n", token_json(token))).collect();
        return out.data(lines.as_bytes()).map_or_else(problem::unprinted, |()| Ok(exit::OK));
    }
    let mut table = Table::new(&["ID", "KIND", "USED", "STATE", "ROLES"], 4);
    for token in &tokens {
        table.row(vec![
            token.id.clone(),
            if token.bearer { "bearer" } else { "join" }.to_owned(),
            if token.bearer { String::new() } else { format!("{}/{}", token.used, token.uses) },
            state(token),
            token.roles.join(","),
        ]);
    }
    table.print(out).map_or_else(problem::unprinted, |()| Ok(exit::OK))
}

async fn members(cluster: &Cluster, as_json: bool, out: &Out) -> Result<u8, Problem> {
    let members = cluster.members().await?;
    if as_json {
        let lines: String =
            members.iter().map(|member| format!("{}\n", member_json(member))).collect();
        return out.data(lines.as_bytes()).map_or_else(problem::unprinted, |()| Ok(exit::OK));
    }
    let mut table = Table::new(&["NAME", "ID", "TOKEN", "STATE", "ROLES"], 4);
    for member in &members {
        table.row(vec![
            member.name.clone(),
            member.id.clone(),
            member.token_id.clone(),
            if member.removed { "removed" } else { "member" }.to_owned(),
            member.roles.join(","),
        ]);
    }
    table.print(out).map_or_else(problem::unprinted, |()| Ok(exit::OK))
}

fn removed(removed: &Removed, out: &Out) {
    for member in &removed.members {
        out.note(&format!("removed {} ({})", hands_front::printable(&member.name), member.id));
    }
    if removed.more > 0 {
        out.note(&format!("and {} more", removed.more));
    }
}

fn state(token: &Token) -> String {
    let seconds = seconds_left(token);
    if token.revoked {
        "revoked".to_owned()
    } else if seconds == 0 {
        "expired".to_owned()
    } else if !token.bearer && token.used >= token.uses {
        "used up".to_owned()
    } else {
        format!("{} left", left(token))
    }
}

fn seconds_left(token: &Token) -> u64 {
    let now = seconds(Some(SystemTime::now())).unwrap_or(0);
    seconds(token.expires).unwrap_or(0).saturating_sub(now)
}

/// Since 1970.
fn seconds(time: Option<SystemTime>) -> Option<u64> {
    time?.duration_since(SystemTime::UNIX_EPOCH).ok().map(|since| since.as_secs())
}

/// In the largest unit that leaves more than one.
fn left(token: &Token) -> String {
    match seconds_left(token).saturating_add(1) {
        s if s >= 2 * 86_400 => format!("{} d", s / 86_400),
        s if s >= 2 * 3_600 => format!("{} h", s / 3_600),
        s if s >= 2 * 60 => format!("{} min", s / 60),
        s => format!("{s} s"),
    }
}

fn nodes(uses: u32) -> String {
    if uses == 1 { "one node".to_owned() } else { format!("{uses} nodes") }
}

fn token_json(token: &Token) -> Value {
    json!({
        "id": token.id,
        "kind": if token.bearer { "bearer" } else { "join" },
        "roles": token.roles,
        "uses": token.uses,
        "used": token.used,
        "created": seconds(token.created),
        "expires": seconds(token.expires),
        "revoked": token.revoked,
    })
}

fn member_json(member: &Member) -> Value {
    json!({
        "id": member.id,
        "name": member.name,
        "roles": member.roles,
        "token": member.token_id,
        "joined": seconds(member.joined),
        "renewed": seconds(member.renewed),
        "removed": member.removed,
    })
}
