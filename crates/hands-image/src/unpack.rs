//! One layer: from its file to a draft of its tree.

use std::cell::Cell;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};

use hands_types::limits::MAX_PATH;

use crate::checked::{Budget, Checked, Expanded, Sha256};
use crate::draft::{Draft, Node};
use crate::entries::{Entries, Entry, Kind};
use crate::error::{ImageError, shown};
use crate::image::{ImageLimits, LayerFile, Lost};
use crate::sink::Sink;

/// What marks a name of the layers below as gone, and a directory as new.
const MARK: &str = ".wh.";
const ALL_GONE: &str = ".wh..wh..opq";
/// Of these, what some programs of old kept for themselves.
const THEIRS: &str = ".wh..wh.";
/// Window of zstd that is decompressed, as a power of two: what `zstd` itself takes without being asked.
const MAX_WINDOW: u32 = 27;
const BUFFER: usize = 128 << 10;
/// What the paths and targets of all layers may take together, bytes: they are held until the tree is done.
const MAX_NAMES: usize = 512 << 20;

/// What unpacking shares between layers.
pub(crate) struct Unpacking<'a> {
    pub(crate) budget: Budget,
    pub(crate) limits: &'a ImageLimits,
    pub(crate) sink: &'a dyn Sink,
    pub(crate) lost: Lost,
    pub(crate) entries: u64,
    pub(crate) bytes: u64,
    pub(crate) names: usize,
    /// Directories that paths ask for and no entry names.
    pub(crate) implied: u64,
    /// Whether names may take something away from layers below.
    pub(crate) marks: bool,
}

impl<'a> Unpacking<'a> {
    pub(crate) fn new(limits: &'a ImageLimits, sink: &'a dyn Sink) -> Self {
        Self {
            budget: Budget { most: limits.expanded, left: Cell::new(limits.expanded) },
            limits,
            sink,
            lost: Lost::default(),
            entries: 0,
            bytes: 0,
            names: 0,
            implied: 0,
            marks: true,
        }
    }

