//! Operators of `#if` expressions, with the compilers' arithmetic: 64 bits, signed or unsigned.

use crate::name::{Sym, known};
use crate::reason::Reason;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Value {
    pub(crate) bits: u64,
    pub(crate) is_unsigned: bool,
}

impl Value {
    pub(crate) const ZERO: Self = Self { bits: 0, is_unsigned: false };

    pub(crate) fn truth(truth: bool) -> Self {
        Self { bits: u64::from(truth), is_unsigned: false }
    }

    pub(crate) fn is_true(self) -> bool {
        self.bits != 0
    }

    pub(crate) fn signed(self) -> i64 {
        self.bits.cast_signed()
    }
}

/// How tightly a binary operator binds; nothing for what is none.
pub(crate) fn precedence(sym: Sym) -> Option<u8> {
    Some(match sym {
        known::bar_bar => 1,
        known::and_and => 2,
        known::bar => 3,
        known::caret => 4,
        known::ampersand => 5,
        known::equal_equal | known::not_equal => 6,
        known::less | known::greater | known::less_equal | known::greater_equal => 7,
        known::shift_left | known::shift_right => 8,
        known::plus | known::minus => 9,
        known::star | known::slash | known::percent => 10,
        _ => return None,
    })
}

/// The result of a binary operator. Where it is not `live`, its value does not matter and a division by zero is no error.
pub(crate) fn binary(sym: Sym, left: Value, right: Value, live: bool) -> Result<Value, Reason> {
    let is_unsigned = left.is_unsigned || right.is_unsigned;
    let same = |bits: u64| Value { bits, is_unsigned };
    let less = |a: Value, b: Value| {
        if is_unsigned { a.bits < b.bits } else { a.signed() < b.signed() }
    };
    Ok(match sym {
        known::bar_bar => Value::truth(left.is_true() || right.is_true()),
        known::and_and => Value::truth(left.is_true() && right.is_true()),
        known::bar => same(left.bits | right.bits),
        known::caret => same(left.bits ^ right.bits),
        known::ampersand => same(left.bits & right.bits),
        known::equal_equal => Value::truth(left.bits == right.bits),
        known::not_equal => Value::truth(left.bits != right.bits),
        known::less => Value::truth(less(left, right)),
        known::greater => Value::truth(less(right, left)),
        known::less_equal => Value::truth(!less(right, left)),
        known::greater_equal => Value::truth(!less(left, right)),
        known::plus => same(left.bits.wrapping_add(right.bits)),
        known::minus => same(left.bits.wrapping_sub(right.bits)),
        known::star => same(left.bits.wrapping_mul(right.bits)),
        known::shift_left | known::shift_right => shift(sym, left, right, live)?,
        known::slash | known::percent => divide(sym, left, right, live)?,
        _ => return Err(Reason::Expression),
    })
}

fn shift(sym: Sym, left: Value, right: Value, live: bool) -> Result<Value, Reason> {
    let Some(by) = u32::try_from(right.bits).ok().filter(|&by| by < 64) else {
        // By more than the width, or backwards: compilers differ.
        return if live { Err(Reason::Expression) } else { Ok(Value::ZERO) };
    };
    let bits = match (sym == known::shift_left, left.is_unsigned) {
        (true, _) => left.bits << by,
        (false, true) => left.bits >> by,
        (false, false) => (left.signed() >> by).cast_unsigned(),
    };
    Ok(Value { bits, is_unsigned: left.is_unsigned })
}

fn divide(sym: Sym, left: Value, right: Value, live: bool) -> Result<Value, Reason> {
    let is_unsigned = left.is_unsigned || right.is_unsigned;
    if !right.is_true() {
        let nothing = Value { bits: 0, is_unsigned };
        return if live { Err(Reason::DivisionByZero) } else { Ok(nothing) };
    }
    let bits = match (sym == known::slash, is_unsigned) {
        (true, true) => left.bits / right.bits,
        (false, true) => left.bits % right.bits,
        (true, false) => left.signed().wrapping_div(right.signed()).cast_unsigned(),
        (false, false) => left.signed().wrapping_rem(right.signed()).cast_unsigned(),
    };
    Ok(Value { bits, is_unsigned })
}
