//! Join strings as people hand them over, and becoming a member by one.

use std::io::Read as _;
use std::path::Path;
use std::time::{Duration, Instant};

use hands_config::Logins;
use hands_link::{Address, Identity, IdentityError, JoinString};
use hands_types::{ErrorClass, Roles};

use crate::problem::Problem;

const FIRST_WAIT: Duration = Duration::from_millis(100);
const LAST_WAIT: Duration = Duration::from_secs(5);
/// How often an absent hub is mentioned.
const MENTION: Duration = Duration::from_secs(60);
/// More than the longest join string.
const MAX_FILE: u64 = 64 << 10;

/// Reads a join string from where the argument says. None if the argument is something else.
pub(crate) fn read(argument: &str) -> Result<Option<JoinString>, Problem> {
    let wrong = |why: String| Problem::new(ErrorClass::User, why);
    let (text, is_private) = if argument == "-" {
        let mut text = String::new();
        let read = hands_front::stdio::Stdin.take(MAX_FILE).read_to_string(&mut text);
        read.map_err(|error| wrong(format!("no join string on standard input: {error}")))?;
        (text, true)
    } else if let Some(file) = argument.strip_prefix('@') {
        let text = std::fs::read_to_string(file)
            .map_err(|error| wrong(format!("no join string in {file}: {error}")))?;
        (text, true)
    } else if JoinString::looks_like(argument) {
        (argument.to_owned(), false)
    } else {
        return Ok(None);
    };
    let join: JoinString =
        text.trim().parse().map_err(|error| wrong(format!("the join string is {error}")))?;
    if !is_private && !join.is_one_use {
        return Err(wrong(
            "this join string is good for more than one node, and every user of this machine can read a command line"
                .to_owned(),
        )
        .hint("give it as `-` on standard input or as @FILE, or make one for a single use"));
    }
    Ok(Some(join))
}

/// Reads a token from where the argument says: never from the argument itself, which every user of this machine can read.
pub(crate) fn read_token(argument: &str) -> Result<String, Problem> {
    let wrong = |why: String| Problem::new(ErrorClass::User, why);
    let text = if argument == "-" {
        let mut text = String::new();
        let read = hands_front::stdio::Stdin.take(MAX_FILE).read_to_string(&mut text);
        read.map_err(|error| wrong(format!("no token on standard input: {error}")))?;
        text
    } else if let Some(file) = argument.strip_prefix('@') {
        std::fs::read_to_string(file)
            .map_err(|error| wrong(format!("no token in {file}: {error}")))?
    } else {
        return Err(wrong("a token does not belong on a command line".to_owned())
            .hint("give it as `-` on standard input or as @FILE"));
    };
    let token = text.trim();
    // It goes between quotes, and into a header.
    if token.is_empty()
        || !token.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.~+/=".contains(&b))
    {
        return Err(wrong("this is no token".to_owned())
            .hint("`hands token create --bearer` makes one, at the hub"));
    }
    Ok(token.to_owned())
}

/// What somebody wants to be.
pub(crate) struct Wanted<'a> {
    /// The node's name, for people.
    pub(crate) node: &'a str,
    pub(crate) roles: Roles,
    /// What the cluster is to be called here.
    pub(crate) cluster: Option<&'a str>,
    /// How long a hub that is away is waited for.
    pub(crate) patience: Option<Duration>,
}

/// Becomes a member, or finds that this join string was used here before. Gives the cluster's name here and its
/// address. `say` is told why it takes longer, once and then once a minute.
pub(crate) async fn join(
    join: &JoinString,
    wanted: &Wanted<'_>,
    logins: &Logins,
    mut say: impl FnMut(&str),
) -> Result<(String, Address), Problem> {
    let token = join.token.to_string();
    for name in logins.names() {
        let known = Identity::load(&logins.place(&name))?;
        let is_same = known.token == token && known.pin == join.pin;
        if is_same && wanted.cluster.is_none_or(|cluster| cluster == name) {
            return Ok((name, Address::Member(known.dir)));
        }
    }
    let draft = logins.draft(&token);
    let began = Instant::now();
    let (mut wait, mut mentioned) = (FIRST_WAIT, None::<Instant>);
    let identity = loop {
        match hands_link::enrol(join, wanted.node, wanted.roles, &draft).await {
            Ok(identity) => break identity,
            Err(error) if error.class().retry() => {
                if wanted.patience.is_some_and(|patience| began.elapsed() >= patience) {
                    remove(&draft);
                    return Err(explain(&error, join));
                }
                if mentioned.is_none_or(|at| at.elapsed() >= MENTION) {
                    mentioned = Some(Instant::now());
                    say(&hands_front::chain(&error));
                }
                tokio::time::sleep(wait).await;
                wait = (wait * 2).min(LAST_WAIT);
            }
            Err(error) => {
                remove(&draft);
                return Err(explain(&error, join));
            }
        }
    };
    let name = wanted.cluster.unwrap_or(&identity.cluster);
    let place = place(name, &identity, logins).and_then(|()| Ok(logins.adopt(&draft, name)?));
    if place.is_err() {
        remove(&draft);
    }
    Ok((name.to_owned(), Address::Member(place?)))
}

/// Whether an identity may take a name here.
fn place(name: &str, identity: &Identity, logins: &Logins) -> Result<(), Problem> {
    if !Logins::is_name(name) {
        return Err(Problem::new(
            ErrorClass::User,
            format!("the cluster can't be called {:?} here", hands_front::printable(name)),
        )
        .hint("give it another name with --name: letters, digits, dots, dashes"));
    }
    if logins.find(name).is_some() && Identity::load(&logins.place(name))?.pin != identity.pin {
        return Err(Problem::new(
            ErrorClass::User,
            format!("another cluster is called {name} here already"),
        )
        .hint(format!(
            "give this one another name with --name, or forget the other: `hands logout {name}`"
        )));
    }
    Ok(())
}

fn explain(error: &IdentityError, join: &JoinString) -> Problem {
    let problem = Problem::of(error, error.class());
    match error {
        IdentityError::Refused { .. } => {
            problem.hint("`hands token create` on the hub's machine makes a new join string")
        }
        IdentityError::Link(error) if error.is_wrong_hub() => problem.hint(
            "nothing was sent to it: the join string is of another hub, or somebody stands between",
        ),
        _ => {
            let all: Vec<String> = join.routes.iter().map(ToString::to_string).collect();
            problem.hint(format!(
                "the join string names {}; `hands hub --public-name HOST` adds a way to reach it",
                all.join(", ")
            ))
        }
    }
}

/// A draft holds nothing but a key that nobody knows.
fn remove(draft: &Path) {
    if let Err(error) = std::fs::remove_dir_all(draft) {
        tracing::debug!(%error, path = %draft.display(), "a draft stays behind");
    }
}
