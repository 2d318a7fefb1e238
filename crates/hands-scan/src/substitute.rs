//! The body of a macro with its arguments in place: `#`, `##`, `__VA_ARGS__`, `__VA_OPT__`.

use crate::cursor::Cursor;
use crate::directive::Macro;
use crate::name::{Sym, known};
use crate::reason::Reason;
use crate::token::{Kind, Token};
use crate::unit::Walk;

/// The arguments of one call, as they stand and, where that was needed, expanded.
struct Call {
    raw: Vec<Vec<Token>>,
    expanded: Vec<Option<Vec<Token>>>,
    /// The number of the parameter that takes all the rest.
    rest: Option<usize>,
}

impl Walk<'_> {
    /// What stands for a call; without arguments, for the name of an object-like macro.
    pub(crate) fn substitute(
        &mut self,
        body: &[Token],
        defined: Macro,
        arguments: Vec<Vec<Token>>,
    ) -> Result<Vec<Token>, Reason> {
        let mut call = call(defined, arguments)?;
        let mut out = Vec::with_capacity(body.len() * 2);
        self.fill(body, &mut call, &mut out)?;
        out.retain(|token| token.kind != Kind::Nothing);
        Ok(out)
    }

    fn fill(
        &mut self,
        body: &[Token],
        call: &mut Call,
        out: &mut Vec<Token>,
    ) -> Result<(), Reason> {
        let mut at = 0;
        let mut pasting = false;
        // Only what this part of the body has put there may be pasted to.
        let base = out.len();
        while let Some(&token) = body.get(at) {
            at += 1;
            let before_paste = body.get(at).is_some_and(|t| t.kind == Kind::Paste);
            match token.kind {
                Kind::Paste => {
                    if out.len() == base || at == body.len() {
                        return Err(Reason::Paste);
                    }
                    pasting = true;
                    continue;
                }
                Kind::Stringify => {
                    let text = self.stringified(&call.raw[token.sym.index()]);
                    let text = self.made(Kind::Text, &text, token.space);
                    self.put(&[text], pasting, token.space, out)?;
                }
                Kind::Parameter => {
                    let number = token.sym.index();
                    if pasting || before_paste {
                        let raw = std::mem::take(&mut call.raw[number]);
                        self.put_operand(&raw, pasting, token.space, out)?;
                        call.raw[number] = raw;
                    } else {
                        let expanded = self.expanded(call, number)?;
                        self.put(&expanded, false, token.space, out)?;
                        call.expanded[number] = Some(expanded);
                    }
                }
                Kind::VaOpt => {
                    let length = optional(&body[at..]).ok_or(Reason::VaOpt)?;
                    let inner = &body[at + 1..at + length - 1];
                    at += length;
                    let before_paste = body.get(at).is_some_and(|t| t.kind == Kind::Paste);
                    let content = self.optional(inner, call)?;
                    if pasting || before_paste {
                        self.put_operand(&content, pasting, token.space, out)?;
                    } else {
                        self.put(&content, false, token.space, out)?;
                    }
                }
                _ if token.is_mark(known::comma)
                    && before_paste
                    && call.is_rest(body.get(at + 1)) =>
                {
                    // The comma of GNU goes with the rest, and is not pasted to it.
                    let rest = std::mem::take(&mut call.raw[call.rest.unwrap_or(0)]);
                    let space = body[at + 1].space;
                    if !rest.is_empty() {
                        self.put(&[token], pasting, token.space, out)?;
                        self.put(&rest, false, space, out)?;
                    } else if body.get(at + 2).is_some_and(|t| t.kind == Kind::Paste) {
                        return Err(Reason::Paste);
                    }
                    call.raw[call.rest.unwrap_or(0)] = rest;
                    at += 2;
                }
                _ => self.put(&[token], pasting, token.space, out)?,
            }
            pasting = false;
        }
        Ok(())
    }

    /// The tokens between the parentheses of a `__VA_OPT__`, if the rest has any.
    fn optional(&mut self, inner: &[Token], call: &mut Call) -> Result<Vec<Token>, Reason> {
        let rest = call.rest.ok_or(Reason::VaOpt)?;
        let expanded = self.expanded(call, rest)?;
        let mut content = Vec::new();
        if !expanded.is_empty() {
            self.fill(inner, call, &mut content)?;
            content.retain(|token| token.kind != Kind::Nothing);
        }
        call.expanded[rest] = Some(expanded);
        Ok(content)
    }

    /// Takes an argument in its expanded form out of the call.
    fn expanded(&mut self, call: &mut Call, number: usize) -> Result<Vec<Token>, Reason> {
        match call.expanded[number].take() {
            Some(expanded) => Ok(expanded),
            None => self.expand_argument(&call.raw[number]),
        }
    }

    /// An operand of `##`, which is something even when it is nothing.
    fn put_operand(
        &mut self,
        tokens: &[Token],
        pasting: bool,
        space: bool,
        out: &mut Vec<Token>,
    ) -> Result<(), Reason> {
        if tokens.is_empty() {
            let nothing = Token::new(Kind::Nothing, Sym(0), space);
            return self.put(&[nothing], pasting, space, out);
        }
        self.put(tokens, pasting, space, out)
    }

    fn put(
        &mut self,
        tokens: &[Token],
        pasting: bool,
        space: bool,
        out: &mut Vec<Token>,
    ) -> Result<(), Reason> {
        let Some((&first, rest)) = tokens.split_first() else { return Ok(()) };
        if pasting {
            let left = out.pop().ok_or(Reason::Paste)?;
            let pasted = self.pasted(left, first)?;
            out.push(pasted);
        } else {
            out.push(Token { space, ..first });
        }
        out.extend_from_slice(rest);
        Ok(())
    }

    fn pasted(&mut self, left: Token, right: Token) -> Result<Token, Reason> {
        match (left.kind, right.kind) {
            (Kind::Nothing, _) => return Ok(Token { space: left.space, ..right }),
            (_, Kind::Nothing) => return Ok(left),
            _ => {}
        }
        let text = [self.text(left.sym), self.text(right.sym)].concat();
        let mut cursor = Cursor::new(&text, &[]);
        let raw = cursor.token().ok_or(Reason::Paste)?;
        let is_string = raw.kind == Kind::Other && text.ends_with(b"\"");
        if raw.end != text.len() || raw.start != 0 || (raw.kind == Kind::Other && !is_string) {
            return Err(Reason::Paste);
        }
        Ok(self.made(raw.kind, &text, left.space))
    }

    /// An argument as a string.
    fn stringified(&self, argument: &[Token]) -> Vec<u8> {
        let mut text = vec![b'"'];
        for (nth, token) in argument.iter().enumerate() {
            if nth > 0 && token.space {
                text.push(b' ');
            }
            let is_literal = matches!(token.kind, Kind::Text | Kind::Character | Kind::Other);
            for &byte in self.text(token.sym) {
                if is_literal && matches!(byte, b'"' | b'\\') {
                    text.push(b'\\');
                }
                text.push(byte);
            }
        }
        text.push(b'"');
        text
    }
}

