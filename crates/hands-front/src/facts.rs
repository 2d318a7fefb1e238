//! What is known about one thing: a line for each fact, its name before it.

use hands_client::printable;

use crate::out::{Out, StdoutError};

/// Columns of a name.
const NAME: usize = 11;

/// Names and facts, in order. All facts are taken for foreign text and made safe.
#[derive(Debug, Default)]
pub struct Facts {
    lines: Vec<(&'static str, String)>,
}

impl Facts {
    /// Adds a fact; nothing where it is empty.
    pub fn add(&mut self, name: &'static str, fact: impl Into<String>) {
        let fact = fact.into();
        if !fact.is_empty() {
            self.lines.push((name, fact));
        }
    }

    /// Prints them.
    pub fn print(&self, out: &Out) -> Result<(), StdoutError> {
        out.data(self.text().as_bytes())
    }

    /// The lines.
    pub fn text(&self) -> String {
        self.lines
            .iter()
            .map(|(name, fact)| format!("{name:<NAME$}{}\n", printable(fact)))
            .collect()
    }
}

impl<F: Into<String>> Extend<(&'static str, F)> for Facts {
    fn extend<I: IntoIterator<Item = (&'static str, F)>>(&mut self, facts: I) {
        for (name, fact) in facts {
            self.add(name, fact);
        }
    }
}
