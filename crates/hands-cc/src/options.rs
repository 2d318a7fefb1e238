//! The table of options that gcc and clang share, each with what it means for a compile that runs elsewhere.
//!
//! An option that stands in no row makes its command local: only what is known is sent.

/// How an option takes its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// None: the word is the option.
    Alone,
    /// In the same word.
    Joined,
    /// In the next word.
    Next,
    /// In the same word, or in the next one where the word ends with the option.
    Either,
}

/// What it means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// It means the same everywhere.
    Pass,
    /// Its value is a directory in which headers are looked for, or below which others are.
    Directory,
    /// Its value is a file that the preprocessor reads, so that it is among the dependencies.
    Header,
    /// Compile and stop there: `-c`.
    Compile,
    /// Compile to assembler: `-S`.
    Assembler,
    /// The output's name.
    Output,
    /// The language of what follows.
    Language,
    /// Dependencies are written beside the object: `-MD`, `-MMD`.
    WriteDependencies,
    /// Where to: `-MF`.
    DependencyFile,
    /// Says how they look: `-MP`, `-MT`. Of no concern to a run that asks for them.
    DependencyStyle,
    /// The debugging information goes to a file beside the object.
    SplitDebug,
    /// Notes for coverage go to a file beside the object.
    Coverage,
    /// The use of the stack goes to a file beside the object.
    StackUse,
    /// The compiler answers a question instead.
    Question,
    /// Files are written or read of which only the compiler's own machine knows, or it is not known here what it does.
    Local,
}

use Class::{
    Assembler, Compile, Coverage, DependencyFile, DependencyStyle, Directory, Header, Language,
    Local, Output, Pass, Question, SplitDebug, StackUse, WriteDependencies,
};
use Shape::{Alone, Either, Joined, Next};

