//! `hands login` and `hands logout`: which clusters this user's work may go to.

use std::time::Duration;

use hands_config::{Environment, Flags, Places, Settings};
use hands_front::Out;
use hands_types::error::exit;
use hands_types::{ErrorClass, Role, Roles};

use crate::cli::{LoginArgs, LogoutArgs};
use crate::front::this_program;
use crate::join::{self, Wanted};
use crate::problem::Problem;
use crate::{machine, runtime};

/// How long a hub that can't be reached is waited for.
const PATIENCE: Duration = Duration::from_secs(30);

/// Becomes a member and remembers it; new work goes there from now on.
pub(crate) fn login(args: &LoginArgs, environment: &Environment, out: &Out) -> Result<u8, Problem> {
    let Some(join) = join::read(&args.join)? else {
        return Err(Problem::new(ErrorClass::User, "that is no join string").hint(
            "one begins with `hands1:`; `hands token create` on the hub's machine makes it",
        ));
    };
    let places = Places::find(environment)?;
    let settings = Settings::load(&places, environment, &Flags::default())?;
    let logins = places.logins();
    let user = ["USER", "LOGNAME"].into_iter().find_map(|name| environment.get(name)?.to_str());
    let user = user.map_or_else(|| format!("uid{}", environment.uid), str::to_owned);
    let node = format!("{user}@{}", machine::name());
    let wanted = Wanted {
        node: &node,
        roles: match settings.works_for_others {
            true => Roles::all(),
            false => Roles::all().without(Role::Worker),
        },
        cluster: args.name.as_deref(),
        patience: Some(PATIENCE),
    };
    let waiting = |why: &str| out.note(&format!("waiting for the hub: {why}"));
    let (name, _) = runtime::for_a_person(join::join(&join, &wanted, &logins, waiting))??;
    if !args.no_default {
        logins.set_default(&name)?;
    }
    let identity = hands_link::Identity::load(&logins.place(&name))?;
    let use_it = if args.no_default {
        format!("`--cluster {name}` uses it")
    } else {
        "new work goes there; `--local` or `hands logout` for this machine".to_owned()
    };
    out.note(&format!("logged in to {name} as {} ({}); {use_it}", identity.name, identity.roles));
    if settings.works_for_others && !args.no_default {
        work_for(&name, &places, out)?;
    }
    Ok(exit::OK)
}

/// `worker = true`: the agent does that work, and looks at the logins whenever it is greeted.
fn work_for(name: &str, places: &Places, out: &Out) -> Result<(), Problem> {
    let spec = places.agent_spec(this_program()?);
    let status = runtime::for_a_person(hands_client::greet_agent(&spec))??;
    let note = match &*status.works_for {
        "" => format!("this machine works for nobody else; {}", status.works_for_note),
        _ => format!(
            "this machine works for {name} as long as the agent runs; `hands agent stop` ends that"
        ),
    };
    out.note(&note);
    Ok(())
}

/// Forgets a cluster and the key for it.
pub(crate) fn logout(
    args: &LogoutArgs,
    environment: &Environment,
    out: &Out,
) -> Result<u8, Problem> {
    let logins = Places::find(environment)?.logins();
    let Some(name) = args.name.clone().or_else(|| logins.default_name()) else {
        out.note("not logged in anywhere");
        return Ok(exit::NOTHING);
    };
    if logins.remove(&name)? {
        out.note(&format!(
            "logged out of {name}; its hub keeps the member until `hands workers remove`"
        ));
        return Ok(exit::OK);
    }
    let known = logins.names().join(", ");
    let problem = Problem::new(ErrorClass::User, format!("not logged in to {name}"));
    Err(if known.is_empty() { problem } else { problem.hint(format!("logged in to: {known}")) })
}
