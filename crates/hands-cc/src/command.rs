//! A compiler's command line, read: what it compiles, and which files come of it.

use std::path::{Path, PathBuf};

use crate::Reason;
use crate::options::{self, Class, Shape};
use crate::response;

/// A command of one source file and one object, which can run elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CompileCommand {
    /// All words behind the compiler's name, response files in place.
    pub(crate) arguments: Vec<String>,
    /// The same words as far as they say what is included, for a run that asks for dependencies.
    pub(crate) preprocessing: Vec<String>,
    /// The source, as it was named.
    pub(crate) source: String,
    /// The object, as it was named or as the compiler names it.
    pub(crate) object: String,
    /// Other files that may come, as paths from the working directory.
    pub(crate) beside: Vec<String>,
    /// Directories in which headers are looked for.
    pub(crate) directories: Vec<String>,
    /// Files that the preprocessor reads before the source.
    pub(crate) headers: Vec<String>,
    /// Whether nothing is said of the colours of messages.
    pub(crate) leaves_colors: bool,
}

/// Languages that are compiled elsewhere, by the names of `-x`.
const LANGUAGES: &[&str] = &["c", "c++", "none"];
/// Endings of sources that are.
const ENDINGS: &[&str] = &["c", "cc", "cp", "cxx", "cpp", "CPP", "c++", "C"];

/// What a command line asks for, as it is gathered.
#[derive(Default)]
struct Read {
    compile: bool,
    assembler: bool,
    output: Option<String>,
    dependencies: bool,
    dependency_file: Option<String>,
    split_debug: bool,
    coverage: bool,
    stack_use: bool,
    language: Option<String>,
    sources: Vec<String>,
    directories: Vec<String>,
    headers: Vec<String>,
    preprocessing: Vec<String>,
    says_colors: bool,
}

impl CompileCommand {
    /// Reads the words behind the compiler's name.
    pub(crate) fn read(words: &[String], directory: &Path) -> Result<Self, Reason> {
        let arguments = response::expand(words, directory)?;
        let mut read = Read::default();
        let mut words = arguments.iter();
        while let Some(word) = words.next() {
            if word == "-" {
                return Err(Reason::plain("standard-input"));
            }
            if !word.starts_with('-') {
                read.sources.push(word.clone());
                read.preprocessing.push(word.clone());
                continue;
            }
            let Some((name, shape, class)) = options::find(word) else {
                return Err(Reason::new("unknown-flag", word));
            };
            let is_whole = word == name;
            let value = match shape {
                Shape::Alone => None,
                Shape::Joined => Some(word[name.len()..].to_owned()),
                Shape::Either if !is_whole => Some(word[name.len()..].to_owned()),
                Shape::Next | Shape::Either => match words.next() {
                    Some(next) => Some(next.clone()),
                    None => return Err(Reason::new("incomplete", word)),
                },
            };
            let takes_next = is_whole && matches!(shape, Shape::Next | Shape::Either);
            read.take(word, takes_next, class, value.as_deref(), directory)?;
        }
        read.command(arguments)
    }
}

impl Read {
    fn take(
        &mut self,
        word: &str,
        takes_next: bool,
        class: Class,
        value: Option<&str>,
        directory: &Path,
    ) -> Result<(), Reason> {
        let owned = || value.unwrap_or_default().to_owned();
        let mut is_for_preprocessor = true;
        match class {
            Class::Pass => {
                if let Some(file) = options::possible_file(word)
                    && !file.is_empty()
                    && directory.join(file).exists()
                {
                    return Err(Reason::new("flag", word));
                }
                self.says_colors |= word.starts_with("-fdiagnostics-color")
                    || word.starts_with("-fno-diagnostics-color")
                    || word.ends_with("color-diagnostics");
                self.coverage |= word == "-fprofile-arcs";
            }
            Class::Directory => {
                if value == Some("-") {
                    return Err(Reason::new("flag", word));
                }
                self.directories.push(owned());
            }
            Class::Header => self.headers.push(owned()),
            Class::Compile => {
                self.compile = true;
                is_for_preprocessor = false;
            }
            Class::Assembler => {
                self.assembler = true;
                is_for_preprocessor = false;
            }
            Class::Output => {
                if self.output.replace(owned()).is_some() {
                    return Err(Reason::new("flag", "-o twice"));
                }
                is_for_preprocessor = false;
            }
            Class::Language => {
                let language = owned();
                if !LANGUAGES.contains(&language.as_str()) {
                    return Err(Reason::new("language", language));
                }
                self.language = Some(language).filter(|language| language != "none");
            }
            Class::WriteDependencies => {
                self.dependencies = true;
                is_for_preprocessor = false;
            }
            Class::DependencyFile => {
                self.dependency_file = Some(owned());
                is_for_preprocessor = false;
            }
            Class::DependencyStyle => is_for_preprocessor = false,
            Class::SplitDebug => self.split_debug = true,
            Class::Coverage => self.coverage = true,
            Class::StackUse => self.stack_use = true,
            Class::Question => return Err(Reason::new("no-compile", word)),
            Class::Local => return Err(Reason::new("flag", word)),
        }
        if is_for_preprocessor {
            self.preprocessing.push(word.to_owned());
            if takes_next {
                self.preprocessing.push(owned());
            }
        }
        Ok(())
    }

    fn command(self, arguments: Vec<String>) -> Result<CompileCommand, Reason> {
        if !self.compile && !self.assembler {
            return Err(Reason::plain("link"));
        }
        let source = match self.sources.as_slice() {
            [source] => source.clone(),
            [] => return Err(Reason::plain("no-source")),
            _ => return Err(Reason::plain("several-sources")),
        };
        let ending = Path::new(&source).extension().and_then(|ending| ending.to_str());
        if self.language.is_none() && !ending.is_some_and(|ending| ENDINGS.contains(&ending)) {
            return Err(Reason::new("language", source));
        }
        let of_source = PathBuf::from(Path::new(&source).file_stem().unwrap_or_default());
        let object = self.output.clone().unwrap_or_else(|| {
            let ending = if self.assembler { "s" } else { "o" };
            of_source.with_added_extension(ending).to_string_lossy().into_owned()
        });
        let of_object = Path::new(&object).with_extension("");
        let mut beside = Vec::new();
        let mut add = |ending: &str| {
            // Which of them it is depends on the compiler.
            for stem in [&of_object, &of_source] {
                beside.push(stem.with_added_extension(ending).to_string_lossy().into_owned());
            }
        };
        for (is_asked, ending) in
            [(self.split_debug, "dwo"), (self.coverage, "gcno"), (self.stack_use, "su")]
        {
            if is_asked {
                add(ending);
            }
        }
        match (self.dependencies, self.dependency_file) {
            (true, Some(file)) => beside.push(file),
            (true, None) => add("d"),
            (false, Some(_)) => return Err(Reason::new("flag", "-MF alone")),
            (false, None) => {}
        }
        beside.sort();
        beside.dedup();
        beside.retain(|path| *path != object);
        Ok(CompileCommand {
            arguments,
            preprocessing: self.preprocessing,
            source,
            object,
            beside,
            directories: self.directories,
            headers: self.headers,
            leaves_colors: !self.says_colors,
        })
    }
}
