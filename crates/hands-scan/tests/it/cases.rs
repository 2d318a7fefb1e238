//! Small inputs on which a scanner may stumble, each beside GCC and Clang. No expectation is written down but one: whether
//! the scanner answers, or says that it does not model it.

use std::fmt::Write as _;
use std::os::unix::fs::symlink;

use hands_scan::{Fact, Reason};

use crate::compiler::Cc;
use crate::disk::Disk;
use crate::project::{Verdict, compare, scan, write};

const COMPILERS: [(&str, &str); 2] = [("gcc", "g++"), ("clang", "clang++")];

fn program(pair: (&str, &str), language: &str) -> String {
    if language == "c++" { pair.1.into() } else { pair.0.into() }
}

/// Both compilers and the scanner agree.
fn equal(language: &str, flags: &[&str], text: &str) {
    for pair in COMPILERS {
        let dir = write(text);
        let mut cc = Cc::new(&program(pair, language), language, flags, dir.path());
        let (verdict, why) = compare(&mut cc, "m");
        assert_eq!(verdict, Verdict::Equal, "{} {language}: {why:?}\n{text}", cc.program);
    }
}

/// The scanner says why it does not answer, for these compilers.
fn refused(compilers: &[&str], language: &str, flags: &[&str], reason: Reason, text: &str) {
    for pair in COMPILERS {
        let dir = write(text);
        let mut cc = Cc::new(&program(pair, language), language, flags, dir.path());
        let (verdict, why) = compare(&mut cc, "m");
        if compilers.contains(&pair.0) {
            assert_eq!(why.map(|why| why.reason), Some(reason), "{}\n{text}", cc.program);
        } else {
            assert_eq!(verdict, Verdict::Equal, "{}: {why:?}\n{text}", cc.program);
        }
    }
}

const BOTH: &[&str] = &["gcc", "clang"];

/// A source in which each expression decides whether a header of its own is read.
fn expressions(before: &str, list: &[&str]) -> String {
    let mut text = format!("== m\n{before}\n");
    for (nth, expression) in list.iter().enumerate() {
        write!(
            text,
            "#if {expression}\n#include \"y{nth}.h\"\n#else\n#include \"n{nth}.h\"\n#endif\n"
        )
        .unwrap();
    }
    for nth in 0..list.len() {
        write!(text, "== y{nth}.h\n== n{nth}.h\n").unwrap();
    }
    text
}

#[test]
fn arithmetic() {
    let list = [
        "1",
        "0",
        "-1",
        "-1 > 0u",
        "-1 < 0",
        "1u - 2 > 0",
        "0xffffffffffffffff == -1",
        "0xffffffffffffffff > 0",
        "9223372036854775807 + 1 < 0",
        "18446744073709551615 > 0",
        "010 == 8",
        "0b101 == 5",
        "1 ? 2 : 3",
        "0 ? 1/0 : 1",
        "1 || 1/0",
        "0 && 1/0",
        "!0",
        "!!1",
        "~0 == -1",
        "-(-3) == 3",
        "7 / 2 == 3",
        "-7 / 2 == -3",
        "-7 % 3 == -1",
        "1 << 3 == 8",
        "(1 << 3) == 8",
        "-8 >> 1 == -4",
        "1 + 2 * 3 == 7",
        "(1 + 2) * 3 == 9",
        "1 | 2 ^ 3 & 1",
        "2 < 3 < 1",
        "5 & 6 == 6",
        "1 ? 0 ? 2 : 0 : 3",
        "'a' == 97",
        "'\\n' == 10",
        "'\\0' == 0",
        "L'\\0' - 1 > 0",
        "L'a' == 97",
        "10L == 10",
        "10ull > -1",
        "10llu == 10",
        "0u - 1 > 0",
        "(2 || 3) != 2",
        "UNKNOWN",
        "UNKNOWN == 0",
        "(0 ? -1 : 0u) - 1 > 0",
        "- - 1",
        "+1",
        "3 > 2 == 1",
        "1 == 1 == 1",
        "0x7fffffffffffffff + 0u > 0",
        "-9223372036854775807 - 1 < 0",
        "'\\'' == 39",
        "'\"' == 34",
    ];
    equal("c", &[], &expressions("", &list));
    equal("c++", &[], &expressions("", &list));
}

