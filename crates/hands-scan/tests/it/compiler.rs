//! A real compiler: what it says of itself, and of what it reads.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use hands_scan::{Compiler, Family, SearchPath, Setup};

/// Names that may be macros without being printed by `-dM`.
const SILENT: &[&str] = &[
    "__FILE__",
    "__LINE__",
    "__BASE_FILE__",
    "__COUNTER__",
    "__INCLUDE_LEVEL__",
    "__DATE__",
    "__TIME__",
    "__TIMESTAMP__",
    "__FILE_NAME__",
    "_Pragma",
    "__has_include",
    "__has_include_next",
    "__has_embed",
    "__has_attribute",
    "__has_cpp_attribute",
    "__has_c_attribute",
    "__has_builtin",
    "__has_feature",
    "__has_extension",
    "__has_declspec_attribute",
    "__has_warning",
    "__is_identifier",
    "__building_module",
    "__is_target_arch",
    "__is_target_vendor",
    "__is_target_os",
    "__is_target_environment",
    "__MODULE__",
    "__pragma",
    "__has_constexpr_builtin",
    "__FLT_EVAL_METHOD__",
];

/// A compiler with its flags, in a directory, for a language (`c`, `c++`, `assembler-with-cpp`).
#[derive(Clone, Debug)]
pub(crate) struct Cc {
    pub(crate) program: String,
    pub(crate) language: String,
    pub(crate) flags: Vec<String>,
    pub(crate) directory: PathBuf,
    pub(crate) answers: BTreeMap<(Vec<u8>, Vec<u8>), Option<i64>>,
}

impl Cc {
    pub(crate) fn new(program: &str, language: &str, flags: &[&str], directory: &Path) -> Self {
        Self {
            program: program.into(),
            language: language.into(),
            flags: flags.iter().map(|&flag| flag.into()).collect(),
            directory: directory.into(),
            answers: BTreeMap::new(),
        }
    }

    pub(crate) fn family(&self) -> Family {
        if self.program.contains("clang") { Family::Clang } else { Family::Gcc }
    }

    /// Runs it on standard input, without those flags that name files to read.
    fn ask(&self, more: &[&str], input: &str) -> Output {
        let mut flags = Vec::new();
        let mut rest = self.flags.iter();
        while let Some(flag) = rest.next() {
            if matches!(flag.as_str(), "-include" | "-imacros") {
                rest.next();
            } else {
                flags.push(flag);
            }
        }
        let mut child = Command::new(&self.program)
            .args(flags)
            .args(more)
            .args(["-x", &self.language, "-"])
            .env("LC_ALL", "C")
            .current_dir(&self.directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|e| panic!("{}: {e}; it has to be installed", self.program));
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    }

    /// What the scanner has to know of it.
    pub(crate) fn setup(&self) -> Setup {
        let predefined = self.ask(&["-dM", "-E"], "");
        assert!(predefined.status.success(), "{}", String::from_utf8_lossy(&predefined.stderr));
        let question: String =
            SILENT.iter().map(|name| format!("#ifdef {name}\nyes \"{name}\"\n#endif\n")).collect();
        let silent = String::from_utf8(self.ask(&["-E", "-P"], &question).stdout).unwrap();
        let builtins =
            silent.split('"').skip(1).step_by(2).map(|name| name.as_bytes().to_vec()).collect();
        let verbose = self.ask(&["-v", "-E"], "").stderr;
        let operands = |option: &str| -> Vec<Vec<u8>> {
            let pairs = self.flags.iter().zip(self.flags.iter().skip(1));
            pairs
                .filter(|(flag, _)| *flag == option)
                .map(|(_, to)| to.as_bytes().to_vec())
                .collect()
        };
        // Whether there is one depends on flags: a freestanding program has none.
        let empty = self.ask(&["-M"], "").stdout;
        let name = b"stdc-predef.h";
        let preincluded = match empty.windows(name.len()).any(|part| part == name) {
            true => vec![name.to_vec()],
            false => Vec::new(),
        };
        Setup {
            family: self.family(),
            directory: self.directory.as_os_str().as_bytes().to_vec(),
            search: search_path(&String::from_utf8_lossy(&verbose)),
            predefined: predefined.stdout,
            builtins,
            preincluded,
            imacros: operands("-imacros"),
            includes: operands("-include"),
            trigraphs: self.flags.iter().any(|flag| flag == "-trigraphs"),
            ..Setup::default()
        }
    }

