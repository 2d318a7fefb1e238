//! `hands ps`, `hands workers`, `hands cancel`.

use hands_client::{Cluster, ListRequest};
use hands_front::eye::bytes;
use hands_front::{FrontEnd, RunError, Table};
use hands_types::error::exit;
use serde_json::json;

use crate::args::{CancelArgs, DrainArgs, PsArgs, WorkersArgs};
use crate::jobs::describe::{
    ago, job_json, prefix_length, property, state, time, what, worker_json,
};

/// Lists actions.
pub async fn ps(args: PsArgs, front: &FrontEnd) -> u8 {
    ended(try_ps(&args, front).await, front)
}

/// Lists workers.
pub async fn workers(args: WorkersArgs, front: &FrontEnd) -> u8 {
    ended(try_workers(&args, front).await, front)
}

/// Lets a worker leave.
pub async fn drain(args: DrainArgs, front: &FrontEnd) -> u8 {
    ended(try_drain(&args, front).await, front)
}

/// Ends actions.
pub async fn cancel(args: CancelArgs, front: &FrontEnd) -> u8 {
    ended(try_cancel(&args, front).await, front)
}

/// The exit code of a command that does not pass one through.
pub(super) fn ended(result: Result<u8, RunError>, front: &FrontEnd) -> u8 {
    result.unwrap_or_else(|error| {
        error.print(&front.out);
        error.exit_code(false)
    })
}

async fn try_ps(args: &PsArgs, front: &FrontEnd) -> Result<u8, RunError> {
    let cluster = front.connect("ps").await?;
    let request =
        ListRequest { active_only: !args.all, limit: args.limit, ..ListRequest::default() };
    let jobs = cluster.list(request).await?;
    if jobs.is_empty() {
        front.nothing_here();
    }
    if args.json {
        for job in &jobs {
            front.out.data_line(&job_json(job).to_string())?;
        }
        return Ok(exit::OK);
    }
    let length = prefix_length(jobs.iter().map(|j| j.id.as_str()));
    let mut table = Table::new(&["ID", "STATE", "TIME", "WORKER", "COMMAND"], 4);
    for job in &jobs {
        let id: String = job.id.chars().take(length).collect();
        table.row(vec![id, state(job), time(job), job.worker.clone(), what(job)]);
    }
    table.print(&front.out)?;
    if front.out.watched() {
        if jobs.is_empty() {
            let more = if args.all { "" } else { "; `hands ps -a` lists what is done" };
            front.out.note(&format!("nothing is queued or running{more}"));
        }
        for job in jobs.iter().filter(|j| !j.waiting.is_empty()).take(3) {
            let id: String = job.id.chars().take(length).collect();
            front.out.waiting(&format!("{id}: {}", job.waiting));
        }
    }
    Ok(exit::OK)
}

async fn try_workers(args: &WorkersArgs, front: &FrontEnd) -> Result<u8, RunError> {
    let cluster = front.connect("workers").await?;
    let workers = cluster.workers().await?;
    if workers.is_empty() {
        front.nothing_here();
    }
    if args.json {
        for worker in &workers {
            front.out.data_line(&worker_json(worker).to_string())?;
        }
        return Ok(exit::OK);
    }
    let mut table = Table::new(
        &["NAME", "BUSY", "SLOTS", "MEMORY", "OS", "ARCH", "ISOLATION", "SINCE", "TAGS"],
        8,
    );
    for worker in &workers {
        let name = if worker.draining {
            format!("{} (draining)", worker.name)
        } else {
            worker.name.clone()
        };
        table.row(vec![
            name,
            worker.busy.to_string(),
            worker.slots.to_string(),
            bytes(worker.memory),
            property(worker, "OSFamily"),
            property(worker, "ISA"),
            property(worker, "isolation"),
            ago(worker.connected),
            property(worker, "tag"),
        ]);
    }
    table.print(&front.out)?;
    if workers.is_empty() {
        front.out.note("no worker is connected; `hands worker JOIN` starts one");
    }
    Ok(exit::OK)
}

async fn try_drain(args: &DrainArgs, front: &FrontEnd) -> Result<u8, RunError> {
    let cluster = front.connect("drain").await?;
    cluster.drain_worker(&args.worker).await.inspect_err(|_| front.nothing_here())?;
    if front.out.watched() || front.out.is_verbose() {
        front.out.note(&format!("{} takes nothing new and leaves when it is done", args.worker));
    }
    Ok(exit::OK)
}

async fn try_cancel(args: &CancelArgs, front: &FrontEnd) -> Result<u8, RunError> {
    let cluster = front.connect("cancel").await?;
    let ids = if args.all {
        let request = ListRequest { active_only: true, limit: u32::MAX, ..ListRequest::default() };
        cluster.list(request).await?.into_iter().map(|j| j.id).collect()
    } else {
        args.id.clone()
    };
    let mut code = exit::OK;
    for id in &ids {
        match cancel_one(&cluster, id).await {
            Ok((id, cancelled)) if args.json => {
                front.out.data_line(&json!({ "id": id, "cancelled": cancelled }).to_string())?;
            }
            Ok((id, true)) => {
                if front.out.watched() || front.out.is_verbose() {
                    front.out.note(&format!("cancelled {id}"));
                }
            }
            Ok((id, false)) => front.out.note(&format!("{id} has ended already")),
            Err(error) => {
                error.print(&front.out);
                code = error.exit_code(false);
            }
        }
    }
    Ok(code)
}

async fn cancel_one(cluster: &Cluster, id: &str) -> Result<(String, bool), RunError> {
    Ok(cluster.cancel(id).await?)
}
