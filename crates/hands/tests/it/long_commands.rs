//! Commands as long as the kernel takes them, on every way that a command can go.

use crate::home::{Home, json};
use crate::server::{Server, address, level};

/// What a kernel takes of one argument, without the NUL at its end.
const LONGEST: usize = (128 << 10) - 1;

/// Names that add up to 1.9 MB with the pointers to them.
fn many_names() -> Vec<String> {
    (0..60_000).map(|n| format!("dir/name-of-a-file-{n}")).collect()
}

/// Counts the bytes of its arguments, and one for each.
const COUNT: &str = "printf '%s\\n' \"$@\" | wc -c";

#[test]
fn what_the_kernel_takes_as_arguments_runs() {
    let home = Home::new().warm();
    // And the largest single ones: ü is two bytes.
    let names = many_names();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let large = "ü".repeat(LONGEST / 2);
    let count = COUNT;
    let bytes: usize = names.iter().map(|name| name.len() + 1).sum();
    let fixed = ["run", "--", "sh", "-c", count, "sh"];
    let ran = home.run(&[&fixed[..], &names].concat());
    assert_eq!((ran.code, ran.out.trim()), (0, bytes.to_string().as_str()), "{:.300}", ran.err);
    let variable = format!("V={}", "v".repeat(LONGEST - 2));
    let script = "printf %s \"$1$V\" | wc -c";
    let arguments = ["run", "-e", &variable, "--", "sh", "-c", script, "sh", &large];
    let ran = home.run(&arguments);
    let expected = (large.len() + LONGEST - 2).to_string();
    assert_eq!((ran.code, ran.out.trim()), (0, expected.as_str()), "{:.300}", ran.err);

    // By JSON lines, beside others that must not notice; in the job log in short; and by a shell's line.
    let mut lines = Vec::new();
    let mut argv = vec!["sh", "-c", count, "sh"];
    argv.extend(&names);
    for n in 0..3 {
        lines.push(serde_json::json!({ "argv": &argv, "id": n.to_string() }).to_string());
        lines.push(format!("echo short {n}\n"));
    }
    home.write("list", &lines.join("\n"));
    let ran = home.run(&["batch", "--json", "--joblog", "log", "list"]);
    assert_eq!(ran.code, 0, "{:.300}", ran.err);
    for line in json(&ran.out) {
        let out = line["stdout"].as_str().unwrap().trim().to_owned();
        assert!(out == bytes.to_string() || out.starts_with("short "), "{out:.300}");
    }
    assert!(home.read("log").len() < 10_000);
    let again = home.run(&["batch", "--json", "--joblog", "log", "--resume", "list"]);
    assert_eq!((again.code, again.out.as_str()), (0, ""), "{:.300}", again.err);
    let line = format!("true {}\n", "x".repeat(100_000));
    let shell = home.run_with(&["shell"], &line);
    assert_eq!(shell.code, 0, "{:.300}", shell.err);

    // In lists a command is a line.
    let detached =
        home.run(&[&["run", "--detach", "--", "sh", "-c", "echo $#", "sh"][..], &names].concat());
    let id = detached.out.trim();
    let waited = home.run(&["wait", id]);
    assert_eq!(waited.code, 0, "{:.300}", waited.err);
    assert_eq!(home.run(&["logs", id]).out, "60000\n");
    for list in [&["ps", "--all"][..], &["status", id], &["ps", "--all", "--json"]] {
        let shown = home.run(list);
        let longest = shown.out.lines().map(str::len).max();
        assert!(shown.code == 0 && longest < Some(3000), "{list:?}: {:.500}", shown.out);
    }
}

/// A long command is fetched by the worker that it is leased to, and an engine takes it as a blob.
#[test]
fn it_runs_on_a_remote_worker_and_on_an_engine() {
    let home = Home::new();
    let listen = ["hub", "--listen", "127.0.0.1:0", "--insecure-loopback"];
    let (_hub, line) = Server::start(&home, &listen, "the hub serves");
    let address = address(&line);
    let worker = ["worker", &address, "--isolation", &level(&home)];
    let (_worker, _) = Server::start(&home, &worker, "connected to the hub");
    let names = many_names();
    let bytes: usize = names.iter().map(|name| name.len() + 1).sum();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let large = "ü".repeat(LONGEST / 2);
    for place in [["--cluster", &address], ["--engine", &format!("grpc://{address}")]] {
        let fixed = ["run", place[0], place[1], "--", "sh", "-c", COUNT, "sh"];
        let ran = home.run(&[&fixed[..], &names].concat());
        let told = (ran.code, ran.out.trim().to_owned());
        assert_eq!(told, (0, bytes.to_string()), "{place:?}: {:.300}", ran.err);
        let ran = home.run(&[&fixed[..], &[&large]].concat());
        let told = (ran.code, ran.out.trim().to_owned());
        assert_eq!(told, (0, (large.len() + 1).to_string()), "{place:?}: {:.300}", ran.err);
    }
}

#[test]
fn what_no_kernel_takes_is_one_clear_error() {
    let home = Home::new().warm();
    let too_long = "x".repeat(LONGEST + 1);
    let ran =
        home.run_with(&["batch", "-"], &format!("{{\"argv\": [\"echo\", \"{too_long}\"]}}\n"));
    assert_eq!(ran.code, 125);
    assert!(ran.err.contains("argument 1 of the command has 131072 bytes"), "{:.500}", ran.err);
    assert!(ran.err.len() < 2000, "{:.500}", ran.err);
    let line = serde_json::json!({ "argv": ["true"], "env": { "V": too_long } });
    let ran = home.run_with(&["batch", "-"], &format!("{line}\n"));
    assert!(ran.code == 125 && ran.err.contains("the environment variable `V` has 131074 bytes"));
    // More in all than the worker's kernel takes, and more than any is asked for.
    for (n, code, words) in [(21, 1, "Argument list too long"), (40, 125, "Linux takes 2 MiB")] {
        let argv = [vec!["true".to_owned()], vec!["x".repeat(100_000); n]].concat();
        let line = serde_json::json!({ "argv": argv });
        let ran = home.run_with(&["batch", "-"], &format!("{line}\necho also\n"));
        assert_eq!((ran.code, ran.out.as_str()), (code, "also\n"), "{:.500}", ran.err);
        assert!(ran.err.contains(words), "{:.500}", ran.err);
    }
}
