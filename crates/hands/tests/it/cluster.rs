//! Machines become a cluster by join strings, and nobody else becomes part of it.

use std::fs;

use crate::home::json;
use crate::machines::{Machine, Net, Program};

/// A hub for all addresses of its machine.
pub(crate) fn hub(net: &Net, more: &[&str]) -> Program {
    let mut arguments = vec!["hub", "--listen", "0.0.0.0:8980", "--name", "build"];
    arguments.extend(more);
    let mut hub = net.hub.start(&arguments, "");
    hub.says("the hub serves");
    hub
}

pub(crate) fn token(net: &Net, arguments: &[&str]) -> String {
    net.hub.ok(&[&["token", "create"], arguments].concat())
}

/// `--isolation` as good as this machine has it.
pub(crate) fn level(machine: &Machine) -> String {
    crate::processes::level(&machine.home)
}

#[test]
fn machines_become_a_cluster_by_one_string_each() {
    let Some(net) = Net::new(3) else { return };
    let [w1, w2, client] = &net.others[..] else { unreachable!("three were made") };
    let (level1, level2) = (level(w1), level(w2));

    // A worker that is started while its hub is away waits, and says so.
    let first = hub(&net, &[]);
    let join = token(&net, &["--role", "worker"]);
    assert!(join.contains("10.77.1.1:8980") && join.contains("10.77.3.1:8980"), "{join}");
    first.stop();
    let mut one = w1.start(
        &["worker", &join, "--name", "w1", "--tag", "one", "--slots", "2", "--isolation", &level1],
        "",
    );
    one.says("waiting for the hub");
    let running = hub(&net, &[]);
    one.says("joined");
    one.says("connected to the hub");
    assert_eq!(one.said("waiting for the hub"), 1);

    // A string for several is not taken where others read it.
    let many = token(&net, &["--role", "worker", "--uses", "2"]);
    let refused = w2.hands(&["worker", &many]);
    assert!(refused.code == 2 && refused.err.contains("standard input"), "{refused:?}");
    let arguments = [
        "worker",
        "-",
        "--name",
        "w2",
        "--prop",
        "shelf=2",
        "--memory",
        "1G",
        "--isolation",
        &level2,
    ];
    let mut two = w2.start(&arguments, &many);
    two.says("connected to the hub");

    // A user logs in by a file, and needs nothing else from then on.
    let file = client.home.write("join", &token(&net, &["--role", "submit"]));
    client.ok(&["login", &format!("@{}", file.display())]);
    client.home.write("in", "sent over the wire\n");
    let run = |more: &[&str]| {
        let fixed = ["run", "--input", "in", "--output", "out"];
        client.hands(
            &[&fixed, more, &["--", "sh", "-c", "cp in out; echo from $0", "there"]].concat(),
        )
    };
    for place in [["--tag", "one"], ["--prop", "shelf=2"]] {
        let ended = run(&place);
        assert_eq!((ended.code, ended.out.as_str()), (0, "from there\n"), "{ended:?}");
        assert_eq!(client.home.read("out"), "sent over the wire\n");
        fs::remove_file(client.home.work().join("out")).unwrap();
    }
    // Of the hub's addresses it has kept the one that answers it, and it begins with that one.
    let lines = client.ok(&["bazelrc"]);
    assert!(lines.contains("grpcs://10.77.3.1:8980"), "{lines}");
    let workers = json(&client.ok(&["workers", "--json"]));
    let names: Vec<_> = workers.iter().map(|w| w["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["w1", "w2"]);
    // What it may not do, it may not: the role is submit.
    let refused = client.hands(&["token", "create", "--role", "admin"]);
    assert!(refused.code == 2 && refused.err.contains("admin"), "{refused:?}");

    // A string that was used is worth nothing.
    let again = w2.hands(&["login", &join]);
    assert!(again.code == 2 && again.err.contains("used up"), "{again:?}");

    // The hub is killed. One line says so, and all goes on by itself.
    running.kill();
    one.says("no connection to the hub");
    let _running = hub(&net, &[]);
    one.says("connected to the hub again");
    assert_eq!(one.said("no connection to the hub"), 1);
    let ended = run(&["--tag", "one"]);
    assert_eq!(ended.code, 0, "{ended:?}");

    // Both sides remember: by name, and by nothing at all.
    one.stop();
    let mut one = w1.start(&["worker", "--name", "w1", "--tag", "one", "--isolation", &level1], "");
    one.says("connected to the hub");
    two.stop();
    let mut two = w2.start(&["worker", "build", "--name", "w2", "--isolation", &level2], "");
    two.says("connected to the hub");

    // And by the string that they joined with, as a service unit has it: that is no second use.
    two.stop();
    let mut two = w2.start(&arguments, &many);
    two.says("connected to the hub");
    let tokens = json(&net.hub.ok(&["token", "list", "--json"]));
    let used: Vec<_> = tokens.iter().filter(|t| t["uses"] == 2).map(|t| &t["used"]).collect();
    assert_eq!(used, [1]);

    // One has to go: at once, and for good.
    net.hub.ok(&["workers", "remove", "w1"]);
    one.says("removed from the cluster");
    let left = json(&client.ok(&["workers", "--json"]));
    assert_eq!((left.len(), &left[0]["name"]), (1, &"w2".into()), "{left:?}");
    let members = json(&net.hub.ok(&["workers", "members", "--json"]));
    let removed: Vec<_> = members.iter().filter(|m| m["removed"] == true).collect();
    assert_eq!((members.len(), removed.len()), (3, 1), "{members:?}");
    assert_eq!(removed[0]["name"], "w1");
    assert_eq!(one.ends(), 2, "it is told to join again");
}

#[test]
fn another_hub_at_the_same_place_is_not_taken_for_ours() {
    let Some(net) = Net::new(2) else { return };
    let [worker, client] = &net.others[..] else { unreachable!("two were made") };
    let running = hub(&net, &[]);
    let join = token(&net, &["--role", "worker"]);
    let late = token(&net, &["--role", "submit"]);
    client.ok(&["login", &token(&net, &["--role", "submit"])]);
    let mut one = worker.start(&["worker", &join, "--isolation", &level(worker)], "");
    one.says("connected to the hub");
    running.kill();
    // Whoever took its address has another key, and would let anybody in.
    let state = net.hub.home.work().join("impostor");
    let _impostor = hub(&net, &["--state", state.to_str().unwrap()]);
    one.says("is not the cluster's hub");
    for ended in [client.hands(&["run", "--", "true"]), client.hands(&["login", &late])] {
        assert!(ended.err.contains("is not the cluster's hub"), "{ended:?}");
        assert!(ended.code == 125 || ended.code == 3, "{ended:?}");
    }
}

#[test]
fn certificates_are_renewed_while_programs_run() {
    let Some(net) = Net::new(2) else { return };
    let [worker, client] = &net.others[..] else { unreachable!("two were made") };
    let _running = hub(&net, &["--leaf-ttl", "3s"]);
    client.ok(&["login", &token(&net, &["--role", "submit"])]);
    let lines = client.ok(&["bazelrc"]);
    let file = |flag: &str| {
        let found = lines.lines().find_map(|l| l.split_once(flag)).expect(flag);
        found.1.to_owned()
    };
    let certificate = file("--tls_client_certificate=");
    let before = fs::read(&certificate).unwrap();
    let join = token(&net, &["--role", "worker"]);
    let mut one = worker.start(&["worker", &join, "--isolation", &level(worker)], "");
    one.says("connected to the hub");
    for _ in 0..3 {
        one.says("the certificate was renewed");
    }
    assert_eq!(one.said("no connection"), 0);
    // The user's ran out meanwhile.
    let ended = client.hands(&["run", "--", "echo", "back"]);
    assert_eq!((ended.code, ended.out.as_str()), (0, "back\n"), "{ended:?}");
    assert_ne!(fs::read(&certificate).unwrap(), before, "the same file, a new certificate");
    one.stop();
}

/// A gRPC call of a foreign program: one empty message; the status is printed with the trailers.
pub(crate) fn curl(machine: &Machine, method: &str, more: &[&str]) -> crate::home::Ran {
    let body = machine.home.work().join("message");
    fs::write(&body, [0; 5]).unwrap();
    let body = format!("@{}", body.display());
    called(machine, method, &[&["--data-binary", &body], more].concat())
}

/// A call that the hub refuses whatever its message is, so that it has none: curl takes an answer that comes while it
/// still sends for an error.
pub(crate) fn turned_away(machine: &Machine, method: &str, more: &[&str]) -> crate::home::Ran {
    called(machine, method, &[&["--request", "POST"], more].concat())
}

fn called(machine: &Machine, method: &str, more: &[&str]) -> crate::home::Ran {
    let url = format!("https://10.77.1.1:8980/{method}");
    let fixed = [
        "--silent",
        "--show-error",
        "--http2",
        "--dump-header",
        "-",
        "--output",
        "/dev/null",
        "--header",
        "content-type: application/grpc",
        "--header",
        "te: trailers",
    ];
    machine.run("curl", &[&fixed, more, &[&url]].concat())
}

pub(crate) const LIST: &str = "google.longrunning.Operations/ListOperations";

#[test]
fn foreign_clients_come_by_token_or_certificate() {
    let Some(net) = Net::new(1) else { return };
    let client = &net.others[0];
    let _running = hub(&net, &["--http", "10.77.1.1:8981"]);
    client.ok(&["login", &token(&net, &["--role", "submit"])]);
    let lines = client.ok(&["bazelrc"]);
    assert!(lines.contains("--remote_executor=grpcs://10.77.1.1:8980"), "{lines}");
    let file = |flag: &str| lines.lines().find_map(|l| l.split_once(flag)).expect(flag).1;
    let authority = ["--cacert", file("--tls_certificate=")];
    let old = [&authority[..], &["--tlsv1.2", "--tls-max", "1.2"]].concat();
    let bearer = token(&net, &["--role", "read", "--bearer"]);
    let header = format!("authorization: Bearer {bearer}");

    let stranger = turned_away(client, LIST, &old);
    assert!(stranger.out.contains("grpc-status: 16"), "{stranger:?}");
    let with_token = [&old[..], &["--header", &header]].concat();
    let reader = curl(client, LIST, &with_token);
    assert!(reader.out.contains("grpc-status: 0"), "{reader:?}");
    let execute = "build.bazel.remote.execution.v2.Execution/Execute";
    let refused = turned_away(client, execute, &with_token);
    assert!(refused.out.contains("grpc-status: 7"), "{refused:?}");
    let own = ["--cert", file("--tls_client_certificate="), "--key", file("--tls_client_key=")];
    for versions in [&old[..], &authority[..]] {
        let member = curl(client, LIST, &[versions, &own].concat());
        assert!(member.out.contains("grpc-status: 0"), "{member:?}");
    }
    net.hub.ok(&[
        "token",
        "revoke",
        json(&net.hub.ok(&["token", "list", "--json"]))[0]["id"].as_str().unwrap(),
    ]);
    let revoked = turned_away(client, LIST, &with_token);
    assert!(revoked.out.contains("grpc-status: 16"), "{revoked:?}");

    // Figures, on a listener of their own.
    let get = |more: &[&str]| client.run("curl", &[&["--silent"], more].concat());
    assert_eq!(get(&["http://10.77.1.1:8981/healthz"]).out, "ok\n");
    let figures = get(&["http://10.77.1.1:8981/metrics"]).out;
    assert!(figures.contains("\nhands_workers 0\n"), "{figures}");
    let counted = "method=\"ListOperations\",code=\"Unauthenticated\"} 2";
    assert!(figures.contains(counted), "{figures}");
    let rebound = get(&["--header", "Host: evil.example", "http://10.77.1.1:8981/metrics"]);
    assert!(!rebound.out.contains("hands_"), "{rebound:?}");
    let whole =
        ["--request-target", "http://evil.example/metrics", "http://10.77.1.1:8981/metrics"];
    assert!(!get(&whole).out.contains("hands_"));
    let whole = ["--request-target", "http://10.77.1.1:8981/healthz", "http://10.77.1.1:8981/x"];
    assert_eq!(get(&whole).out, "ok\n");
    let posted =
        get(&["--request", "POST", "--write-out", "%{http_code}", "http://10.77.1.1:8981/metrics"]);
    assert_eq!(posted.out, "405");
}

#[test]
fn certificates_name_the_hub_and_allow_for_skewed_clocks() {
    let Some(net) = Net::new(1) else { return };
    let client = &net.others[0];
    let _running = hub(&net, &["--public-name", "build.example"]);
    let join = token(&net, &["--role", "submit"]);
    assert!(join.contains("build.example:8980"), "{join}");
    let ask = |script: &str| {
        let ran = client.run("sh", &["-c", script]);
        assert_eq!(ran.code, 0, "{ran:?}");
        ran.out
    };
    let shown = "openssl s_client -connect 10.77.1.1:8980 </dev/null 2>/dev/null | \
                 openssl x509 -noout -ext subjectAltName";
    let names = ask(shown);
    for name in ["DNS:build.example", "DNS:localhost", "IP Address:10.77.1.1", "URI:spiffe://"] {
        assert!(names.contains(name), "{name}: {names}");
    }
    client.ok(&["login", &join]);
    let lines = client.ok(&["bazelrc"]);
    let own = lines.lines().find_map(|l| l.split_once("--tls_client_certificate=")).unwrap().1;
    let second = |which: &str| -> i64 {
        let script =
            format!("date -d \"$(openssl x509 -in '{own}' -noout -{which} | cut -d= -f2)\" +%s");
        ask(&script).trim().parse().unwrap()
    };
    let now: i64 = ask("date +%s").trim().parse().unwrap();
    let (from, to) = (second("startdate"), second("enddate"));
    assert!((3600..3900).contains(&(now - from)), "an hour back: {}", now - from);
    assert!((86_000..=86_400).contains(&(to - now)), "for a day: {}", to - now);
    let mode = ask(&format!("stat -L -c %a \"$(dirname '{own}')\" \"$(dirname '{own}')/key.pem\""));
    assert_eq!(mode, "700\n600\n");
    assert!(ask(&format!("openssl x509 -in '{own}' -noout -text")).contains("prime256v1"));
}

#[test]
fn an_operators_own_authority_serves_beside_ours() {
    let Some(net) = Net::new(1) else { return };
    let client = &net.others[0];
    let dir = net.hub.home.work();
    let at = |name: &str| dir.join(name).to_str().unwrap().to_owned();
    let make = |arguments: &[&str]| {
        let mut command = net.hub.home.program("openssl");
        let done = command.args(arguments).output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    };
    let key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"];
    make(
        &[
            &["req", "-x509"],
            &key[..],
            &["-subj", "/CN=own", "-keyout", &at("ca.key"), "-out", &at("ca.pem")],
        ]
        .concat(),
    );
    for (name, subject, extension) in [
        ("hub", "/CN=hub", "subjectAltName=IP:10.77.1.1"),
        ("user", "/CN=user", "extendedKeyUsage=clientAuth"),
    ] {
        let (key_file, out) = (at(&format!("{name}.key")), at(&format!("{name}.pem")));
        let signed =
            ["-CA", &at("ca.pem"), "-CAkey", &at("ca.key"), "-keyout", &key_file, "-out", &out];
        make(
            &[
                &["req", "-x509"],
                &key[..],
                &[
                    "-subj",
                    subject,
                    "-addext",
                    extension,
                    "-addext",
                    "basicConstraints=critical,CA:FALSE",
                ],
                &signed,
            ]
            .concat(),
        );
    }
    let _running = hub(
        &net,
        &[
            "--tls-cert",
            &at("hub.pem"),
            "--tls-key",
            &at("hub.key"),
            "--client-ca",
            &at("ca.pem"),
            "--client-role",
            "read",
        ],
    );
    let user = ["--cacert", &at("ca.pem"), "--cert", &at("user.pem"), "--key", &at("user.key")];
    let reader = curl(client, LIST, &user);
    assert!(reader.out.contains("grpc-status: 0"), "{reader:?}");
    let refused = turned_away(client, "build.bazel.remote.execution.v2.Execution/Execute", &user);
    assert!(refused.out.contains("grpc-status: 7"), "{refused:?}");
    // Our own programs still look for the key in their join string; an operator works from afar.
    client.ok(&["login", &token(&net, &["--role", "admin"]), "--name", "theirs"]);
    client.ok(&["ps"]);
    let join = client.ok(&["token", "create", "--role", "worker", "--ttl", "5m"]);
    assert!(join.starts_with("hands1:10.77.1.1:8980/"), "{join}");
    assert_eq!(json(&client.ok(&["workers", "members", "--json"])).len(), 1);
    client.ok(&["logout"]);
    assert_eq!(client.hands(&["bazelrc"]).code, 2);
    assert_eq!(client.hands(&["token", "list", "--cluster", "theirs"]).code, 2);
}

/// Whatever stands at the hub's address and ends TLS with a certificate of its own hears no word inside of it.
#[test]
fn a_proxy_that_ends_tls_hears_nothing() {
    let Some(net) = Net::new(1) else { return };
    let client = &net.others[0];
    let running = hub(&net, &[]);
    let join = token(&net, &["--role", "submit"]);
    let used = token(&net, &["--role", "submit"]);
    client.ok(&["login", &used]);
    running.stop();
    let at = |name: &str| net.hub.home.work().join(name).to_str().unwrap().to_owned();
    // The authority's certificate is no secret: the proxy shows it, too.
    let authority = client.home.hands_home().join("state/clusters/build/ca.pem");
    let make = [
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=hub",
        "-keyout",
        &at("key"),
        "-out",
        &at("cert"),
    ];
    assert_eq!(net.hub.run("openssl", &make).code, 0);
    let heard = at("heard");
    let serve = format!(
        "exec openssl s_server -accept 8980 -alpn h2 -cert {} -key {} -cert_chain {} > {heard} 2>&1",
        at("cert"),
        at("key"),
        authority.display()
    );
    let mut command = net.hub.command("sh", &["-c", &serve]);
    let mut proxy = command.stdin(std::process::Stdio::piped()).spawn().unwrap();
    while !fs::read_to_string(&heard).unwrap_or_default().contains("ACCEPT") {
        assert!(proxy.try_wait().unwrap().is_none(), "{}", fs::read_to_string(&heard).unwrap());
        std::thread::yield_now();
    }
    for arguments in [vec!["login", &join], vec!["run", "--", "true"]] {
        let ended = client.hands(&arguments);
        assert!(ended.err.contains("is not the cluster's hub"), "{ended:?}");
    }
    proxy.kill().unwrap();
    proxy.wait().unwrap();
    let heard = fs::read_to_string(&heard).unwrap();
    assert!(!heard.contains("HTTP/2") && !heard.contains("Enrol"), "{heard}");
    assert!(heard.contains("alert"), "the hands were shaken and let go: {heard}");
    // And the string is as good as before.
    let _running = hub(&net, &[]);
    client.ok(&["login", &join]);
}
