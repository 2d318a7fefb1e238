//! Another engine than our hub: what it lacks is refused by name, and what REAPI can't say is said otherwise.

use hands_client::{Cluster, ClusterKind, JobSpec, StreamPart, TreeSpec};
use hands_front::RunError;
use hands_front::args::ActionArgs;
use hands_front::stdio::read_stdin;
use hands_types::{RelPath, is_output_pattern};
use tokio::io::AsyncWriteExt as _;
use tokio::net::unix::pipe;

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
            "{what}: {peer} is asked in plain REAPI, which has no words for it{instead}; a hub of hands, named by --cluster, knows it"
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
        _ => return check(&args.action, kind, peer),
    };
    Err(RunError::Usage(format!(
        "{flag}: {peer} is asked in plain REAPI, which has no words for it; a hub of hands, named by --cluster, knows it"
    )))
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

/// Standard input as a part of the input root, for an engine to which it can't be sent live: the part, and what brings it
/// there, which ends when standard input does.
pub(crate) fn stdin_part(
    job: &JobSpec,
) -> Result<(TreeSpec, impl Future<Output = Result<(), RunError>> + use<>), RunError> {
    let failed = |source| RunError::System { what: "can't make a pipe", source };
    let (from, to) = std::io::pipe().map_err(failed)?;
    let path = stdin_place(job);
    let part = TreeSpec::Stream(StreamPart { path, from: from.into() });
    Ok((part, pour(pipe::Sender::from_owned_fd(to.into()).map_err(failed)?)))
}

fn stdin_place(job: &JobSpec) -> RelPath {
    job.cwd.join(&RelPath::new(STDIN).expect("one plain name"))
}

async fn pour(mut to: pipe::Sender) -> Result<(), RunError> {
    let unreadable = |source| RunError::System { what: "can't read standard input", source };
    loop {
        let piece = read_stdin(64 << 10).await.map_err(unreadable)?;
        // Who does not take it says why.
        if piece.is_empty() || to.write_all(&piece).await.is_err() {
            return Ok(());
        }
    }
}

/// Lets the command read standard input from its file.
pub(crate) fn redirect_stdin(job: &mut JobSpec) {
    let script = format!("exec \"$@\" <{STDIN}");
    let shell = ["/bin/sh", "-c", &script, "sh"].map(str::to_owned);
    job.argv.splice(0..0, shell);
    job.stdin = false;
}
