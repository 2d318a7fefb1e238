use super::*;

/// A project below a home of its own.
struct Case {
    dir: TestDir,
    places: Places,
}

impl Case {
    fn new(project: &str) -> Self {
        let dir = TestDir::new();
        dir.write("project/hands.toml", project);
        let places = Places::find(&Self::environment(&dir)).unwrap();
        Self { dir, places }
    }

    fn environment(dir: &TestDir) -> Environment {
        environment(&dir.0.join("project"), &[("HANDS_HOME", dir.0.join("home").to_str().unwrap())])
    }

    fn load(&self) -> Result<Settings, ConfigError> {
        Settings::load(&self.places, &Self::environment(&self.dir), &Flags::default())
    }

    fn project(&self) -> Project {
        Project::find(&self.places, &self.dir.0.join("project")).unwrap().unwrap()
    }
}

#[test]
fn what_concerns_the_user_takes_their_consent() {
    let cases = [
        ("cluster = \"127.0.0.1:1\"", "cluster = \"127.0.0.1:1\": "),
        ("\n[clusters.x]\naddress = \"10.0.0.1:1\"", "clusters.x.address = "),
        ("instance = \"x\"", "instance = "),
        ("[worker]\nexpose = [\"/home\", \"/opt\"]", "worker.expose = [\"/home\", \"/opt\"]: "),
        ("[workers.a]\nssh = \"host\"", "workers.a.ssh = "),
        ("[run]\nnetwork = \"host\"", "run.network = \"host\": "),
    ];
    for (text, ask) in cases {
        let case = Case::new(text);
        let (said, hint) = message(case.load());
        let line = text.lines().count();
        assert!(said.contains(&format!("project/hands.toml:{line}: {ask}")), "{said}");
        assert!(said.ends_with("you have not trusted this file"), "{said}");
        let command = format!("`hands trust {}`", case.dir.0.join("project").display());
        assert!(hint.is_some_and(|h| h.contains(&command)), "{ask}");
        case.project().trust(&case.places).unwrap();
        assert_eq!(case.load().map(|_| ()).map_err(|e| e.to_string()), Ok(()), "{text}");
    }
    let mixed = Case::new("cluster = \"127.0.0.1:1\"\njobs = 3\ninstance = \"x\"\n");
    assert!(message(mixed.load()).0.ends_with("(1 more lines like it)"));
    let asks: Vec<String> = mixed.project().asks.into_iter().map(|a| a.key).collect();
    assert_eq!(asks, ["cluster", "instance"], "in the file's order, and nothing that is free");
}

#[test]
fn consent_is_to_one_text_of_one_file() {
    let case = Case::new("instance = \"a\"\n");
    case.project().trust(&case.places).unwrap();
    assert!(case.project().trusted);
    let record = fs::read_dir(case.places.state.join("trust")).unwrap().next().unwrap().unwrap();
    assert_eq!(record.metadata().unwrap().permissions().mode() & 0o777, 0o600);

    case.dir.write("project/hands.toml", "instance = \"b\"\n");
    assert!(message(case.load()).0.ends_with("the file has changed since you trusted it"));
    case.dir.write("project/hands.toml", "instance = \"a\"\n");
    case.load().unwrap();
    // The same text elsewhere is another project.
    case.dir.write("other/hands.toml", "instance = \"a\"\n");
    let other = Project::find(&case.places, &case.dir.0.join("other")).unwrap().unwrap();
    assert!(!other.trusted);
    // A record that was tampered with allows nothing.
    fs::write(record.path(), "nonsense").unwrap();
    assert!(case.load().is_err());

    case.project().trust(&case.places).unwrap();
    assert!(case.project().revoke(&case.places).unwrap());
    assert!(!case.project().revoke(&case.places).unwrap());
    assert!(message(case.load()).0.ends_with("you have not trusted this file"));
}

#[test]
fn the_agent_shows_what_trusted_projects_want_to_see() {
    let case = Case::new("[worker]\nexpose = [\"/opt/b\", \"/opt/a\"]\n");
    let exposed = || trusted_exposures(&case.places).unwrap();
    assert_eq!(exposed(), [] as [PathBuf; 0]);
    case.project().trust(&case.places).unwrap();
    assert_eq!(exposed(), [PathBuf::from("/opt/a"), PathBuf::from("/opt/b")]);
    case.dir.write("project/hands.toml", "[worker]\nexpose = [\"/root\"]\n");
    assert_eq!(exposed(), [] as [PathBuf; 0], "the changed file was not trusted");
    fs::remove_file(case.dir.0.join("project/hands.toml")).unwrap();
    assert_eq!(exposed(), [] as [PathBuf; 0]);
}
