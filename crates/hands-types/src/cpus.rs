//! Numbers of cpus, as people and platforms write them.

/// Reads a number of cpus, `2`, `0.5` or `500m`, as thousandths, of which further digits are left out. Nothing where it is none, less
/// than a thousandth, or more than a million cpus.
pub fn parse_cpus(text: &str) -> Option<u32> {
    let number = |digits: &str| digits.parse::<u32>().ok().filter(|_| !digits.starts_with('+'));
    let millis = match text.strip_suffix('m') {
        Some(millis) => number(millis)?,
        None => {
            let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
            if part.is_empty() || !part.bytes().all(|c| c.is_ascii_digit()) {
                return None;
            }
            let whole = if whole.is_empty() && text.len() > 1 { 0 } else { number(whole)? };
            let thousandths = number(&format!("{part:0<3}")[..3])?;
            whole.checked_mul(1000)?.checked_add(thousandths)?
        }
    };
    (1..=1_000_000_000).contains(&millis).then_some(millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpus_are_read_to_a_thousandth() {
        let cases = [
            ("2", Some(2_000)),
            ("0.5", Some(500)),
            (".25", Some(250)),
            ("500m", Some(500)),
            ("0.12345", Some(123)),
            ("1000000", Some(1_000_000_000)),
        ];
        let wrong =
            ["", ".", "0", "0m", "m", "-1", "+1", "1.", "1.x", "1000000.001", "2 ", "0.0001"];
        for (text, millis) in cases.into_iter().chain(wrong.map(|text| (text, None))) {
            assert_eq!(parse_cpus(text), millis, "{text:?}");
        }
    }
}
