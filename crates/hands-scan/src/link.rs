//! Conditional groups: each branch learns where the next one and the end are, so that skipping costs nothing.

use crate::directive::{Directive, Parsed};
use crate::reason::Reason;
use crate::splice::to_u32;

pub(crate) fn link(parsed: &mut Parsed) {
    // The branches of each group that is open, and whether its #else was seen.
    let mut open: Vec<(Vec<usize>, bool)> = Vec::new();
    for at in 0..parsed.directives.len() {
        match parsed.directives[at] {
            Directive::If { .. } => open.push((vec![at], false)),
            Directive::Elif { .. } | Directive::Else { .. } => match open.last_mut() {
                Some((branches, has_else)) if !*has_else => {
                    branches.push(at);
                    *has_else = matches!(parsed.directives[at], Directive::Else { .. });
                }
                // Compilers refuse these even in groups that they skip.
                _ => return unbalanced(parsed, at),
            },
            Directive::Endif => match open.pop() {
                Some((branches, _)) => close(parsed, &branches, at),
                None => return unbalanced(parsed, at),
            },
            _ => {}
        }
    }
    if let Some((branches, _)) = open.first() {
        unbalanced(parsed, branches[0]);
    }
}

/// A file whose groups do not match is not walked at all.
fn unbalanced(parsed: &mut Parsed, at: usize) {
    parsed.unbalanced = Some(parsed.line(at));
    parsed.directives.clear();
    parsed.directives.push(Directive::Stop(Reason::Unbalanced));
}

fn close(parsed: &mut Parsed, branches: &[usize], endif: usize) {
    let last = to_u32(endif);
    for (nth, &branch) in branches.iter().enumerate() {
        let following = branches.get(nth + 1).map_or(last, |&at| to_u32(at));
        match &mut parsed.directives[branch] {
            Directive::If { next, .. } => *next = following,
            Directive::Elif { next, end, .. } => (*next, *end) = (following, last),
            Directive::Else { end } => *end = last,
            other => unreachable!("{other:?} is no branch"),
        }
    }
}
