//! Another engine than our hub: what it lacks is refused by name, and what REAPI can't say is said otherwise.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use hands_client::{Cluster, ClusterKind, JobSpec};
use hands_front::RunError;
use hands_front::args::ActionArgs;
use hands_front::stdio::read_stdin;
use hands_types::{RelPath, is_output_pattern};

use crate::args::RunArgs;

/// Where standard input lies in the action's working directory.
const STDIN: &str = ".hands-stdin";

/// Refuses what only our hub can do, before anything is sent.
pub(crate) fn check(args: &ActionArgs, kind: ClusterKind, peer: &str) -> Result<(), RunError> {
    let ActionArgs {
        output,
        same_path,
        network,
        privilege,
        tag,
        cpu,
        memory,
        retry,
        queue_timeout,
        ..
    } = args;
    let glob = output.iter().find(|path| is_output_pattern(path));
    let without = [
        ("--same-path", *same_path),
        ("--network", network.is_some()),
        ("--privilege", privilege.is_some()),
        ("--tag", !tag.is_empty()),
        ("--cpu", cpu.is_some()),
        ("--memory", memory.is_some()),
        ("--retry", retry.is_some()),
        ("--queue-timeout", queue_timeout.is_some()),
    ];
    let lacks = |what: &str, instead: &str| {
        Err(RunError::Usage(format!(
            "{what}: {peer} is not a hub of ours and has nothing like it{instead}"
        )))
    };
    match (kind, without.iter().find(|(_, given)| *given), glob) {
        (ClusterKind::Agent | ClusterKind::Hub, ..) | (ClusterKind::Engine, None, None) => Ok(()),
        (ClusterKind::Engine, Some((flag @ ("--tag" | "--cpu" | "--memory"), _)), _) => {
            lacks(flag, "; give it a property that it knows with --prop")
        }
        (ClusterKind::Engine, Some((flag, _)), _) => lacks(flag, ""),
        (ClusterKind::Engine, None, Some(path)) => {
            lacks(&format!("--output {path}"), "; name each file or its directory")
        }
    }
}

/// Refuses what `run` alone can ask for.
pub(crate) fn check_run(args: &RunArgs, kind: ClusterKind, peer: &str) -> Result<(), RunError> {
    let flag = match (kind, args) {
        (ClusterKind::Engine, RunArgs { tty: true, .. }) => "--tty",
        (ClusterKind::Engine, RunArgs { detach: true, .. }) => "--detach",
        (ClusterKind::Engine, RunArgs { image: Some(_), .. }) => "--image",
        _ => return check(&args.action, kind, peer),
    };
    Err(RunError::Usage(format!("{flag}: {peer} is not a hub of ours and has nothing like it")))
}

/// What may become of the times of inputs on an engine that does not announce that it keeps them, as a sentence.
pub(crate) fn loses_times(args: &ActionArgs, cluster: &Cluster) -> Option<String> {
    let trees = args.input.iter().any(|path| path.is_dir());
    (trees && !args.cache && !cluster.keeps_times()).then(|| {
        format!(
            "{} does not say that it keeps the times of files: a program that compares them, such as make, may not see what has changed",
            cluster.peer()
        )
    })
}

/// Standard input as a file, for an engine to which it can't be sent live. The file goes when this is dropped.
pub(crate) struct StdinFile {
    path: PathBuf,
}

impl StdinFile {
    /// Reads all of standard input; ends when that ends.
    pub(crate) async fn read(cluster: &Cluster) -> Result<Self, RunError> {
        let log = &cluster.agent_spec().log;
        let path = log.with_file_name(format!("stdin-{}", cluster.invocation().id));
        let this = Self { path };
        let failed = |source| RunError::Read { path: this.path.clone(), source };
        let mut file = this.create().map_err(failed)?;
        let unreadable = |source| RunError::System { what: "can't read standard input", source };
        loop {
            let piece = read_stdin(64 << 10).await.map_err(unreadable)?;
            if piece.is_empty() {
                return Ok(this);
            }
            file.write_all(&piece).map_err(failed)?;
        }
    }

    fn create(&self) -> io::Result<File> {
        if let Some(directory) = self.path.parent() {
            std::fs::create_dir_all(directory)?;
        }
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(&self.path)
    }

    /// Where the file is now.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Where it has to be in the input root.
    pub(crate) fn place(job: &JobSpec) -> RelPath {
        job.cwd.join(&RelPath::new(STDIN).expect("one plain name"))
    }

    /// Lets the command read it.
    pub(crate) fn redirect(job: &mut JobSpec) {
        let script = format!("exec \"$@\" <{STDIN}");
        let shell = ["/bin/sh", "-c", &script, "sh"].map(str::to_owned);
        job.argv.splice(0..0, shell);
        job.stdin = false;
    }
}

impl Drop for StdinFile {
    fn drop(&mut self) {
        // One that could not be made is not there.
        drop(std::fs::remove_file(&self.path));
    }
}
