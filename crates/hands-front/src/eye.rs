//! Times, amounts and shares as people like to read them.

use std::time::Duration;

/// A time in a sentence: `3 ms`, `1.2 s`, `4 min 5 s`, `2 h 3 min`.
pub fn time(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0 if time.as_millis() < 1_000 => format!("{} ms", time.as_millis()),
        0..=9 => format!("{:.1} s", time.as_secs_f64()),
        10..=59 => format!("{seconds} s"),
        60..=3_599 => format!("{} min {} s", seconds / 60, seconds % 60),
        3_600..=86_399 => format!("{} h {} min", seconds / 3_600, seconds % 3_600 / 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds % 86_400 / 3_600),
    }
}

/// A time in a column of few characters: `0.3s`, `12s`, `4m05s`, `2h03m`, `3d04h`.
pub fn narrow_time(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..=9 => format!("{seconds}.{}s", time.subsec_millis() / 100),
        10..=59 => format!("{seconds}s"),
        60..=3_599 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        3_600..=86_399 => format!("{}h{:02}m", seconds / 3_600, seconds % 3_600 / 60),
        _ => format!("{}d{:02}h", seconds / 86_400, seconds % 86_400 / 3_600),
    }
}

/// An amount of data.
pub fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let (mut whole, mut tenths, mut unit) = (count, 0, 0);
    while whole >= 1024 && unit + 1 < UNITS.len() {
        tenths = whole % 1024 * 10 / 1024;
        whole /= 1024;
        unit += 1;
    }
    match (unit, whole) {
        (0, _) | (_, 10..) => format!("{whole} {}", UNITS[unit]),
        _ => format!("{whole}.{tenths} {}", UNITS[unit]),
    }
}

/// A bar of `width` columns between brackets, `part` of `whole` full. It begins with the first part and is full only
/// with the last.
pub fn bar(part: u64, whole: u64, width: usize) -> String {
    let columns = u64::try_from(width).unwrap_or(u64::MAX);
    let full = match (part, whole) {
        (0, _) | (_, 0) => 0,
        (part, whole) if part >= whole => columns,
        (part, whole) => (part.saturating_mul(columns) / whole).clamp(1, columns.max(2) - 1),
    };
    let full = usize::try_from(full).unwrap_or(width).min(width);
    format!("[{}{}]", "#".repeat(full), "-".repeat(width - full))
}

/// Breaks text at spaces; a word that is longer than a line keeps one of its own.
pub fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    if lines.is_empty() {
        lines.push(String::new());
    }
    lines
}
