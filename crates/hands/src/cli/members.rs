//! The flags of the commands by which nodes join and leave.

use std::time::Duration;

use clap::{Args, Subcommand};
use hands_front::args::value::duration;
use hands_run::args as front;
use hands_types::Role;
use hands_types::limits::MAX_TOKEN_LIFE;

#[derive(Args, Debug)]
#[command(args_conflicts_with_subcommands = true)]
#[group(skip)]
pub(crate) struct WorkersArgs {
    #[command(flatten)]
    pub(crate) list: front::WorkersArgs,
    #[command(subcommand)]
    pub(crate) command: Option<WorkersCommand>,
}

#[derive(Subcommand, Debug)]
pub(crate) enum WorkersCommand {
    /// End a membership: its connections are cut, and it can't come back without a new join string
    Remove {
        /// Name or id of a worker, or of any other member
        name: String,
        /// Remove every member of that name, where several have it
        #[arg(long)]
        all: bool,
    },
    /// List who has joined, workers and others
    Members {
        /// One JSON object a line
        #[arg(long)]
        json: bool,
    },
}

#[derive(Args, Debug)]
pub(crate) struct LoginArgs {
    /// The join string; - reads it from standard input, @FILE from a file
    #[arg(value_name = "JOIN")]
    pub(crate) join: String,
    /// Call the cluster so here [default: its own name]
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// Do not use it where no cluster is named
    #[arg(long)]
    pub(crate) no_default: bool,
}

#[derive(Args, Debug)]
pub(crate) struct LogoutArgs {
    /// The cluster [default: the one that is used where none is named]
    #[arg(value_name = "NAME")]
    pub(crate) name: Option<String>,
}

#[derive(Args, Debug)]
pub(crate) struct TokenArgs {
    #[command(subcommand)]
    pub(crate) command: TokenCommand,
}

#[derive(Subcommand, Debug)]
pub(crate) enum TokenCommand {
    /// Make a token, and print the join string that holds it
    Create(TokenCreateArgs),
    /// List tokens
    List {
        /// One JSON object a line
        #[arg(long)]
        json: bool,
    },
    /// End a token
    Revoke(TokenRevokeArgs),
}

#[derive(Args, Debug)]
pub(crate) struct TokenCreateArgs {
    /// worker, submit, read, cache-write, publish or admin [repeatable]
    #[arg(long, value_name = "ROLE", required = true, value_delimiter = ',')]
    pub(crate) role: Vec<Role>,
    /// How many may join with it [default: 1]
    #[arg(long, value_name = "N", conflicts_with = "bearer", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) uses: Option<u32>,
    /// How long it is good, such as 30m or 90d [default: 1h; of a bearer token 30d]
    #[arg(long, value_name = "TIME", value_parser = token_life)]
    pub(crate) ttl: Option<Duration>,
    /// Print a token for the header `authorization: Bearer …` instead, for clients without certificate
    #[arg(long)]
    pub(crate) bearer: bool,
    /// One JSON object with the token's id
    #[arg(long)]
    pub(crate) json: bool,
}

/// A token's life: as long as a hub lets it live.
fn token_life(text: &str) -> Result<Duration, String> {
    let life = duration(text)?;
    if life > MAX_TOKEN_LIFE {
        return Err("is longer than the ten years (3650d) that a token may live".to_owned());
    }
    Ok(life)
}

#[derive(Args, Debug)]
pub(crate) struct TokenRevokeArgs {
    /// Its id, or the beginning of it
    #[arg(value_name = "ID")]
    pub(crate) id: String,
    /// Also remove everybody who joined with it
    #[arg(long)]
    pub(crate) members: bool,
}

#[derive(Args, Debug)]
pub(crate) struct BazelrcArgs {
    /// Name of the configuration, for `bazel build --config=NAME`
    #[arg(long, value_name = "NAME", default_value = "hands")]
    pub(crate) config: String,
    /// For the cache alone: actions run on this machine
    #[arg(long)]
    pub(crate) cache_only: bool,
    /// Log in by a token of `hands token create --bearer` and not by the certificate: - reads it from standard input, @FILE
    /// from a file
    #[arg(long, value_name = "TOKEN")]
    pub(crate) bearer: Option<String>,
}
