//! What a program needs to be loaded, read from its own headers: nothing is executed for it.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// What the headers name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Needs {
    /// The program that loads it; none of a library.
    pub(crate) loader: Option<PathBuf>,
    /// Libraries by name.
    pub(crate) libraries: Vec<PathBuf>,
    /// Where they are looked for first; `$ORIGIN` as it stands.
    pub(crate) search: Vec<String>,
}

const LOAD: u32 = 1;
const DYNAMIC: u32 = 2;
const INTERPRETER: u32 = 3;
const NEEDED: u64 = 1;
const STRINGS: u64 = 5;
const RPATH: u64 = 15;
const RUNPATH: u64 = 29;

/// Whether a file begins as such a program does.
pub(crate) fn is_one(path: &Path) -> io::Result<bool> {
    use std::io::Read as _;
    let mut start = [0; 4];
    let read = fs::File::open(path)?.read(&mut start)?;
    Ok(read == start.len() && start == *b"\x7fELF")
}

/// Reads a program or a library of this machine's word size and byte order.
pub(crate) fn needs(path: &Path) -> io::Result<Needs> {
    let bytes = fs::read(path)?;
    parse(&bytes).ok_or_else(|| {
        io::Error::new(
            io::ErrorKind::InvalidData,
            format!("{} is not a program that can be read", path.display()),
        )
    })
}

/// A header of a segment: its kind, place in the file, address and size in the file.
struct Segment {
    kind: u32,
    offset: u64,
    address: u64,
    size: u64,
}

fn parse(bytes: &[u8]) -> Option<Needs> {
    // 64 bits, little end first: all that workers are.
    if bytes.get(..6)? != b"\x7fELF\x02\x01" {
        return None;
    }
    let start = usize::try_from(u64_at(bytes, 32)?).ok()?;
    let size = usize::from(u16_at(bytes, 54)?);
    let count = usize::from(u16_at(bytes, 56)?);
    let segments: Vec<Segment> = (0..count)
        .map(|n| {
            let at = start.checked_add(n.checked_mul(size)?)?;
            Some(Segment {
                kind: u32_at(bytes, at)?,
                offset: u64_at(bytes, at + 8)?,
                address: u64_at(bytes, at + 16)?,
                size: u64_at(bytes, at + 32)?,
            })
        })
        .collect::<Option<_>>()?;
    let mut needs = Needs::default();
    if let Some(segment) = segments.iter().find(|segment| segment.kind == INTERPRETER) {
        needs.loader = Some(PathBuf::from(OsStr::from_bytes(text(bytes, segment.offset)?)));
    }
    let Some(dynamic) = segments.iter().find(|segment| segment.kind == DYNAMIC) else {
        return Some(needs);
    };
    let first = usize::try_from(dynamic.offset).ok()?;
    let entries = usize::try_from(dynamic.size).ok()? / 16;
    let entries: Vec<(u64, u64)> = (0..entries)
        .map(|n| {
            let at = first.checked_add(n.checked_mul(16)?)?;
            Some((u64_at(bytes, at)?, u64_at(bytes, at + 8)?))
        })
        .take_while(|entry| !matches!(entry, Some((0, _))))
        .collect::<Option<_>>()?;
    let of = |wanted: u64| entries.iter().filter(move |(tag, _)| *tag == wanted).map(|e| e.1);
    let Some(address) = of(STRINGS).next() else { return Some(needs) };
    let strings = segments
        .iter()
        .filter(|segment| segment.kind == LOAD)
        .find(|segment| (segment.address..segment.address + segment.size).contains(&address))
        .map(|segment| segment.offset + (address - segment.address))?;
    let named = |offset: u64| text(bytes, strings.checked_add(offset)?);
    for offset in of(NEEDED) {
        needs.libraries.push(PathBuf::from(OsStr::from_bytes(named(offset)?)));
    }
    // The old one counts only where the new one is not there.
    let search = of(RUNPATH).next().or_else(|| of(RPATH).next());
    if let Some(offset) = search {
        let text = std::str::from_utf8(named(offset)?).ok()?;
        needs.search = text.split(':').filter(|p| !p.is_empty()).map(str::to_owned).collect();
    }
    Some(needs)
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(bytes.get(at..at.checked_add(2)?)?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at.checked_add(8)?)?.try_into().ok()?))
}

/// The text at a place, up to its NUL.
fn text(bytes: &[u8], at: u64) -> Option<&[u8]> {
    let rest = bytes.get(usize::try_from(at).ok()?..)?;
    rest.split(|byte| *byte == 0).next()
}
