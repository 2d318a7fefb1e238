//! Flags that are made where their command was named.

use clap::builder::Resettable;
use clap::{ArgMatches, Args, Command, Error, FromArgMatches, Id};

use super::exit_codes;

/// The arguments `T` of a command. Its flags, groups and subcommands are built when the command itself is: of one
/// `hands run` that is a third of what the whole tree takes. What the list of commands shows, which is its name and what
/// the enum's comment says about it, is there before.
#[derive(Debug)]
pub(crate) struct Late<T>(pub(crate) T);

impl<T: Args> Args for Late<T> {
    fn group_id() -> Option<Id> {
        T::group_id()
    }

    fn augment_args(command: Command) -> Command {
        command.defer(build::<T>)
    }

    fn augment_args_for_update(command: Command) -> Command {
        T::augment_args_for_update(command)
    }
}

/// The command with what `T` says of it, below what was said of it before.
fn build<T: Args>(command: Command) -> Command {
    let about = Resettable::from(command.get_about().cloned());
    let long_about = Resettable::from(command.get_long_about().cloned());
    // The flags that every command has are there already; in help they come last, as their order says.
    let general: Vec<Id> = command.get_arguments().map(|flag| flag.get_id().clone()).collect();
    let whole = T::augment_args(command).about(about).long_about(long_about);
    let whole = general.iter().fold(whole, |whole, id| whole.mut_arg(id, |flag| flag));
    exit_codes::told(whole)
}

impl<T: FromArgMatches> FromArgMatches for Late<T> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        T::from_arg_matches(matches).map(Self)
    }

    fn from_arg_matches_mut(matches: &mut ArgMatches) -> Result<Self, Error> {
        T::from_arg_matches_mut(matches).map(Self)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        self.0.update_from_arg_matches(matches)
    }

    fn update_from_arg_matches_mut(&mut self, matches: &mut ArgMatches) -> Result<(), Error> {
        self.0.update_from_arg_matches_mut(matches)
    }
}
