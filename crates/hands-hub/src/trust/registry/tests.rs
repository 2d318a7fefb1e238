use std::time::Duration;

use hands_link::TokenSecret;
use hands_types::{Role, Roles};

use super::{DAY, NewToken, Registry, unix_millis};

fn token(registry: &Registry, id: u8, uses: u32) -> super::TokenId {
    let secret = TokenSecret::new([id; 8], [id; 32]);
    let roles = Roles::NONE.with(Role::Worker);
    let ttl = Duration::from_secs(3600);
    registry.add_token(NewToken { secret: &secret, roles, bearer: false, uses, ttl }).unwrap().id
}

#[test]
fn what_has_ended_is_forgotten_and_the_rest_survives_a_restart() {
    let dir = std::env::temp_dir().join(format!("hands-registry-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let path = dir.join("authority.db");
    let registry = Registry::open(&path).unwrap();
    let (many, once) = (token(&registry, 1, 4), token(&registry, 2, 1));
    let names = ["here", "away for a month", "removed long ago", "not seen for years"];
    let worker = Roles::NONE.with(Role::Worker);
    let ids = names.map(|name| {
        let key = name.as_bytes();
        registry.enrol(many, key, name, worker).unwrap().unwrap().id
    });
    assert!(registry.enrol(many, b"fifth", "fifth", worker).unwrap().is_err());
    registry.remove_members(&ids[2..3]).unwrap();
    // As if much time had passed.
    let age = |table: &str, column: &str, name: &str, days: i64| {
        let sql = format!("UPDATE {table} SET {column} = ?1 WHERE {name}");
        let then = unix_millis() - days * DAY;
        registry.writer.lock().unwrap().execute(&sql, [then]).unwrap();
    };
    age("members", "renewed", "name = 'away for a month'", 31);
    age("members", "renewed", "name = 'removed long ago'", 31);
    age("members", "renewed", "name = 'not seen for years'", 401);
    age("tokens", "expires", "1", 31);
    drop(registry);

    let registry = Registry::open(&path).unwrap();
    let left: Vec<String> = registry.members().into_iter().map(|member| member.name).collect();
    assert_eq!(left, ["away for a month", "here"]);
    assert!(registry.member(ids[1]).is_some() && registry.member(ids[3]).is_none());
    // One token has run out and is kept as the handle of its members; the other had none.
    assert!(registry.token(many).is_some() && registry.token(once).is_none());
    assert!(registry.enrol(many, b"late", "late", worker).unwrap().is_err());
    assert_eq!(registry.revoke_token(many, true).unwrap().len(), 2);
    token(&registry, 3, 1);
    assert_eq!(registry.tokens().len(), 2);
    drop(registry);
    std::fs::remove_dir_all(&dir).unwrap();
}

/// No other file has a part in it that may be lost or damaged.
#[test]
fn a_removal_stands_in_the_table_itself_at_once() {
    let dir = std::env::temp_dir().join(format!("hands-removal-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let registry = Registry::open(&dir.join("authority.db")).unwrap();
    let token = token(&registry, 1, 4);
    let worker = Roles::NONE.with(Role::Worker);
    let [gone, stays] =
        ["gone", "stays"].map(|n| registry.enrol(token, n.as_bytes(), n, worker).unwrap().unwrap());
    registry.remove_members(&[gone.id]).unwrap();
    let alone = dir.join("alone.db");
    std::fs::copy(dir.join("authority.db"), &alone).unwrap();
    let found = Registry::open(&alone).unwrap();
    let names = [gone.id, stays.id].map(|id| found.member(id).map(|member| member.name));
    assert_eq!(names, [None, Some("stays".to_owned())]);
    std::fs::remove_dir_all(&dir).unwrap();
}

#[test]
fn a_table_that_is_gone_beside_its_key_is_not_begun_anew() {
    use crate::HubError::MembersGone;
    use crate::trust::{authority::Authority, open_registry};
    let dir = std::env::temp_dir().join(format!("hands-gone-{}", std::process::id()));
    let path = dir.join("authority.db");
    drop(open_registry(&dir).unwrap());
    // Killed before it had a key: nobody can have joined.
    std::fs::remove_file(&path).unwrap();
    drop(open_registry(&dir).unwrap());
    Authority::open(&dir).unwrap();
    drop(open_registry(&dir).unwrap());
    std::fs::write(&path, "").unwrap();
    assert!(matches!(open_registry(&dir), Err(MembersGone { .. })));
    std::fs::remove_file(&path).unwrap();
    assert!(matches!(open_registry(&dir), Err(MembersGone { .. })));
    assert!(!path.exists());
    std::fs::remove_dir_all(&dir).unwrap();
}
