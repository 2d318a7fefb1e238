//! The table of macros. A new unit empties it by counting up a number.

use crate::name::{Interner, Sym, known};

/// Where a macro is defined, or which one of the compiler it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Definition {
    /// In a file, by its number there.
    In {
        file: u32,
        index: u32,
    },
    Builtin(Builtin),
}

/// Macros that are in no file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Builtin {
    File,
    BaseFile,
    Line,
    Counter,
    IncludeLevel,
    HasInclude,
    HasIncludeNext,
    /// A call whose value the compiler is asked for.
    Function,
    /// What is not looked into.
    Opaque,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    generation: u32,
    definition: Option<Definition>,
    /// Its expansion is under way: it is not expanded again within.
    busy: bool,
}

const EMPTY: Slot = Slot { generation: 0, definition: None, busy: false };

#[derive(Debug, Default)]
pub(crate) struct Macros {
    generation: u32,
    slots: Vec<Slot>,
    pushed: Vec<(Sym, Option<Definition>)>,
}

impl Macros {
    /// Forgets all macros.
    pub(crate) fn clear(&mut self) {
        if self.generation == u32::MAX {
            self.slots.clear();
            self.generation = 0;
        }
        self.generation += 1;
        self.pushed.clear();
    }

    pub(crate) fn get(&self, name: Sym) -> Option<Definition> {
        let slot = self.slots.get(name.index())?;
        if slot.generation == self.generation { slot.definition } else { None }
    }

    pub(crate) fn is_defined(&self, name: Sym) -> bool {
        self.get(name).is_some()
    }

    pub(crate) fn set(&mut self, name: Sym, definition: Option<Definition>) {
        let generation = self.generation;
        let slot = self.slot(name);
        if slot.generation != generation {
            slot.busy = false;
        }
        (slot.generation, slot.definition) = (generation, definition);
    }

    fn slot(&mut self, name: Sym) -> &mut Slot {
        if self.slots.len() <= name.index() {
            self.slots.resize(name.index() + 1, EMPTY);
        }
        &mut self.slots[name.index()]
    }

    pub(crate) fn push(&mut self, name: Sym) {
        self.pushed.push((name, self.get(name)));
    }

    pub(crate) fn pop(&mut self, name: Sym) {
        if let Some(at) = self.pushed.iter().rposition(|(pushed, _)| *pushed == name) {
            let (_, definition) = self.pushed.remove(at);
            self.set(name, definition);
        }
    }

    pub(crate) fn is_busy(&self, name: Sym) -> bool {
        self.slots.get(name.index()).is_some_and(|s| s.generation == self.generation && s.busy)
    }

    pub(crate) fn set_busy(&mut self, name: Sym, busy: bool) {
        self.slot(name).busy = busy;
    }
}

impl Builtin {
    /// What a name is that the compiler has for a macro and defines in no text.
    pub(crate) fn of(name: Sym, names: &Interner) -> Self {
        match name {
            known::file => Self::File,
            known::base_file => Self::BaseFile,
            known::line => Self::Line,
            known::counter => Self::Counter,
            known::include_level => Self::IncludeLevel,
            known::has_include => Self::HasInclude,
            known::has_include_next => Self::HasIncludeNext,
            // An #embed is not modelled, and neither is the question for it.
            known::has_embed => Self::Opaque,
            _ if names.text(name).starts_with(b"__has_")
                || names.text(name).starts_with(b"__is_")
                || names.text(name).starts_with(b"__building_") =>
            {
                Self::Function
            }
            _ => Self::Opaque,
        }
    }
}
