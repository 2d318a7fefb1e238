//! `cargo xtask dist`: the program as others get it. It is linked statically and at a fixed address, so that it runs on any
//! Linux of its machine's kind and starts without a linker's work.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

/// ELF's header: where its type stands, and where the program headers are (System V ABI, "Object Files").
const TYPE: usize = 16;
const PROGRAM_HEADERS: usize = 32;
const HEADER_SIZE: usize = 54;
const HEADER_COUNT: usize = 56;
/// A program at a fixed address.
const EXEC: u16 = 2;
/// The program header that names a dynamic linker.
const INTERPRETER: u32 = 3;

pub(crate) fn run(root: &Path) -> Result<()> {
    let flags = ["--", "-C", "target-feature=+crt-static", "-C", "relocation-model=static"];
    let mut build = crate::cargo();
    build.args(["rustc", "--profile", "dist", "--package", "hands", "--bin", "hands"]).args(flags);
    let status = build.current_dir(root).status()?;
    ensure!(status.success(), "cargo rustc: {status}");
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), Into::into);
    let program = target.join("dist/hands");
    let bytes = std::fs::read(&program).with_context(|| program.display().to_string())?;
    ensure!(is_static(&bytes), "{} needs a dynamic linker", program.display());
    let said = Command::new(&program).arg("--version").output()?;
    ensure!(said.status.success(), "{} --version: {}", program.display(), said.status);
    let version = String::from_utf8_lossy(&said.stdout);
    println!("{}: {}, {} bytes, static", program.display(), version.trim(), bytes.len());
    Ok(())
}

/// Whether a 64-bit ELF file is loaded at a fixed address by the kernel alone.
fn is_static(file: &[u8]) -> bool {
    let short = |at: usize| file.get(at..at + 2).map(|b| u16::from_le_bytes([b[0], b[1]]));
    let word =
        |at: usize| file.get(at..at + 4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]));
    let (Some(kind), Some(first), Some(size), Some(count)) =
        (short(TYPE), word(PROGRAM_HEADERS), short(HEADER_SIZE), short(HEADER_COUNT))
    else {
        return false;
    };
    let mut headers = (0..usize::from(count)).map(|n| word(first as usize + n * usize::from(size)));
    kind == EXEC && headers.all(|header| header.is_some_and(|kind| kind != INTERPRETER))
}

#[test]
fn a_program_that_needs_a_linker_is_told_from_a_static_one() {
    // This test is linked dynamically.
    let own = std::fs::read(std::env::current_exe().unwrap()).unwrap();
    assert!(!is_static(&own));
    let mut fixed = vec![0; 64 + 2 * 56];
    fixed[TYPE] = 2;
    fixed[PROGRAM_HEADERS] = 64;
    fixed[HEADER_SIZE] = 56;
    fixed[HEADER_COUNT] = 2;
    fixed[64] = 1;
    assert!(is_static(&fixed));
    fixed[64 + 56] = 3;
    assert!(!is_static(&fixed));
}