#[test]
fn words_of_the_language() {
    let list = ["true", "false", "true + 1 == 2", "true || 0", "not_a_word"];
    equal("c", &[], &expressions("", &list));
    equal("c++", &[], &expressions("", &list));
    let named = [
        "not 0",
        "1 and 0",
        "0 or 1",
        "compl 0",
        "1 bitand 3",
        "1 xor 1",
        "1 not_eq 2",
        "not not 1",
    ];
    equal("c++", &[], &expressions("", &named));
    equal("c", &[], &expressions("#include <iso646.h>", &named));
    let numbers = ["1'000 == 1000", "0x1'0 == 16", "1'0'0 > 99"];
    equal("c++", &["-std=c++17"], &expressions("", &numbers));
}

#[test]
fn what_is_defined() {
    let before = "#define ONE 1\n#define EMPTY\n#define F(x) x\n#define D defined(ONE)\n#define ND defined NONE\n\
                  #define LOOP LOOP\n#define A B\n#define B A\n#define G(x) F(x)\n#define OBJ F\n#define LP (\n#define C ,\n\
                  #define TWO(a, b) a + b\n#define CALL(f) f(3)";
    let list = [
        "defined ONE",
        "defined(ONE)",
        "defined ( ONE )",
        "!defined NONE",
        "defined EMPTY",
        "D",
        "ND",
        "D && !ND",
        "F(1)",
        "F (1)",
        "LOOP",
        "A",
        "B + 1",
        "G(ONE)",
        "OBJ(1)",
        "TWO(1, 1) == 2",
        "CALL(F) == 3",
        "F\t( 0 )",
        "defined F && defined G",
        "defined __FILE__",
        "defined __LINE__",
        "defined __COUNTER__",
        "defined __DATE__",
        "defined __has_include",
        "defined __has_attribute",
        "defined __has_feature",
        "defined __has_builtin",
        "defined __STDC__",
        "__INCLUDE_LEVEL__",
        "__LINE__ > 100",
        "__COUNTER__",
        "__COUNTER__",
        "__COUNTER__ == 2",
    ];
    equal("c", &[], &expressions(before, &list[..]));
    equal("c++", &[], &expressions(before, &list[..]));
}

#[test]
fn pasting_and_arguments() {
    let before = "#define CAT(a, b) a ## b\n#define XCAT(a, b) CAT(a, b)\n#define ONE1 1\n#define N 1\n#define ONE ONE\n\
        #define V(...) __VA_ARGS__\n#define FIRST(a, ...) a\n#define REST(a, ...) __VA_ARGS__\n#define GNU(a, ...) FIRST(a, ## __VA_ARGS__)\n\
        #define NAMED(args...) args\n#define OPT(a, ...) a __VA_OPT__(+ 5)\n#define COUNT(...) COUNT_(__VA_ARGS__, 3, 2, 1)\n\
        #define COUNT_(a, b, c, d, ...) d\n#define NIL()\n#define E(x) x\n#define HASH # x\n#define f(a) a*g\n#define g(a) f(a)\n\
        #define OO CAT(1, 2)\n#define P1 1 ## 2\n#define AA() 7\n#define IND(m) m ()\n#define EQ(a, b) a == b";
    let list = [
        "CAT(1, 2) == 12",
        "XCAT(N, N) == 11",
        "CAT(N, 2)",
        "CAT(ONE, 1)",
        "V(1)",
        "FIRST(1, 2)",
        "FIRST(1)",
        "REST(1, 2) == 2",
        "GNU(4) == 4",
        "GNU(4, 5, 6) == 4",
        "NAMED(1) == 1",
        "OPT(1) == 1",
        "OPT(1, x) == 6",
        "COUNT(a) == 1",
        "COUNT(a, b) == 2",
        "COUNT(a, b, c) == 3",
        "NIL() 1",
        "CAT(, 1)",
        "CAT(1, )",
        "CAT(,) 1",
        "OO == 12",
        "P1 == 12",
        "IND(AA) == 7",
        "CAT(&, &) 1 || 1",
        "1 CAT(|, |) 0",
        "XCAT(CAT(1, 2), 3) == 123",
        "E(E(E(1)))",
        "CAT(0x, 1F) == 31",
        "XCAT(1, CAT(, 2)) == 12",
        "1 CAT(<, =) 2",
        "CAT(E, )(1)",
    ];
    let kept: Vec<&str> =
        list.iter().copied().filter(|e| *e != "CAT(&, &) 1 || 1" && *e != "CAT(N, 2)").collect();
    equal("c", &[], &expressions(before, &kept));
    equal("c++", &["-std=c++20"], &expressions(before, &kept));
}

