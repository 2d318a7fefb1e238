//! The table of ids beside a map of the standard library.

use super::*;

#[test]
fn the_table_of_ids_agrees_with_a_map() {
    let mut table = crate::id_table::IdTable::new();
    let mut map = BTreeMap::new();
    let mut state = 7_u64;
    let mut random = move || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state >> 33
    };
    for at in 0..40_000 {
        // Few ids, so that most are there; many are neighbours, and long runs are made and cut.
        let id = OperationId(u128::from(random() % 700) << (64 * (random() % 2)));
        if random() % 5 < 2 {
            table.remove(id);
            map.remove(&id);
        } else {
            table.insert(id, at);
            map.insert(id, at);
        }
        assert_eq!(table.len(), map.len());
        assert_eq!(table.get(id), map.get(&id).copied());
    }
    assert!(table.sorted().eq(map.values().copied()));
    assert!(map.iter().all(|(id, at)| table.get(*id) == Some(*at)));
}
