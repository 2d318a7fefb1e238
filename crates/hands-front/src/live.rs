//! What runs right now, for a person who watches: of hundreds of things those that have run longest, and how many more.
//! Pure but for the clock that is handed in.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::time::{Duration, Instant};

use hands_client::printable;

use crate::eye::narrow_time;

/// Lines that are shown at most: more is read by nobody while it moves.
const MOST: usize = 12;
/// What runs for less is no line: it would be gone before anybody had read it.
const UNSEEN: Duration = Duration::from_secs(1);
/// Columns of a time.
const TIME: usize = 6;

/// Things that run, by a key of their own.
#[derive(Debug)]
pub struct Live<K> {
    /// By their beginning; the number tells those apart that began at once.
    rows: BTreeMap<(Instant, u64), String>,
    places: HashMap<K, (Instant, u64)>,
    count: u64,
}

impl<K> Default for Live<K> {
    fn default() -> Self {
        Self { rows: BTreeMap::new(), places: HashMap::new(), count: 0 }
    }
}

impl<K: Eq + Hash> Live<K> {
    /// Something began, or began again. `text` may be foreign.
    pub fn begins(&mut self, key: K, text: &str, now: Instant) {
        self.ends(&key);
        self.count += 1;
        let place = (now, self.count);
        self.rows.insert(place, printable(text).into_owned());
        self.places.insert(key, place);
    }

    /// It is over; what never began may be over, too.
    pub fn ends(&mut self, key: &K) {
        if let Some(place) = self.places.remove(key) {
            self.rows.remove(&place);
        }
    }

    /// How many run.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether nothing runs.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The lines, on a terminal of so many rows and columns: they leave half of it to what is printed above. None where
    /// nothing has run for a second.
    pub fn lines(&self, rows: u16, columns: usize, now: Instant) -> Vec<String> {
        let room = MOST.min(usize::from(rows / 2));
        let times = self
            .rows
            .iter()
            .map(|((began, _), text)| (now.saturating_duration_since(*began), text));
        let seen = times.take_while(|(time, _)| *time >= UNSEEN);
        let mut lines: Vec<String> = seen
            .take(room)
            .map(|(time, text)| {
                let line = format!("  {:>TIME$}  {text}", narrow_time(time));
                line.chars().take(columns.saturating_sub(1)).collect()
            })
            .collect();
        if lines.len() == room && self.len() > room {
            lines.pop();
        }
        if !lines.is_empty() && self.len() > lines.len() {
            lines.push(format!("  {:>TIME$}  and {} more", "", self.len() - lines.len()));
        }
        lines
    }
}
