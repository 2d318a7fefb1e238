//! Words as a shell would have them.

use std::borrow::Cow;

/// The text as a POSIX shell would read it back: quoted only where that is needed.
pub fn shell_quoted(text: &str) -> Cow<'_, str> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"_-./=:,@%+".contains(&b);
    if !text.is_empty() && text.bytes().all(plain) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(format!("'{}'", text.replace('\'', "'\\''")))
}
