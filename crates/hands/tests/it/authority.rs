//! A hub's authority: made once, kept to itself, and shown to a person only; and nobody without a name comes in, on the
//! loopback neither.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Stdio;

use rustix::process::Signal;

use crate::home::{Home, ran, signal};
use crate::server::{Server, address};
use crate::terminal::Terminal;

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap_or_else(|e| panic!("{}: {e}", path.display())).mode() & 0o777
}

#[test]
fn an_authority_is_made_once_and_only_a_person_sees_a_join_string() {
    let home = Home::new();
    let arguments = ["hub", "--listen", "127.0.0.1:0", "--name", "build"];
    let state = home.hands_home().join("state/hub");
    let authority = state.join("authority");
    let key = authority.join("ca.key");
    let mut terminal = Terminal::sized(&home, &arguments, 30, 200, &[]);
    terminal.sees("One node may join with this");
    terminal.sees("hands1:127.0.0.1:");
    terminal.signal(Signal::TERM);
    assert_eq!(terminal.ends(), Some(0));
    assert_eq!((mode(&state), mode(&authority), mode(&key)), (0o700, 0o700, 0o600));
    let made = fs::read(&key).unwrap();
    // Into a log it goes never; the key is the same.
    let mut command = home.hands(&arguments);
    let mut hub = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let tokens = || home.run(&["token", "create", "--role", "read"]);
    while tokens().code != 0 {
        assert!(hub.try_wait().unwrap().is_none(), "the hub has ended");
    }
    signal(&hub, Signal::TERM);
    let ended = ran(hub.wait_with_output().unwrap());
    assert_eq!((ended.code, ended.out.as_str()), (0, ""), "{ended:?}");
    assert!(
        ended.err.contains("hands token create") && !ended.err.contains("hands1:"),
        "{ended:?}"
    );
    assert_eq!(fs::read(&key).unwrap(), made);
}

#[test]
fn on_the_loopback_too_nobody_comes_without_a_name() {
    let home = Home::new();
    let arguments = ["hub", "--listen", "127.0.0.1:0", "--name", "build"];
    let (hub, line) = Server::start(&home, &arguments, "the hub serves");
    let address = address(&line);
    let call = |flags: &[&str]| {
        let url = format!("https://{address}/google.longrunning.Operations/GetOperation");
        let fixed =
            ["-sk", "--http2", "-X", "POST", "-D", "-", "-H", "content-type: application/grpc"];
        let mut curl = home.program("curl");
        ran(curl.args(fixed).args(flags).args(["-o", "/dev/null", &url]).output().unwrap())
    };
    let nobody = call(&[]);
    assert!(nobody.out.contains("grpc-status: 16"), "{nobody:?}");
    let token = home.run(&["token", "create", "--role", "read", "--bearer"]);
    assert_eq!(token.code, 0, "{token:?}");
    let header = format!("authorization: Bearer {}", token.out.trim());
    let known = call(&["-H", &header, "--data-binary", "@/dev/null"]);
    assert!(!known.out.contains("grpc-status: 16"), "{known:?}");
    // Who speaks no TLS is not understood.
    let plain = home.run(&["run", "--cluster", &address, "--", "true"]);
    assert_eq!(plain.code, 125, "{plain:?}");
    // This user's own socket asks for nothing, and is this user's only.
    assert_eq!(mode(&home.hands_home().join("run")), 0o700);
    assert_eq!(home.run(&["token", "list"]).code, 0);
    assert_eq!(hub.stop(), Some(0));
}
