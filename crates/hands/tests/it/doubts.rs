//! What a disk spoils below a worker, and what becomes of the results that were made from it.

use std::fs;
use std::os::unix::fs::{FileExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::home::json;
use crate::killable::Cluster;
use crate::processes::{Server, level};

/// Changes a byte and leaves size, mode and modification time as they were.
fn spoil(path: &Path) {
    let before = fs::metadata(path).unwrap();
    // As root the mode does not matter; as another user it is what protects the file.
    fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap();
    let file = fs::File::options().write(true).open(path).unwrap();
    file.write_all_at(b"X", 0).unwrap();
    file.set_times(fs::FileTimes::new().set_modified(before.modified().unwrap())).unwrap();
    fs::set_permissions(path, before.permissions()).unwrap();
}

fn find(below: &Path, name: &str, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(below).unwrap().flatten() {
        if entry.file_type().unwrap().is_dir() {
            find(&entry.path(), name, found);
        } else if entry.file_name() == name {
            found.push(entry.path());
        }
    }
}

/// The hub calls the second of two workers of one name by its id, too; it takes back its own results by that.
#[test]
fn a_worker_takes_back_what_it_made_of_a_damaged_tree() {
    let cluster = Cluster::start();
    let _first = cluster.worker("w", &["--tag", "first"]);
    let state = cluster.worker_state("second");
    let place = state.display().to_string();
    let level = level(&cluster.home);
    let worker = ["worker", &cluster.socket, "--name", "w", "--state", &place, "--tag", "second"];
    let worker = [&worker[..], &["--isolation", &level]].concat();
    let (_second, _) = Server::start(&cluster.home, &worker, "connected to the hub");
    cluster.home.write("in/an-input", "as it came\n");
    let run = |n: u32| {
        let command = format!("cat in/an-input; : {n}");
        let fixed = ["--cache", "--json", "--tag", "second", "--input", "in"];
        let ran = cluster.run(&[&fixed[..], &["--", "sh", "-c", &command]].concat());
        assert_eq!(ran.code, 0, "{ran:?}");
        json(&ran.out).remove(0)
    };
    // A look that comes between the result and the damage confirms the result, and rightly: then it stays.
    let is_taken_back = |n: u32| {
        let made = run(n);
        let worker = made["worker"].as_str().unwrap();
        assert!(worker.starts_with("w~") && made["cached"] == false, "{made}");
        assert_eq!(made["stdout"], "as it came\n", "round {n}: {made}");
        let mut trees = Vec::new();
        find(&state, "an-input", &mut trees);
        assert!(!trees.is_empty(), "no staged tree");
        trees.iter().for_each(|path| spoil(path));
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(6) {
            let again = run(n);
            assert_eq!(again["stdout"], "as it came\n", "{again}");
            if again["cached"] == false {
                return true;
            }
        }
        false
    };
    assert!((0..5).any(is_taken_back), "no result was taken back");
}
