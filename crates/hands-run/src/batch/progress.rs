//! The progress bar: one line of stderr, only where a person watches. Pure but for the clock that is handed in.

use std::time::Duration;

use hands_front::eye;

/// What a batch has come to.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Progress {
    pub(crate) total: usize,
    pub(crate) running: usize,
    pub(crate) succeeded: usize,
    pub(crate) failed: usize,
    pub(crate) not_run: usize,
    /// Of a batch that is ended before its end: what was submitted and had no result yet, and whether it is cancelled.
    pub(crate) under_way: usize,
    pub(crate) cancelled: bool,
    /// The same: what has a result that is not here.
    pub(crate) not_fetched: usize,
    /// The same: what was not begun.
    pub(crate) not_begun: usize,
    /// Finished by an earlier run.
    pub(crate) before: usize,
}

impl Progress {
    fn finished(&self) -> usize {
        self.succeeded + self.failed + self.not_run
    }

    /// The line, at most `width` columns.
    pub(crate) fn line(&self, elapsed: Duration, width: usize) -> String {
        let done = self.finished() + self.before;
        let mut parts = vec![format!(" {done}/{}", self.total)];
        if self.failed > 0 {
            parts.push(format!("{} failed", self.failed));
        }
        if self.not_run > 0 {
            parts.push(format!("{} not run", self.not_run));
        }
        parts.push(format!("{} running", self.running));
        let seconds = elapsed.as_secs_f64();
        if self.finished() > 0 && seconds > 0.2 {
            #[expect(clippy::cast_precision_loss, reason = "a figure for the eye")]
            let (rate, left) = {
                let rate = self.finished() as f64 / seconds;
                (rate, self.total.saturating_sub(done) as f64 / rate)
            };
            parts.push(if rate >= 10.0 { format!("{rate:.0}/s") } else { format!("{rate:.1}/s") });
            parts.push(format!("{} left", eye::time(Duration::from_secs_f64(left))));
        }
        let text = parts.join("  ");
        let room = width.saturating_sub(text.len() + 3).min(30);
        if room < 5 {
            return text.trim_start().chars().take(width.saturating_sub(1)).collect();
        }
        let bar = match self.total {
            // Nothing to do is done.
            0 => eye::bar(1, 1, room),
            total => eye::bar(done as u64, total as u64, room),
        };
        format!("{bar}{text}")
    }

    /// What is said at the end.
    pub(crate) fn summary(&self, elapsed: Duration) -> String {
        let mut parts = vec![format!("{} succeeded", self.succeeded)];
        if self.failed > 0 {
            parts.push(format!("{} failed", self.failed));
        }
        if self.not_run > 0 {
            parts.push(format!("{} not run", self.not_run));
        }
        let under_way = if self.cancelled { "cancelled" } else { "still under way" };
        for (n, what) in [
            (self.under_way, under_way),
            (self.not_fetched, "ended and not fetched"),
            (self.not_begun, "not begun"),
            (self.before, "finished before"),
        ] {
            if n > 0 {
                parts.push(format!("{n} {what}"));
            }
        }
        format!("{} of {}, {}", parts.join(", "), commands(self.total), eye::time(elapsed))
    }
}

/// So many commands, as people say it.
pub(crate) fn commands(n: usize) -> String {
    if n == 1 { "1 command".to_owned() } else { format!("{n} commands") }
}
