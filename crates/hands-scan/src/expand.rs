//! Macro expansion, as the compilers do it: one stack of tokens to come, with a mark where each expansion ends.
//!
//! A macro is busy from its expansion's first token to that mark; its name is not expanded meanwhile, and a name that was
//! met so is painted and stays for good. To look for the parenthesis of a call passes over marks, which ends expansions.

use std::sync::Arc;

use crate::directive::{How, Macro, Parsed, SEVERAL_LINES};
use crate::evaluate::evaluate;
use crate::limits::{MAX_ARGUMENT_DEPTH, MAX_EXPANSION};
use crate::macros::{Builtin, Definition};
use crate::name::{Sym, known};
use crate::reason::Reason;
use crate::token::{Kind, Span, Token};
use crate::unit::Walk;

impl Walk<'_> {
    /// Whether the expression of an `#if` holds.
    pub(crate) fn expression(&mut self, span: Span) -> Result<bool, Reason> {
        let parsed = Arc::clone(&self.frames.last().expect("a directive is in a file").parsed);
        let tokens = span.of(&parsed.tokens);
        let mut expanded = Vec::with_capacity(tokens.len());
        if !self.flat(tokens, &mut expanded) {
            expanded.clear();
            self.expand_directive(tokens, true, &mut expanded)?;
        }
        evaluate(&expanded, self.names, self.setup.language)
    }

    /// Expands what has no calls and only macros of one number, which is most; whether that was all.
    fn flat(&self, tokens: &[Token], out: &mut Vec<Token>) -> bool {
        let mut rest = tokens;
        while let [token, tail @ ..] = rest {
            rest = tail;
            if token.kind != Kind::Name {
                out.push(*token);
                continue;
            }
            if token.sym == known::defined {
                let (name, behind) = match rest {
                    [open, name, close, behind @ ..] if open.is_open() && close.is_close() => {
                        (name, behind)
                    }
                    [name, behind @ ..] => (name, behind),
                    [] => return false,
                };
                if name.kind != Kind::Name {
                    return false;
                }
                out.push(truth(self.macros.is_defined(name.sym)));
                rest = behind;
                continue;
            }
            match self.macros.get(token.sym) {
                None => out.push(*token),
                Some(Definition::Builtin(_)) => return false,
                Some(Definition::In { file, index }) => {
                    let parsed = self.store.parsed(file);
                    let defined = &parsed.macros[index as usize];
                    match defined.body.of(&parsed.tokens) {
                        [only] if !defined.is_function && only.kind == Kind::Number => {
                            out.push(*only);
                        }
                        _ => return false,
                    }
                }
            }
        }
        true
    }

    /// Expands the tokens of a directive. In an expression, `defined` keeps its operand.
    pub(crate) fn expand_directive(
        &mut self,
        tokens: &[Token],
        is_expression: bool,
        out: &mut Vec<Token>,
    ) -> Result<(), Reason> {
        self.n_expanded_before += self.n_expanded;
        self.n_expanded = 0;
        self.argument_depth = 0;
        let result = self.expand(tokens, is_expression, out);
        // After a failure the unit is given up; its busy macros are forgotten with it.
        self.stack.clear();
        result
    }

    pub(crate) fn expand(
        &mut self,
        tokens: &[Token],
        is_expression: bool,
        out: &mut Vec<Token>,
    ) -> Result<(), Reason> {
        let base = self.stack.len();
        self.stack.extend(tokens.iter().rev());
        while let Some(token) = self.pull(base)? {
            if token.kind == Kind::Name && !token.painted {
                self.expand_name(token, base, is_expression, out)?;
            } else {
                out.push(token);
            }
        }
        Ok(())
    }

    /// The next token, of those above `base`.
    fn pull(&mut self, base: usize) -> Result<Option<Token>, Reason> {
        while self.stack.len() > base {
            let Some(token) = self.stack.pop() else { break };
            self.n_expanded += 1;
            if self.n_expanded > MAX_EXPANSION {
                return Err(Reason::TooMuch);
            }
            if token.kind != Kind::End {
                return Ok(Some(token));
            }
            self.macros.set_busy(token.sym, false);
        }
        Ok(None)
    }

    fn expand_name(
        &mut self,
        mut token: Token,
        base: usize,
        is_expression: bool,
        out: &mut Vec<Token>,
    ) -> Result<(), Reason> {
        if is_expression && token.sym == known::defined {
            out.push(self.defined(base)?);
            return Ok(());
        }
        match self.macros.get(token.sym) {
            None => out.push(token),
            Some(_) if self.macros.is_busy(token.sym) => {
                token.painted = true;
                out.push(token);
            }
            Some(Definition::Builtin(builtin)) => {
                let value = self.builtin(builtin, token, base)?;
                out.push(value);
            }
            Some(Definition::In { file, index }) => {
                let parsed = Arc::clone(self.store.parsed(file));
                let defined = parsed.macros[index as usize];
                if !defined.is_function {
                    self.replace(token, &parsed, defined, None)?;
                } else if self.next_is_open(base) {
                    let arguments = self.arguments(base)?;
                    self.replace(token, &parsed, defined, Some(arguments))?;
                } else {
                    out.push(token);
                }
            }
        }
        Ok(())
    }

    /// Puts what stands for a macro on the stack.
    fn replace(
        &mut self,
        token: Token,
        parsed: &Parsed,
        defined: Macro,
        arguments: Option<Vec<Vec<Token>>>,
    ) -> Result<(), Reason> {
        let body = defined.body.of(&parsed.tokens);
        let is_plain = arguments.is_none() && body.iter().all(|t| t.kind != Kind::Paste);
        let mut result = if is_plain {
            body.to_vec()
        } else {
            self.substitute(body, defined, arguments.unwrap_or_default())?
        };
        match result.first_mut() {
            Some(first) => first.space = token.space,
            None => {
                // What follows stands behind the white space of a macro of nothing.
                let next = self.stack.iter_mut().rev().find(|t| t.kind != Kind::End);
                if let Some(next) = next {
                    next.space |= token.space;
                }
                return Ok(());
            }
        }
        self.stack.push(Token::new(Kind::End, token.sym, false));
        self.stack.extend(result.iter().rev());
        self.macros.set_busy(token.sym, true);
        Ok(())
    }

    /// Whether a call's arguments follow.
    fn next_is_open(&mut self, base: usize) -> bool {
        while self.stack.len() > base {
            let Some(next) = self.stack.last() else { return false };
            if next.kind != Kind::End {
                return next.is_open();
            }
            self.macros.set_busy(next.sym, false);
            self.stack.pop();
        }
        false
    }

    /// What stands between the parentheses of a call, by commas.
    fn arguments(&mut self, base: usize) -> Result<Vec<Vec<Token>>, Reason> {
        self.pull(base)?;
        let mut arguments = vec![Vec::new()];
        let mut depth = 0_u64;
        while let Some(mut token) = self.pull(base)? {
            if token.kind == Kind::Name && self.macros.is_busy(token.sym) {
                token.painted = true;
            }
            if token.is_close() {
                if depth == 0 {
                    return Ok(arguments);
                }
                depth -= 1;
            } else if token.is_open() {
                depth += 1;
            } else if depth == 0 && token.is_mark(known::comma) {
                arguments.push(Vec::new());
                continue;
            }
            arguments.last_mut().expect("there is one").push(token);
        }
        Err(Reason::MacroCall)
    }

    /// An argument that is expanded by itself, before it takes its parameter's place.
    pub(crate) fn expand_argument(&mut self, argument: &[Token]) -> Result<Vec<Token>, Reason> {
        if argument.iter().all(|token| token.kind != Kind::Name) {
            return Ok(argument.to_vec());
        }
        self.argument_depth += 1;
        if self.argument_depth > MAX_ARGUMENT_DEPTH {
            return Err(Reason::TooMuch);
        }
        let mut out = Vec::with_capacity(argument.len());
        self.expand(argument, false, &mut out)?;
        self.argument_depth -= 1;
        Ok(out)
    }

    /// The operand of `defined`, which is not expanded.
    fn defined(&mut self, base: usize) -> Result<Token, Reason> {
        let mut name = self.pull(base)?.ok_or(Reason::Expression)?;
        let is_closed = name.is_open();
        if is_closed {
            name = self.pull(base)?.ok_or(Reason::Expression)?;
        }
        if is_closed && !self.pull(base)?.is_some_and(Token::is_close) {
            return Err(Reason::Expression);
        }
        if name.kind != Kind::Name {
            return Err(Reason::Expression);
        }
        Ok(truth(self.macros.is_defined(name.sym)))
    }

    fn builtin(&mut self, builtin: Builtin, token: Token, base: usize) -> Result<Token, Reason> {
        let frame = self.frames.last().expect("a directive is in a file");
        match builtin {
            Builtin::File | Builtin::BaseFile => {
                let path = match builtin {
                    Builtin::BaseFile => self.frames[0].path,
                    _ => frame.path,
                };
                let text = Arc::clone(self.paths.spelled(path));
                if self.lines_are_renamed || text.iter().any(|b| matches!(b, b'"' | b'\\')) {
                    return Err(Reason::Line);
                }
                Ok(self.made(Kind::Text, &[b"\"", &text[..], b"\""].concat(), token.space))
            }
            Builtin::Line => {
                let line = frame.parsed.lines[frame.at - 1];
                if self.lines_are_renamed || line & SEVERAL_LINES != 0 {
                    return Err(Reason::Line);
                }
                Ok(self.made(Kind::Number, line.to_string().as_bytes(), token.space))
            }
            Builtin::Counter => {
                if self.counter_is_used {
                    return Err(Reason::Counter);
                }
                self.counter += 1;
                let count = (self.counter - 1).to_string();
                Ok(self.made(Kind::Number, count.as_bytes(), token.space))
            }
            Builtin::IncludeLevel => {
                let level = (self.frames.len() - 1).to_string();
                Ok(self.made(Kind::Number, level.as_bytes(), token.space))
            }
            Builtin::HasInclude => self.has_include(How::Include, base),
            Builtin::HasIncludeNext => self.has_include(How::Next, base),
            Builtin::Function => self.function(token.sym, base),
            Builtin::Opaque => Err(match token.sym {
                known::has_embed => Reason::Embed,
                _ => Reason::CompilerMacro,
            }),
        }
    }

    pub(crate) fn made(&mut self, kind: Kind, text: &[u8], space: bool) -> Token {
        Token::new(kind, self.names.intern(text), space)
    }

    /// `__has_include` and its kin: the name is expanded where it is not written as one.
    fn has_include(&mut self, how: How, base: usize) -> Result<Token, Reason> {
        if !self.next_is_open(base) {
            return Err(Reason::Expression);
        }
        let mut arguments = self.arguments(base)?;
        if arguments.len() != 1 {
            return Err(Reason::Expression);
        }
        let raw = arguments.remove(0);
        let tokens = match raw.first() {
            Some(first) if matches!(first.kind, Kind::Header | Kind::Text) => raw,
            _ => self.expand_argument(&raw)?,
        };
        let header = self.header_name(&tokens)?;
        let (angle, name, _) =
            header.filter(|(.., length)| *length == tokens.len()).ok_or(Reason::Expression)?;
        let found = self.find(how, angle, name)?;
        if let Some((path, _)) = found {
            self.present(path);
            if self.is_clang() {
                self.list(path);
            }
        }
        Ok(truth(found.is_some()))
    }

    /// A call that only the compiler can answer.
    fn function(&mut self, function: Sym, base: usize) -> Result<Token, Reason> {
        if !self.next_is_open(base) {
            return Err(Reason::Function);
        }
        let arguments = self.arguments(base)?;
        let [argument] = &arguments[..] else { return Err(Reason::Function) };
        // Whether a macro is expanded there depends on the compiler and the function.
        let is_sure = argument
            .iter()
            .all(|t| t.kind != Kind::Name || t.painted || !self.macros.is_defined(t.sym));
        if !is_sure || argument.is_empty() {
            return Err(Reason::Function);
        }
        let text: Vec<u8> = argument.iter().flat_map(|t| self.text(t.sym).to_vec()).collect();
        let argument = self.names.intern(&text);
        let value = match self.setup.answers.get(&(function, argument)) {
            Some(&value) => value,
            None => {
                let answer = self.compiler.answer(self.names.text(function), &text);
                let value = answer.filter(|v| *v >= 0).ok_or(Reason::Function)?;
                self.setup.answers.insert((function, argument), value);
                value
            }
        };
        Ok(self.made(Kind::Number, value.to_string().as_bytes(), false))
    }
}

fn truth(truth: bool) -> Token {
    Token::new(Kind::Number, if truth { known::one } else { known::zero }, false)
}
