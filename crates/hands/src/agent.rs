//! `hands agent`: the background process of this user, and the questions to it.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use hands_agent::{AgentConfig, AgentWorker, FindLogin, Login, Readiness};
use hands_client::{AgentSpec, AgentStatus};
use hands_config::{Environment, Flags, Logins, Places, Settings};
use hands_front::{Facts, Out};
use hands_types::ErrorClass;
use hands_types::error::exit;
#[cfg(target_os = "linux")]
use hands_worker::IsolationChoice;
use serde_json::json;

use crate::cli::{LogArgs, LogForm, LogLevel};
use crate::front::this_program;
use crate::problem::{self, Problem};
use crate::{cc, least, logging, machine, runtime};

/// Becomes the agent. Whoever started it reads on its stdout whether it serves; everything else goes to its log.
pub(crate) fn run(environment: &Environment) -> Result<u8, Problem> {
    let mut inherited = hands_agent::detach();
    inherited.extend(settings_of_starter(environment));
    let level = match environment.get("HANDS_LOG").and_then(|v| v.to_str()) {
        Some("error") => LogLevel::Error,
        Some("warn") => LogLevel::Warn,
        Some("debug") => LogLevel::Debug,
        Some("trace") => LogLevel::Trace,
        _ => LogLevel::Info,
    };
    logging::start(&LogArgs { form: LogForm::Text, level });
    let config = match configure(environment, inherited) {
        Ok(config) => config,
        Err(problem) => {
            let line = problem.line().replace('\n', " ");
            let word = hands_client::REFUSED;
            // A front-end that has gone does not need to know.
            drop(writeln!(std::io::stdout(), "{word} {} {line}", problem.class().name()));
            return Err(problem);
        }
    };
    hands_agent::run(config, Readiness::stdout())
        .map_err(|error| Problem::of(&error, error.class()))?;
    Ok(exit::OK)
}

/// Settings that the command which started the agent had in its environment: they hold for all that follow.
fn settings_of_starter(environment: &Environment) -> Option<String> {
    let names = environment.variables.keys().filter_map(|name| name.to_str());
    let names = names.filter(|name| name.starts_with("HANDS_") && *name != "HANDS_HOME");
    let names: Vec<&str> = names.collect();
    (!names.is_empty())
        .then(|| format!("settings of the command that started it: {}", names.join(", ")))
}

fn configure(
    environment: &Environment,
    mut inherited: Vec<String>,
) -> Result<AgentConfig, Problem> {
    least::check("agent")?;
    let places = Places::find(environment)?;
    let settings = Settings::load(&places, environment, &Flags::default())?;
    for warning in &settings.warnings {
        tracing::warn!("{warning}");
    }
    let mut expose = settings.worker.expose.clone();
    expose.extend(hands_config::trusted_exposures(&places)?);
    let (slots, fewer) = machine::slots(settings.worker.slots);
    inherited.extend(fewer);
    let AgentSpec { sockets, start_lock, life_lock, log, .. } = places.agent_spec(this_program()?);
    Ok(AgentConfig {
        state_dir: places.agent_state(),
        cache_dir: places.cache.clone(),
        logins: places.logins_dir(),
        sockets,
        life_lock,
        start_lock,
        log,
        idle: settings.agent_idle,
        store_quota: settings.store_quota,
        durable_against_power: settings.durable_against_power,
        inherited,
        parts: vec![cc::part()],
        works_for: settings.works_for_others.then_some(default_login as FindLogin),
        worker: AgentWorker {
            program: launcher_program(),
            name: machine::name(),
            slots,
            memory: machine::memory(&settings.worker),
            expose,
            toolchains: environment.get("HOME").map(PathBuf::from),
            tags: settings.worker.tags.clone(),
            parts: Vec::new(),
            #[cfg(target_os = "linux")]
            isolation: machine::isolation(&settings.worker, IsolationChoice::Best),
        },
    })
}

