//! Front-ends: what is configured and where we are, handed to `hands-run`.

use std::path::PathBuf;
use std::time::SystemTime;

use hands_config::{Environment, Flags, Places, RunDefaults, Settings};
use hands_front::args::value::{Cpus, EnvItem, MemorySize};
use hands_front::args::{ActionArgs, GlobalArgs};
use hands_front::{Caller, FrontEnd, Out};
use hands_types::ErrorClass;

use crate::cli::{Command, Late, WorkerArgs, WorkerCommand};
use crate::problem::Problem;
use crate::runtime;
#[cfg(feature = "tui")]
use crate::top;

/// Runs a front-end and returns its exit code. A problem comes back with what it takes to print it.
pub(crate) fn run(
    command: Command,
    global: &GlobalArgs,
    environment: Environment,
    out: Out,
) -> Result<u8, (Problem, Out)> {
    let began = SystemTime::now();
    let prepared = match prepare(command, global, &environment, &out) {
        Ok(prepared) => prepared,
        Err(problem) => return Err((problem, out)),
    };
    let (command, target, caller, elsewhere) = prepared;
    let front = FrontEnd { target, caller, out, began, elsewhere };
    let ended = runtime::for_a_person(async {
        match command {
            Command::Run(Late(args)) => hands_run::run(*args, &front).await,
            Command::Batch(Late(args)) => hands_run::batch(*args, &front).await,
            Command::Shell(Late(args)) => hands_run::shell(*args, &front).await,
            Command::Ps(Late(args)) => hands_run::ps(args, &front).await,
            #[cfg(feature = "tui")]
            Command::Top(Late(args)) => top::run(args, &front).await,
            Command::Status(Late(args)) => hands_run::status(args, &front).await,
            Command::Logs(Late(args)) => hands_run::logs(args, &front).await,
            Command::Wait(Late(args)) => hands_run::wait(args, &front).await,
            Command::Attach(Late(args)) => hands_run::attach(args, &front).await,
            Command::Fetch(Late(args)) => hands_run::fetch(args, &front).await,
            Command::Cancel(Late(args)) => hands_run::cancel(args, &front).await,
            Command::Workers(Late(args)) => hands_run::workers(args.list, &front).await,
            Command::Why(Late(args)) => hands_run::why(args, &front).await,
            Command::Worker(Late(WorkerArgs {
                command: Some(WorkerCommand::Drain(args)), ..
            })) => hands_run::drain(args, &front).await,
            Command::Agent(_)
            | Command::Cc(_)
            | Command::Store(_)
            | Command::Hub(_)
            | Command::Worker(_)
            | Command::Login(_)
            | Command::Logout(_)
            | Command::Token(_)
            | Command::Bazelrc(_)
            | Command::Doctor(_)
            | Command::Trust(_) => unreachable!("dispatched before"),
        }
    });
    ended.map_err(|problem| (problem, front.out))
}

/// A command, where it goes, who called it, and where else its caller may have meant.
type Prepared = (Command, hands_client::Target, Caller, Option<String>);

fn prepare(
    mut command: Command,
    global: &GlobalArgs,
    environment: &Environment,
    out: &Out,
) -> Result<Prepared, Problem> {
    if environment.is_inside_action() {
        return Err(Problem::new(
            ErrorClass::Environment,
            "this runs inside an action already, where there is no cluster to reach",
        )
        .hint("run the command itself here, without `hands`"));
    }
    let places = Places::find(environment)?;
    let settings = Settings::load(&places, environment, &flags(global))?;
    for warning in &settings.warnings {
        out.warning(warning);
    }
    match &mut command {
        Command::Run(Late(args)) => fill(&mut args.action, &settings.run)?,
        Command::Batch(Late(args)) => {
            fill(&mut args.action, &settings.run)?;
            args.jobs = args.jobs.or(settings.jobs);
        }
        Command::Shell(Late(args)) => fill(&mut args.action, &settings.run)?,
        _ => {}
    }
    let target = settings.target(&places, this_program()?);
    let mut elsewhere = None;
    if let (hands_client::Target::Agent(_), false) = (&target, global.local)
        && is_about_a_cluster(&command)
        && let Some(own) = places.hub_sockets().into_iter().find(|own| hands_link::is_served(own))
    {
        elsewhere = Some(format!(
            "this is about this user's agent; a hub of theirs runs here, too: --cluster unix:{}",
            own.display()
        ));
    }
    let directory = environment.directory.clone().ok_or_else(|| {
        Problem::new(ErrorClass::Environment, "the current directory is gone")
            .hint("change to one that exists")
    })?;
    let caller = Caller {
        directory,
        defaults: toolchain_variables(&target, environment),
        environment: environment.variables.clone().into_iter().collect(),
        history: Some(places.shell_history()),
    };
    Ok((command, target, caller, elsewhere))
}

/// Whether a command tells of workers and queues: somebody who has started a hub here may mean that one's.
const fn is_about_a_cluster(command: &Command) -> bool {
    matches!(command, Command::Ps(_) | Command::Workers(_) | Command::Worker(_))
}

/// Where commands run on this machine they find the toolchains of their caller's own `PATH`.
#[cfg(target_os = "linux")]
fn toolchain_variables(
    target: &hands_client::Target,
    environment: &Environment,
) -> Vec<(String, String)> {
    let path = environment.get("PATH").and_then(|path| path.to_str());
    let home = environment.get("HOME").map(PathBuf::from);
    match (target, path, home) {
        (hands_client::Target::Agent(_), Some(path), Some(home)) => {
            hands_exec::toolchain_variables(path, &home)
        }
        _ => Vec::new(),
    }
}

/// Nothing runs here.
#[cfg(not(target_os = "linux"))]
fn toolchain_variables(_: &hands_client::Target, _: &Environment) -> Vec<(String, String)> {
    Vec::new()
}

/// What every command can be told on its command line.
pub(crate) fn flags(global: &GlobalArgs) -> Flags {
    Flags {
        cluster: global.cluster.clone(),
        engine: global.engine.clone(),
        local: global.local,
        jobs: None,
    }
}

/// This program's own file, to start an agent or a launcher from.
pub(crate) fn this_program() -> Result<PathBuf, Problem> {
    std::env::current_exe().map_err(|error| {
        Problem::new(
            ErrorClass::Environment,
            format!("can't tell which file this program is: {error}"),
        )
    })
}

/// Fills in what is configured and was not said on the command line.
fn fill(action: &mut ActionArgs, defaults: &RunDefaults) -> Result<(), Problem> {
    let wrong =
        |key: &str, why: String| Problem::new(ErrorClass::Config, format!("run.{key}: {why}"));
    if action.input.is_empty() {
        action.input.clone_from(&defaults.input);
    }
    let configured: Vec<EnvItem> = defaults
        .env
        .iter()
        .map(|text| text.parse().map_err(|why| wrong("env", why)))
        .collect::<Result<_, _>>()?;
    // Of a variable that is named twice the last one counts: the flags'.
    action.env.splice(0..0, configured);
    action.timeout = action.timeout.or(defaults.timeout);
    action.cpu = action.cpu.or(defaults.cpu.map(|cpus| Cpus { millis: cpus.saturating_mul(1000) }));
    action.memory = action.memory.or(defaults.memory.map(|bytes| MemorySize { bytes }));
    action.network = action.network.or(defaults.network);
    Ok(())
}