/// The options. Whole words are looked for first, then the longest beginning.
const TABLE: &[(&str, Shape, Class)] = &[
    ("-c", Alone, Compile),
    ("-S", Alone, Assembler),
    ("-E", Alone, Question),
    ("-M", Alone, Question),
    ("-MM", Alone, Question),
    ("-fsyntax-only", Alone, Question),
    ("-###", Alone, Question),
    ("-v", Alone, Question),
    ("--version", Alone, Question),
    ("-version", Alone, Question),
    ("--help", Joined, Question),
    ("--target-help", Alone, Question),
    ("-print-", Joined, Question),
    ("--print-", Joined, Question),
    ("-dump", Joined, Question),
    ("-o", Either, Output),
    ("-x", Either, Language),
    ("-MD", Alone, WriteDependencies),
    ("-MMD", Alone, WriteDependencies),
    ("-MF", Either, DependencyFile),
    ("-MP", Alone, DependencyStyle),
    ("-MT", Either, DependencyStyle),
    ("-MQ", Either, DependencyStyle),
    ("-I", Either, Directory),
    ("-iquote", Either, Directory),
    ("-isystem", Either, Directory),
    ("-idirafter", Either, Directory),
    ("-isysroot", Either, Directory),
    ("--sysroot", Next, Directory),
    ("--sysroot=", Joined, Directory),
    ("-include", Either, Header),
    ("-imacros", Either, Header),
    ("-D", Either, Pass),
    ("-U", Either, Pass),
    ("-L", Either, Pass),
    ("-l", Either, Pass),
    ("-u", Either, Pass),
    ("-z", Either, Pass),
    ("-Wl,", Joined, Pass),
    ("-Xlinker", Next, Pass),
    ("--param", Next, Pass),
    ("--param=", Joined, Pass),
    ("-std=", Joined, Pass),
    ("--std=", Joined, Pass),
    ("-ansi", Alone, Pass),
    ("-O", Joined, Pass),
    ("-w", Alone, Pass),
    ("-W", Joined, Pass),
    ("-pedantic", Alone, Pass),
    ("-pedantic-errors", Alone, Pass),
    ("-p", Alone, Pass),
    ("-pg", Alone, Pass),
    ("-pipe", Alone, Pass),
    ("-pthread", Alone, Pass),
    ("-pie", Alone, Pass),
    ("-no-pie", Alone, Pass),
    ("-static", Joined, Pass),
    ("-shared", Joined, Pass),
    ("-rdynamic", Alone, Pass),
    ("-s", Alone, Pass),
    ("-nostdinc", Alone, Pass),
    ("-nostdinc++", Alone, Pass),
    ("-nostdlib", Joined, Pass),
    ("-nodefaultlibs", Alone, Pass),
    ("-nostartfiles", Alone, Pass),
    ("-undef", Alone, Pass),
    ("-H", Alone, Pass),
    ("-target", Next, Pass),
    ("--target=", Joined, Pass),
    ("-Qunused-arguments", Alone, Pass),
    ("-m", Joined, Pass),
    ("-f", Joined, Pass),
    ("-g", Joined, Pass),
    ("-gsplit-dwarf", Alone, SplitDebug),
    ("-gsplit-dwarf=split", Alone, SplitDebug),
    ("-gsplit-dwarf=", Joined, Local),
    ("-gen-", Joined, Local),
    ("--coverage", Alone, Coverage),
    ("-coverage", Alone, Coverage),
    ("-ftest-coverage", Alone, Coverage),
    ("-fstack-usage", Alone, StackUse),
    // What the next words go to knows them, not this table.
    ("-Wp,", Joined, Local),
    ("-Wa,", Joined, Local),
    ("-Wa,--noexecstack", Alone, Pass),
    ("-Wa,--fatal-warnings", Alone, Pass),
    // They name files.
    ("-fplugin", Joined, Local),
    ("-fpass-plugin", Joined, Local),
    ("-fprofile-use", Joined, Local),
    ("-fprofile-instr", Joined, Local),
    ("-fprofile-sample", Joined, Local),
    ("-fprofile-list", Joined, Local),
    ("-fprofile-dir", Joined, Local),
    ("-fprofile-note", Joined, Local),
    ("-fprofile-generate=", Joined, Local),
    ("-fprofile-remapping-file", Joined, Local),
    ("-fauto-profile", Joined, Local),
    ("-fbranch-probabilities", Alone, Local),
    ("-fcs-profile", Joined, Local),
    ("-fthinlto", Joined, Local),
    ("-fembed-bitcode", Joined, Local),
    ("-foffload", Joined, Local),
    ("-fmodule", Joined, Local),
    ("-fno-integrated-as", Alone, Local),
    ("-fno-integrated-cc1", Alone, Local),
    ("-fprebuilt", Joined, Local),
    ("-fpch", Joined, Local),
    ("-fpreprocessed", Alone, Local),
    ("-fdirectives-only", Alone, Local),
    ("-frewrite", Joined, Local),
    ("-fdump-", Joined, Local),
    ("-fopt-info", Joined, Local),
    ("-fsave-optimization-record", Joined, Local),
    ("-foptimization-record", Joined, Local),
    ("-fcallgraph-info", Joined, Local),
    ("-fcompare-debug", Joined, Local),
    ("-fdeps-", Joined, Local),
    ("-fdiagnostics-format", Joined, Local),
    ("-fdiagnostics-add-output", Joined, Local),
    ("-fdiagnostics-set-output", Joined, Local),
    ("-fproc-stat-report", Joined, Local),
    ("-ftime-", Joined, Local),
    ("-fmem-report", Joined, Local),
    ("-fcrash-diagnostics", Joined, Local),
    ("-finput-charset", Joined, Local),
    ("-fexec-charset", Joined, Local),
    ("-fwide-exec-charset", Joined, Local),
    ("-fxray", Joined, Local),
    ("-fverify", Joined, Local),
    ("-fgnu-tm", Joined, Local),
    ("-fuse-ld", Joined, Pass),
    ("-fself-test", Joined, Local),
    ("-fworking-directory", Alone, Pass),
    ("-mllvm", Next, Local),
    ("-ObjC", Joined, Local),
    ("-include-pch", Next, Local),
    ("-stdlib=", Joined, Pass),
    ("-march=native", Alone, Local),
    ("-mtune=native", Alone, Local),
    ("-mcpu=native", Alone, Local),
];

/// Begins of options whose value may look like a path and is none that is read.
const NAMES_ONLY: &[&str] = &[
    "-ffile-prefix-map=",
    "-fdebug-prefix-map=",
    "-fmacro-prefix-map=",
    "-fcoverage-prefix-map=",
    "-fprofile-prefix-map=",
    "-fdebug-compilation-dir=",
    "-frandom-seed=",
];

/// What the table says of a word that begins with a hyphen.
pub(crate) fn find(word: &str) -> Option<(&'static str, Shape, Class)> {
    let whole = |shape: &Shape| matches!(shape, Alone | Next | Either);
    if let Some(row) = TABLE.iter().find(|(name, shape, _)| *name == word && whole(shape)) {
        return Some(*row);
    }
    let begins = TABLE
        .iter()
        .filter(|(name, shape, _)| matches!(shape, Joined | Either) && word.starts_with(name));
    begins.max_by_key(|(name, ..)| name.len()).copied()
}

/// The value of `-f…=`, `-m…=` or `-W…=` that may be a file's name.
pub(crate) fn possible_file(word: &str) -> Option<&str> {
    let is_one = ["-f", "-m", "-W"].iter().any(|start| word.starts_with(start))
        && !NAMES_ONLY.iter().any(|start| word.starts_with(start));
    word.split_once('=').filter(|_| is_one).map(|(_, value)| value)
}
