//! Directives thrown together by a seed, beside GCC and Clang. `SCAN_SEEDS` says how many, `SCAN_SEED` which one first.

use std::fmt::Write as _;

use crate::compiler::Cc;
use crate::project::{Verdict, compare, write};

struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as usize) % sides
    }

    fn pick<'a>(&mut self, list: &[&'a str]) -> &'a str {
        list[self.roll(list.len())]
    }
}

const NAMES: &[&str] = &["A", "B", "C", "D", "__GNUC__", "F", "G", "V"];
const FILES: &[&str] = &["a.h", "b.h", "sub/c.h", "sub/d.h", "e.h"];
const FILL: &[&str] = &[
    "int x; /* a comment\n over lines */ int y;",
    "char *s = \"# \\\" /*\";",
    "// line \\\n#include \"nowhere.h\"",
    "char c = '\"';",
    "# /* null */",
    "#pragma GCC diagnostic push",
    "#  undef\tD /* x */",
    "A(1) B F(2) G",
    "#define Z \\\n  A /* \n */ + 1",
    "%: define Y(x, ...) x __VA_ARGS__",
];

fn expression(dice: &mut Dice, depth: usize) -> String {
    match dice.roll(if depth > 3 { 6 } else { 14 }) {
        0 => dice.roll(4).to_string(),
        1 => dice.pick(&["0x10u", "07", "1UL", "'a'", "2", "0"]).to_owned(),
        2 => format!("defined {}", dice.pick(NAMES)),
        3 => format!("defined({})", dice.pick(NAMES)),
        4 => format!("__has_include(\"{}\")", dice.pick(&["a.h", "c.h", "none.h", "sub/c.h"])),
        5 => dice.pick(&["A", "B", "C", "D"]).to_owned(),
        6 => format!("!{}", expression(dice, depth + 1)),
        7 => format!("({})", expression(dice, depth + 1)),
        8 => format!("-{}", expression(dice, depth + 1)),
        9 => {
            let condition = expression(dice, depth + 1);
            format!(
                "({condition} ? {} : {})",
                expression(dice, depth + 1),
                expression(dice, depth + 1)
            )
        }
        _ => {
            let operator = dice.pick(&[
                "+", "-", "*", "<", ">", "==", "!=", "&&", "||", "&", "|", "^", "<=", ">=",
            ]);
            format!("{} {operator} {}", expression(dice, depth + 1), expression(dice, depth + 1))
        }
    }
}

fn lines(dice: &mut Dice, level: usize, depth: usize, out: &mut String) {
    for _ in 0..2 + dice.roll(6) {
        match dice.roll(12) {
            0 | 1 => {
                let body =
                    dice.pick(&["", "1", "0", "B", "C + 1", "A", "2", "F(1)", "F", "-1", "1u"]);
                let name = dice.pick(&["A", "B", "C", "D"]);
                writeln!(out, "#undef {name}\n#define {name} {body}").unwrap();
            }
            2 => {
                let body =
                    dice.pick(&["x", "x + 1", "A x", "#x", "x ## 1", "1 ## x", "(x)", "F(x)"]);
                writeln!(out, "#undef F\n#define F(x) {body}").unwrap();
            }
            3 => writeln!(out, "#undef {}", dice.pick(NAMES)).unwrap(),
            4..=6 if depth < 4 => {
                match dice.roll(3) {
                    0 => writeln!(out, "#ifdef {}", dice.pick(NAMES)).unwrap(),
                    1 => writeln!(out, "#ifndef {}", dice.pick(NAMES)).unwrap(),
                    _ => writeln!(out, "#if {}", expression(dice, 0)).unwrap(),
                }
                lines(dice, level, depth + 1, out);
                if dice.roll(3) == 0 {
                    writeln!(out, "#elif {}", expression(dice, 0)).unwrap();
                    lines(dice, level, depth + 1, out);
                }
                if dice.roll(2) == 0 {
                    out.push_str("#else\n");
                    lines(dice, level, depth + 1, out);
                }
                out.push_str("#endif\n");
            }
            7 => writeln!(
                out,
                "#pragma {}_macro(\"{}\")",
                dice.pick(&["push", "pop"]),
                dice.pick(NAMES)
            )
            .unwrap(),
            // Later files only: what includes itself without end is another test.
            8 | 9 if level < FILES.len() => {
                let file = FILES[level + dice.roll(FILES.len() - level)];
                let name = file.rsplit('/').next().unwrap();
                let (open, close) = if dice.roll(2) == 0 { ('<', '>') } else { ('"', '"') };
                let name = if open == '<' { name } else { file };
                let _ = match dice.roll(4) {
                    0 => writeln!(out, "#undef H\n#define H {open}{name}{close}\n#include H"),
                    1 => writeln!(
                        out,
                        "#if __has_include({open}{name}{close})\n#include {open}{name}{close}\n#endif"
                    ),
                    _ => writeln!(out, "#include {open}{name}{close} // x"),
                };
            }
            10 if dice.roll(8) == 0 => out.push_str("#pragma once\n"),
            _ => writeln!(out, "{}", dice.pick(FILL)).unwrap(),
        }
    }
}

fn project(seed: u64) -> String {
    let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) + 1);
    let mut out = String::from("== m\n");
    lines(&mut dice, 0, 0, &mut out);
    lines(&mut dice, 0, 0, &mut out);
    for (nth, file) in FILES.iter().enumerate() {
        writeln!(out, "== {file}\n/* {nth} */").unwrap();
        lines(&mut dice, nth + 1, 0, &mut out);
    }
    out
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a test takes its seeds from the environment")]
fn as_the_compilers_read_it() {
    let number = |name: &str| std::env::var(name).ok().and_then(|value| value.parse().ok());
    let (n_seeds, first) = (number("SCAN_SEEDS").unwrap_or(30), number("SCAN_SEED").unwrap_or(0));
    let mut n_equal = 0;
    for seed in first..first + n_seeds {
        let text = project(seed);
        let dir = write(&text);
        for program in ["gcc", "clang"] {
            let mut cc = Cc::new(program, "c", &["-w", "-Isub", "-I."], dir.path());
            let outcome =
                std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| compare(&mut cc, "m")));
            match outcome {
                Ok((verdict, _)) => n_equal += u64::from(verdict == Verdict::Equal),
                Err(why) => {
                    println!("seed {seed}, {program}:\n{text}");
                    std::panic::resume_unwind(why);
                }
            }
        }
    }
    println!("{n_equal} of {} equal, the others not modelled", 2 * n_seeds);
    assert!(
        n_equal * 4 > n_seeds,
        "{n_equal}: too many are not modelled for this to test anything"
    );
}
