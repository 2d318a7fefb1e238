//! The tools of the Go SDK, for machines that have them: they come from no registry.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::grid::Grid;
use crate::home::{Ran, ran};
use crate::tool::tool;

/// One of the tools, logged in by certificate. Its TLS wants a name.
fn command(grid: &Grid, program: &Path) -> Command {
    let member = grid.client_home().join("state/clusters/grid");
    let port = grid.address.rsplit_once(':').unwrap().1;
    let mut command = grid.program(program);
    command
        .args(["-use_rpc_credentials=false", "-logtostderr"])
        .arg(format!("-service=localhost:{port}"))
        .arg(format!("-cas_service=localhost:{port}"))
        .arg(format!("-tls_ca_cert={}", member.join("ca.pem").display()))
        .arg(format!("-tls_client_auth_cert={}", member.join("cert.pem").display()))
        .arg(format!("-tls_client_auth_key={}", member.join("key.pem").display()));
    command
}

#[test]
fn remotetool_uploads_and_downloads_directories() {
    let Some(program) = tool("HANDS_TEST_REMOTETOOL") else { return };
    let grid = Grid::new(&[]);
    for i in 0..200 {
        grid.home.write(&format!("tree/sub/f{i}"), &format!("{i}\n"));
    }
    grid.home.write("tree/large", &"much ".repeat(1 << 20));
    let ok = |arguments: &[&str]| {
        let ended = ran(command(&grid, &program).args(arguments).output().unwrap());
        assert_eq!(ended.code, 0, "{arguments:?}: {ended:?}");
    };
    ok(&["-operation=upload_dir", "-path=tree", "-json=up.json"]);
    let up: serde_json::Value = serde_json::from_str(&grid.home.read("up.json")).unwrap();
    let root = &up["RootDigest"];
    let digest = format!("-digest={}/{}", root["Hash"].as_str().unwrap(), root["Size"]);
    ok(&["-operation=download_dir", &digest, "-path=back"]);
    for i in 0..200 {
        assert_eq!(grid.home.read(&format!("back/sub/f{i}")), format!("{i}\n"));
    }
    assert!(grid.home.read("back/large") == "much ".repeat(1 << 20));
    // What is there is not sent again.
    ok(&["-operation=upload_dir", "-path=tree", "-json=again.json"]);
    let again: serde_json::Value = serde_json::from_str(&grid.home.read("again.json")).unwrap();
    assert_eq!(again["BytesTransferred"], 0, "{again}");
}

#[test]
fn rexec_executes() {
    let Some(program) = tool("HANDS_TEST_REXEC") else { return };
    let grid = Grid::new(&[]);
    grid.home.write("root/in", "words\n");
    let root = format!("-exec_root={}", grid.home.work().join("root").display());
    let run = |more: &[&str], script: &str| -> Ran {
        let mut command = command(&grid, &program);
        command.arg(&root).args(["-inputs=in"]).args(more).args(["--", "/bin/sh", "-c", script]);
        ran(command.output().unwrap())
    };
    let script = "cat in in > out; echo said; echo complained >&2";
    let made = run(&["-output_files=out", "-platform=OSFamily=linux"], script);
    assert!(made.out.contains("said\n") && made.err.contains("complained\n"), "{made:?}");
    assert_eq!(grid.home.read("root/out"), "words\nwords\n");
    fs::remove_file(grid.home.work().join("root/out")).unwrap();
    let again = run(&["-output_files=out", "-platform=OSFamily=linux"], script);
    assert!(again.out.contains("said\n"), "{again:?}");
    assert_eq!(grid.home.read("root/out"), "words\nwords\n");
    let failed = run(&[], "exit 7");
    assert!(format!("{failed:?}").contains("exit code 7"), "{failed:?}");
    let jobs = grid.jobs(&["-a"]);
    let executed = |job: &&serde_json::Value| job["cached"] == false;
    assert_eq!(jobs.iter().filter(executed).count(), 2, "{jobs:?}");
}