impl Call {
    fn is_rest(&self, token: Option<&Token>) -> bool {
        token.is_some_and(|t| t.kind == Kind::Parameter && Some(t.sym.index()) == self.rest)
    }
}

/// Fits the arguments to the parameters.
fn call(defined: Macro, mut arguments: Vec<Vec<Token>>) -> Result<Call, Reason> {
    let n_params = usize::from(defined.n_params);
    if !defined.is_function {
        return Ok(Call { raw: Vec::new(), expanded: Vec::new(), rest: None });
    }
    if n_params == 0 {
        return match &arguments[..] {
            [only] if only.is_empty() => {
                Ok(Call { raw: Vec::new(), expanded: Vec::new(), rest: None })
            }
            _ => Err(Reason::MacroCall),
        };
    }
    let rest = defined.is_variadic.then_some(n_params - 1);
    if rest.is_some() && arguments.len() > n_params {
        let comma = Token::new(Kind::Mark, known::comma, false);
        let mut joined = Vec::new();
        for (nth, argument) in arguments.drain(n_params - 1..).enumerate() {
            if nth > 0 {
                joined.push(comma);
            }
            joined.extend(argument);
        }
        arguments.push(joined);
    }
    if rest.is_some() && arguments.len() == n_params - 1 {
        arguments.push(Vec::new());
    }
    if arguments.len() != n_params {
        return Err(Reason::MacroCall);
    }
    Ok(Call { expanded: vec![None; n_params], raw: arguments, rest })
}

/// The number of tokens of a parenthesis and what is in it.
fn optional(tokens: &[Token]) -> Option<usize> {
    if !tokens.first()?.is_open() {
        return None;
    }
    let mut depth = 0_usize;
    for (nth, token) in tokens.iter().enumerate() {
        if token.is_open() {
            depth += 1;
        } else if token.is_close() {
            depth -= 1;
            if depth == 0 {
                return Some(nth + 1);
            }
        }
    }
    None
}
