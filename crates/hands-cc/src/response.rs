//! Response files: `@FILE` stands for the words in a file.

use std::fs;
use std::path::Path;

use crate::Reason;

/// Files within files that are followed; gcc stops at 2,000, and nobody has more than a few.
const DEEPEST: usize = 16;

/// The words with all response files in place. A word of a file that can't be read stays as it is, as with gcc.
pub(crate) fn expand(words: &[String], directory: &Path) -> Result<Vec<String>, Reason> {
    let mut all = Vec::with_capacity(words.len());
    for word in words {
        put(word, directory, 0, &mut all)?;
    }
    Ok(all)
}

fn put(word: &str, directory: &Path, depth: usize, all: &mut Vec<String>) -> Result<(), Reason> {
    let Some(file) = word.strip_prefix('@') else {
        all.push(word.to_owned());
        return Ok(());
    };
    if depth == DEEPEST {
        return Err(Reason::new("response-file", file));
    }
    let text = fs::read_to_string(directory.join(file))
        .map_err(|error| Reason::new("response-file", format!("{file}: {error}")))?;
    // Compilers do not agree on a backslash between quotes.
    if text.contains('\\') && text.contains(['\'', '"']) {
        return Err(Reason::new("response-file", file));
    }
    for word in split(&text) {
        put(&word, directory, depth + 1, all)?;
    }
    Ok(())
}

/// Words as gcc's own library splits them: white space, both quotes, and a backslash before any character.
pub(crate) fn split(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut characters = text.chars();
    while let Some(c) = characters.next() {
        match (c, quote) {
            ('\\', _) => word.get_or_insert_default().extend(characters.next()),
            (c, Some(q)) if c == q => quote = None,
            (c, Some(_)) => word.get_or_insert_default().push(c),
            ('\'' | '"', None) => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (c, None) if c.is_ascii_whitespace() => words.extend(word.take()),
            (c, None) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}
