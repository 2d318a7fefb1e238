//! The two kinds of runtime: one thread for who types, all cores for who serves.

use std::io;

use hands_types::ErrorClass;
use tokio::runtime::{Builder, Runtime};

use crate::bug;
use crate::problem::Problem;

/// Runs a front-end. It does not wait for what still blocks afterwards, such as a read of the terminal.
pub(crate) fn for_a_person<T>(future: impl Future<Output = T>) -> Result<T, Problem> {
    let runtime = made(Builder::new_current_thread().enable_all().build())?;
    let result = runtime.block_on(async {
        tokio::select! {
            biased;
            never = bug::on_request() => match never {},
            result = future => result,
        }
    });
    runtime.shutdown_background();
    Ok(result)
}

/// Runs a program that stays.
pub(crate) fn for_a_server<T>(future: impl Future<Output = T>) -> Result<T, Problem> {
    let runtime = made(Builder::new_multi_thread().enable_all().build())?;
    Ok(runtime.block_on(future))
}

fn made(runtime: io::Result<Runtime>) -> Result<Runtime, Problem> {
    runtime.map_err(|error| {
        let text =
            format!("this machine does not let us start threads or wait for events: {error}");
        Problem::new(ErrorClass::Environment, text)
            .hint("`ulimit -n` and `ulimit -u` show its limits")
    })
}
