//! The figures of a hub with many workers and clients. A hub is a process of its own here, with a state of its own;
//! simulated workers speak the worker's protocol and sleep instead of running anything.

mod evenly;
mod hostile;
mod hub;
mod load;
mod sham;
mod sleeps;
mod startup;

use std::path::Path;

use anyhow::Result;

use crate::report::Report;

pub(crate) use hostile::{call as call_as_a_hostile_member, sink};

/// Runs the wanted parts: `evenly`, `sleeps`, `load`, `startup`, `hostile`.
pub(crate) fn run(
    hands: &Path,
    dir: &Path,
    wanted: &dyn Fn(&str) -> bool,
    report: &mut Report,
) -> Result<()> {
    if wanted("evenly") {
        evenly::evenly(hands, dir, report)?;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    if wanted("sleeps") {
        runtime.block_on(sleeps::sleeps(hands, &dir.join("sleeps"), report))?;
    }
    if wanted("load") {
        runtime.block_on(load::load(hands, &dir.join("load"), report))?;
    }
    if wanted("startup") {
        runtime.block_on(startup::startup(hands, &dir.join("startup"), report))?;
    }
    if wanted("hostile") {
        runtime.block_on(hostile::hostile(hands, &dir.join("hostile"), report))?;
    }
    Ok(())
}
