//! Input that nobody would write: it ends in an answer, soon, and never in a panic.

use std::fmt::Write as _;
use std::time::Duration;

use hands_scan::{NotModelled, Reason, Unit};

use crate::compiler::Cc;
use crate::project::{scan, write};

fn answer(text: &str) -> Result<Unit, NotModelled> {
    let dir = write(text);
    scan(&mut Cc::new("gcc", "c", &[], dir.path()), "m").1
}

fn reason(text: &str) -> Option<Reason> {
    answer(text).err().map(|why| why.reason)
}

#[test]
fn depth_has_bounds() {
    assert_eq!(reason("== m\n#include \"m\"\n"), Some(Reason::TooDeep));
    assert_eq!(
        reason("== m\n#include \"a.h\"\n== a.h\n#include \"b.h\"\n== b.h\n#include \"a.h\"\n"),
        Some(Reason::TooDeep)
    );
    let parentheses =
        format!("== m\n#if {}1{}\n#endif\n", "(".repeat(100_000), ")".repeat(100_000));
    assert_eq!(reason(&parentheses), Some(Reason::Expression));
    let questions = format!("== m\n#if {}1\n#endif\n", "1 ? ".repeat(100_000));
    assert_eq!(reason(&questions), Some(Reason::Expression));
    assert!(answer(&format!("== m\n#if {}1\n#endif\n", "!".repeat(100_000))).is_ok());
    assert!(answer(&format!("== m\n#if {}1\n#endif\n", "1 + ".repeat(100_000))).is_ok());
    let groups = format!("== m\n{}{}", "#if 1\n".repeat(100_000), "#endif\n".repeat(100_000));
    assert!(answer(&groups).is_ok());
    let calls = format!(
        "== m\n#define F(x) x\n#if {}1{}\n#endif\n",
        "F(".repeat(100_000),
        ")".repeat(100_000)
    );
    assert_eq!(reason(&calls), Some(Reason::TooMuch));
}

#[test]
fn expansions_have_bounds() {
    let mut text = String::from("== m\n#define A0 1 + 1\n");
    for n in 1..40 {
        let below = n - 1;
        writeln!(text, "#define A{n} A{below} + A{below}").unwrap();
    }
    text += "#if A39\n#endif\n";
    assert_eq!(reason(&text), Some(Reason::TooMuch));
    // A file that includes itself many times, in two branches at each level.
    let mut text = String::from("== m\n#define C 0\n#include \"a.h\"\n== a.h\n");
    for n in 0..60 {
        writeln!(
            text,
            "#ifndef L{n}\n#define L{n}\n#include \"a.h\"\n#include \"a.h\"\n#undef L{n}\n#else"
        )
        .unwrap();
    }
    text += &"#endif\n".repeat(60);
    assert_eq!(reason(&text), Some(Reason::TooMuch));
}

#[test]
fn bytes_of_any_kind() {
    let mut seed: u64 = 1;
    let mut next = move || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) as usize
    };
    const PIECES: &[&[u8]] = &[
        b"#",
        b"\n#if ",
        b"\n#define ",
        b"F",
        b"(",
        b")",
        b",",
        b"##",
        b"\n#endif\n",
        b"\"",
        b"'",
        b"\\",
        b"\\\n",
        b"/*",
        b"*/",
        b"//",
        b"R\"x(",
        b")x\"",
        b"\0",
        b"\xff",
        b"\r",
        b"??/",
        b" ",
        b"1",
        b"defined",
        b"__VA_ARGS__",
        b"...",
        b"\n#include ",
        b"<",
        b">",
        b"\n#else\n",
        b"\n#elif ",
        b"__has_include",
        b"__VA_OPT__",
        b"\n#pragma push_macro(",
        b"a.h",
        b"\xef\xbb\xbf",
    ];
    let dir = write("== a.h\n");
    let mut cc = Cc::new("gcc", "c", &[], dir.path());
    let mut scanner = hands_scan::Scanner::new();
    let setup = scanner.setup(&cc.setup());
    let mut disk = crate::disk::Disk::default();
    let mut n_answers = 0;
    for n in 0..3000 {
        let mut text = Vec::new();
        for _ in 0..next() % 60 {
            text.extend_from_slice(PIECES[next() % PIECES.len()]);
        }
        std::fs::write(dir.path().join(format!("m{n}")), &text).unwrap();
        n_answers +=
            u32::from(scanner.scan(setup, format!("m{n}").as_bytes(), &mut disk, &mut cc).is_ok());
    }
    assert!(n_answers > 100, "{n_answers}: most of it is nonsense, some is not");
}

#[test]
fn a_large_file_takes_no_longer_than_its_bytes() {
    let line = "int a = 1; /* text */ char *s = \"string\"; // more\n";
    let text = line.repeat(1 << 20);
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("m"), &text).unwrap();
    let began = cpu_time();
    assert!(scan(&mut Cc::new("gcc", "c", &[], dir.path()), "m").1.is_ok());
    let took = cpu_time() - began;
    assert!(took < Duration::from_secs(20), "{} MB: {took:?}", text.len() >> 20);
}

fn cpu_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(stat.split(' ').next().unwrap().parse().unwrap())
}
