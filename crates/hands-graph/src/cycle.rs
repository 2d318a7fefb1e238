//! Jobs that wait for each other.

use crate::add::Draft;

/// The jobs of a draft in an order in which each stands behind those of the same draft that it waits for; or a cycle,
/// each job waiting for the next, the first one again at the end. `first_new` is the number of the draft's first job.
pub(crate) fn order(drafts: &[Draft], first_new: u32) -> Result<Vec<u32>, Vec<u32>> {
    // All edges in one vector, those of one job beside each other.
    let mut missing = vec![0_u32; drafts.len()];
    let mut ends = vec![0_usize; drafts.len() + 1];
    for (at, draft) in drafts.iter().enumerate() {
        for after in draft.after.iter().filter_map(|at| at.checked_sub(first_new)) {
            missing[at] += 1;
            ends[after as usize + 1] += 1;
        }
    }
    for at in 1..ends.len() {
        ends[at] += ends[at - 1];
    }
    let mut free = ends.clone();
    let mut dependants = vec![0_u32; ends[drafts.len()]];
    for (number, draft) in (0..).zip(drafts) {
        for after in draft.after.iter().filter_map(|at| at.checked_sub(first_new)) {
            dependants[free[after as usize]] = number;
            free[after as usize] += 1;
        }
    }
    let mut order: Vec<u32> =
        (0..).zip(&missing).filter(|(_, missing)| **missing == 0).map(|(at, _)| at).collect();
    let mut next = 0;
    while let Some(&at) = order.get(next) {
        next += 1;
        for dependant in &dependants[ends[at as usize]..ends[at as usize + 1]] {
            missing[*dependant as usize] -= 1;
            if missing[*dependant as usize] == 0 {
                order.push(*dependant);
            }
        }
    }
    let number = |at: u32| at + first_new;
    let Some(start) = (0..).zip(&missing).find(|(_, missing)| **missing > 0) else {
        return Ok(order.into_iter().map(number).collect());
    };
    let cycle = walk(drafts, first_new, start.0, &missing);
    Err(cycle.into_iter().map(number).collect())
}

/// Each job that is left waits for one that is left: whoever goes on and on comes back to where he was.
fn walk(drafts: &[Draft], first_new: u32, start: u32, missing: &[u32]) -> Vec<u32> {
    let mut seen = vec![usize::MAX; drafts.len()];
    let mut way = Vec::new();
    let mut here = start;
    while seen[here as usize] == usize::MAX {
        seen[here as usize] = way.len();
        way.push(here);
        let mut after =
            drafts[here as usize].after.iter().filter_map(|at| at.checked_sub(first_new));
        here = after
            .find(|at| missing[*at as usize] > 0)
            .expect("a job that is left waits for one that is left");
    }
    let mut cycle = way.split_off(seen[here as usize]);
    // It begins with the job that was given first.
    let least = (0..cycle.len()).min_by_key(|at| cycle[*at]).unwrap_or(0);
    cycle.rotate_left(least);
    cycle.push(cycle[0]);
    cycle
}
