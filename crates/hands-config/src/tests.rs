use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use hands_link::Address;
use hands_types::ErrorClass;

use super::*;

mod trust;

struct TestDir(PathBuf);

impl TestDir {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path =
            std::env::temp_dir().join(format!("hands-config-test-{}-{number}", std::process::id()));
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn write(&self, path: &str, text: &str) -> PathBuf {
        let path = self.0.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for TestDir {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

fn environment(directory: &Path, variables: &[(&str, &str)]) -> Environment {
    let variables: BTreeMap<OsString, OsString> =
        variables.iter().map(|(k, v)| (OsString::from(k), OsString::from(v))).collect();
    Environment {
        variables,
        directory: Some(directory.to_owned()),
        uid: rustix::process::geteuid().as_raw(),
    }
}

#[expect(clippy::unwrap_in_result, reason = "the result is the tested one")]
/// Loads with `HANDS_HOME` in the test's directory, the user's file and the project's file as given.
fn load(
    user: &str,
    project: &str,
    variables: &[(&str, &str)],
    flags: &Flags,
) -> Result<Settings, ConfigError> {
    let dir = TestDir::new();
    dir.write("home/config/hands.toml", user);
    if !project.is_empty() {
        dir.write("project/hands.toml", project);
    }
    fs::create_dir_all(dir.0.join("project/sub/dir")).unwrap();
    let home = dir.0.join("home");
    let mut all = vec![("HANDS_HOME", home.to_str().unwrap())];
    all.extend(variables);
    let environment = environment(&dir.0.join("project/sub/dir"), &all);
    let places = Places::find(&environment).unwrap();
    Settings::load(&places, &environment, flags)
}

fn message(result: Result<Settings, ConfigError>) -> (String, Option<String>) {
    let error = result.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Config);
    (error.to_string(), error.hint())
}

#[test]
fn flag_then_variable_then_project_then_user_then_built_in() {
    let (user, project, variable) = ("jobs = 1", "jobs = 2", ("HANDS_JOBS", "3"));
    let flag = Flags { jobs: Some(4), ..Flags::default() };
    let none = Flags::default();
    let cases: [(&str, &str, &[(&str, &str)], &Flags, Option<usize>); 6] = [
        ("", "", &[], &none, None),
        (user, "", &[], &none, Some(1)),
        (user, project, &[], &none, Some(2)),
        (user, project, &[variable], &none, Some(3)),
        (user, project, &[variable], &flag, Some(4)),
        // An empty variable is unset.
        (user, project, &[("HANDS_JOBS", "")], &none, Some(2)),
    ];
    for (user, project, variables, flags, expected) in cases {
        let settings = load(user, project, variables, flags).unwrap();
        assert_eq!(settings.jobs, expected, "{user:?} {project:?} {variables:?}");
        assert_eq!(settings.warnings, [] as [String; 0]);
    }
}

#[test]
fn clusters_have_names_and_local_wins() {
    let user =
        "cluster = \"big\"\n[clusters.big]\naddress = \"127.0.0.1:9000\"\ninstance = \"main\"\n";
    let none = Flags::default();
    let hub = |name: &str, port: u16, instance: &str| ClusterChoice::Hub {
        name: name.to_owned(),
        address: format!("127.0.0.1:{port}").parse().unwrap(),
        instance: instance.to_owned(),
    };
    assert_eq!(load("", "", &[], &none).unwrap().cluster, ClusterChoice::Local);
    assert_eq!(load(user, "", &[], &none).unwrap().cluster, hub("big", 9000, "main"));
    let by_address = load(user, "", &[("HANDS_CLUSTER", "127.0.0.1:9001")], &none).unwrap();
    assert_eq!(by_address.cluster, hub("127.0.0.1:9001", 9001, ""));
    assert_eq!(
        load(user, "", &[("HANDS_CLUSTER", "local")], &none).unwrap().cluster,
        ClusterChoice::Local
    );
    let flag = Flags { cluster: Some("big".to_owned()), ..Flags::default() };
    assert_eq!(
        load(user, "", &[("HANDS_CLUSTER", "local")], &flag).unwrap().cluster,
        hub("big", 9000, "main")
    );
    let local = Flags { local: true, ..Flags::default() };
    assert_eq!(load(user, "", &[], &local).unwrap().cluster, ClusterChoice::Local);

    let (text, _) = message(load(user, "", &[("HANDS_CLUSTER", "bog")], &none));
    assert!(
        text.starts_with(
            "HANDS_CLUSTER: cluster is neither a configured cluster (big) nor an address"
        ),
        "{text}"
    );
}

#[test]
fn a_project_sets_what_concerns_the_project() {
    let project = "[run]\ninput = [\"src\", \"./Cargo.toml\"]\nenv = [\"CI\", \"A=b\"]\ntimeout = \"5m\"\nmemory = \"2G\"\nnetwork = \"none\"\n";
    let settings = load("[run]\nenv = [\"X\"]\n", project, &[], &Flags::default()).unwrap();
    let base = settings.project.as_ref().unwrap().parent().unwrap();
    assert_eq!(settings.run.input, [base.join("src"), base.join("./Cargo.toml")]);
    assert_eq!(settings.run.env, ["CI", "A=b"]);
    assert_eq!(settings.run.timeout, Some(Duration::from_secs(300)));
    assert_eq!(settings.run.memory, Some(2 << 30));
    assert_eq!(settings.run.network, Some(hands_types::Network::None));
}

#[test]
fn a_project_may_not_set_what_concerns_the_user() {
    let cases = [
        ("[worker]\nslots = 1", "worker.slots"),
        ("[store]\nquota = \"1T\"", "store.quota"),
        ("[agent]\nidle = \"1d\"", "agent.idle"),
        ("[run]\ninput = [\"../../.ssh\"]", "run.input"),
        ("[run]\ninput = [\"/etc\"]", "run.input"),
    ];
    for (project, key) in cases {
        let line = project.lines().count();
        let (text, hint) = message(load("", project, &[], &Flags::default()));
        assert!(text.contains(&format!("project/hands.toml:{line}: {key} may ")), "{text}");
        assert!(hint.is_some_and(|h| h.starts_with("remove ")), "{key} has a cure");
    }
}

/// Only what is below the project, whichever way the path goes; a link that is named itself stays a link.
#[test]
fn a_project_s_inputs_may_not_go_through_a_link_that_leads_out() {
    let dir = TestDir::new();
    dir.write("secret/key", "secret");
    dir.write("project/src/a", "");
    symlink("../secret", dir.0.join("project/out")).unwrap();
    symlink("src", dir.0.join("project/in")).unwrap();
    let home = dir.0.join("home");
    let environment =
        environment(&dir.0.join("project"), &[("HANDS_HOME", home.to_str().unwrap())]);
    let places = Places::find(&environment).unwrap();
    for (input, is_refused) in [("out/key", true), ("out/", true), ("in/a", false), ("out", false)]
    {
        dir.write("project/hands.toml", &format!("[run]\ninput = [\"{input}\"]"));
        let loaded = Settings::load(&places, &environment, &Flags::default());
        assert_eq!(matches!(loaded, Err(ConfigError::Refused { .. })), is_refused, "{input}");
    }
}

#[test]
fn files_that_others_write_to_are_not_obeyed() {
    let dir = TestDir::new();
    let user = dir.write("home/config/hands.toml", "jobs = 1");
    let project = dir.write("project/hands.toml", "jobs = 2");
    let clusters = dir.0.join("home/state/clusters");
    fs::create_dir_all(&clusters).unwrap();
    let home = dir.0.join("home");
    let environment =
        environment(&dir.0.join("project"), &[("HANDS_HOME", home.to_str().unwrap())]);
    let places = Places::find(&environment).unwrap();
    assert_eq!(places.logins().place(""), clusters.join(""));
    let load = || Settings::load(&places, &environment, &Flags::default());
    let open =
        |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    assert_eq!(load().unwrap().jobs, Some(2));
    for (path, mode) in [(&user, 0o600), (&clusters, 0o700)] {
        open(path, 0o777);
        let error = load().unwrap_err();
        assert!(
            matches!(&error, ConfigError::Foreign { path: named, .. } if named.ends_with(path.file_name().unwrap())),
            "{error}"
        );
        open(path, mode);
    }
    open(&project, 0o666);
    assert!(matches!(load(), Err(ConfigError::Untrusted { .. })));
    Project::find(&places, &dir.0.join("project")).unwrap().unwrap().trust(&places).unwrap();
    assert_eq!(load().unwrap().jobs, Some(2));
}

/// A stranger's file that names ten thousand keys costs what it costs to read it.
#[test]
fn large_files_are_read_in_time_or_refused() {
    let none = Flags::default();
    let keys: String = (0..20_000).map(|n| format!("k{n}.a=1\n")).collect();
    let began = std::time::Instant::now();
    let settings = load("", &keys, &[], &none).unwrap();
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert_eq!(settings.warnings.len(), 21);
    assert_eq!(settings.warnings[20], "and 19980 more such keys");
    let text = load("", &" ".repeat((1 << 20) + 1), &[], &none).unwrap_err();
    assert!(matches!(text, ConfigError::Read { .. }));
}

#[test]
fn wrong_values_name_variable_or_file_and_line() {
    let none = Flags::default();
    let (text, _) = message(load("\n\njobs = \"many\"\n", "", &[], &none));
    assert!(
        text.ends_with(
            "config/hands.toml:3: jobs must be a whole number from 1 to 100000, not \"many\""
        ),
        "{text}"
    );
    let (text, _) = message(load("", "", &[("HANDS_JOBS", "0")], &none));
    assert_eq!(text, "HANDS_JOBS: jobs must be a whole number from 1 to 100000, not \"0\"");
    let (text, _) = message(load("[run]\nenv = 7", "", &[], &none));
    assert!(text.ends_with("hands.toml:2: run.env must be a list of texts, not 7"), "{text}");
    let (text, _) = message(load("", "", &[("HANDS_WORKER_EXPOSE", "relative")], &none));
    assert_eq!(
        text,
        "HANDS_WORKER_EXPOSE: worker.expose holds relative, which is not an absolute path"
    );
    let (text, _) = message(load("jobs = 1\njobs = \n", "", &[], &none));
    assert!(text.contains("config/hands.toml:2: "), "{text}");
}

#[test]
fn unknown_keys_and_variables_warn() {
    let settings = load(
        "jobbs = 1\n",
        "[run]\nimput = [\"x\"]\n",
        &[("HANDS_CLUSTR", "x")],
        &Flags::default(),
    )
    .unwrap();
    assert_eq!(settings.warnings.len(), 3, "{:?}", settings.warnings);
    assert!(
        settings.warnings[0].ends_with("config/hands.toml:1: jobbs is not a key that hands knows")
    );
    assert!(
        settings.warnings[1]
            .ends_with("project/hands.toml:2: run.imput is not a key that hands knows")
    );
    assert_eq!(settings.warnings[2], "HANDS_CLUSTR is not a variable that hands knows");
}

#[test]
fn places_follow_xdg_and_hands_home_moves_them_all() {
    let dir = TestDir::new();
    let path = |p: &str| dir.0.join(p);
    let text = |p: &str| path(p).to_str().unwrap().to_owned();
    fs::create_dir(path("home")).unwrap();
    fs::create_dir(path("rt")).unwrap();

    let xdg = environment(&dir.0, &[("HOME", &text("home")), ("XDG_RUNTIME_DIR", &text("rt"))]);
    let places = Places::find(&xdg).unwrap();
    assert_eq!(places.config, path("home/.config/hands"));
    assert_eq!(places.state, path("home/.local/state/hands"));
    assert_eq!(places.cache, path("home/.cache/hands"));
    assert_eq!(places.runtime, path("rt/hands"));
    assert_eq!(fs::metadata(&places.runtime).unwrap().permissions().mode() & 0o777, 0o700);

    let moved = environment(
        &dir.0,
        &[
            ("XDG_CONFIG_HOME", &text("c")),
            ("XDG_STATE_HOME", &text("s")),
            ("XDG_CACHE_HOME", &text("k")),
            ("XDG_RUNTIME_DIR", &text("rt")),
        ],
    );
    let places = Places::find(&moved).unwrap();
    assert_eq!(
        (places.config, places.state, places.cache),
        (path("c/hands"), path("s/hands"), path("k/hands"))
    );

    let all = environment(&dir.0, &[("HANDS_HOME", &text("new")), ("HOME", "/nonexistent")]);
    let places = Places::find(&all).unwrap();
    for place in [&places.config, &places.state, &places.cache, &places.runtime] {
        assert!(place.starts_with(path("new")), "{}", place.display());
    }
}

#[test]
fn a_home_that_is_no_good_is_one_clear_error() {
    let dir = TestDir::new();
    let rt = dir.0.to_str().unwrap();
    let fails = |variables: &[(&str, &str)], uid_shift: u32| {
        let mut environment = environment(&dir.0, variables);
        environment.uid += uid_shift;
        let error = Places::find(&environment).unwrap_err();
        assert_eq!(error.class(), ErrorClass::Environment);
        assert!(error.hint().is_some());
        error.to_string()
    };
    let text = fails(&[("XDG_RUNTIME_DIR", rt)], 0);
    assert_eq!(text, "HOME is not set, so there is no place for the configuration");
    assert!(
        fails(&[("XDG_RUNTIME_DIR", rt), ("HOME", "/no/such/dir")], 0).ends_with("does not exist")
    );
    assert!(
        fails(&[("XDG_RUNTIME_DIR", rt), ("HOME", "relative")], 0)
            .ends_with("is not an absolute path")
    );
    assert!(fails(&[("HOME", rt)], 1).contains("belongs to user"));
    assert!(fails(&[("HANDS_HOME", rt)], 1).contains("HANDS_HOME is"));
}

#[test]
fn a_runtime_directory_that_others_could_use_is_refused() {
    let dir = TestDir::new();
    let home = dir.0.to_str().unwrap();
    let find = || Places::find(&environment(&dir.0, &[("HANDS_HOME", home)]));
    let run = dir.0.join("run");

    fs::create_dir(&run).unwrap();
    fs::set_permissions(&run, fs::Permissions::from_mode(0o755)).unwrap();
    assert!(find().unwrap_err().to_string().contains("can be entered by others"));
    fs::set_permissions(&run, fs::Permissions::from_mode(0o700)).unwrap();
    find().unwrap();
    fs::remove_dir(&run).unwrap();

    // A link to a good directory is refused as well: its maker could turn it elsewhere.
    fs::create_dir(dir.0.join("good")).unwrap();
    fs::set_permissions(dir.0.join("good"), fs::Permissions::from_mode(0o700)).unwrap();
    std::os::unix::fs::symlink("good", &run).unwrap();
    assert!(find().unwrap_err().to_string().contains("is not a directory"));
}

#[test]
fn a_file_takes_the_words_sizes_and_times_that_flags_take() {
    let user = |line: &str| load(&format!("[run]\n{line}\n"), "", &[], &Flags::default());
    assert_eq!(user("memory = \"4 GiB\"").unwrap().run.memory, Some(4 << 30));
    let timeout = user("timeout = \"1h30m\"").unwrap().run.timeout;
    assert_eq!(timeout, Some(Duration::from_secs(5_400)));
    for wrong in [
        "memory = \"4194304ib\"",
        "timeout = \"5m5m\"",
        "timeout = \"0s\"",
        "network = \"Host\"",
        "network = \"\"",
    ] {
        let error = user(wrong).map(|_| ()).unwrap_err().to_string();
        assert!(error.contains(", not "), "{wrong}: {error}");
    }
    let network = user("network = \"Host\"").map(|_| ()).unwrap_err().to_string();
    assert!(network.contains("must be one of none, loopback, host, not \"Host\""), "{network}");
}

#[test]
fn the_default_quota_is_twenty_gibibytes_or_a_tenth_of_a_smaller_disk() {
    // A file system of memory beside the disk: where tests run, one of them is small.
    for disk in ["/", "/dev/shm"] {
        let mut df = std::process::Command::new("df");
        let Ok(said) = df.args(["-B1", "--output=size", disk]).output() else { continue };
        let said = String::from_utf8(said.stdout).unwrap();
        let Some(Ok(size)) = said.lines().nth(1).map(|line| line.trim().parse::<u64>()) else {
            continue;
        };
        let quota = default_quota(&Path::new(disk).join("there/is/no/such/directory")).unwrap();
        assert_eq!(quota, (size / 10).min(20 << 30), "{disk} of {size} bytes");
    }
    assert!(default_quota(Path::new("/")).unwrap() > 0);
}

#[test]
fn a_login_is_where_work_goes_unless_something_else_is_said() {
    let places = Places {
        config: "/nowhere".into(),
        state: std::env::temp_dir().join(format!("hands-logins-{}", std::process::id())),
        cache: "/nowhere".into(),
        runtime: "/nowhere".into(),
        variables: Vec::new(),
    };
    let logins = places.logins();
    let choose = |variable: &str, flags: &Flags| {
        let environment = Environment {
            variables: [("HANDS_CLUSTER".into(), variable.into())].into(),
            directory: None,
            uid: 0,
        };
        Settings::load(&places, &environment, flags).map(|settings| settings.cluster)
    };
    let to = |name: &str| ClusterChoice::Hub {
        name: name.to_owned(),
        address: Address::Member(logins.place(name)),
        instance: String::new(),
    };
    let none = Flags::default();
    assert_eq!(choose("", &none).unwrap(), ClusterChoice::Local);
    for name in ["a", "b"] {
        std::fs::create_dir_all(logins.place(name)).unwrap();
        std::fs::write(logins.place(name).join("member"), "").unwrap();
    }
    assert_eq!(logins.names(), ["a", "b"]);
    assert_eq!(choose("", &none).unwrap(), ClusterChoice::Local, "no default was chosen");
    logins.set_default("a").unwrap();
    assert_eq!(choose("", &none).unwrap(), to("a"));
    assert_eq!(choose("b", &none).unwrap(), to("b"));
    let flags = Flags { cluster: Some("a".to_owned()), ..Flags::default() };
    assert_eq!(choose("b", &flags).unwrap(), to("a"));
    let local = Flags { local: true, ..Flags::default() };
    assert_eq!(choose("b", &local).unwrap(), ClusterChoice::Local);
    let error = choose("c", &none).unwrap_err().to_string();
    assert!(error.contains("(a, b)"), "{error}");
    assert!(logins.remove("a").unwrap());
    assert!(!logins.remove("a").unwrap());
    assert_eq!(choose("", &none).unwrap(), ClusterChoice::Local);
    for bad in ["", ".default", "a/b", "-a", "a b", "local", "..", &"x".repeat(65)] {
        assert!(!Logins::is_name(bad) && logins.find(bad).is_none(), "{bad}");
    }
    std::fs::remove_dir_all(&places.state).unwrap();
}
