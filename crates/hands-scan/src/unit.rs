//! What a scan answers, and the walk over a unit's files that finds it.

use std::sync::Arc;

use crate::directive::{Directive, How, Parsed, Test};
use crate::files::{Compiler, Files};
use crate::limits::{MAX_DIRECTIVES, MAX_UNIT_EXPANSION};
use crate::macros::{Definition, Macros};
use crate::name::{Interner, PathId, Sym};
use crate::path::{DirId, Paths};
use crate::reason::{Fact, Reason, Stop};
use crate::setup::{Family, Ready};
use crate::store::Store;
use crate::token::Token;

/// What a compile of a source reads. Paths are those of [`crate::Scanner::path`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unit {
    /// The files whose text is read, each once, in the order of their first reading: the source comes first.
    pub read: Vec<PathId>,
    /// What `-M` of the compiler lists, in its order but for repetitions. Clang lists more than it reads.
    pub listed: Vec<PathId>,
    /// Paths that were found, and whose text was not needed: asked for by `__has_include`, or other names of a file that
    /// is read once only. The compiler has to find them, too.
    pub present: Vec<PathId>,
    /// Paths that were looked for and are not there. Where one of them appears, the answer may be another.
    pub absent: Vec<PathId>,
    /// Where each fact was met first.
    pub facts: Vec<Seen>,
    /// How many directives were evaluated.
    pub n_directives: u64,
}

/// A fact and where it was met first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// What.
    pub fact: Fact,
    /// In which file.
    pub path: PathId,
    /// On which line.
    pub line: u32,
}

/// A file that is being read.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) parsed: Arc<Parsed>,
    /// The number of its content.
    pub(crate) content: u32,
    pub(crate) identity: u32,
    pub(crate) at: usize,
    pub(crate) path: PathId,
    /// The directory that its own includes are looked for in first.
    pub(crate) dir: DirId,
    pub(crate) place: Place,
}

/// How a file was found, which says where `#include_next` goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// It is the source, or was named by an absolute path.
    None,
    /// Beside the file that includes it.
    Beside,
    /// At this place of the search path.
    Searched(u32),
}

/// What a path or a file has been to the unit with this number.
#[derive(Clone, Debug, Default)]
pub(crate) struct Marks(Vec<u64>);

impl Marks {
    /// Sets the mark; whether it was not set before.
    pub(crate) fn set(&mut self, at: usize, unit: u64) -> bool {
        if self.0.len() <= at {
            self.0.resize(at + 1, 0);
        }
        std::mem::replace(&mut self.0[at], unit) != unit
    }

    pub(crate) fn has(&self, at: usize, unit: u64) -> bool {
        self.0.get(at) == Some(&unit)
    }
}

/// Marks that stay allocated between units.
#[derive(Debug, Default)]
pub(crate) struct Noted {
    /// Paths by what they were.
    pub(crate) read: Marks,
    pub(crate) listed: Marks,
    pub(crate) present: Marks,
    pub(crate) absent: Marks,
    /// Files by identity.
    pub(crate) once: Marks,
    pub(crate) entered: Marks,
    /// Contents.
    pub(crate) once_content: Marks,
    pub(crate) entered_content: Marks,
    /// Files whose text means the same in this unit's language.
    pub(crate) checked: Marks,
}

pub(crate) struct Walk<'s> {
    pub(crate) names: &'s mut Interner,
    pub(crate) paths: &'s mut Paths,
    pub(crate) store: &'s mut Store,
    pub(crate) macros: &'s mut Macros,
    pub(crate) setup: &'s mut Ready,
    pub(crate) noted: &'s mut Noted,
    pub(crate) files: &'s mut dyn Files,
    pub(crate) compiler: &'s mut dyn Compiler,
    pub(crate) number: u64,
    pub(crate) frames: Vec<Frame>,
    /// Tokens that are still to be expanded, the next one last.
    pub(crate) stack: Vec<Token>,
    pub(crate) n_expanded: u64,
    pub(crate) n_expanded_before: u64,
    pub(crate) argument_depth: u32,
    pub(crate) counter: u64,
    pub(crate) counter_is_used: bool,
    pub(crate) lines_are_renamed: bool,
    pub(crate) looked_up: bool,
    pub(crate) unit: Unit,
}

