//! A project's file is foreign input: what it asks for takes its reader's consent.

use crate::home::{Home, json};

#[test]
fn a_project_gets_what_it_asks_for_once_it_is_trusted() {
    let home = Home::new();
    // A directory that no action sees by itself, and one line that is free.
    let text = "[worker]\nexpose = [\"/var/lib\"]\n[run]\nenv = [\"FREE=1\"]\n";
    home.write("hands.toml", text);
    let seen = ["run", "--", "sh", "-c", "echo $FREE; ls -d /var/lib/* | head -1"];
    let refused = home.run(&seen);
    assert_eq!((refused.code, refused.out.as_str()), (125, ""), "{refused:?}");
    let command = format!("`hands trust {}`", home.work().display());
    assert!(
        refused.err.contains("hands.toml:2: worker.expose") && refused.err.contains(&command),
        "{refused:?}"
    );
    assert_eq!(refused.err.lines().count(), 2, "one error and one hint: {refused:?}");
    assert_eq!(home.run(&["ps"]).code, 2, "whatever reads it refuses it");

    let trusted = home.run(&["trust"]);
    assert_eq!(trusted.code, 0, "{trusted:?}");
    assert!(trusted.out.contains("line 2: worker.expose = [\"/var/lib\"]\n"), "{trusted:?}");
    let ended = home.run(&seen);
    assert!(ended.code == 0 && ended.out.starts_with("1\n/var/lib/"), "{ended:?}");

    home.write("hands.toml", &format!("{text}network = \"host\"\n"));
    let changed = home.run(&seen);
    assert!(changed.code == 125 && changed.err.contains("changed since"), "{changed:?}");
    let elsewhere = home.run(&["trust", "--json", home.work().to_str().unwrap()]);
    let object = &json(&elsewhere.out)[0];
    assert_eq!(
        (&object["trusted"], &object["asks"][1]["key"]),
        (&true.into(), &"run.network".into())
    );
    assert_eq!(home.run(&seen).code, 0);
    assert_eq!(home.run(&["trust", "--revoke"]).code, 0);
    assert_eq!(home.run(&seen).code, 125);

    home.write("hands.toml", "[store]\nquota = \"1G\"\n");
    let never = home.run(&["trust"]);
    assert!(never.code == 2 && never.err.contains("store.quota may not be set"), "{never:?}");
    let nowhere = home.run(&["trust", "/"]);
    assert!(nowhere.code == 2 && nowhere.err.contains("no hands.toml in /"), "{nowhere:?}");
}
