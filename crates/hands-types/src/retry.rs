//! Whether an action may be run again after an attempt was lost.

/// Why it is not; none if it is. `retry` is what its user said, if anything; `lost` are the attempts that were started and
/// lost.
pub fn why_not_again(retry: Option<u32>, has_effects: bool, lost: u32) -> Option<&'static str> {
    match retry {
        Some(most) if lost > most => Some("no retries are left"),
        None if has_effects => Some("it may have had effects outside"),
        Some(_) | None => None,
    }
}