#[test]
fn groups() {
    equal(
        "c",
        &[],
        "== m
#if 0
# if 1
#  include \"a.h\"
# else
#  include \"missing.h\"
# endif
# include nonsense (
# bogus
'unterminated
#elif 1
# include \"b.h\"
#elif 1/0
#else
#endif
#ifdef X
#elif defined(Y)
#else
#include \"c.h\"
#endif
#ifndef X
#define X
#endif
#ifdef X
#include \"d.h\"
#endif junk
# /* null */
#
%: define Q 1
%:if Q
%:include \"e.h\"
%:endif
== a.h
== b.h
== c.h
== d.h
== e.h
",
    );
    equal("c", &["-std=gnu17"], "== m\n#ifdef A\n#elifndef A\n#include \"a.h\"\n#endif\n== a.h\n");
}

#[test]
fn comments_lines_and_strings() {
    equal(
        "c++",
        &["-std=c++17"],
        "== m
/* a */ # /* b */ include /* c */ \"a.h\" /* d
*/ #include \"not.h\"
// comment \\
#include \"not.h\"
#define A 1 /* spans
lines */ + 0
#if A /* x */ == 1 // y
#include \"b.h\"
#endif
const char *s = \"/*\"; // \"
#include \"c.h\"
const char *r = R\"x(
#include \"not.h\"
)\" )x\";
#inc\\
lude \"d.h\"
char c = '\\'', d = '\"'; /* ' */
#include \"e.h\"
int n = 1'000'000; /* it's */
#include \"f.h\"
auto u = L'x'; auto v = u8R\"(\\
#include \"not.h\"
)\";
const char *multi = \"a\\
#include \\\"not.h\\\"\";
#include \"g.h\"
auto w = R\"a(x)\\
a\")a\";
#include \"h.h\"
   #   include   \"i//j.h\"
/\\
* comment */ /\\
/ another
#include \"k.h\" // end
== a.h
== b.h
== c.h
== d.h
== e.h
== f.h
== g.h
== h.h
== i/j.h
== k.h
",
    );
    let dir = write("== a.h\n");
    std::fs::write(
        dir.path().join("m"),
        b"\xef\xbb\xbf#include \"a.h\"\r\n#define X \\\r\n 1\r\n#if X\r\nint \xff\xfe;\r\n#endif",
    )
    .unwrap();
    for (program, _) in COMPILERS {
        let (verdict, why) = compare(&mut Cc::new(program, "c", &[], dir.path()), "m");
        assert_eq!(verdict, Verdict::Equal, "{program}: {why:?}");
    }
}

