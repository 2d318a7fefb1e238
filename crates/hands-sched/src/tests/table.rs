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
    let mut ids = Vec::new();
    for at in 0..40_000 {
        // Few ids, so that most are there; many are neighbours, and long runs are made and cut.
        let id = OperationId(u128::from(random() % 700) << (64 * (random() % 2)));
        ids.push(id);
        let id_at = |at: u32| ids[at as usize];
        assert_eq!(table.get(id, id_at), map.get(&id).copied());
        match map.remove(&id) {
            Some(known) => table.remove(id, known),
            None if random() % 5 < 4 => {
                table.insert(id, at);
                map.insert(id, at);
            }
            None => table.remove(id, at),
        }
        assert_eq!(table.len(), map.len());
        assert_eq!(table.get(id, id_at), map.get(&id).copied());
    }
    let all: BTreeSet<u32> = table.all().collect();
    assert!(all.len() == map.len() && map.values().all(|at| all.contains(at)));
    assert!(map.iter().all(|(id, at)| table.get(*id, |at| ids[at as usize]) == Some(*at)));
}
