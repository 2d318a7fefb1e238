//! What a cluster tells those who watch it: figures that Prometheus reads, health, logs for machines, traces.

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};

use rustix::process::Signal;
use serde_json::Value;

use crate::home::{Home, json, ran, signal};
use crate::processes::level;

/// Reads an exposition as Prometheus' own client library does, checks what that lets pass, and prints `{"name{labels}": value}`.
const PARSER: &str = r#"
import json, sys
from prometheus_client.parser import text_string_to_metric_families as parse
seen, samples = set(), {}
for family in parse(sys.stdin.read()):
    assert family.name not in seen, "twice: " + family.name
    seen.add(family.name)
    assert family.type in ("counter", "gauge", "histogram"), family
    assert family.documentation, "no help: " + family.name
    for sample in family.samples:
        assert sample.name.startswith("hands_"), sample
        assert sample.value >= 0, sample
        labels = ",".join(f"{k}={v}" for k, v in sorted(sample.labels.items()))
        key = sample.name + ("{" + labels + "}" if labels else "")
        assert key not in samples, "twice: " + key
        samples[key] = sample.value
for key in [key for key in samples if "_bucket{" in key and "le=+Inf" in key]:
    count = key.replace("_bucket{", "_count{").replace("le=+Inf,", "").replace(",le=+Inf", "")
    assert samples[key] == samples[count], key
print(json.dumps(samples))
"#;

/// A program that logs JSON, and the lines of its log as they come.
struct Logged {
    child: Child,
    log: std::io::Lines<BufReader<std::process::ChildStderr>>,
}

impl Logged {
    fn start(home: &Home, arguments: &[&str]) -> Self {
        let mut command = home.hands(&[arguments, &["--log", "json"]].concat());
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let log = BufReader::new(child.stderr.take().unwrap()).lines();
        Self { child, log }
    }

    /// The fields of the next line that says this.
    fn says(&mut self, word: &str) -> Value {
        loop {
            let line = self.log.next().expect("it goes on").unwrap();
            let line: Value = serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e}: {line}"));
            assert!(line["timestamp"].is_string() && line["level"].is_string(), "{line}");
            if line["fields"]["message"].as_str().unwrap().contains(word) {
                return line["fields"].clone();
            }
        }
    }
}

impl Drop for Logged {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn get(home: &Home, address: &Value, path: &str) -> (String, String) {
    let url = format!("http://{}{path}", address.as_str().unwrap());
    let mut curl = home.program("curl");
    let got = ran(curl.args(["--silent", "--write-out", "\n%{http_code}", &url]).output().unwrap());
    let (body, code) = got.out.rsplit_once('\n').expect("a status");
    (code.to_owned(), body.to_owned())
}

fn figures(home: &Home, address: &Value) -> Value {
    let (code, text) = get(home, address, "/metrics");
    assert_eq!(code, "200", "{text}");
    // Debian's own, which has Debian's libraries.
    let mut parser = home.program("/usr/bin/python3");
    parser.args(["-c", PARSER]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut parser = parser.spawn().unwrap();
    std::io::Write::write_all(&mut parser.stdin.take().unwrap(), text.as_bytes()).unwrap();
    let parsed = ran(parser.wait_with_output().unwrap());
    assert_eq!(parsed.code, 0, "{parsed:?}\n{text}");
    json(&parsed.out).remove(0)
}

#[test]
fn hub_and_worker_tell_prometheus_and_a_load_balancer_how_they_are() {
    let home = Home::new();
    let socket = format!("unix:{}", home.work().join("hub.sock").display());
    let mut hub = Logged::start(&home, &["hub", "--listen", &socket, "--http", "127.0.0.1:0"]);
    let of_hub = hub.says("figures over HTTP")["address"].clone();
    hub.says("the hub serves");
    let level = level(&home);
    let mut worker = Logged::start(
        &home,
        &["worker", &socket, "--slots", "2", "--isolation", &level, "--http", "127.0.0.1:0"],
    );
    let of_worker = worker.says("figures over HTTP")["address"].clone();
    worker.says("connected to the hub");
    let batch = ["batch", "--cluster", &socket, "--", "exit {}", ":::", "0", "0", "7"];
    assert_eq!(home.run(&batch).code, 1);
    assert_eq!(home.run(&["run", "--cluster", &socket, "--", "true"]).code, 0);
    for address in [&of_hub, &of_worker] {
        assert_eq!(get(&home, address, "/healthz"), ("200".to_owned(), "ok\n".to_owned()));
    }
    let told = figures(&home, &of_hub);
    for (name, value) in [
        ("hands_workers", 1.0),
        ("hands_slots", 2.0),
        ("hands_slots_busy", 0.0),
        ("hands_actions_queued", 0.0),
        ("hands_actions_ended_total{outcome=succeeded}", 3.0),
        ("hands_actions_ended_total{outcome=failed}", 1.0),
        ("hands_attempts_lost_total", 0.0),
    ] {
        assert_eq!(told[name], value, "{name}: {told:#}");
    }
    let calls = |service: &str| {
        let told = told.as_object().unwrap();
        let label = format!("service={service}}}");
        let of = |name: &str| name.starts_with("hands_rpc_total") && name.ends_with(&label);
        told.iter().filter(|(name, _)| of(name)).filter_map(|(_, n)| n.as_f64()).sum::<f64>()
    };
    let of_others = "build.bazel.remote.execution.v2.Execution";
    assert_eq!((calls("hands.v1.Actions"), calls(of_others)), (2.0, 0.0), "{told:#}");
    let told = figures(&home, &of_worker);
    for (name, value) in [
        ("hands_worker_connected", 1.0),
        ("hands_worker_sessions_total", 1.0),
        ("hands_worker_slots", 2.0),
        ("hands_worker_slots_busy", 0.0),
        ("hands_worker_attempts_ended_total{outcome=succeeded}", 3.0),
        ("hands_worker_attempts_ended_total{outcome=failed}", 1.0),
    ] {
        assert_eq!(told[name], value, "{name}: {told:#}");
    }
    // A worker without a hub is up, and not healthy.
    drop(hub);
    worker.says("no connection to the hub");
    let (code, why) = get(&home, &of_worker, "/healthz");
    assert!(code == "503" && why.contains("no connection to its hub"), "{code} {why}");
    assert_eq!(figures(&home, &of_worker)["hands_worker_connected"], 0.0);
    signal(&worker.child, Signal::TERM);
    worker.says("draining");
}

#[test]
fn a_shell_traces_its_lines() {
    let home = Home::new().warm();
    let shell =
        home.run_with(&["shell", "--trace", "t.json"], "echo one\nexit 3\n# no more\nfalse\n");
    assert_eq!(shell.out, "one\n", "{shell:?}");
    let trace: Value = serde_json::from_str(&home.read("t.json")).unwrap();
    let events = trace["traceEvents"].as_array().unwrap();
    // Once in flight, once in its slot.
    let commands: Vec<&str> =
        events.iter().filter_map(|event| event["args"]["command"].as_str()).collect();
    assert_eq!(commands, ["echo one"; 2], "{trace:#}");
    assert!(events.iter().any(|event| event["name"] == "hands shell"), "{trace:#}");
}