#[test]
fn ways_to_files() {
    let text = "== m
#include \"sub/a.h\"
#include <b.h>
#include \"b.h\"
#include \"c.h\"
#include <d.h>
#include <after.h>
#include \"dir.h\"
== sub/a.h
#include \"b.h\"
#include \"../top.h\"
== sub/b.h
== top.h
== one/b.h
#include_next <b.h>
== two/b.h
#include \"own.h\"
== two/own.h
== quoted/c.h
#include \"here.h\"
== quoted/here.h
== sys/d.h
#include_next <d.h>
== sys2/d.h
== last/after.h
== one/dir.h/x
== two/dir.h
";
    let flags = [
        "-Ione",
        "-I",
        "two",
        "-iquote",
        "quoted",
        "-isystem",
        "sys",
        "-isystem",
        "sys2",
        "-idirafter",
        "last",
        "-Imissing",
        "-Ione/",
    ];
    equal("c", &flags, text);
    equal("c++", &flags, text);
}

#[test]
fn include_next_where_nothing_was_searched() {
    let text = "== m\n#include \"a.h\"\n== a.h\n#ifndef A\n#define A\n#include_next \"a.h\"\n#endif\n== i/a.h\n";
    refused(&["clang"], "c", &["-Ii"], Reason::IncludeNext, text);
    equal(
        "c",
        &["-Ii"],
        "== m\n#include_next <a.h>\n#if __has_include_next(<b.h>)\n#include <b.h>\n#endif\n== i/a.h\n== i/b.h\n",
    );
}

#[test]
fn read_once() {
    equal(
        "c",
        &["-Ii", "-Wno-deprecated", "-Wno-import-preprocessor-directive-pedantic"],
        "== m
#include \"a.h\"
#include \"a.h\"
#include <a.h>
#import \"b.h\"
#include \"b.h\"
#include \"c.h\"
#include \"c.h\"
#include \"d.h\"
#import \"d.h\"
== a.h
#pragma once
#ifdef A
#include \"not.h\"
#endif
#define A
== i/a.h
#include \"ia.h\"
== i/ia.h
== b.h
#ifdef B
#include \"not.h\"
#endif
#define B
== c.h
#ifdef C
#include \"second.h\"
#endif
#define C
== second.h
== d.h
#ifdef D
#include \"not.h\"
#endif
#define D
",
    );
}

#[test]
fn once_under_two_names_and_in_two_copies() {
    for (program, _) in COMPILERS {
        let dir = write(
            "== m\n#include \"a.h\"\n#include \"link.h\"\n#include \"hard.h\"\n== a.h\n#pragma once\n#ifdef A\n#include \"n.h\"\n#endif\n#define A\n",
        );
        symlink("a.h", dir.path().join("link.h")).unwrap();
        std::fs::hard_link(dir.path().join("a.h"), dir.path().join("hard.h")).unwrap();
        let mut cc = Cc::new(program, "c", &[], dir.path());
        let (verdict, why) = compare(&mut cc, "m");
        assert_eq!(verdict, Verdict::Equal, "{program}: {why:?}");
        let (scanner, unit) = scan(&mut cc, "m");
        let present: Vec<_> =
            unit.unwrap().present.iter().map(|&p| scanner.path(p).to_vec()).collect();
        assert_eq!(present, [b"link.h".to_vec(), b"hard.h".to_vec()], "the compiler opens them");
    }
    let copies = "== m\n#include \"a.h\"\n#include \"b.h\"\n== a.h\n#pragma once\n== b.h\n#pragma once\n== c.h\n";
    refused(BOTH, "c", &[], Reason::TwinOfOnce, copies);
}

#[test]
fn computed_includes() {
    equal(
        "c",
        &["-Ii"],
        "== m
#define Q \"a.h\"
#define L <b.h>
#define STR(x) #x
#define XSTR(x) STR(x)
#define DIR sub/deep
#define HDR(name) <sub/name.h>
#define linux_ 1
#define PICK(n) XSTR(n ## _file.h)
#include Q
#include L
#include XSTR(DIR/c.h)
#include HDR(d)
#include PICK(e)
#if __has_include(Q) && __has_include(L) && !__has_include(\"zz.h\") && __has_include(HDR(d))
#include \"f.h\"
#endif
#if __has_include(<b.h>) && defined(NOT) || __has_include(\"only.h\")
#include \"g.h\"
#endif
#include \"self.h\"
== a.h
== i/b.h
== sub/deep/c.h
== i/sub/d.h
== e_file.h
== f.h
== g.h
== only.h
== self.h
#ifndef N
#define N
#include __FILE__
#else
#include \"h.h\"
#endif
== h.h
",
    );
}