/// The cluster for which this machine works where it works for others.
fn default_login(logins: &Path) -> Option<Login> {
    let logins = Logins::new(logins.to_owned());
    let name = logins.default_name()?;
    Some(Login { dir: logins.place(&name), name })
}

/// The program from which the sandbox's launcher is started: this very one, even when its file was replaced since.
pub(crate) fn launcher_program() -> PathBuf {
    PathBuf::from("/proc/self/exe")
}

/// Says how the agent does: 0, or 4 when there is none.
pub(crate) fn status(as_json: bool, environment: &Environment, out: &Out) -> Result<u8, Problem> {
    let spec = Places::find(environment)?.agent_spec(this_program()?);
    let Some(status) = runtime::for_a_person(hands_client::agent_status(&spec))?? else {
        out.note("no agent is running; any `hands run` starts one");
        return Ok(exit::NOTHING);
    };
    let text = if as_json { in_json(&status) } else { in_words(&status).text() };
    out.data(text.as_bytes()).map_or_else(problem::unprinted, |()| Ok(exit::OK))
}

fn in_json(status: &AgentStatus) -> String {
    let since = |time: SystemTime| time.duration_since(SystemTime::UNIX_EPOCH).ok();
    let object = json!({
        "pid": status.pid,
        "version": status.version,
        "build": status.build_id,
        "protocol": [status.protocol.0, status.protocol.1],
        "started": status.started.and_then(since).map(|since| since.as_secs()),
        "busy": status.busy,
        "idle_left_s": status.idle_left_s,
        "isolation": status.isolation,
        "isolation_note": status.isolation_note,
        "state": status.state_dir,
        "log": status.log,
        "works_for": status.works_for,
        "works_for_note": status.works_for_note,
        "inherited": status.inherited,
    });
    format!("{object}\n")
}

fn in_words(status: &AgentStatus) -> Facts {
    let leaves = match (status.busy, &*status.works_for) {
        (true, _) => "when it has been idle; it is busy".to_owned(),
        (false, "") => format!(
            "in {} min {} s if nothing happens",
            status.idle_left_s / 60,
            status.idle_left_s % 60
        ),
        (false, cluster) => format!("not by itself: it works for {cluster}"),
    };
    let works_for = match (&*status.works_for, &*status.works_for_note) {
        ("", "") => String::new(),
        ("", why) => format!("nobody else; {why}"),
        (cluster, note) => format!("{cluster} ({note})"),
    };
    let mut lines = vec![
        ("pid", status.pid.to_string()),
        ("version", status.version.clone()),
        ("leaves", leaves),
        ("isolation", status.isolation.clone()),
        ("note", status.isolation_note.clone()),
        ("works for", works_for),
        ("state", status.state_dir.clone()),
        ("log", status.log.clone()),
    ];
    lines.extend(status.inherited.iter().map(|what| ("inherited", what.clone())));
    let mut facts = Facts::default();
    facts.extend(lines);
    facts
}

/// Ends the agent and returns when it has gone.
pub(crate) fn stop(force: bool, environment: &Environment, out: &Out) -> Result<u8, Problem> {
    let spec = Places::find(environment)?.agent_spec(this_program()?);
    let stopped = runtime::for_a_person(hands_client::stop_agent(&spec, force))?;
    match stopped {
        Ok(true) => {
            if out.watched() || out.is_verbose() {
                out.note("the agent has stopped");
            }
            Ok(exit::OK)
        }
        // What was wanted is so, and was seen: nobody holds an agent's lock.
        Ok(false) => {
            out.note("no agent is running");
            Ok(exit::OK)
        }
        Err(error) if matches!(error.class(), ErrorClass::Infra { .. }) => {
            // The agent's own words, without ours about requests and codes.
            Err(Problem::new(error.class(), said(&error)))
        }
        Err(error) => Err(error.into()),
    }
}

fn said(error: &hands_client::ClientError) -> String {
    match error {
        hands_client::ClientError::Rpc { message, .. } => message.clone(),
        other => hands_front::chain(other),
    }
}
