//! The entries of a tar, one after another. Headers are read by the crate `tar`; the way from one to the next is ours,
//! since a header may name gigabytes of what goes before an entry.

use std::io::{self, Read};

use hands_types::Mtime;
use tar::{EntryType, Header};

use crate::error::{Fault, ImageError, shown};

const BLOCK: u64 = 512;
/// Longest record about one entry, such as a name that does not fit its header.
const MAX_RECORD: u64 = 1 << 20;

/// One entry.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) path: Vec<u8>,
    /// Where a link leads.
    pub(crate) link: Vec<u8>,
    pub(crate) kind: Kind,
    pub(crate) size: u64,
    pub(crate) mode: u32,
    pub(crate) mtime: Option<Mtime>,
    pub(crate) has_attributes: bool,
}

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    File,
    Directory,
    Symlink,
    HardLink,
    /// A device or a pipe.
    Special,
}

/// A tar that is read from its beginning to its end.
pub(crate) struct Entries<R> {
    reader: R,
    offset: u64,
    /// Bytes of the entry's content that were not read, and those that fill its last block.
    left: u64,
    filling: u64,
}

/// What records before an entry say of it.
#[derive(Default)]
struct Records {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
    mtime: Option<Mtime>,
    has_attributes: bool,
}

impl<R: Read> Entries<R> {
    pub(crate) const fn new(reader: R) -> Self {
        Self { reader, offset: 0, left: 0, filling: 0 }
    }

    /// What is left behind the last entry.
    pub(crate) fn into_inner(self) -> R {
        self.reader
    }

    /// Where the content of the entry begins.
    pub(crate) const fn offset(&self) -> u64 {
        self.offset
    }

    /// The next entry, whatever was read of the one before. `part` is for messages.
    pub(crate) fn next(&mut self, part: &str) -> Result<Option<Entry>, ImageError> {
        let mut records = Records::default();
        loop {
            self.skip().map_err(|e| ImageError::reading(part, e))?;
            let header = self.header().map_err(|e| ImageError::reading(part, e))?;
            let Some(header) = header else { return Ok(None) };
            let bad = |_| ImageError::damaged(part, "has a header that makes no sense");
            let size = header.entry_size().map_err(bad)?;
            match header.entry_type() {
                EntryType::XHeader => self.pax(part, size, &mut records)?,
                EntryType::GNULongName => records.path = Some(self.record(part, size)?),
                EntryType::GNULongLink => records.link = Some(self.record(part, size)?),
                // Says the same of all entries, and nothing that a tree would hold.
                EntryType::XGlobalHeader => drop(self.record(part, size)?),
                _ => return entry(part, &header, size, records, self).map(Some),
            }
        }
    }

    /// The header of whatever comes; none at the end.
    fn header(&mut self) -> io::Result<Option<Header>> {
        let mut block = [0; 512];
        let mut n = 0;
        while n < block.len() {
            match self.reader.read(&mut block[n..])? {
                0 if n == 0 => return Ok(None),
                0 => return Err(Fault::Damaged("ends within a header".to_owned()).into()),
                more => n += more,
            }
        }
        self.offset += BLOCK;
        if block.iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        let header = Header::from_byte_slice(&block).clone();
        let field = 148..156;
        let bytes = block.iter().enumerate();
        let sum = bytes.map(|(at, byte)| u32::from(if field.contains(&at) { b' ' } else { *byte }));
        match header.cksum() {
            Ok(there) if there == sum.sum::<u32>() => Ok(Some(header)),
            _ => Err(Fault::Damaged("is no tar, or a header of it is damaged".to_owned()).into()),
        }
    }

    fn expect(&mut self, size: u64) {
        self.left = size;
        self.filling = size.next_multiple_of(BLOCK) - size;
    }

    /// Passes over what is left of an entry.
    fn skip(&mut self) -> io::Result<()> {
        let left = self.left + self.filling;
        let skipped = io::copy(&mut (&mut self.reader).take(left), &mut io::sink())?;
        if skipped < left {
            return Err(Fault::Damaged("ends within an entry".to_owned()).into());
        }
        self.offset += left;
        (self.left, self.filling) = (0, 0);
        Ok(())
    }

    /// A record about the next entry.
    fn record(&mut self, part: &str, size: u64) -> Result<Vec<u8>, ImageError> {
        if size > MAX_RECORD {
            let why = format!("has a record of more than {MAX_RECORD} bytes about one entry");
            return Err(ImageError::unsupported(part, why));
        }
        self.expect(size);
        let mut bytes = Vec::new();
        self.read_to_end(&mut bytes).map_err(|e| ImageError::reading(part, e))?;
        while bytes.last() == Some(&0) {
            bytes.pop();
        }
        Ok(bytes)
    }

