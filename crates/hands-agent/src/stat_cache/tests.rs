use super::*;

const SECOND: i64 = 1_000_000_000;

fn key(inode: u64, mtime: i64, ctime: i64) -> StatKey {
    StatKey { device: 1, inode, size: 5, mtime, ctime }
}

fn digest() -> Digest {
    hands_tree::hash(DigestFunction::Sha256, b"hello")
}

#[test]
fn an_entry_is_believed_only_of_a_file_left_alone_for_two_seconds() {
    let cases = [
        // mtime, ctime, when the reading began, whether it is believed
        (10 * SECOND, 10 * SECOND, 12 * SECOND, true),
        (10 * SECOND, 10 * SECOND, 12 * SECOND - 1, false),
        // An old mtime set by hand does not hide a change: the inode's own time counts as well.
        (SECOND, 11 * SECOND, 12 * SECOND, false),
        (11 * SECOND, SECOND, 12 * SECOND, false),
        // A file from the future is never believed.
        (20 * SECOND, 10 * SECOND, 12 * SECOND, false),
    ];
    for (mtime, ctime, started, believed) in cases {
        let cache = StatCache::new();
        let key = key(7, mtime, ctime);
        cache.insert(&key, digest(), started.into());
        let expected = if believed { Lookup::Known(digest()) } else { Lookup::Unknown };
        assert_eq!(
            cache.lookup(&key, DigestFunction::Sha256),
            expected,
            "{mtime} {ctime} {started}"
        );
    }
}

#[test]
fn an_unbelievable_reading_also_takes_the_entry_before_it() {
    let cache = StatCache::new();
    let old = key(7, SECOND, SECOND);
    cache.insert(&old, digest(), i128::from(10 * SECOND));
    cache.insert(&key(7, 20 * SECOND, 20 * SECOND), digest(), i128::from(20 * SECOND));
    assert_eq!(cache.lookup(&old, DigestFunction::Sha256), Lookup::Unknown);
}

#[test]
fn any_difference_in_the_key_is_another_state() {
    let cache = StatCache::new();
    let known = key(7, SECOND, 2 * SECOND);
    cache.insert(&known, digest(), i128::from(10 * SECOND));
    let others = [
        StatKey { device: 2, ..known },
        StatKey { inode: 8, ..known },
        StatKey { size: 6, ..known },
        StatKey { mtime: SECOND + 1, ..known },
        StatKey { ctime: 2 * SECOND + 1, ..known },
    ];
    for other in others {
        assert_eq!(cache.lookup(&other, DigestFunction::Sha256), Lookup::Unknown, "{other:?}");
    }
    assert_eq!(cache.lookup(&known, DigestFunction::Blake3), Lookup::Unknown);
    assert_eq!(cache.lookup(&known, DigestFunction::Sha256), Lookup::Known(digest()));
}

#[test]
fn the_bound_holds_and_what_was_used_last_stays() {
    let cache = StatCache::bounded(100);
    for inode in 0..100 {
        cache.insert(&key(inode, SECOND, SECOND), digest(), i128::from(10 * SECOND));
    }
    cache.begin();
    for inode in 60..100 {
        assert_eq!(
            cache.lookup(&key(inode, SECOND, SECOND), DigestFunction::Sha256),
            Lookup::Known(digest())
        );
    }
    cache.insert(&key(100, SECOND, SECOND), digest(), i128::from(10 * SECOND));
    assert_eq!(cache.len(), 41);
    assert_eq!(
        cache.lookup(&key(99, SECOND, SECOND), DigestFunction::Sha256),
        Lookup::Known(digest())
    );
    for inode in 1000..2000 {
        cache.insert(&key(inode, SECOND, SECOND), digest(), i128::from(10 * SECOND));
        assert!(cache.len() <= 100);
    }
}

#[test]
fn saved_and_loaded_again_and_never_half_believed() {
    let dir = crate::test_dir("stat-cache");
    let path = dir.path().join("stat-cache");
    let cache = StatCache::new();
    for inode in 0..10 {
        cache.insert(&key(inode, -SECOND, SECOND), digest(), i128::from(10 * SECOND));
    }
    cache.save(&path).unwrap();
    let again = StatCache::load(&path);
    assert_eq!(again.len(), 10);
    assert_eq!(
        again.lookup(&key(3, -SECOND, SECOND), DigestFunction::Sha256),
        Lookup::Known(digest())
    );

    let good = std::fs::read(&path).unwrap();
    for (at, what) in [(5, "version"), (good.len() / 2, "an entry"), (good.len() - 1, "the check")]
    {
        let mut bad = good.clone();
        bad[at] ^= 1;
        std::fs::write(&path, &bad).unwrap();
        assert_eq!(StatCache::load(&path).len(), 0, "{what} was damaged");
    }
    std::fs::write(&path, &good[..good.len() - 74]).unwrap();
    assert_eq!(StatCache::load(&path).len(), 0, "truncated");
    std::fs::remove_file(&path).unwrap();
    assert_eq!(StatCache::load(&path).len(), 0, "deleted");
}
