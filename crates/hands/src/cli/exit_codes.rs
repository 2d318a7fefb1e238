//! What each command's exit code means: the last paragraph of its help. The numbers are `hands_types::error::exit`.

use clap::Command;

/// A code and its meaning.
type Code = (&'static str, &'static str);

/// Of `hands` itself, and of each command that is not named below.
const GENERAL: &[Code] = &[
    ("0", "it is done, or answered"),
    USAGE,
    CLUSTER,
    BUG,
    READER,
    ("", "run, batch, shell, wait and attach have their own: see there"),
];
const USAGE: Code = ("2", "wrong arguments or settings, or there is no such action or name");
const CLUSTER: Code = ("3", "the cluster or this machine could not do it");
const BUG: Code = ("70", "a bug of hands");
const CTRL_C: Code = ("130", "Ctrl-C");
const KILLED: Code = ("143", "SIGTERM; 129: its terminal has gone");
const READER: Code = ("141", "the reader of what it prints has gone");

/// The commands with a meaning of their own. Each line stands before those that all have.
const OWN: &[(&[&str], &[Code])] = &[
    (
        &["run"],
        &[
            ("N", "the command's own"),
            ("128+N", "signal N ended it, or hands: 130 Ctrl-C, 143 SIGTERM, 129 SIGHUP"),
            ("127", "it does not exist"),
            ("126", "it can't be executed"),
            ("125", "hands could not run it"),
            ("1", "it succeeded, but a declared output is missing, a glob that matches"),
            ("", "nothing included, or could not be brought whole"),
            ("141", "what it wrote could not be shown because the reader had gone, as"),
            ("", "in `hands run -- CMD | head`"),
            BUG,
        ],
    ),
    (
        &["batch"],
        &[
            ("0", "all commands succeeded"),
            ("1", "any failed"),
            ("125", "any was not run"),
            ("130", "Ctrl-C, which ends them all"),
            KILLED,
            BUG,
            ("141", "the reader of what they print left before the end"),
        ],
    ),
    (
        &["shell"],
        &[
            ("N", "the last line's, as of `hands run`, or that of `exit N`"),
            NOT_BEGUN,
            CTRL_C,
            KILLED,
            BUG,
            READER,
        ],
    ),
    (
        &["wait"],
        &[
            ("0", "all actions succeeded"),
            ("N", "the first that is not 0, as of `hands run`"),
            ("125", "an action was not run, or could not be waited for"),
            ("130", "Ctrl-C; the actions go on"),
            KILLED,
            BUG,
            READER,
        ],
    ),
    (
        &["attach"],
        &[
            ("N", "the command's own, as of `hands run`"),
            ("125", "it was not run, or could not be followed"),
            CTRL_C,
            KILLED,
            BUG,
            READER,
        ],
    ),
    (
        &["cc"],
        &[
            ("N", "the compiler's own, or the build's"),
            ("127", "there is no such compiler"),
            ("126", "it can't be executed"),
            USAGE,
            CLUSTER,
            BUG,
        ],
    ),
    (&["logs"], &[("0", "printed, however the action ended"), USAGE, CLUSTER, BUG, READER]),
    (
        &["fetch"],
        &[
            ("0", "its outputs are here, if it has any"),
            ("1", "a declared output is missing, or could not be brought whole"),
            ("2", "no such action, it is not done, or there is no place for an output"),
            CLUSTER,
            CTRL_C,
            KILLED,
            BUG,
            READER,
        ],
    ),
    (&["ps"], &[("0", "listed, also where there is nothing to list"), USAGE, CLUSTER, BUG, READER]),
    (&["cancel"], &[("0", "ended now, or before"), USAGE, CLUSTER, BUG, READER]),
    (
        &["hub"],
        &[
            ("0", "it stopped because of SIGTERM, or SIGINT: Ctrl-C"),
            USAGE,
            ("3", "it could not start, or not go on: its address, its state, this machine"),
            BUG,
        ],
    ),
    (
        &["worker"],
        &[
            ("0", "it left: SIGTERM, Ctrl-C, or its hub has drained it"),
            USAGE,
            ("3", "it could not start, was refused by its hub, or its state has gone"),
            BUG,
        ],
    ),
    (
        &["agent"],
        &[
            ("0", "done, or answered"),
            USAGE,
            CLUSTER,
            ("4", "`status`: no agent is running"),
            BUG,
            READER,
        ],
    ),
    (&["agent", "status"], &[("0", "it runs"), USAGE, CLUSTER, ("4", "it does not"), BUG, READER]),
    (&["agent", "stop"], &[("0", "it has gone, or there was none"), USAGE, ("3", "it stays"), BUG]),
    (&["logout"], &[("0", "forgotten"), USAGE, CLUSTER, ("4", "not logged in anywhere"), BUG]),
    (
        &["store", "verify"],
        &[("0", "every blob is whole"), ("1", "corrupt blobs were found"), USAGE, CLUSTER, BUG],
    ),
    (
        &["doctor"],
        &[("0", "this machine can run actions"), USAGE, ("3", "something is missing"), BUG],
    ),
];
const NOT_BEGUN: Code = ("125", "hands could not run it");

/// The whole command line with the codes that hold where a command has none of its own.
pub(super) fn general(command: Command) -> Command {
    with(command, GENERAL)
}

/// The command with its own codes told, and those of the commands below it.
pub(super) fn told(command: Command) -> Command {
    OWN.iter().fold(command, |command, (path, codes)| match path {
        [name, below @ ..] if *name == command.get_name() => at(command, below, codes),
        _ => command,
    })
}

fn at(command: Command, path: &[&'static str], codes: &[Code]) -> Command {
    match path {
        [] => with(command, codes),
        [name, rest @ ..] => command.mut_subcommand(*name, |below| at(below, rest, codes)),
    }
}

fn with(command: Command, codes: &[Code]) -> Command {
    let before = command.get_after_help().map_or_else(String::new, |help| format!("{help}\n\n"));
    let lines: Vec<String> =
        codes.iter().map(|(code, meaning)| format!("  {code:<6} {meaning}")).collect();
    command.after_help(format!("{before}Exit code:\n{}", lines.join("\n")))
}
