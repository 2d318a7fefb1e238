//! A small deterministic fuzzer for the ordinary tests: changes what a corpus holds, again and again, and gives it to a
//! parser. The same targets and corpora are cargo-fuzz's in `fuzz/`, which knows what code was reached; this one runs on
//! any toolchain, in two seconds, each time.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long one target runs, and at least how many inputs it gets on a slow machine.
const TIME: Duration = Duration::from_secs(2);
const LEAST: u32 = 2_000;
/// Longest input that is made.
const LONGEST: usize = 8 << 10;
/// Bytes that parsers trip over.
const TELLING: &[&[u8]] = &[
    b"\0",
    b"/",
    b"//",
    b"..",
    b".",
    b",",
    b":",
    b"\"",
    b"\\u0000",
    b"[[[[[[[[",
    b"-1",
    b"9223372036854775807",
    b"18446744073709551616",
    b"1e999",
    b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
    b"\x80",
    b"\xc3\x28",
    "\u{202e}\u{1b}[2J".as_bytes(),
    b"blobs",
    b"uploads",
];

/// Feeds a target the corpus `fuzz/corpus/NAME` as it is, and then changes of it for two seconds, the same ones in each run.
/// Panics as the target does, after printing the input.
pub fn fuzz(name: &str, target: impl Fn(&[u8])) {
    let corpus = corpus(name);
    for input in &corpus {
        check(name, input, &target);
    }
    let mut random = Random(1);
    let began = Instant::now();
    let mut n = 0;
    while n < LEAST || began.elapsed() < TIME {
        check(name, &random.changed(&corpus), &target);
        n += 1;
    }
}

#[expect(clippy::print_stderr, reason = "the input that fails must be seen")]
fn check(name: &str, input: &[u8], target: &impl Fn(&[u8])) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| target(input))) {
        let text = input.escape_ascii();
        eprintln!("{name} fails on {} bytes; keep them in fuzz/corpus/{name}: {text}", input.len());
        resume_unwind(panic);
    }
}

fn corpus(name: &str) -> Vec<Vec<u8>> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(name);
    let mut files: Vec<PathBuf> =
        fs::read_dir(&dir).expect("a corpus").map(|entry| entry.expect("a file").path()).collect();
    files.sort();
    assert!(!files.is_empty(), "{} is empty", dir.display());
    files.iter().map(|file| fs::read(file).expect("a file of the corpus")).collect()
}

/// xorshift64*: reproducible, and nothing here is secret.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// Below `n`; 0 where `n` is.
    fn below(&mut self, n: usize) -> usize {
        match n as u64 {
            0 => 0,
            n => usize::try_from(self.next() % n).unwrap_or(0),
        }
    }

    fn range(&mut self, length: usize) -> std::ops::Range<usize> {
        let (a, b) = (self.below(length + 1), self.below(length + 1));
        // Short ones are the more telling.
        let (a, b) = (a.min(b), a.max(b));
        a..b.min(a + 1 + self.below(16))
    }

    fn byte(&mut self) -> u8 {
        self.next().to_le_bytes()[3]
    }

    fn changed(&mut self, corpus: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = corpus[self.below(corpus.len())].clone();
        for _ in 0..=self.below(4) {
            let at = self.below(bytes.len() + 1);
            match self.below(9) {
                0 if at < bytes.len() => bytes[at] ^= 1 << self.below(8),
                1 if at < bytes.len() => bytes[at] = self.byte(),
                2 => bytes.insert(at, self.byte()),
                3 => bytes.truncate(at),
                4 => {
                    let range = self.range(bytes.len());
                    bytes.drain(range);
                }
                5 => {
                    let range = self.range(bytes.len());
                    let piece = bytes[range].repeat(1 + self.below(3));
                    bytes.splice(at..at, piece);
                }
                6 => {
                    let other = &corpus[self.below(corpus.len())];
                    let tail = self.below(other.len() + 1);
                    bytes.truncate(at);
                    bytes.extend(&other[tail..]);
                }
                7 => {
                    let piece = TELLING[self.below(TELLING.len())];
                    bytes.splice(at..at, piece.iter().copied());
                }
                _ => {
                    // In place: what says its length beforehand stays readable.
                    let piece = TELLING[self.below(TELLING.len())];
                    bytes.iter_mut().skip(at).zip(piece).for_each(|(to, from)| *to = *from);
                }
            }
        }
        bytes.truncate(LONGEST);
        bytes
    }
}
