//! What no join string and no token may do, whatever its bytes are: for `fuzz/` and for the tests.

#[cfg(test)]
mod tests;

use crate::join::{BEARER, JOIN, seal};
use crate::{JoinString, Pin, Route, TokenSecret};

/// Reads bytes as a join string, as the two parts of one that is sealed rightly, and as the routes of one.
pub fn join_strings(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    read(&text);
    let (list, body) = text.split_once('\n').unwrap_or((&text, ""));
    let mut bytes = [0; 73];
    bytes.iter_mut().zip(body.as_bytes()).for_each(|(to, from)| *to = *from);
    let sealed = seal(&[JOIN.as_bytes(), list.as_bytes()], &[&bytes]);
    read(&format!("{JOIN}{list}/{sealed}"));
    let Ok(routes) = list.split(',').map(str::parse).collect::<Result<Vec<Route>, _>>() else {
        return;
    };
    let token = TokenSecret::new([1; 8], [2; 32]);
    let join = JoinString { routes, pin: Pin([3; 32]), token, is_one_use: true };
    if join.routes.len() <= 32 {
        assert_eq!(join.to_string().parse(), Ok(join), "what is written is read");
    }
}

fn read(text: &str) {
    if let Ok(join) = text.parse::<JoinString>() {
        assert!(!join.routes.is_empty(), "a hub is somewhere");
        assert_eq!(join.to_string().parse(), Ok(join), "what was read is written and read again");
    }
}

/// Reads bytes as a bearer token, and as the content of one that is sealed rightly.
pub fn tokens(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let sealed = format!("{BEARER}{}", seal(&[BEARER.as_bytes()], &[data]));
    for text in [&*text, &sealed] {
        if let Ok(token) = TokenSecret::parse_bearer(text) {
            let again = TokenSecret::parse_bearer(&token.bearer());
            assert!(again.is_ok_and(|again| again == token), "what was read is written");
            assert_eq!(token.to_string().len(), 16, "the id alone is shown");
        }
    }
}