    /// Unpacks a layer onto those below it. `diff_id` is the digest of what it expands to, where it is known.
    pub(crate) fn layer(
        &mut self,
        layer: LayerFile,
        diff_id: Option<Sha256>,
        below: &[Draft],
    ) -> Result<Draft, ImageError> {
        let LayerFile { mut file, offset, size, hash, part } = layer;
        let failed = |error| ImageError::reading(&part, error);
        file.seek(SeekFrom::Start(offset)).map_err(failed)?;
        let mut raw = BufReader::with_capacity(BUFFER, Checked::new(file, size, hash));
        let magic = raw.fill_buf().map_err(failed)?;
        let reader: Box<dyn Read + '_> = match magic {
            [0x1f, 0x8b, ..] => Box::new(flate2::bufread::MultiGzDecoder::new(&mut raw)),
            [0x28, 0xb5, 0x2f, 0xfd, ..] => {
                let decoder = zstd::stream::read::Decoder::with_buffer(&mut raw);
                let mut decoder = decoder.map_err(failed)?;
                decoder.window_log_max(MAX_WINDOW).map_err(failed)?;
                Box::new(decoder)
            }
            _ => Box::new(&mut raw),
        };
        let budget = Budget { most: self.budget.most, left: self.budget.left.clone() };
        let reader = BufReader::with_capacity(BUFFER, reader);
        let mut entries = Entries::new(Expanded::new(reader, &budget, self.sink));
        let draft = self.fill(&part, &mut entries, below)?;
        entries.into_inner().finish(diff_id).map_err(failed)?;
        self.budget.left.set(budget.left.get());
        raw.into_inner().finish().map_err(failed)?;
        Ok(draft)
    }

    /// Makes a draft of what a tar holds.
    pub(crate) fn fill<R: Read>(
        &mut self,
        part: &str,
        entries: &mut Entries<R>,
        below: &[Draft],
    ) -> Result<Draft, ImageError> {
        let mut draft = Draft::default();
        while let Some(entry) = entries.next(part)? {
            self.entries += 1;
            if self.entries + self.implied > self.limits.entries {
                let most = self.limits.entries;
                return Err(ImageError::TooLarge(format!("it has more than {most} entries")));
            }
            self.take(part, &entry, entries, &mut draft, below)?;
            if self.names > MAX_NAMES {
                let why = format!("its names take more than {MAX_NAMES} bytes");
                return Err(ImageError::TooLarge(why));
            }
        }
        Ok(draft)
    }

    fn take(
        &mut self,
        part: &str,
        entry: &Entry,
        content: &mut dyn Read,
        draft: &mut Draft,
        below: &[Draft],
    ) -> Result<(), ImageError> {
        let path = text(part, &entry.path)?;
        let bad =
            |why: String| ImageError::unsupported(part, format!("has {}: {why}", shown(path)));
        let above = path.rsplit_once('/').map_or("", |(above, _)| above);
        let has_above = |start| self.marks && above.split('/').any(|name| name.starts_with(start));
        if has_above(THEIRS) {
            return Ok(());
        }
        if has_above(MARK) {
            return Err(bad("a mark is no directory".to_owned()));
        }
        self.lost.modes += u64::from(entry.mode & 0o7000 != 0 && entry.kind == Kind::File);
        self.lost.attributes += u64::from(entry.has_attributes);
        self.names += path.len();
        let last = path.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
        // Marks first: some programs made the second and later of them hard links to the first.
        if entry.kind == Kind::HardLink && !(self.marks && last.starts_with(MARK)) {
            let target = text(part, &entry.link)?;
            let node = draft.file(below, target);
            let node = node.ok_or_else(|| {
                bad(format!("a hard link to {}, which is no file", shown(target)))
            })?;
            if let Node::Symlink { target, .. } = &node {
                self.names += target.len();
            }
            let (directory, name) = draft.place(below, path, &mut self.implied).map_err(bad)?;
            if !name.is_empty() {
                directory.put(name, node);
            }
            return Ok(());
        }
        let (directory, name) = draft.place(below, path, &mut self.implied).map_err(bad)?;
        if self.marks && name == ALL_GONE {
            directory.take_all_away();
            return Ok(());
        }
        if self.marks && name.starts_with(THEIRS) {
            return Ok(());
        }
        if let Some(gone) = name.strip_prefix(MARK).filter(|_| self.marks) {
            if matches!(gone, "" | "." | "..") {
                return Err(bad("it marks no name as gone".to_owned()));
            }
            directory.take_away(gone);
            return Ok(());
        }
        if name.is_empty() && entry.kind != Kind::Directory {
            return Err(bad("the root is no directory".to_owned()));
        }
        match entry.kind {
            Kind::Directory => directory.put_directory(name, entry.mtime),
            Kind::Symlink => {
                let target = text(part, &entry.link)?;
                if target.is_empty() || target.contains('\0') {
                    return Err(bad("a symbolic link without a target".to_owned()));
                }
                // Linux follows none that is longer.
                if target.len() > MAX_PATH {
                    return Err(bad(format!("a symbolic link's target of {} bytes", target.len())));
                }
                self.names += target.len();
                let target = target.to_owned();
                directory.put(name, Node::Symlink { target, mtime: entry.mtime });
            }
            Kind::File => {
                let digest = self.sink.file(content, entry.size);
                let digest = digest.map_err(|error| ImageError::of_sink(part, error))?;
                self.bytes += entry.size;
                let executable = entry.mode & 0o111 != 0;
                directory.put(name, Node::File { digest, executable, mtime: entry.mtime });
            }
            Kind::Special => {
                directory.clear(&name);
                self.lost.special += 1;
            }
            Kind::HardLink => {}
        }
        Ok(())
    }
}

/// A name that a tree can hold.
fn text<'a>(part: &str, name: &'a [u8]) -> Result<&'a str, ImageError> {
    std::str::from_utf8(name).ok().filter(|name| !name.contains('\0')).ok_or_else(|| {
        let name = shown(&String::from_utf8_lossy(name));
        ImageError::unsupported(part, format!("has a name that is not UTF-8: {name}"))
    })
}
