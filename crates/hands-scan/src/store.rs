//! Files that were read, by identity and by content: each content is parsed once, wherever it lies.

use std::sync::Arc;

use crate::directive::Parsed;
use crate::files::{FileId, Files};
use crate::limits::MAX_FILE;
use crate::map::Map;
use crate::name::Interner;
use crate::parse::parse;
use crate::reason::Reason;

/// A file in a state: its content and which file it is, as small numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Loaded {
    /// Equal for equal contents.
    pub(crate) content: u32,
    /// Equal for two paths of the same file.
    pub(crate) identity: u32,
}

#[derive(Debug, Default)]
pub(crate) struct Store {
    by_id: Map<FileId, Loaded>,
    by_content: Map<[u8; 32], u32>,
    identities: Map<(u64, u64), u32>,
    parsed: Vec<Arc<Parsed>>,
    n_bytes: u64,
}

impl Store {
    pub(crate) fn load(
        &mut self,
        id: FileId,
        path: &mut dyn FnMut() -> Vec<u8>,
        files: &mut dyn Files,
        names: &mut Interner,
    ) -> Result<Loaded, Reason> {
        if let Some(&loaded) = self.by_id.get(&id) {
            return Ok(loaded);
        }
        let contents = files.contents(&path(), id).ok_or(Reason::FileChanged)?;
        if contents.len() > MAX_FILE {
            return Err(Reason::FileTooLarge);
        }
        let content = self.text(&contents, names);
        let next = u32::try_from(self.identities.len()).map_err(|_| Reason::TooMuch)?;
        let identity = *self.identities.entry((id.device, id.inode)).or_insert(next);
        let loaded = Loaded { content, identity };
        self.by_id.insert(id, loaded);
        Ok(loaded)
    }

    /// The number of a content, parsed now if it is new.
    pub(crate) fn text(&mut self, contents: &[u8], names: &mut Interner) -> u32 {
        let digest = *blake3::hash(contents).as_bytes();
        if let Some(&content) = self.by_content.get(&digest) {
            return content;
        }
        let content = u32::try_from(self.parsed.len()).expect("fewer than bytes");
        self.parsed.push(Arc::new(parse(contents, names)));
        self.by_content.insert(digest, content);
        self.n_bytes += contents.len() as u64;
        content
    }

    pub(crate) fn parsed(&self, content: u32) -> &Arc<Parsed> {
        &self.parsed[content as usize]
    }

    pub(crate) fn n_contents(&self) -> usize {
        self.parsed.len()
    }

    pub(crate) fn n_bytes(&self) -> u64 {
        self.n_bytes
    }
}
