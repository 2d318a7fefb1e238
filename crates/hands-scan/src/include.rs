//! From the name in an `#include` to a file that is read next.

use std::sync::Arc;

use crate::directive::How;
use crate::files::Probe;
use crate::limits::MAX_INCLUDE_DEPTH;
use crate::name::{PathId, Sym, known};
use crate::path::Way;
use crate::reason::{Reason, Stop};
use crate::token::{Kind, Span, Token};
use crate::unit::{Frame, Place, Walk};

impl Walk<'_> {
    pub(crate) fn include(&mut self, how: How, angle: bool, name: Sym) -> Result<(), Reason> {
        let (path, place) = self.find(how, angle, name)?.ok_or(Reason::HeaderNotFound)?;
        self.enter(path, place, how)
    }

    /// Which file a name leads to from where the walk is.
    pub(crate) fn find(
        &mut self,
        how: How,
        angle: bool,
        name: Sym,
    ) -> Result<Option<(PathId, Place)>, Reason> {
        let (dir, place) = {
            let frame = self.frames.last().expect("an include is in a file");
            (frame.dir, frame.place)
        };
        let is_source = self.frames.len() == 1;
        let mut way = Way {
            search: self.setup.search,
            own: (!angle).then_some(dir),
            from: if angle { self.setup.n_quote } else { 0 },
            name,
        };
        if how == How::Next && !is_source {
            match place {
                Place::Searched(at) => (way.own, way.from) = (None, at + 1),
                Place::Beside if !self.is_clang() => (way.own, way.from) = (None, 0),
                Place::None if !self.is_clang() => {}
                // Clang takes it for an ordinary include, or not, by what it remembers of the way to the file.
                Place::Beside | Place::None => return Err(Reason::IncludeNext),
            }
        }
        self.look_up(way)
    }

    fn look_up(&mut self, way: Way) -> Result<Option<(PathId, Place)>, Reason> {
        let name = self.names.shared(way.name);
        if name.first() == Some(&b'/') {
            let path = self.paths.path(self.setup.base, &name);
            let state = self.paths.state(path, self.files);
            self.precompiled(&[path])?;
            return match state {
                Probe::File(_) => Ok(Some((path, Place::None))),
                Probe::Odd => Err(Reason::OddFile),
                Probe::Absent | Probe::Directory => {
                    self.absent(path);
                    Ok(None)
                }
            };
        }
        let chain = Arc::clone(&self.setup.chain);
        let lookup = self.paths.walk(way, &name, &chain, self.files)?;
        let found = lookup.found;
        let place = match found {
            Some((_, Some(at))) => Place::Searched(at),
            Some((_, None)) | None => Place::Beside,
        };
        let is_new = lookup.noted != self.number;
        if is_new {
            lookup.noted = self.number;
            let absent = Arc::clone(&lookup.absent);
            for &path in absent.iter() {
                self.absent(path);
            }
            if !self.looked_up {
                let mut candidates = absent.to_vec();
                candidates.extend(found.map(|(path, _)| path));
                self.precompiled(&candidates)?;
            }
        }
        Ok(found.map(|(path, _)| (path, place)))
    }

    fn absent(&mut self, path: PathId) {
        if self.noted.absent.set(path.index(), self.number) {
            self.unit.absent.push(path);
        }
    }

    /// GCC looks for a precompiled header beside each candidate of the very first lookup.
    fn precompiled(&mut self, candidates: &[PathId]) -> Result<(), Reason> {
        if std::mem::replace(&mut self.looked_up, true) || self.is_clang() {
            return Ok(());
        }
        for &path in candidates {
            self.must_be_absent(path, b".gch")?;
        }
        Ok(())
    }

    fn must_be_absent(&mut self, path: PathId, ending: &[u8]) -> Result<(), Reason> {
        let spelled = [self.paths.spelled(path), ending].concat();
        let precompiled = self.paths.path(self.setup.base, &spelled);
        match self.paths.state(precompiled, self.files) {
            Probe::Absent => {
                self.absent(precompiled);
                Ok(())
            }
            Probe::File(_) | Probe::Directory | Probe::Odd => Err(Reason::PrecompiledHeader),
        }
    }

    /// Begins to read a file, unless it is one that is read once only and was.
    pub(crate) fn enter(&mut self, path: PathId, place: Place, how: How) -> Result<(), Reason> {
        let id = self.paths.file(path).ok_or(Reason::FileChanged)?;
        let paths = &*self.paths;
        let loaded = self.store.load(id, &mut || paths.full(path), self.files, self.names)?;
        let (identity, content) = (loaded.identity as usize, loaded.content as usize);
        let was_entered = self.noted.entered.has(identity, self.number);
        if self.noted.once.has(identity, self.number) || (how == How::Import && was_entered) {
            self.noted.once.set(identity, self.number);
            self.noted.once_content.set(content, self.number);
            self.present(path);
            if self.is_clang() {
                self.list(path);
            }
            return Ok(());
        }
        // GCC tells files apart by content and time of change, Clang by inode; a copy of this tree may differ in both.
        let is_twin = self.noted.once_content.has(content, self.number)
            || (how == How::Import && self.noted.entered_content.has(content, self.number));
        if is_twin {
            return Err(Reason::TwinOfOnce);
        }
        if how == How::Import {
            self.noted.once.set(identity, self.number);
            self.noted.once_content.set(content, self.number);
        }
        if self.frames.len() + 1 >= MAX_INCLUDE_DEPTH {
            return Err(Reason::TooDeep);
        }
        self.noted.entered.set(identity, self.number);
        self.noted.entered_content.set(content, self.number);
        let parsed = Arc::clone(self.store.parsed(loaded.content));
        if self.noted.checked.set(content, self.number) {
            self.setup.check(&parsed)?;
        }
        if self.noted.read.set(path.index(), self.number) {
            self.unit.read.push(path);
            self.list(path);
        }
        let dir = self.paths.dir_of(path);
        self.frames.push(Frame {
            parsed,
            content: loaded.content,
            identity: loaded.identity,
            at: 0,
            path,
            dir,
            place,
        });
        Ok(())
    }

    /// A path that was found and is not read, at least not now.
    pub(crate) fn present(&mut self, path: PathId) {
        if self.noted.present.set(path.index(), self.number) {
            self.unit.present.push(path);
        }
    }

    /// A header that the compiler reads of its own accord, if it is there.
    pub(crate) fn preinclude(&mut self, name: Sym) -> Result<(), Stop> {
        let looked_up = std::mem::replace(&mut self.looked_up, true);
        if let Some((path, place)) = self.find(How::Include, true, name)? {
            self.enter(path, place, How::Include)?;
            self.walk(1)?;
        }
        self.looked_up = looked_up;
        Ok(())
    }

    /// The operand of an `-include` or `-imacros`: looked for in the working directory first.
    pub(crate) fn command_line_include(&mut self, name: Sym) -> Result<(), Reason> {
        let own = self.paths.dir(self.setup.base, b"");
        if self.is_clang() {
            let path = self.paths.path(self.setup.base, &self.names.shared(name));
            self.must_be_absent(path, b".pch")?;
            self.must_be_absent(path, b".gch")?;
        }
        let way = Way { search: self.setup.search, own: Some(own), from: 0, name };
        let (path, place) = self.look_up(way)?.ok_or(Reason::HeaderNotFound)?;
        self.enter(path, place, How::Include)
    }

    pub(crate) fn computed_include(&mut self, how: How, tokens: Span) -> Result<(), Reason> {
        let parsed = Arc::clone(&self.frames.last().expect("an include is in a file").parsed);
        let mut expanded = Vec::new();
        self.expand_directive(tokens.of(&parsed.tokens), false, &mut expanded)?;
        let (angle, name, _) = self.header_name(&expanded)?.ok_or(Reason::ComputedInclude)?;
        self.include(how, angle, name)
    }

    /// The name that expanded tokens begin with, whether it is in brackets, and how many tokens it is.
    pub(crate) fn header_name(
        &mut self,
        tokens: &[Token],
    ) -> Result<Option<(bool, Sym, usize)>, Reason> {
        let Some(first) = tokens.first() else { return Ok(None) };
        let (angle, name, length) = match first.kind {
            Kind::Text | Kind::Header => {
                let text = self.names.shared(first.sym);
                (first.kind == Kind::Header, text[1..text.len() - 1].to_vec(), 1)
            }
            Kind::Mark if first.sym == known::less => {
                let Some(end) = tokens.iter().position(|t| t.is_mark(known::greater)) else {
                    return Ok(None);
                };
                // White space would be part of the name, and where there is some is a fine point.
                if tokens[1..=end].iter().any(|token| token.space) {
                    return Err(Reason::ComputedInclude);
                }
                let texts: Vec<&[u8]> = tokens[1..end].iter().map(|t| self.text(t.sym)).collect();
                (true, texts.concat(), end + 1)
            }
            _ => return Ok(None),
        };
        let is_odd = name.is_empty()
            || (first.kind != Kind::Header && name.iter().any(|b| matches!(b, b'\\' | b' ')));
        if is_odd {
            return Err(Reason::ComputedInclude);
        }
        Ok(Some((angle, self.names.intern(&name), length)))
    }
}
