//! Medians with spread. The machine is shared and noisy, so nothing here is a mean.

use std::time::Duration;

/// A set of measured times.
pub(crate) struct Times(Vec<Duration>);

impl Times {
    pub(crate) fn new(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        Self(times)
    }

    /// The value below which this share of all lies; `share` from 0 to 1.
    pub(crate) fn at(&self, share: f64) -> Duration {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index")]
        let index = ((self.0.len() - 1) as f64 * share).round() as usize;
        self.0[index]
    }

    /// Median in milliseconds.
    pub(crate) fn median_ms(&self) -> f64 {
        self.at(0.5).as_secs_f64() * 1e3
    }

    /// `p50 1.9 ms (p10 1.7, p90 2.4, p99 3.8, n 500)`.
    pub(crate) fn summary(&self) -> String {
        let ms = |share| self.at(share).as_secs_f64() * 1e3;
        format!(
            "p50 {:.2} ms (p10 {:.2}, p90 {:.2}, p99 {:.2}, n {})",
            ms(0.5),
            ms(0.1),
            ms(0.9),
            ms(0.99),
            self.0.len()
        )
    }
}

/// `1234 /s (1180–1260)`: the median of some rates with their range.
pub(crate) fn rates(mut all: Vec<f64>) -> (f64, String) {
    all.sort_by(f64::total_cmp);
    let median = all[all.len() / 2];
    (median, format!("{median:.0} /s ({:.0}–{:.0}, n {})", all[0], all[all.len() - 1], all.len()))
}
