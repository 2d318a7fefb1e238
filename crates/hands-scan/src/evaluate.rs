//! `#if` expressions whose macros are expanded already.

use crate::limits::MAX_EXPRESSION_DEPTH;
use crate::name::{Interner, Sym, known};
use crate::number;
use crate::operators::{Value, binary, precedence};
use crate::reason::Reason;
use crate::token::{Kind, Token};

/// Of which language the expression is, where that matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Language {
    pub(crate) words: Words,
    /// Whether `L'…'` is unsigned, if that is known.
    pub(crate) wide_is_unsigned: Option<bool>,
}

/// What names mean that are no macros.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Words {
    /// C++: `true`, and operators with names.
    Cxx,
    /// C before C23, assembler: every name left over is 0.
    C,
    /// C23 and what came just before: whether `true` is 1 depends on the compiler's version.
    C23,
}

pub(crate) fn evaluate(
    tokens: &[Token],
    names: &Interner,
    language: Language,
) -> Result<bool, Reason> {
    // Most expressions are one number when their macros are expanded.
    if let [token] = tokens
        && token.kind == Kind::Number
    {
        return Ok(number::number(names.text(token.sym))?.is_true());
    }
    let mut evaluator = Evaluator { tokens, at: 0, names, language, depth: 0 };
    let value = evaluator.ternary(true)?;
    if evaluator.at < tokens.len() { Err(Reason::Expression) } else { Ok(value.is_true()) }
}

struct Evaluator<'a> {
    tokens: &'a [Token],
    at: usize,
    names: &'a Interner,
    language: Language,
    depth: u32,
}

impl Evaluator<'_> {
    /// The mark that comes next, operators with names among them.
    fn mark(&self) -> Option<Sym> {
        let token = self.tokens.get(self.at)?;
        match token.kind {
            Kind::Mark => Some(token.sym),
            Kind::Name if self.language.words == Words::Cxx => named(token.sym),
            _ => None,
        }
    }

    fn ternary(&mut self, live: bool) -> Result<Value, Reason> {
        self.deeper()?;
        let condition = self.binary(0, live)?;
        let mut value = condition;
        if self.mark() == Some(known::question) {
            self.at += 1;
            let yes = self.ternary(live && condition.is_true())?;
            if self.mark() != Some(known::colon) {
                return Err(Reason::Expression);
            }
            self.at += 1;
            let no = self.ternary(live && !condition.is_true())?;
            let bits = if condition.is_true() { yes.bits } else { no.bits };
            value = Value { bits, is_unsigned: yes.is_unsigned || no.is_unsigned };
        }
        self.depth -= 1;
        Ok(value)
    }

    /// Operators that bind tighter than `above`.
    fn binary(&mut self, above: u8, live: bool) -> Result<Value, Reason> {
        self.deeper()?;
        let mut left = self.unary(live)?;
        while let Some(sym) = self.mark() {
            let Some(precedence) = precedence(sym).filter(|&p| p > above) else { break };
            self.at += 1;
            let decided = (sym == known::bar_bar && left.is_true())
                || (sym == known::and_and && !left.is_true());
            let right = self.binary(precedence, live && !decided)?;
            left = binary(sym, left, right, live)?;
        }
        self.depth -= 1;
        Ok(left)
    }

    fn unary(&mut self, live: bool) -> Result<Value, Reason> {
        // Without recursion: a thousand `!` are no depth.
        let start = self.at;
        while let Some(known::bang | known::minus | known::plus | known::tilde) = self.mark() {
            self.at += 1;
        }
        let operators = start..self.at;
        let mut value = self.primary(live)?;
        for at in operators.rev() {
            let token = self.tokens[at];
            let sym = if token.kind == Kind::Mark { Some(token.sym) } else { named(token.sym) };
            value = match sym {
                Some(known::bang) => Value::truth(!value.is_true()),
                Some(known::minus) => Value { bits: value.bits.wrapping_neg(), ..value },
                Some(known::tilde) => Value { bits: !value.bits, ..value },
                _ => value,
            };
        }
        Ok(value)
    }

    fn primary(&mut self, live: bool) -> Result<Value, Reason> {
        let token = *self.tokens.get(self.at).ok_or(Reason::Expression)?;
        self.at += 1;
        match token.kind {
            Kind::Number => number::number(self.names.text(token.sym)),
            Kind::Character => {
                number::character(self.names.text(token.sym), self.language.wide_is_unsigned)
            }
            Kind::Name => self.word(token.sym),
            Kind::Mark if token.is_open() => {
                let value = self.ternary(live)?;
                let closed = self.tokens.get(self.at).is_some_and(|t| t.is_close());
                self.at += 1;
                if closed { Ok(value) } else { Err(Reason::Expression) }
            }
            _ => Err(Reason::Expression),
        }
    }

    /// A name that is no macro.
    fn word(&self, sym: Sym) -> Result<Value, Reason> {
        if !self.names.text(sym).is_ascii() {
            // What may stand in a name depends on the compiler's version.
            return Err(Reason::Expression);
        }
        match (sym, self.language.words) {
            (known::true_, Words::Cxx) => Ok(Value::truth(true)),
            (known::true_, Words::C23) => Err(Reason::Expression),
            (_, Words::Cxx) if named(sym).is_some() => Err(Reason::Expression),
            _ => Ok(Value::ZERO),
        }
    }

    fn deeper(&mut self) -> Result<(), Reason> {
        self.depth += 1;
        if self.depth > MAX_EXPRESSION_DEPTH * 2 { Err(Reason::Expression) } else { Ok(()) }
    }
}

/// The operators of C++ that have names.
fn named(sym: Sym) -> Option<Sym> {
    Some(match sym {
        known::and => known::and_and,
        known::or => known::bar_bar,
        known::not => known::bang,
        known::bitand => known::ampersand,
        known::bitor => known::bar,
        known::xor => known::caret,
        known::compl => known::tilde,
        known::not_eq => known::not_equal,
        _ => return None,
    })
}
