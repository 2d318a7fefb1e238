//! `hands top`: the dashboard where a person looks at it, one snapshot where nobody does.

use hands_client::{Cluster, ClusterKind, Invocation};
use hands_front::FrontEnd;
use hands_types::ErrorClass;
use hands_types::error::exit;

use crate::cli::TopArgs;
use crate::problem::{Problem, unprinted};

/// Shows what goes on and returns the exit code.
pub(crate) async fn run(args: TopArgs, front: &FrontEnd) -> u8 {
    match try_run(args, front).await {
        Ok(code) => code,
        Err(problem) => {
            problem.print(&front.out);
            problem.exit_code(false)
        }
    }
}

async fn try_run(args: TopArgs, front: &FrontEnd) -> Result<u8, Problem> {
    let waiting = |why: String| front.out.note(&format!("waiting: {why}"));
    let cluster = Cluster::connect(front.target.clone(), Invocation::new("top")?, waiting).await?;
    if cluster.kind() == ClusterKind::Engine {
        let text = format!("{} is another engine, which tells nothing like it", cluster.peer());
        return Err(Problem::new(ErrorClass::User, text));
    }
    if !args.once && hands_front::terminal::is_interactive() {
        return Ok(hands_tui::live(&cluster, front.out.is_colored()).await?);
    }
    let text = hands_tui::snapshot(&cluster).await?;
    front.out.data(text.as_bytes()).map_or_else(unprinted, |()| Ok(exit::OK))
}
