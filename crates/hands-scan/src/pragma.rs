//! The few pragmas that change which files are read.

use crate::directive::Directive;
use crate::parse::Parser;
use crate::reason::Reason;
use crate::token::Kind;

/// What the rest of a `#pragma` line means to the scanner; nothing for most.
pub(crate) fn pragma(parser: &mut Parser<'_, '_>) -> Option<Directive> {
    let raw = parser.cursor.token()?;
    match &parser.cursor.text[raw.start..raw.end] {
        b"once" => Some(Directive::Once),
        b"push_macro" => Some(stacked(parser, true)),
        b"pop_macro" => Some(stacked(parser, false)),
        b"include_alias" | b"hdrstop" => Some(Directive::Stop(Reason::Pragma)),
        b"GCC" | b"clang" => {
            let raw = parser.cursor.token()?;
            match &parser.cursor.text[raw.start..raw.end] {
                b"dependency" | b"pch_preprocess" | b"module" => {
                    Some(Directive::Stop(Reason::Pragma))
                }
                _ => None,
            }
        }
        _ => None,
    }
}

/// `("NAME")` behind `push_macro` or `pop_macro`.
fn stacked(parser: &mut Parser<'_, '_>, push: bool) -> Directive {
    let wrong = Directive::Stop(Reason::BadDirective);
    let Some(open) = parser.cursor.token() else { return wrong };
    let Some(text) = parser.cursor.token() else { return wrong };
    if &parser.cursor.text[open.start..open.end] != b"(" || text.kind != Kind::Text {
        return wrong;
    }
    let name = &parser.cursor.text[text.start + 1..text.end - 1];
    let name = parser.names.intern(name.trim_ascii());
    if push { Directive::PushMacro(name) } else { Directive::PopMacro(name) }
}
