//! What somebody who runs a cluster asks and tells it: its stores, its workers, what an action waits for.

use std::fs;
use std::path::{Path, PathBuf};

use crate::home::{Home, json, names};
use crate::killable::Cluster;

/// The only file in which a store keeps a large blob.
pub(crate) fn large_blob(store: &Path) -> PathBuf {
    let mut found = Vec::new();
    for shard in fs::read_dir(store.join("blobs/sha256")).unwrap() {
        let shard = shard.unwrap().path();
        found.extend(names(&shard).into_iter().map(|name| shard.join(name)));
    }
    assert_eq!(found.len(), 1, "{found:?}");
    found.remove(0)
}

/// Overwrites some bytes and leaves length and times as they were: as a disk does it.
pub(crate) fn spoil(path: &Path) {
    use std::io::{Seek, SeekFrom, Write};
    let before = fs::metadata(path).unwrap();
    fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    let mut file = fs::File::options().write(true).open(path).unwrap();
    file.seek(SeekFrom::Start(before.len() / 2)).unwrap();
    file.write_all(b"spoiled").unwrap();
    file.set_times(fs::FileTimes::new().set_modified(before.modified().unwrap())).unwrap();
    fs::set_permissions(path, before.permissions()).unwrap();
}

#[test]
fn a_store_is_measured_cleaned_and_read() {
    let home = Home::new();
    let nothing = home.run(&["store", "status"]);
    assert!(nothing.code == 2 && nothing.err.contains("there is no store"), "{nothing:?}");
    let home = home.warm();
    home.write("large", &"x".repeat(300_000));
    let sent = home.run(&["run", "-q", "--input", "large", "--", "wc", "-c", "large"]);
    assert_eq!(sent.out, "300000 large\n", "{sent:?}");
    let directory = home.hands_home().join("state/agent/store");
    // The agent is asked while it runs; without it the store is opened here.
    for running in [true, false] {
        let status = json(&home.run(&["store", "status", "--json"]).out).remove(0);
        assert_eq!(Path::new(status["directory"].as_str().unwrap()), directory, "{status}");
        assert!(status["large_bytes"].as_u64().unwrap() >= 300_000, "{status}");
        let words = home.run(&["store", "status"]);
        assert!(words.code == 0 && words.out.contains("holds"), "{words:?}");
        let cleaned = json(&home.run(&["store", "gc", "--json"]).out).remove(0);
        assert!(cleaned["bytes"].as_u64() <= cleaned["quota"].as_u64(), "{cleaned}");
        let well = home.run(&["store", "verify", "--json"]);
        let found = json(&well.out).remove(0);
        assert!(well.code == 0 && found["blobs"].as_u64().unwrap() > 3, "{well:?}");
        assert_eq!(found["corrupt"], serde_json::json!([]));
        spoil(&large_blob(&directory));
        let bad = home.run(&["store", "verify"]);
        assert!(bad.code == 1 && bad.err.contains("1 corrupt blob was put"), "{bad:?}");
        let digest = bad.out.trim();
        assert!(digest.ends_with("/300000"), "{bad:?}");
        assert_eq!(names(&directory.join("quarantine")).len(), 1);
        let again = home.run(&["store", "verify", "--json"]);
        assert_eq!(again.code, 0, "{again:?}");
        if running {
            // Sent anew by whoever needs it.
            let sent = home.run(&["run", "-q", "--input", "large", "--", "wc", "-c", "large"]);
            assert_eq!(sent.out, "300000 large\n", "{sent:?}");
            assert_eq!(home.run(&["agent", "stop"]).code, 0);
        }
    }
}

#[test]
fn a_hub_s_store_is_asked_for_and_a_worker_s_is_opened() {
    let cluster = Cluster::start();
    let worker = cluster.worker("w", &[]);
    let home = &cluster.home;
    home.write("large", &"y".repeat(200_000));
    let sent = cluster.run(&["-q", "--input", "large", "--", "wc", "-c", "large"]);
    assert_eq!(sent.out, "200000 large\n", "{sent:?}");
    let status = home.run(&["store", "status", "--json", "--cluster", &cluster.socket]);
    let directory = json(&status.out)[0]["directory"].as_str().unwrap().to_owned();
    assert!(Path::new(&directory).starts_with(cluster.hub_state()), "{status:?}");
    let state = cluster.worker_state("w").display().to_string();
    let held = home.run(&["store", "verify", "--state", &state]);
    assert!(held.code == 2 && held.err.contains("is in use by another process"), "{held:?}");
    assert_eq!(worker.stop(), Some(0));
    let well = home.run(&["store", "verify", "--json", "--state", &state]);
    assert!(well.code == 0 && json(&well.out)[0]["bytes"].as_u64() > Some(200_000), "{well:?}");
}

#[test]
fn a_worker_is_drained_from_afar_and_ends() {
    let cluster = Cluster::start();
    let mut leaves = cluster.worker("leaves", &["--slots", "1"]);
    let running = cluster.detached(&["sh", "-c", "echo begun; exec sleep 1000"]);
    cluster.until_output(&running, "begun");
    let missing = cluster.hands(&["worker", "drain", "nobody"]);
    assert!(missing.code != 0 && missing.err.contains("nobody"), "{missing:?}");
    assert_eq!(cluster.hands(&["worker", "drain", "leaves"]).code, 0);
    let workers = json(&cluster.hands(&["workers", "--json"]).out);
    assert_eq!(workers[0]["draining"], true, "{workers:?}");
    // It takes nothing new: what comes now waits, and says so.
    let waits = cluster.detached(&["true"]);
    let why = cluster.hands(&["why", &waits]);
    assert!(why.code == 0 && why.out.starts_with("waiting: "), "{why:?}");
    assert_eq!(cluster.hands(&["cancel", &running]).code, 0);
    assert_eq!(leaves.0.wait().unwrap().code(), Some(0));
    let _stays = cluster.worker("stays", &["--slots", "1"]);
    assert_eq!(cluster.hands(&["wait", &waits]).code, 0);
    let ended = cluster.hands(&["why", &waits]);
    assert_eq!(ended.out, "nothing: it has ended (done)\n", "{ended:?}");
}