#[test]
fn stacked_macros_and_undef() {
    equal(
        "c",
        &["-DX=2", "-UY", "-D", "F(x)=x"],
        "== m
#pragma push_macro(\"X\")
#undef X
#define X 3
#if X == 3
#include \"a.h\"
#endif
#pragma pop_macro(\"X\")
#if X == 2 && F(1)
#include \"b.h\"
#endif
#pragma push_macro(\"NEVER\")
#define NEVER
#pragma pop_macro(\"NEVER\")
#ifdef NEVER
#include \"not.h\"
#endif
#undef __GNUC__
#ifdef __GNUC__
#include \"not.h\"
#endif
== a.h
== b.h
",
    );
}

#[test]
fn included_by_the_command_line() {
    let text = "== m
#if A == 1 && B == 2 && C == 3
#include \"x.h\"
#endif
== a.h
#define A 1
#include \"nested.h\"
== nested.h
== b.h
#define B 2
int text;
== i/c.h
#define C 3
== x.h
";
    equal("c", &["-include", "a.h", "-imacros", "b.h", "-include", "c.h", "-Ii"], text);
    equal(
        "assembler-with-cpp",
        &["-include", "a.h", "-imacros", "b.h", "-include", "c.h", "-Ii"],
        text,
    );
}

#[test]
fn answers_of_the_compiler() {
    let c = [
        "__has_attribute(noreturn)",
        "__has_attribute(__noreturn__)",
        "__has_attribute(nonsense)",
        "defined __has_c_attribute && __has_c_attribute(deprecated) > 201900",
    ];
    equal(
        "c",
        &[],
        &expressions("#ifndef __has_attribute\n#define __has_attribute(x) 0\n#endif", &c[..3]),
    );
    equal(
        "c",
        &[],
        &expressions("#define H(x) __has_attribute(x)", &["H(noreturn)", "H(none_such)"]),
    );
    equal(
        "c++",
        &["-std=c++20"],
        &expressions(
            "",
            &[
                "__has_cpp_attribute(nodiscard) >= 201603",
                "__has_cpp_attribute(gnu::noreturn)",
                "__has_builtin(__builtin_expect)",
                "__has_builtin(nope)",
            ],
        ),
    );
    equal(
        "c++",
        &[],
        "== m\n#ifdef __has_feature\n#if __has_feature(cxx_rtti)\n#include \"a.h\"\n#endif\n#if __has_extension(nope)\n#include \"b.h\"\n#endif\n#endif\n== a.h\n== b.h\n",
    );
}

#[test]
fn systems_headers() {
    equal(
        "c",
        &[],
        "== m\n#include <stdio.h>\n#include <stdlib.h>\n#include <pthread.h>\n#include <sys/socket.h>\n#include <limits.h>\n#include <stdint.h>\n#include <math.h>\n#include <wchar.h>\n#include <immintrin.h>\n",
    );
    equal(
        "c++",
        &["-std=c++20"],
        "== m\n#include <iostream>\n#include <algorithm>\n#include <regex>\n#include <thread>\n#include <filesystem>\n#include <ranges>\n#include <variant>\n",
    );
    equal(
        "c",
        &["-std=c11", "-D_FORTIFY_SOURCE=2", "-O2", "-m32", "-ffreestanding"],
        "== m\n#include <stdint.h>\n#include <stdarg.h>\n#include <float.h>\n",
    );
}