impl Walk<'_> {
    /// Walks the source and what is read before it.
    pub(crate) fn run(&mut self, source: PathId) -> Result<(), Stop> {
        self.macros.clear();
        for &(name, definition) in &self.setup.macros {
            self.macros.set(name, definition);
        }
        self.paths.state(source, self.files);
        if self.paths.file(source).is_none() {
            return Err(Reason::HeaderNotFound.into());
        }
        self.enter(source, Place::None, How::Include)?;
        for name in self.setup.imacros.clone() {
            self.command_line_include(name)?;
            self.walk(1)?;
        }
        for name in self.setup.preincluded.clone() {
            self.preinclude(name)?;
        }
        for name in self.setup.includes.clone() {
            self.command_line_include(name)?;
            self.walk(1)?;
        }
        self.walk(0)
    }

    /// Walks until only so many files are open.
    pub(crate) fn walk(&mut self, until: usize) -> Result<(), Stop> {
        while self.frames.len() > until {
            let Some(frame) = self.frames.last_mut() else { break };
            let Some(&directive) = frame.parsed.directives.get(frame.at) else {
                self.frames.pop();
                continue;
            };
            frame.at += 1;
            self.unit.n_directives += 1;
            if let Directive::Define { name, index } = directive {
                let file = frame.content;
                self.macros.set(name, Some(Definition::In { file, index }));
                continue;
            }
            self.step(directive).map_err(|reason| self.stop(reason))?;
        }
        Ok(())
    }

    /// The place of the directive that was taken last.
    fn stop(&self, reason: Reason) -> Stop {
        let frame = self.frames.last();
        let line = frame.map_or(0, |f| f.parsed.line(f.at.saturating_sub(1)));
        Stop { reason, path: frame.map(|f| f.path), line }
    }

    fn step(&mut self, directive: Directive) -> Result<(), Reason> {
        if self.unit.n_directives > MAX_DIRECTIVES || self.n_expanded_before > MAX_UNIT_EXPANSION {
            return Err(Reason::TooMuch);
        }
        match directive {
            Directive::Include { how, angle, name } => self.include(how, angle, name),
            Directive::IncludeTokens { how, tokens } => self.computed_include(how, tokens),
            Directive::Define { .. } | Directive::Endif => Ok(()),
            Directive::Undef(name) => {
                self.macros.set(name, None);
                Ok(())
            }
            Directive::If { test, next } => {
                if self.holds(test)? {
                    Ok(())
                } else {
                    self.branch(next as usize)
                }
            }
            // A branch before this one was read: the group is done.
            Directive::Elif { end, .. } | Directive::Else { end } => {
                self.go_to(end as usize + 1);
                Ok(())
            }
            Directive::Once => {
                let frame = self.frames.last().expect("a directive is in a file");
                self.noted.once.set(frame.identity as usize, self.number);
                self.noted.once_content.set(frame.content as usize, self.number);
                Ok(())
            }
            Directive::PushMacro(name) => {
                self.macros.push(name);
                Ok(())
            }
            Directive::PopMacro(name) => {
                self.macros.pop(name);
                Ok(())
            }
            Directive::Line => {
                self.lines_are_renamed = true;
                Ok(())
            }
            Directive::Fact(fact) => {
                self.fact(fact);
                Ok(())
            }
            Directive::AssemblerText => {
                if self.setup.is_assembler {
                    self.fact(Fact::AssemblerFile);
                }
                Ok(())
            }
            Directive::Counter => {
                self.counter_is_used = true;
                Ok(())
            }
            Directive::Module if self.setup.has_modules => Err(Reason::Modules),
            Directive::Unknown if !self.setup.is_assembler => Err(Reason::UnknownDirective),
            Directive::Module | Directive::Unknown => Ok(()),
            Directive::Stop(reason) => Err(reason),
        }
    }

    fn go_to(&mut self, at: usize) {
        self.frames.last_mut().expect("a directive is in a file").at = at;
    }

    /// Goes on at the first branch from `at` on that holds, or behind the group.
    fn branch(&mut self, mut at: usize) -> Result<(), Reason> {
        loop {
            self.go_to(at + 1);
            let frame = self.frames.last().expect("a directive is in a file");
            match frame.parsed.directives[at] {
                Directive::Elif { test, next, .. } => {
                    self.unit.n_directives += 1;
                    if self.holds(test)? {
                        return Ok(());
                    }
                    at = next as usize;
                }
                _ => return Ok(()),
            }
        }
    }

    fn holds(&mut self, test: Test) -> Result<bool, Reason> {
        match test {
            Test::Defined(name, wanted) => Ok(self.macros.is_defined(name) == wanted),
            Test::LateDefined(..) if self.setup.is_strict => Err(Reason::ElifDef),
            Test::LateDefined(name, wanted) => Ok(self.macros.is_defined(name) == wanted),
            Test::Expression(span) => self.expression(span),
        }
    }

    fn fact(&mut self, fact: Fact) {
        if self.unit.facts.iter().any(|seen| seen.fact == fact) {
            return;
        }
        let frame = self.frames.last().expect("a fact is in a file");
        let line = frame.parsed.line(frame.at - 1);
        self.unit.facts.push(Seen { fact, path: frame.path, line });
    }

    pub(crate) fn list(&mut self, path: PathId) {
        if self.noted.listed.set(path.index(), self.number) {
            self.unit.listed.push(path);
        }
    }

    pub(crate) fn is_clang(&self) -> bool {
        self.setup.family == Family::Clang
    }

    pub(crate) fn text(&self, sym: Sym) -> &[u8] {
        self.names.text(sym)
    }
}
