//! An executor over a cache with one input root, and counting of checks.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hands_exec::{
    ActionTree, Command, Declared, DeclaredKind, ExecConfig, ExecError, ExecIo, ExecRequest,
    Executor, InputEvent, InputRoot, Isolation, LauncherConfig, Limits, Network, OutputItem,
    OutputKind, OutputSpec, OutputStore, Privilege, ROOT_INSIDE, Ran, Scratch, Stream, collect,
};
use hands_types::{Digest, DigestFunction, RelPath};
use tokio::sync::mpsc;

#[derive(Debug, Default)]
pub(crate) struct Tally {
    passed: u32,
    failed: Vec<String>,
}

impl Tally {
    pub(crate) fn report(&self, who: &str) -> bool {
        println!("{who}: {} passed, {} failed", self.passed, self.failed.len());
        for name in &self.failed {
            println!("{who}: FAILED {name}");
        }
        self.failed.is_empty()
    }
}

pub(crate) struct Bench<'a> {
    pub(crate) level: Isolation,
    /// More slots than a test holds at once: at `process` a slot is free when its tree is closed.
    pub(crate) executor: Executor,
    place: PathBuf,
    pub(crate) cache: PathBuf,
    who: &'a str,
    tally: &'a mut Tally,
}

/// What a run gave.
pub(crate) struct Done {
    pub(crate) ran: Result<Ran, ExecError>,
    pub(crate) out: Vec<u8>,
    pub(crate) err: Vec<u8>,
}

impl Done {
    pub(crate) fn out(&self) -> String {
        String::from_utf8_lossy(&self.out).into_owned()
    }

    pub(crate) fn end(&self) -> String {
        match &self.ran {
            Ok(ran) => format!("{:?}", ran.end),
            Err(error) => {
                format!("{error}: {:?}", std::error::Error::source(error).map(ToString::to_string))
            }
        }
    }

    pub(crate) fn note(&self) -> String {
        let short =
            |bytes: &[u8]| String::from_utf8_lossy(&bytes[..bytes.len().min(500)]).into_owned();
        format!("{} stdout {:?} stderr {:?}", self.end(), short(&self.out), short(&self.err))
    }

    pub(crate) fn exited(&self, code: i32) -> bool {
        self.end() == format!("Exited({code})")
    }
}

impl<'a> Bench<'a> {
    pub(crate) fn new(place: &Path, level: Isolation, who: &'a str, tally: &'a mut Tally) -> Self {
        let place = place.join(level.name());
        let cache = place.join("cache");
        for dir in ["root/src", "seed/made/deep", "above"] {
            std::fs::create_dir_all(cache.join(dir)).expect("the cache");
        }
        std::fs::write(cache.join("root/input.txt"), "input\n").expect("the cache");
        std::fs::write(cache.join("root/not-a-program"), "").expect("the cache");
        let executor = executor(&place, level, 16);
        Self { level, executor, place, cache, who, tally }
    }

    /// The same bench with few slots.
    pub(crate) fn with_slots(&mut self, slots: u32) -> Bench<'_> {
        let executor = executor(&self.place, self.level, slots);
        Bench {
            level: self.level,
            executor,
            place: self.place.clone(),
            cache: self.cache.clone(),
            who: self.who,
            tally: self.tally,
        }
    }

    pub(crate) fn check(&mut self, name: &str, good: bool, note: impl std::fmt::Display) {
        let name = format!("{} {} {name}", self.who, self.level);
        if good {
            self.tally.passed += 1;
            println!("ok    {name}");
        } else {
            println!("FAIL  {name}: {note}");
            self.tally.failed.push(name);
        }
    }

    pub(crate) async fn sh(&self, script: &str) -> Done {
        self.run(shell(script), None, std::future::pending()).await
    }

    /// Runs a request, gathering its output; `input` are events for it, sent at once.
    pub(crate) async fn run(
        &self,
        mut request: ExecRequest,
        input: Option<Vec<InputEvent>>,
        cancel: impl Future<Output = ()>,
    ) -> Done {
        let (output, mut pieces) = mpsc::channel(4);
        request.stdin |= input.is_some();
        let (sender, events) = mpsc::channel(64);
        for event in input.iter().flatten() {
            sender.try_send(event.clone()).expect("room for the events");
        }
        // Open as long as the run: the end of input is an event of its own here.
        let io = ExecIo { output, input: input.as_ref().map(|_| events), control: None };
        let gather = async {
            let (mut out, mut err) = (Vec::new(), Vec::new());
            while let Some(piece) = pieces.recv().await {
                match piece.stream {
                    Stream::Stdout => out.extend_from_slice(&piece.bytes),
                    Stream::Stderr => err.extend_from_slice(&piece.bytes),
                }
            }
            (out, err)
        };
        let (ran, (out, err)) = tokio::join!(self.executor.run(request, io, cancel), gather);
        drop(sender);
        Done { ran, out, err }
    }
}