#[test]
fn what_is_not_modelled_says_so() {
    let strict = &["-std=c11"][..];
    refused(BOTH, "c", &[], Reason::HeaderNotFound, "== m\n#include \"nowhere.h\"\n");
    refused(BOTH, "c", &[], Reason::DivisionByZero, "== m\n#if 1/0\n#endif\n");
    refused(BOTH, "c", &[], Reason::Unbalanced, "== m\n#if 1\n");
    refused(BOTH, "c", &[], Reason::Unbalanced, "== m\n#if 0\n#else\n#else\n#endif\n");
    refused(BOTH, "c", &[], Reason::Unbalanced, "== m\n#endif\n");
    refused(BOTH, "c", &[], Reason::ErrorDirective, "== m\n#error no\n");
    refused(BOTH, "c", &[], Reason::UnknownDirective, "== m\n#bogus\n");
    refused(BOTH, "c", &[], Reason::BadDirective, "== m\n#define\n");
    refused(BOTH, "c", &[], Reason::MacroCall, "== m\n#define F(a, b) a\n#if F(1)\n#endif\n");
    refused(BOTH, "c", &[], Reason::Paste, "== m\n#define C(a, b) a ## b\n#if C(+, 1)\n#endif\n");
    refused(BOTH, "c", &[], Reason::Constant, "== m\n#if 1.0\n#endif\n");
    refused(
        BOTH,
        "c",
        &[],
        Reason::Constant,
        "== m\n#if 'ab' == 24930\n#include \"a.h\"\n#endif\n== a.h\n",
    );
    refused(BOTH, "c", &[], Reason::Expression, "== m\n#if 1 +\n#endif\n");
    refused(BOTH, "c", &[], Reason::Expression, "== m\n#if\n#endif\n");
    refused(BOTH, "c", strict, Reason::Trigraphs, "== m\n??=include \"a.h\"\n== a.h\n");
    refused(
        BOTH,
        "c",
        strict,
        Reason::Trigraphs,
        "== m\nchar *s = \"??/\"\"; /*\";\n#include \"a.h\"\n/* */\n== a.h\n",
    );
    equal(
        "c",
        &["-std=gnu11"],
        "== m\nchar *s = \"what??!\";\n??=include \"a.h\"\n#include \"b.h\"\n== b.h\n",
    );
    equal("c", strict, "== m\n// what??!\nchar *s = \"what??!\";\n#include \"b.h\"\n== b.h\n");
    refused(
        BOTH,
        "c",
        &[],
        Reason::Counter,
        "== m\nint a = __COUNTER__;\n#if __COUNTER__ == 1\n#include \"a.h\"\n#endif\n== a.h\n",
    );
    refused(BOTH, "c", &[], Reason::PragmaOperator, "== m\n_Pragma(\"push_macro(\\\"X\\\")\")\n");
    refused(
        BOTH,
        "c",
        &[],
        Reason::Line,
        "== m\n#line 7\n#if __LINE__ == 7\n#include \"a.h\"\n#endif\n== a.h\n",
    );
    refused(BOTH, "c", &[], Reason::LineEnds, "== m\n#define A 1\r#include \"a.h\"\n== a.h\n");
    refused(
        BOTH,
        "c++",
        &["-std=c++98"],
        Reason::Quotes,
        "== m\nint R; const char *s = R\"(\"\n/*)\";\n#include \"a.h\"\n/* \" */\n== a.h\n",
    );
    refused(
        BOTH,
        "c",
        &["-std=c90"],
        Reason::Quotes,
        "== m\nint a; //*\n#include \"a.h\"\n/* */\n== a.h\n",
    );
    refused(
        &["gcc"],
        "c",
        &[],
        Reason::PrecompiledHeader,
        "== m\n#include \"a.h\"\n== a.h\n== a.h.gch\nnot one\n",
    );
}

