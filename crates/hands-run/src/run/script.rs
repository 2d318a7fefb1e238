//! `hands run -`: a script from standard input.

use std::io::Read;

use hands_front::RunError;
use hands_front::stdio::Stdin;
use tokio::task::spawn_blocking;

/// The kernel's limit for one argument is 128 KiB, its NUL included.
const LONGEST: usize = (128 << 10) - 1;
/// Puts the script, its first argument, into a file of the action's own and runs it with the interpreter in `$0`.
const WITH_INTERPRETER: &str =
    r#"f=${TMPDIR:-/tmp}/script; printf %s "$1" >"$f" || exit 125; shift; exec $0 "$f" "$@""#;

/// Reads the script and makes the command that runs it with these arguments.
pub(crate) async fn read(arguments: Vec<String>) -> Result<Vec<String>, RunError> {
    let reading = spawn_blocking(|| {
        let mut bytes = Vec::new();
        Stdin.read_to_end(&mut bytes).map(|_| bytes)
    });
    let read = reading.await.map_err(|_| RunError::Bug("reading standard input panicked"))?;
    let bytes = read.map_err(|source| RunError::Read { path: "standard input".into(), source })?;
    let script = String::from_utf8(bytes)
        .map_err(|_| RunError::Usage("the script is not UTF-8".to_owned()))?;
    command(script, arguments)
}

/// The command for a script.
pub(crate) fn command(script: String, arguments: Vec<String>) -> Result<Vec<String>, RunError> {
    if script.len() > LONGEST {
        return Err(RunError::Usage(
            "the script is longer than 128 KiB; write it to a file and send that with --input"
                .to_owned(),
        ));
    }
    let interpreter = script
        .strip_prefix("#!")
        .and_then(|rest| rest.lines().next())
        .map(|line| line.trim().to_owned());
    let mut argv = vec!["/bin/sh".to_owned(), "-c".to_owned()];
    match interpreter.filter(|i| !i.is_empty()) {
        // `$0` is what messages of the shell begin with.
        None => argv.extend([script, "sh".to_owned()]),
        Some(interpreter) => argv.extend([WITH_INTERPRETER.to_owned(), interpreter, script]),
    }
    argv.extend(arguments);
    Ok(argv)
}
