//! Lines that are no directives: passed over as fast as may be, with an eye on what a cache has to know.

use crate::cursor::is_name_byte;
use crate::directive::Directive;
use crate::parse::Parser;
use crate::reason::{Fact, Reason};

impl Parser<'_, '_> {
    /// Passes over the rest of a line, and over further ones where a comment or raw string goes on.
    pub(crate) fn text_line(&mut self) {
        let text = self.cursor.text;
        self.first_word();
        let mut within_pragma = false;
        while let Some(byte) = self.cursor.peek() {
            match byte {
                b'\n' => {
                    self.cursor.at += 1;
                    return;
                }
                b'/' => {
                    if !self.cursor.skip_comment() {
                        self.cursor.at += 1;
                    }
                }
                b'"' | b'\'' => {
                    let start = self.cursor.at;
                    self.cursor.quoted();
                    self.string(&text[start..self.cursor.at], within_pragma, start);
                }
                b'0'..=b'9' => {
                    self.cursor.number();
                }
                _ if is_name_byte(byte) => {
                    let start = self.cursor.at;
                    self.cursor.skip_name();
                    let name = &self.cursor.text[start..self.cursor.at];
                    within_pragma |= name == b"_Pragma";
                    self.word(start);
                }
                _ => self.cursor.at += 1,
            }
        }
    }

    /// What the first word of a line says of modules.
    fn first_word(&mut self) {
        let rest = &self.cursor.text[self.cursor.at..];
        let word = rest.strip_prefix(b"export").map_or(rest, <[u8]>::trim_ascii_start);
        if word.starts_with(b"import") || word.starts_with(b"module") {
            let length = word.iter().position(|&b| !is_name_byte(b)).unwrap_or(word.len());
            if length == b"import".len() {
                self.push(Directive::Module, self.cursor.at);
            }
        }
    }

    /// A word of the text; the few that matter are told apart by their length first.
    fn word(&mut self, start: usize) {
        let text = self.cursor.text;
        let name = &text[start..self.cursor.at];
        match name.len() {
            1..=3 if self.cursor.peek() == Some(b'"') && name.ends_with(b"R") => {
                if matches!(name, b"R" | b"LR" | b"uR" | b"UR" | b"u8R") {
                    self.cursor.raw_string();
                    self.string(&text[start..self.cursor.at], false, start);
                }
            }
            6 | 7 if start > 0 && text[start - 1] == b'.' => {
                if matches!(name, b"incbin" | b"include") {
                    self.push_once(Directive::AssemblerText, start);
                }
            }
            8..=13 if matches!(name[0], b'_' | b'p') => self.told(name, start),
            _ => {}
        }
    }

    /// A word that a cache or the scanner itself has to know, in the text or in the body of a macro.
    pub(crate) fn told(&mut self, name: &[u8], start: usize) {
        let directive = match name {
            b"__DATE__" => Directive::Fact(Fact::Date),
            b"__TIME__" => Directive::Fact(Fact::Time),
            b"__TIMESTAMP__" => Directive::Fact(Fact::Timestamp),
            b"__FILE__" | b"__BASE_FILE__" => Directive::Fact(Fact::File),
            b"__COUNTER__" => Directive::Counter,
            b"push_macro" | b"pop_macro" => Directive::Stop(Reason::PragmaOperator),
            _ => return,
        };
        self.push_once(directive, start);
    }

    /// A string up to here: an assembler may read files that it names, a `_Pragma` may change macros.
    pub(crate) fn string(&mut self, text: &[u8], within_pragma: bool, start: usize) {
        if within_pragma && (text == b"\"once\"" || text.windows(6).any(|w| w == b"_macro")) {
            self.push_once(Directive::Stop(Reason::PragmaOperator), start);
        }
        let mut from = 0;
        while let Some(dot) = text[from..].iter().position(|&b| b == b'.') {
            from += dot + 1;
            let rest = &text[from..];
            if rest.starts_with(b"incbin") || rest.starts_with(b"include") {
                self.push_once(Directive::Fact(Fact::AssemblerFile), start);
            }
        }
    }
}
