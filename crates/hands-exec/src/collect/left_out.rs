//! What stands among the outputs and can't be brought: named, so that the rest can be.

use hands_types::text::printable;

use super::CollectError;

/// Entries that are named.
const NAMED: usize = 100;
/// Bytes of all that is said of them. It travels in the result.
const SAID: usize = 32 << 10;

/// What was left out of the outputs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LeftOut {
    /// The first entries.
    pub entries: Vec<LeftOutEntry>,
    /// The number of all.
    pub total: u64,
    said: usize,
}

/// One entry that was left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOutEntry {
    /// Where, relative to the working directory: control characters escaped, bytes that are not UTF-8 as `\xNN`, and
    /// what is too long cut.
    pub path: String,
    /// Why, as the sentence after "the output `…`".
    pub why: String,
}

impl LeftOut {
    /// All of these outputs, for one reason.
    pub fn all<'a>(paths: impl IntoIterator<Item = &'a str>, why: &str) -> Self {
        let mut all = Self::default();
        for path in paths {
            all.add(path, why);
        }
        all
    }

    /// Notes an entry, if it is one entry that the error is about; any other error ends the collecting.
    pub(crate) fn note(&mut self, error: CollectError) -> Result<(), CollectError> {
        if !error.concerns_one_entry() {
            return Err(error);
        }
        let (path, why) = match error {
            CollectError::NotAnOutput { path, why } => (path, why.to_owned()),
            CollectError::TooMuch { path, what, bound } => (path, format!("{what} than {bound}")),
            CollectError::NoPlace { path, why } => {
                (path, format!("has no place in the input root: {why}"))
            }
            CollectError::BelowLink { path, link } => {
                let link = printable(&link);
                (path, format!("stands below `{link}`, an output that is a symbolic link"))
            }
            CollectError::Read { path, source } => {
                let text = source.to_string();
                let words = text.split_once(" (os error").map_or(text.as_str(), |(words, _)| words);
                (path, format!("can't be read: {words}"))
            }
            other => return Err(other),
        };
        self.add(&path, &why);
        Ok(())
    }

    fn add(&mut self, path: &str, why: &str) {
        self.total += 1;
        let (path, why) = (cut(&printable(path), 1024), cut(why, 1024));
        let length = path.len() + why.len();
        if self.entries.len() < NAMED && self.said + length <= SAID {
            self.said += length;
            self.entries.push(LeftOutEntry { path, why });
        }
    }
}

/// A text of at most this many bytes, with the middle left out where it is longer: both ends of a path tell something.
fn cut(text: &str, most: usize) -> String {
    if text.len() <= most {
        return text.to_owned();
    }
    let head = text.floor_char_boundary(most / 2);
    let tail = text.ceil_char_boundary(text.len() - most / 2 + "…".len());
    format!("{}…{}", &text[..head], &text[tail..])
}
