//! What a person types to us and not to the far side: `~.` at the start of a line, as ssh has it.

/// Finds escapes in what is typed. Pure.
#[derive(Debug)]
pub(crate) struct Escapes {
    at_line_start: bool,
    tilde: bool,
}

/// What typed bytes come to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Typed {
    /// To be sent.
    pub(crate) bytes: Vec<u8>,
    /// The session is to be ended.
    pub(crate) leave: bool,
    /// The list of escapes is to be shown.
    pub(crate) help: bool,
}

impl Escapes {
    pub(crate) const fn new() -> Self {
        Self { at_line_start: true, tilde: false }
    }

    /// Takes what was typed. After `leave` nothing more counts.
    pub(crate) fn typed(&mut self, input: &[u8]) -> Typed {
        let mut typed = Typed::default();
        for &byte in input {
            if std::mem::take(&mut self.tilde) {
                match byte {
                    b'.' => {
                        typed.leave = true;
                        return typed;
                    }
                    b'?' => {
                        typed.help = true;
                        self.at_line_start = true;
                        continue;
                    }
                    // Two tildes send one.
                    b'~' => {}
                    _ => typed.bytes.push(b'~'),
                }
            } else if byte == b'~' && self.at_line_start {
                self.tilde = true;
                self.at_line_start = false;
                continue;
            }
            typed.bytes.push(byte);
            self.at_line_start = matches!(byte, b'\r' | b'\n');
        }
        typed
    }
}