    fn pax(&mut self, part: &str, size: u64, records: &mut Records) -> Result<(), ImageError> {
        let bytes = self.record(part, size)?;
        let bad = || ImageError::damaged(part, "has a record that makes no sense");
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let (key, value, after) = pair(rest).ok_or_else(bad)?;
            let text = || std::str::from_utf8(value).ok();
            match key {
                b"path" => records.path = Some(value.to_vec()),
                b"linkpath" => records.link = Some(value.to_vec()),
                b"size" => {
                    let size = text().and_then(|text| text.parse().ok());
                    records.size = Some(size.ok_or_else(bad)?);
                }
                b"mtime" => records.mtime = Some(text().and_then(moment).ok_or_else(bad)?),
                key if key.starts_with(b"GNU.sparse.") => return Err(sparse(part)),
                key if key.starts_with(b"SCHILY.xattr.") => records.has_attributes = true,
                _ => {}
            }
            rest = after;
        }
        Ok(())
    }
}

/// The content of the entry.
impl<R: Read> Read for Entries<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        if most == 0 {
            return Ok(0);
        }
        let n = self.reader.read(&mut buffer[..most])?;
        if n == 0 {
            return Err(Fault::Damaged("ends within an entry".to_owned()).into());
        }
        self.left -= n as u64;
        self.offset += n as u64;
        Ok(n)
    }
}

fn entry<R: Read>(
    part: &str,
    header: &Header,
    size: u64,
    records: Records,
    entries: &mut Entries<R>,
) -> Result<Entry, ImageError> {
    let path = records.path.unwrap_or_else(|| header.path_bytes().into_owned());
    let link = records.link.or_else(|| header.link_name_bytes().map(std::borrow::Cow::into_owned));
    let kind = match header.entry_type() {
        // Tars older than POSIX have directories so.
        EntryType::Regular | EntryType::Continuous if path.ends_with(b"/") => Kind::Directory,
        EntryType::Regular | EntryType::Continuous => Kind::File,
        EntryType::Directory => Kind::Directory,
        EntryType::Symlink => Kind::Symlink,
        EntryType::Link => Kind::HardLink,
        EntryType::Char | EntryType::Block | EntryType::Fifo => Kind::Special,
        EntryType::GNUSparse => return Err(sparse(part)),
        other => {
            let why = format!(
                "has an entry of the unknown kind `{}`: {}",
                char::from(other.as_byte()).escape_debug(),
                shown(&String::from_utf8_lossy(&path))
            );
            return Err(ImageError::unsupported(part, why));
        }
    };
    // Only files have content; the size of a hard link is its file's.
    let size = match kind {
        Kind::File => records.size.unwrap_or(size),
        Kind::Directory | Kind::Symlink | Kind::HardLink | Kind::Special => 0,
    };
    if size > hands_types::limits::MAX_BLOB {
        let name = shown(&String::from_utf8_lossy(&path));
        return Err(ImageError::TooLarge(format!("{name} has {size} bytes")));
    }
    entries.expect(size);
    let bad = |_| ImageError::damaged(part, "has a header that makes no sense");
    // Some writers leave fields empty that mean nothing to them.
    let is_blank = |field: &[u8]| field.iter().all(|byte| matches!(byte, 0 | b' '));
    let seconds = if is_blank(&header.as_old().mtime) { Ok(0) } else { header.mtime() };
    let mode = if is_blank(&header.as_old().mode) { Ok(0o644) } else { header.mode() };
    let mtime = match records.mtime {
        Some(mtime) => Some(mtime),
        None => Mtime::new(i64::try_from(seconds.map_err(bad)?).unwrap_or(i64::MAX), 0),
    };
    Ok(Entry {
        path,
        link: link.unwrap_or_default(),
        kind,
        size,
        mode: mode.map_err(bad)?,
        mtime,
        has_attributes: records.has_attributes,
    })
}

/// The first pair of pax records, `LENGTH KEY=VALUE` and a newline, and what follows it. A value may hold anything, as those
/// of extended attributes do, so that only the length tells its end.
fn pair(records: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let space = records.iter().position(|byte| *byte == b' ')?;
    let length: usize = std::str::from_utf8(&records[..space]).ok()?.parse().ok()?;
    let pair = records.get(space + 1..length)?.strip_suffix(b"\n")?;
    let equals = pair.iter().position(|byte| *byte == b'=')?;
    Some((&pair[..equals], &pair[equals + 1..], &records[length..]))
}

fn sparse(part: &str) -> ImageError {
    ImageError::unsupported(
        part,
        "has a sparse file, which is not read: pack it without `--sparse`",
    )
}

/// Seconds since 1970 with a fraction, as pax writes them.
fn moment(text: &str) -> Option<Mtime> {
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    let whole: i64 = seconds.parse().ok()?;
    let digits: String = fraction.chars().chain("000000000".chars()).take(9).collect();
    let nanos: i64 = digits.parse().ok().filter(|_| digits.bytes().all(|b| b.is_ascii_digit()))?;
    let nanos = if seconds.starts_with('-') { -nanos } else { nanos };
    let below = nanos.rem_euclid(1_000_000_000);
    Mtime::new(whole.checked_add(nanos.div_euclid(1_000_000_000))?, u32::try_from(below).ok()?)
}
