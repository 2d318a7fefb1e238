//! Pants, whose engine sends `output_files` only and cancels by name.

use crate::grid::Grid;
use crate::home::ran;
use crate::tool::tool;

const CONFIG: &str = r#"
[GLOBAL]
pants_version = "2.17.1"
backend_packages = ["pants.backend.shell"]
pantsd = false
remote_ca_certs_path = "AUTHORITY"
remote_oauth_bearer_token_path = "bearer"

[anonymous-telemetry]
enabled = false

[shell-setup]
executable_search_paths = ["/usr/bin", "/bin"]
"#;

const BUILD: &str = r#"
files(name="in", sources=["in.txt"])
shell_command(
    name="g",
    command="/usr/bin/wc -c < in.txt > out.txt",
    tools=[],
    execution_dependencies=[":in"],
    output_files=["out.txt"],
)
archive(name="a", format="tar", files=[":g"])
"#;

#[test]
fn pants_executes_by_token() {
    let Some(program) = tool("HANDS_TEST_PANTS") else { return };
    let grid = Grid::new(&[]);
    let authority = grid.client_home().join("state/clusters/grid/ca.pem");
    let config = CONFIG.replace("AUTHORITY", authority.to_str().unwrap());
    grid.home.write("ws/pants.toml", &config);
    grid.home.write("ws/BUILD", BUILD);
    grid.home.write("ws/in.txt", "words\n");
    grid.home.write("ws/bearer", &grid.token(&["--role", "submit", "--bearer"]));
    let port = grid.address.rsplit_once(':').unwrap().1;
    // Its TLS takes names only.
    let url = format!("grpcs://localhost:{port}");
    let work = grid.home.work();
    let mut command = grid.program(&program);
    command
        .current_dir(work.join("ws"))
        .args(["--no-dynamic-ui", "--no-local-cache"])
        .arg(format!("--local-store-dir={}", work.join("lmdb").display()))
        .arg(format!("--named-caches-dir={}", work.join("named").display()))
        .arg("--remote-execution")
        .arg(format!("--remote-execution-address={url}"))
        .arg(format!("--remote-store-address={url}"))
        .args(["package", "::"]);
    let ended = ran(command.output().unwrap());
    assert_eq!(ended.code, 0, "{ended:?}");
    let tar = ["xOf", "ws/dist/a.tar", "out.txt"];
    let content = ran(grid.program("tar").args(tar).output().unwrap());
    assert_eq!(content.out.trim(), "6", "{content:?}\n{ended:?}");
    let jobs = grid.jobs(&["-a"]);
    let done = jobs.iter().filter(|job| job["exit_code"] == 0).count();
    assert!(done >= 2, "{jobs:?}");
}