    /// What `-M` lists, each once, in its order; an error is what it printed.
    pub(crate) fn dependencies(&self, source: &str) -> Result<Vec<Vec<u8>>, String> {
        let out = Command::new(&self.program)
            .args(&self.flags)
            .args(["-M", "-x", &self.language, source])
            .env("LC_ALL", "C")
            .current_dir(&self.directory)
            .output()
            .unwrap_or_else(|e| panic!("{}: {e}; it has to be installed", self.program));
        if !out.status.success() {
            return Err(String::from_utf8_lossy(&out.stderr).into_owned());
        }
        Ok(listed(&out.stdout))
    }
}

impl Compiler for Cc {
    fn answer(&mut self, function: &[u8], argument: &[u8]) -> Option<i64> {
        let key = (function.to_vec(), argument.to_vec());
        if let Some(known) = self.answers.get(&key) {
            return *known;
        }
        let call =
            format!("{}({})", String::from_utf8_lossy(function), String::from_utf8_lossy(argument));
        // The value, bit by bit from the highest: an expression is all that the compiler evaluates.
        let mut question = String::new();
        for bit in (0..32).rev() {
            writeln!(question, "#if ({call} >> {bit}) & 1\n1\n#else\n0\n#endif").unwrap();
        }
        let out = self.ask(&["-E", "-P"], &question);
        let answer = out.status.success().then(|| {
            let bits = out.stdout.iter().filter(|b| matches!(b, b'0' | b'1'));
            bits.fold(0, |value, bit| value * 2 + i64::from(bit - b'0'))
        });
        self.answers.insert(key, answer);
        answer
    }
}

/// The directories that `-v` prints.
fn search_path(verbose: &str) -> SearchPath {
    let mut search = SearchPath::default();
    let mut list = None;
    for line in verbose.lines() {
        if line.starts_with("#include \"...\"") {
            list = Some(false);
        } else if line.starts_with("#include <...>") {
            list = Some(true);
        } else if line.starts_with("End of search") {
            list = None;
        } else if let Some(angle) = list {
            let dir = line.trim().as_bytes().to_vec();
            if angle { search.angle.push(dir) } else { search.quote.push(dir) }
        }
    }
    search
}

/// The names in a rule of make, without its target.
fn listed(rule: &[u8]) -> Vec<Vec<u8>> {
    let start = rule.windows(2).position(|two| two[0] == b':' && two[1].is_ascii_whitespace());
    let mut names = vec![Vec::new()];
    let mut rest = &rule[start.expect("a rule has a colon") + 1..];
    while let [byte, tail @ ..] = rest {
        rest = tail;
        match byte {
            b'\\' if tail.first() == Some(&b'\n') => rest = &tail[1..],
            b'\\' if matches!(tail.first(), Some(b' ' | b'#' | b'\\')) => {
                names.last_mut().unwrap().push(tail[0]);
                rest = &tail[1..];
            }
            b'$' if tail.first() == Some(&b'$') => {
                names.last_mut().unwrap().push(b'$');
                rest = &tail[1..];
            }
            b' ' | b'\n' => names.push(Vec::new()),
            _ => names.last_mut().unwrap().push(*byte),
        }
    }
    let mut seen = BTreeSet::new();
    names.into_iter().filter(|name| !name.is_empty() && seen.insert(name.clone())).collect()
}

/// Paths without links and dots, sorted: what is compared where spellings may differ.
pub(crate) fn real(paths: &[Vec<u8>], directory: &Path) -> BTreeSet<PathBuf> {
    let real = |path: &Vec<u8>| {
        let path = directory.join(OsStr::from_bytes(path));
        std::fs::canonicalize(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
    };
    paths.iter().map(real).collect()
}
