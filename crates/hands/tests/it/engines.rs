//! Engines that are reached by certificates and headers. What every engine gives is tested among the clients.

use std::fs;

use crate::machines::Net;

#[test]
fn certificates_and_headers_open_an_engine() {
    let Some(net) = Net::new(1) else { return };
    let client = &net.others[0];
    let mut hub = net.hub.start(&["hub", "--listen", "0.0.0.0:8980", "--name", "build"], "");
    hub.says("the hub serves");
    let token = |more: &[&str]| net.hub.ok(&[&["token", "create"], more].concat());
    let level = crate::processes::level(&net.hub.home);
    let join = token(&["--role", "worker"]);
    let mut worker = client.start(&["worker", &join, "--isolation", &level], "");
    worker.says("connected to the hub");
    client.ok(&["login", &token(&["--role", "submit"])]);
    let lines = client.ok(&["bazelrc"]);
    let file = |flag: &str| lines.lines().find_map(|l| l.split_once(flag)).expect(flag).1;
    let bearer = token(&["--role", "submit", "--bearer"]);
    let url = "grpcs://10.77.1.1:8980";
    client.home.write("in", "sent\n");
    let config = client.home.hands_home().join("config/hands.toml");
    fs::create_dir_all(config.parent().unwrap()).unwrap();
    let run = |engine: &str, section: &str| {
        fs::write(&config, format!("[engine]\n{section}")).unwrap();
        client.hands(&["run", "--engine", engine, "--input", "in", "--", "cat", "in"])
    };
    let ca = format!("ca = \"{}\"\n", file("--tls_certificate="));
    let header = format!("headers = [\"Authorization: Bearer {bearer}\"]\n");
    let own = format!(
        "certificate = \"{}\"\nkey = \"{}\"\n",
        file("--tls_client_certificate="),
        file("--tls_client_key=")
    );
    for section in [format!("{ca}{header}"), format!("{ca}{own}")] {
        let ended = run(url, &section);
        assert_eq!((ended.code, ended.out.as_str()), (0, "sent\n"), "{section}: {ended:?}");
    }
    // Nobody vouches for it; it does not know us; and what is another engine's stays with that.
    let stranger = run(url, &header);
    assert!(stranger.code == 125 && stranger.err.contains("not to be trusted"), "{stranger:?}");
    let nobody = run(url, &ca);
    assert!(nobody.code == 125 && nobody.err.contains("token"), "{nobody:?}");
    let elsewhere = run(url, &format!("url = \"grpcs://10.77.1.9\"\n{ca}{header}"));
    assert!(elsewhere.code == 125 && elsewhere.err.contains("not to be trusted"), "{elsewhere:?}");
    for refused in [&stranger, &nobody, &elsewhere] {
        assert!(!refused.err.contains(&bearer), "{refused:?}");
    }
    worker.stop();
    hub.stop();
}
