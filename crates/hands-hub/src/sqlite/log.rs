//! Damage in a write-ahead log. SQLite takes the first frame whose checksum is wrong for the log's end, and passes over what
//! stands behind it without a word.
//!
//! The format is that of <https://www.sqlite.org/fileformat2.html#walformat>.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

const HEADER: usize = 32;
const FRAME_HEADER: usize = 24;
const MAGIC: u32 = 0x377f_0682;

/// Whole frames that are in a log and that SQLite will not read, for one of them or the log's header is damaged. A process that
/// is killed leaves none: it writes in order, and what it did not finish is no whole frame. A power cut may leave some.
pub(super) fn lost_frames(path: &Path) -> io::Result<u64> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        file => file?,
    };
    let length = file.metadata()?.len();
    let mut file = BufReader::new(file);
    let mut header = [0; HEADER];
    if !read_whole(&mut file, &mut header)? {
        return Ok(0);
    }
    let page = word(&header, 8);
    let is_page = page.is_power_of_two() && (512..=65_536).contains(&page);
    let is_big_endian = word(&header, 0) == MAGIC | 1;
    let mut sum = Sum { is_big_endian, sums: [0; 2] };
    sum.add(&header[..24]);
    let is_header = is_page && word(&header, 0) & !1 == MAGIC && sum.is(&header[24..]);
    if !is_header {
        // The smallest page that our databases have.
        return Ok((length - HEADER as u64) / (FRAME_HEADER as u64 + 4096));
    }
    let mut frame = vec![0; FRAME_HEADER + page as usize];
    let (mut is_readable, mut lost) = (true, 0);
    while read_whole(&mut file, &mut frame)? {
        let is_of_this_log = frame[8..16] == header[16..24];
        if is_readable {
            sum.add(&frame[..8]);
            sum.add(&frame[FRAME_HEADER..]);
            is_readable = is_of_this_log && sum.is(&frame[16..24]);
        }
        // Frames of an earlier round have another salt, and are in the database.
        lost += u64::from(!is_readable && is_of_this_log);
    }
    Ok(lost)
}

/// Whether there was enough.
fn read_whole(file: &mut impl Read, into: &mut [u8]) -> io::Result<bool> {
    match file.read_exact(into) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        done => done.map(|()| true),
    }
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// The checksum that goes on from frame to frame.
struct Sum {
    is_big_endian: bool,
    sums: [u32; 2],
}

impl Sum {
    fn add(&mut self, bytes: &[u8]) {
        let read = |at: usize| match self.is_big_endian {
            true => word(bytes, at),
            false => word(bytes, at).swap_bytes(),
        };
        let [mut a, mut b] = self.sums;
        for at in (0..bytes.len()).step_by(8) {
            a = a.wrapping_add(read(at)).wrapping_add(b);
            b = b.wrapping_add(read(at + 4)).wrapping_add(a);
        }
        self.sums = [a, b];
    }

    fn is(&self, stored: &[u8]) -> bool {
        self.sums == [word(stored, 0), word(stored, 4)]
    }
}

#[cfg(test)]
mod tests;
