use hands_store::StoreConfig;

use super::*;
use crate::db::{Commit, Then};

#[tokio::test]
async fn a_hub_whose_table_has_gone_ends() {
    let dir = std::env::temp_dir().join(format!("hands-hub-table-{}", std::process::id()));
    let store = Store::open(StoreConfig::new(dir.join("store"))).unwrap();
    let hub = Hub::open(HubConfig::new(&dir, store)).unwrap();
    // On the table's thread, which it ends.
    let planted: Then = Box::new(|| panic!("planted"));
    hub.shared.db.submit(Commit { then: vec![planted], ..Commit::default() });
    let ended = tokio::time::timeout(Duration::from_secs(60), hub.ended()).await;
    hub.close().await;
    drop(hub);
    std::fs::remove_dir_all(&dir).unwrap();
    ended.expect("the hub goes on without its table");
}
