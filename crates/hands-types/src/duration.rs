//! Durations as people write them, on command lines and in files.

use std::time::Duration;

/// Reads a duration: parts such as `1h30m`, `90s` or `250ms`, from the longest unit (`d`) to the shortest; a number alone is
/// seconds. The error says what is expected.
pub fn parse_duration(text: &str) -> Result<Duration, &'static str> {
    const WRONG: &str = "expected a time such as 500ms, 90s, 5m, 1h30m or 90d";
    const LONG: &str = "is longer than anything lasts";
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err(WRONG);
    }
    let mut total = Duration::ZERO;
    let mut last = u64::MAX;
    let mut is_first = true;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let (number, after) = rest.split_at(digits);
        let letters = after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len());
        let (unit, after) = after.split_at(letters);
        if number.is_empty() {
            return Err(WRONG);
        }
        let number: u64 = number.parse().map_err(|_| LONG)?;
        let millis = match unit {
            "ms" => 1,
            "s" => 1_000,
            "" if is_first && after.is_empty() => 1_000,
            "m" | "min" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return Err(WRONG),
        };
        // Units only shrink, so that 5m5m and 1s1h are typing errors rather than sums.
        if millis >= last {
            return Err(WRONG);
        }
        let part = number.checked_mul(millis).ok_or(LONG)?;
        total = total.checked_add(Duration::from_millis(part)).ok_or(LONG)?;
        (last, is_first, rest) = (millis, false, after.trim_start());
    }
    Ok(total)
}
