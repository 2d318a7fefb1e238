//! Which TLS is spoken with whom: 1.3 between our own programs, and 1.2 with its AEAD suites only with others' clients.

use std::fs;
use std::process::Stdio;

use crate::cluster::{LIST, curl, hub, level, token, turned_away};
use crate::machines::Net;

const SESSION: &str = "hands.v1.Workers/Session";
const INFO: &str = "hands.v1.Jobs/Info";
const RENEW: &str = "hands.v1.Enrolment/Renew";

#[test]
fn hands_programs_speak_tls_1_3_and_others_may_bring_1_2() {
    let Some(net) = Net::new(1) else { return };
    let machine = &net.others[0];
    let _running = hub(&net, &[]);
    machine.ok(&["login", &token(&net, &["--role", "submit"])]);
    let join = token(&net, &["--role", "worker"]);
    let mut worker = machine.start(&["worker", &join, "--isolation", &level(machine)], "");
    worker.says("connected to the hub");
    worker.stop();
    // The certificates and keys of both, as whoever stole them would use them.
    let state = machine.home.hands_home().join("state");
    let identity = |below: &str| {
        let at = |file: &str| state.join(below).join(file).display().to_string();
        let files = [("--cacert", "ca.pem"), ("--cert", "cert.pem"), ("--key", "key.pem")];
        files.iter().flat_map(|(flag, file)| [(*flag).to_owned(), at(file)]).collect::<Vec<_>>()
    };
    let (user, worker) = (identity("clusters/build"), identity("worker/clusters/build"));
    let old = ["--tlsv1.2", "--tls-max", "1.2"];
    let new = ["--tlsv1.3"];
    let with = |own: &[String], more: &[&str]| -> Vec<String> {
        own.iter().cloned().chain(more.iter().map(|&flag| flag.to_owned())).collect()
    };
    let call = |method: &str, own: &[String], more: &[&str]| {
        let flags = with(own, more);
        curl(machine, method, &flags.iter().map(String::as_str).collect::<Vec<_>>())
    };
    let refused = |method: &str, own: &[String], more: &[&str]| {
        let flags = with(own, more);
        turned_away(machine, method, &flags.iter().map(String::as_str).collect::<Vec<_>>())
    };
    // Ours, with the right certificate and the right role.
    for (method, own) in [(SESSION, &worker), (INFO, &user), (RENEW, &user)] {
        let ended = refused(method, own, &old);
        assert!(ended.out.contains("grpc-status: 7"), "{method}: {ended:?}");
        assert!(ended.out.contains("TLS%201.3") || ended.out.contains("TLS 1.3"), "{ended:?}");
    }
    let ended = call(INFO, &user, &new);
    assert!(ended.out.contains("grpc-status: 0"), "{ended:?}");
    // An empty message is no Hello: the session was let in and then refused for that.
    let ended = call(SESSION, &worker, &new);
    assert!(ended.out.contains("grpc-status: 3"), "{ended:?}");
    // Engines' clients: each AEAD suite of TLS 1.2 with forward secrecy, and nothing weaker.
    for suite in [
        "ECDHE-ECDSA-AES128-GCM-SHA256",
        "ECDHE-ECDSA-AES256-GCM-SHA384",
        "ECDHE-ECDSA-CHACHA20-POLY1305",
    ] {
        let ended = call(LIST, &user, &[&old[..], &["--ciphers", suite]].concat());
        assert!(ended.out.contains("grpc-status: 0"), "{suite}: {ended:?}");
    }
    for suite in ["ECDHE-ECDSA-AES128-SHA256", "ECDHE-ECDSA-AES256-SHA", "AES128-GCM-SHA256"] {
        let ended = call(LIST, &user, &[&old[..], &["--ciphers", suite]].concat());
        assert!(ended.code != 0 && ended.out.is_empty(), "{suite}: {ended:?}");
    }
    let ended = call(LIST, &user, &["--tls-max", "1.1"]);
    assert!(ended.code != 0 && ended.out.is_empty(), "{ended:?}");
    // And what does its worst with CBC, said by OpenSSL itself.
    let cbc = "openssl s_client -connect 10.77.1.1:8980 -tls1_2 -cipher ECDHE-ECDSA-AES128-SHA256 \
               </dev/null 2>&1";
    let ended = machine.run("sh", &["-c", cbc]);
    assert!(ended.out.contains("handshake failure"), "{ended:?}");
}

/// A server that has no TLS 1.3 gets no more than the offer to speak it, whatever certificate it would have shown.
#[test]
fn a_hub_that_has_only_tls_1_2_is_none() {
    let Some(net) = Net::new(1) else { return };
    let client = &net.others[0];
    let running = hub(&net, &[]);
    client.ok(&["login", &token(&net, &["--role", "submit"])]);
    let join = token(&net, &["--role", "submit"]);
    running.stop();
    let at = |name: &str| net.hub.home.work().join(name).display().to_string();
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
        "exec openssl s_server -tls1_2 -accept 8980 -alpn h2 -cert {} -key {} > {heard} 2>&1",
        at("cert"),
        at("key"),
    );
    let mut command = net.hub.command("sh", &["-c", &serve]);
    let mut server = command.stdin(Stdio::piped()).spawn().unwrap();
    while !fs::read_to_string(&heard).unwrap_or_default().contains("ACCEPT") {
        assert!(server.try_wait().unwrap().is_none(), "{}", fs::read_to_string(&heard).unwrap());
        std::thread::yield_now();
    }
    let ended = client.hands(&["login", &join]);
    assert!(ended.code != 0, "{ended:?}");
    server.kill().unwrap();
    server.wait().unwrap();
    let heard = fs::read_to_string(&heard).unwrap();
    assert!(heard.contains("unsupported protocol"), "{heard}");
}
