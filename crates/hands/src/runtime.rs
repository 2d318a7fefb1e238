//! The two kinds of runtime: one thread for who types, all cores for who serves.

use std::io;

use hands_types::ErrorClass;
use tokio::runtime::{Builder, Runtime};

use crate::bug;
use crate::problem::Problem;

/// Stack that does for every subcommand, bytes.
const STACK: usize = 8 << 20;
/// Less than this may not do.
const LEAST_STACK: u64 = 4 << 20;

/// Runs the program: on a thread of its own where the limit of this one's stack is small, which the kernel would tell by
/// ending us in the midst of something.
pub(crate) fn with_room<T: Send + 'static>(
    program: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Problem> {
    use rustix::process::{Resource, getrlimit};
    let limit = getrlimit(Resource::Stack).current;
    let Some(limit) = limit.filter(|limit| *limit < LEAST_STACK) else { return Ok(program()) };
    let thread = std::thread::Builder::new().name("hands".to_owned()).stack_size(STACK);
    let thread = thread.spawn(program).map_err(|error| {
        let text = format!(
            "this machine gives a thread no stack of {} MiB: {error}; and `ulimit -s` is {} KiB, which is too little",
            STACK >> 20,
            limit >> 10
        );
        Problem::new(ErrorClass::Environment, text)
            .hint("raise `ulimit -s`, or `ulimit -v` and `ulimit -u`")
    })?;
    thread.join().map_err(|_| Problem::new(ErrorClass::Bug, "the main thread has panicked"))
}

/// Runs a front-end. It does not wait for what still blocks afterwards, such as a read of the terminal.
pub(crate) fn for_a_person<T>(future: impl Future<Output = T>) -> Result<T, Problem> {
    let leaving = Leaving(Some(made(Builder::new_current_thread().enable_all().build())?));
    let runtime = leaving.0.as_ref().expect("it is taken when it is dropped");
    Ok(runtime.block_on(async {
        tokio::select! {
            biased;
            never = bug::on_request() => match never {},
            result = future => result,
        }
    }))
}

/// A runtime that is left, not waited for; also while a panic unwinds.
struct Leaving(Option<Runtime>);

impl Drop for Leaving {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// Runs a program that stays. Its bounds for others follow the descriptors that it may open, so that it takes all it can.
pub(crate) fn for_a_server<T>(future: impl Future<Output = T>) -> Result<T, Problem> {
    raise_descriptors();
    #[cfg(target_os = "linux")]
    hands_sandbox::keep_little_memory();
    let runtime = made(Builder::new_multi_thread().enable_all().build())?;
    Ok(runtime.block_on(future))
}

/// Raises the soft limit of descriptors to the hard one. Actions get a limit of their own.
fn raise_descriptors() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    if limit.current == limit.maximum {
        return;
    }
    let raised = rustix::process::Rlimit { current: limit.maximum, maximum: limit.maximum };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(%error, "the limit of open descriptors can't be raised");
    }
}

fn made(runtime: io::Result<Runtime>) -> Result<Runtime, Problem> {
    runtime.map_err(|error| {
        let text =
            format!("this machine does not let us start threads or wait for events: {error}");
        Problem::new(ErrorClass::Environment, text)
            .hint("`ulimit -n` and `ulimit -u` show its limits")
    })
}
