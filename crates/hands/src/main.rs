//! `hands`: argument parsing and exit codes.
//!
//! Dispatches to one file per subcommand. Nothing else of the workspace decides the process's exit code or installs a
//! panic hook.
#![forbid(unsafe_code)]

mod agent;
mod bazelrc;
mod bug;
mod cc;
mod cli;
mod doctor;
mod front;
mod http;
mod hub;
mod join;
mod least;
mod logging;
mod login;
mod machine;
mod problem;
mod runtime;
mod store;
mod token;
#[cfg(feature = "tui")]
mod top;
mod trust;
#[cfg(target_os = "linux")]
mod worker;

use std::process::ExitCode;

use clap::ValueEnum as _;
use hands_config::Environment;
use hands_front::args::{ColorWhen, GlobalArgs};
use hands_front::{Out, StdoutError};
use hands_types::error::exit;

use cli::{AgentCommand, Cli, Command, Late, WorkersArgs};
use problem::Problem;

fn main() -> ExitCode {
    // The sandbox's launcher is this program once more. It must stay a process of one thread, so nothing may come
    // before it.
    #[cfg(target_os = "linux")]
    if std::env::args_os().nth(1).is_some_and(|word| word == hands_sandbox::LAUNCHER_WORD) {
        hands_sandbox::launcher_main()
    }
    #[cfg(all(target_os = "linux", target_feature = "crt-static"))]
    hands_sandbox::look_names_up_without_modules();
    bug::install_hook();
    let passes_through = || passes_through(std::env::args_os().skip(1));
    match runtime::with_room(|| std::panic::catch_unwind(dispatch)) {
        Ok(Ok(code)) => ExitCode::from(code),
        Ok(Err(_)) => bug::exit_code(passes_through()),
        Err(problem) => {
            problem.print(&Out::new(&GlobalArgs::default(), true));
            ExitCode::from(problem.exit_code(passes_through()))
        }
    }
}

// Not a part of `main`'s own frame, which may have to do with little.
#[inline(never)]
fn dispatch() -> u8 {
    let environment = Environment::of_process();
    if let Some(words) = cc::called(std::env::args_os()) {
        return cc::compile(&words, &environment);
    }
    let cli = match Cli::read() {
        Ok(cli) => cli,
        Err(error) => {
            let global = GlobalArgs { color: asked_color(), ..GlobalArgs::default() };
            let no_color = environment.get("NO_COLOR").is_some();
            return usage(&error, &Out::new(&global, no_color));
        }
    };
    let no_color = environment.get("NO_COLOR").is_some();
    let out = Out::new(&cli.global, no_color);
    let passes_through = cli.command.passes_exit_code_through();
    let ended = match cli.command {
        Command::Hub(Late(args)) => hub::run(args, &environment),
        #[cfg(target_os = "linux")]
        Command::Worker(Late(args)) if args.command.is_none() => worker::run(args, &environment),
        #[cfg(not(target_os = "linux"))]
        Command::Worker(Late(args)) if args.command.is_none() => Err(machine::no_worker()),
        Command::Agent(Late(args)) => match args.command {
            AgentCommand::Run => agent::run(&environment),
            AgentCommand::Status { json } => agent::status(json, &environment, &out),
            AgentCommand::Stop { force } => agent::stop(force, &environment, &out),
        },
        Command::Login(Late(args)) => login::login(&args, &environment, &out),
        Command::Logout(Late(args)) => login::logout(&args, &environment, &out),
        Command::Token(Late(args)) => token::run(args, &cli.global, &environment, &out),
        Command::Bazelrc(Late(args)) => bazelrc::run(&args, &cli.global, &environment, &out),
        Command::Workers(Late(WorkersArgs { command: Some(command), .. })) => {
            token::workers(&command, &cli.global, &environment, &out)
        }
        Command::Store(Late(args)) => store::run(&args, &cli.global, &environment, &out),
        Command::Doctor(Late(args)) => doctor::run(&args, &environment, &out),
        Command::Trust(Late(args)) => trust::run(&args, &environment, &out),
        Command::Cc(Late(args)) => cc::run(args, &cli.global, environment, &out),
        command => match front::run(command, &cli.global, environment, out) {
            Ok(code) => return code,
            Err((problem, out)) => {
                problem.print(&out);
                return problem.exit_code(passes_through);
            }
        },
    };
    ended.unwrap_or_else(|problem: Problem| {
        // A program that stays has no flags for how to print; its errors are an operator's.
        let out = Out::new(&cli.global, no_color);
        problem.print(&out);
        problem.exit_code(passes_through)
    })
}

/// Prints help where it was asked for, or what is wrong with the arguments.
fn usage(error: &clap::Error, out: &Out) -> u8 {
    let to_stderr = error.use_stderr();
    let text = error.render();
    let text = if out.colors(to_stderr) { text.ansi().to_string() } else { text.to_string() };
    let printed = hands_front::print_raw(to_stderr, &text);
    if !to_stderr {
        return match printed {
            Ok(()) => exit::OK,
            Err(StdoutError::Closed) => exit::SIGPIPE,
            Err(StdoutError::Write(_)) => exit::CLUSTER,
        };
    }
    if passes_through(std::env::args_os().skip(1)) { exit::NOT_RUN } else { exit::USAGE }
}

/// The `--color` of arguments that can't be read as a whole. What stands after `--` is a command's own.
fn asked_color() -> ColorWhen {
    let arguments: Vec<_> = std::env::args_os().skip(1).take_while(|word| word != "--").collect();
    let value = arguments.iter().enumerate().rev().find_map(|(at, word)| {
        let word = word.to_str()?;
        match word.strip_prefix("--color")? {
            "" => arguments.get(at + 1)?.to_str(),
            rest => rest.strip_prefix('='),
        }
    });
    value.and_then(|value| ColorWhen::from_str(value, true).ok()).unwrap_or_default()
}

/// Whether these unreadable arguments are those of a command whose exit codes are its action's own: then 2 would be
/// taken for the action's.
fn passes_through(arguments: impl Iterator<Item = std::ffi::OsString>) -> bool {
    let mut skip = false;
    for argument in arguments {
        let Some(argument) = argument.to_str() else { return false };
        if std::mem::take(&mut skip) {
            continue;
        }
        match argument {
            "--cluster" | "--engine" | "--color" => skip = true,
            "run" | "batch" | "shell" | "wait" | "attach" => return true,
            _ if argument.starts_with('-') => {}
            _ => return false,
        }
    }
    false
}
