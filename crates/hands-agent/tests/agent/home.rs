//! One test's directories, its agent and its runtime.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::exit;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use hands_agent::{AgentConfig, AgentWorker, Readiness};
use hands_client::{AgentSockets, AgentSpec, Cluster, Invocation, JobSpec, Target};
use hands_worker::IsolationChoice;

pub(crate) struct Home {
    dir: PathBuf,
    idle: Duration,
}

impl Home {
    pub(crate) fn new() -> Self {
        Self::with_idle(Duration::from_secs(900))
    }

    pub(crate) fn with_idle(idle: Duration) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let dir =
            std::env::temp_dir().join(format!("hands-agent-it-{}-{number}", std::process::id()));
        fs::create_dir(&dir).unwrap();
        fs::create_dir(dir.join("work")).unwrap();
        Self { dir, idle }
    }

    pub(crate) fn work(&self) -> PathBuf {
        self.dir.join("work")
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.dir.join("state")
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.spec().log).unwrap_or_default()
    }

    pub(crate) fn spec(&self) -> AgentSpec {
        AgentSpec {
            sockets: sockets(&self.dir),
            start_lock: self.state().join("agent.start"),
            life_lock: self.state().join("agent.lock"),
            log: self.state().join("agent.log"),
            program: std::env::current_exe().unwrap(),
            environment: Vec::new(),
            arguments: vec![
                "agent-under-test".into(),
                self.dir.clone().into(),
                self.idle.as_millis().to_string().into(),
            ],
            start: true,
        }
    }

    pub(crate) async fn cluster(&self) -> Cluster {
        Cluster::connect(Target::Agent(self.spec()), Invocation::new("test").unwrap(), |_| {})
            .await
            .unwrap()
    }

    pub(crate) async fn pid(&self) -> Option<u32> {
        hands_client::agent_status(&self.spec()).await.unwrap().map(|status| status.pid)
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        // A failed test's agent would outlive it.
        if let Err(error) = run(hands_client::stop_agent(&self.spec(), true)) {
            eprintln!("the agent could not be stopped: {error}");
        }
        if std::thread::panicking() {
            eprintln!("the agent's log:\n{}", self.log());
        }
        fs::remove_dir_all(&self.dir).unwrap();
    }
}

/// As front-ends do: a runtime of one thread.
pub(crate) fn run<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        tokio::time::timeout(Duration::from_secs(60), future).await.expect("within a minute")
    })
}

pub(crate) fn shell(script: &str) -> JobSpec {
    JobSpec::new(["/bin/sh", "-c", script].map(str::to_owned).to_vec())
}

pub(crate) fn write(path: &Path, bytes: &[u8]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

/// Beside its store and elsewhere, as front-ends have it.
fn sockets(dir: &Path) -> Vec<AgentSockets> {
    [dir.join("state"), dir.join("run")].map(|dir| AgentSockets::at(&dir)).into()
}

/// The agent itself, in a process of its own.
pub(crate) fn be_agent(args: &[String]) -> ! {
    let inherited = hands_agent::detach();
    tracing_subscriber::fmt().with_ansi(false).with_writer(std::io::stderr).init();
    let dir = PathBuf::from(&args[0]);
    let config = AgentConfig {
        state_dir: dir.join("state"),
        cache_dir: dir.join("cache"),
        logins: dir.join("clusters"),
        sockets: sockets(&dir),
        life_lock: dir.join("state/agent.lock"),
        start_lock: dir.join("state/agent.start"),
        log: dir.join("state/agent.log"),
        idle: Duration::from_millis(args[1].parse().unwrap()),
        store_quota: None,
        durable_against_power: false,
        works_for: None,
        parts: Vec::new(),
        inherited,
        worker: AgentWorker {
            program: "/proc/self/exe".into(),
            name: "embedded".to_owned(),
            slots: 2,
            memory: 0,
            expose: Vec::new(),
            toolchains: None,
            tags: Vec::new(),
            parts: Vec::new(),
            isolation: IsolationChoice::Best,
        },
    };
    exit(i32::from(hands_agent::run(config, Readiness::stdout()).is_err()))
}