#[test]
fn facts() {
    let text = "== m
#if 0
char *no = __DATE__;
#endif
#include \"a.h\"
void f(void) { __asm__(\".incbin \\\"x.bin\\\"\"); }
// __TIMESTAMP__
char *s = \"__TIMESTAMP__\";
== a.h
#define BUILT __TIME__
#define WHERE __FILE__
";
    let dir = write(text);
    let (scanner, unit) = scan(&mut Cc::new("gcc", "c", &[], dir.path()), "m");
    let facts: Vec<_> = unit
        .unwrap()
        .facts
        .iter()
        .map(|f| (f.fact, scanner.path(f.path).to_vec(), f.line))
        .collect();
    assert_eq!(
        facts,
        [
            (Fact::Time, b"a.h".to_vec(), 1),
            (Fact::File, b"a.h".to_vec(), 2),
            (Fact::AssemblerFile, b"m".to_vec(), 5)
        ]
    );
}

/// A header that appears where it was looked for and is not makes another set, and the scanner had named that path.
#[test]
fn a_header_that_comes_to_shadow_another() {
    for (program, _) in COMPILERS {
        let dir = write(
            "== m\n#include <a.h>\n#if __has_include(\"opt.h\")\n#include \"opt.h\"\n#endif\n== two/a.h\n== one/x\n",
        );
        let mut cc = Cc::new(program, "c", &["-Ione", "-Itwo"], dir.path());
        let mut disk = Disk::default();
        let mut scanner = hands_scan::Scanner::new();
        let setup = scanner.setup(&cc.setup());
        let unit = scanner.scan(setup, b"m", &mut disk, &mut cc).unwrap();
        let absent: Vec<_> = unit.absent.iter().map(|&p| scanner.path(p).to_vec()).collect();
        for path in ["one/a.h", "opt.h", "one/opt.h", "two/opt.h"] {
            assert!(absent.contains(&path.as_bytes().to_vec()), "{program}: {path} in {absent:?}");
        }
        for path in ["one/a.h", "opt.h"] {
            std::fs::write(dir.path().join(path), "").unwrap();
            disk.epoch += 1;
            let unit = scanner.scan(setup, b"m", &mut disk, &mut cc);
            let (verdict, why) = crate::project::check(&scanner, unit, &cc, "m");
            assert_eq!(verdict, Verdict::Equal, "{program}: {why:?}");
        }
    }
}

/// A second unit reads no file again, and asks nothing again within an epoch.
#[test]
fn files_are_read_once_for_all_units() {
    let dir = write(
        "== m\n#include <stdio.h>\n#include \"a.h\"\n== n\n#include <stdio.h>\n#include \"a.h\"\n== a.h\nint x;\n== copy/a.h\nint x;\n",
    );
    let mut cc = Cc::new("gcc", "c", &[], dir.path());
    let mut disk = Disk::default();
    let mut scanner = hands_scan::Scanner::new();
    let setup = scanner.setup(&cc.setup());
    scanner.scan(setup, b"m", &mut disk, &mut cc).unwrap();
    let (reads, probes) = (disk.n_reads, disk.n_probes);
    scanner.scan(setup, b"m", &mut disk, &mut cc).unwrap();
    assert_eq!((disk.n_reads, disk.n_probes), (reads, probes));
    scanner.scan(setup, b"n", &mut disk, &mut cc).unwrap();
    assert_eq!((disk.n_reads, disk.n_probes), (reads + 1, probes + 1), "the source alone is new");
    disk.epoch += 1;
    scanner.scan(setup, b"n", &mut disk, &mut cc).unwrap();
    assert_eq!(disk.n_reads, reads + 1, "what has not changed is not read again");
    assert!(disk.n_probes > probes + 20, "and all is looked for again");
    assert!(disk.reads.values().all(|n| *n == 1));
    // A changed file is read, and the unit follows it.
    std::fs::write(dir.path().join("a.h"), "#include \"b.h\"\n").unwrap();
    std::fs::write(dir.path().join("b.h"), "").unwrap();
    disk.epoch += 1;
    let unit = scanner.scan(setup, b"n", &mut disk, &mut cc);
    let (verdict, why) = crate::project::check(&scanner, unit, &cc, "n");
    assert_eq!(verdict, Verdict::Equal, "{why:?}");
}