fn executor(place: &Path, level: Isolation, slots: u32) -> Executor {
    let launcher = LauncherConfig::new(
        "/proc/self/exe",
        level,
        place.join("cache"),
        place.join(format!("work-{slots}")),
    );
    Executor::start(ExecConfig { launcher, slots, default_env: Vec::new() }).expect("an executor")
}

pub(crate) fn shell(script: &str) -> ExecRequest {
    command(&["/bin/sh", "-c", script])
}

pub(crate) fn command(argv: &[&str]) -> ExecRequest {
    ExecRequest {
        lowers: vec!["root".into(), "seed".into()],
        root: Vec::new(),
        layers: Vec::new(),
        command: Command {
            arguments: argv.iter().map(|a| (*a).to_owned()).collect(),
            environment: Vec::new(),
            working_directory: RelPath::default(),
        },
        root_at: ROOT_INSIDE.into(),
        input: InputRoot::Overlay,
        deadline: Some(Duration::from_secs(30)),
        limits: Limits::default(),
        scratch: Scratch::Tmpfs { size: 256 << 20 },
        tree: true,
        network: Network::Loopback,
        privilege: Privilege::None,
        terminal: None,
        stdin: false,
    }
}

/// Collects, with the contents of files.
pub(crate) fn outputs(
    tree: &ActionTree,
    paths: &[&str],
) -> Result<(Vec<OutputItem>, BTreeMap<Digest, Vec<u8>>), String> {
    let declared = |path: &&str| Declared {
        path: (*path).to_owned(),
        kind: if path.contains('*') { DeclaredKind::Glob } else { DeclaredKind::Any },
    };
    let spec = OutputSpec {
        declared: paths.iter().map(declared).collect(),
        working_directory: RelPath::default(),
        root_at: None,
    };
    let mut memory = Memory(BTreeMap::new());
    let collected = collect(tree, &spec, &mut memory).map_err(|e| e.to_string())?;
    match collected.left_out.entries.first() {
        None => Ok((collected.items, memory.0)),
        Some(entry) => Err(format!("{} {}", entry.path, entry.why)),
    }
}

/// One file's content and mode.
pub(crate) fn file(tree: &ActionTree, path: &str) -> Option<(String, bool)> {
    let (items, blobs) = outputs(tree, &[path]).ok()?;
    match &items.first()?.kind {
        OutputKind::File { digest, executable, .. } => {
            Some((String::from_utf8_lossy(&blobs[digest]).into_owned(), *executable))
        }
        OutputKind::Symlink { .. } | OutputKind::Directory { .. } => None,
    }
}

struct Memory(BTreeMap<Digest, Vec<u8>>);

impl OutputStore for Memory {
    fn function(&self) -> DigestFunction {
        DigestFunction::Sha256
    }

    fn file(
        &mut self,
        _path: &str,
        mut file: File,
    ) -> Result<Digest, Box<dyn std::error::Error + Send + Sync>> {
        let mut content = Vec::new();
        file.read_to_end(&mut content)?;
        let digest = hands_tree::hash(DigestFunction::Sha256, &content);
        self.0.insert(digest, content);
        Ok(digest)
    }

    fn encode(&mut self, directory: &hands_tree::Directory) -> Vec<u8> {
        format!("{directory:?}").into_bytes()
    }

    fn is_cancelled(&self) -> bool {
        false
    }
}
