//! `hands trust`: what a project's file asks for, and the user's consent to it.

use std::path::Path;

use hands_config::{Environment, Places, Project};
use hands_front::{Out, printable, shell_quoted};
use hands_types::ErrorClass;
use hands_types::error::exit;
use serde_json::json;

use crate::cli::TrustArgs;
use crate::problem::{self, Problem};

/// Shows what the project's file asks for and allows it, or takes that back. Typing it is the consent.
pub(crate) fn run(args: &TrustArgs, environment: &Environment, out: &Out) -> Result<u8, Problem> {
    let places = Places::find(environment)?;
    let here = environment.directory.as_deref().ok_or_else(|| {
        Problem::new(ErrorClass::Environment, "the current directory is gone")
            .hint("name the project's directory")
    });
    let directory = match &args.directory {
        Some(directory) if directory.is_absolute() => directory.clone(),
        Some(directory) => here?.join(directory),
        None => here?.to_owned(),
    };
    let mut project = Project::find(&places, &directory)?.ok_or_else(|| {
        Problem::new(
            ErrorClass::User,
            format!("there is no hands.toml in {} or above it", directory.display()),
        )
    })?;
    let sentence = if args.revoke {
        if project.revoke(&places)? {
            format!("{} is no longer trusted", project.file.display())
        } else {
            format!("{} was not trusted", project.file.display())
        }
    } else if project.asks.is_empty() {
        "it asks for nothing that takes your consent".to_owned()
    } else {
        project.trust(&places)?;
        consent(&project)
    };
    let text = match (args.json, args.revoke) {
        (true, _) => in_json(&project),
        (false, false) => in_words(&project),
        (false, true) => String::new(),
    };
    if let Err(error) = out.data(text.as_bytes()) {
        return problem::unprinted(error);
    }
    out.note(&sentence);
    Ok(exit::OK)
}

/// What the consent means from now on.
fn consent(project: &Project) -> String {
    let directory = project.file.parent().unwrap_or(Path::new("/")).display().to_string();
    let mut text = format!(
        "trusted until the file changes; `hands trust --revoke {}` takes it back",
        shell_quoted(&directory)
    );
    if project.asks.iter().any(|ask| ask.key == "worker.expose") {
        text += "\nan agent that runs already shows those paths once it starts anew: `hands agent stop`";
    }
    text
}

fn in_words(project: &Project) -> String {
    let head = format!("{}\n", printable(&project.file.display().to_string()));
    let asks = project.asks.iter().map(|ask| {
        let line = ask.origin.rsplit(':').next().unwrap_or_default();
        format!("  line {line}: {} = {}\n    {}\n", ask.key, ask.value, ask.why)
    });
    std::iter::once(head).chain(asks).collect()
}

fn in_json(project: &Project) -> String {
    let asks: Vec<_> = project
        .asks
        .iter()
        .map(|ask| json!({ "at": ask.origin, "key": ask.key, "value": ask.value, "why": ask.why }))
        .collect();
    let object = json!({
        "file": project.file,
        "digest": project.digest.to_string(),
        "asks": asks,
        "trusted": project.trusted,
    });
    format!("{object}\n")
}
