//! Images made here, byte by byte; images made by others' tools are read in the tests of the program.

mod choice;
mod damage;
mod layers;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::Path;

use bytes::Bytes;
use hands_proto::reapi;
use hands_types::{Digest, DigestFunction};
use prost::Message;
use tar::{EntryType, Header};

use crate::*;

const SHA: DigestFunction = DigestFunction::Sha256;
const ARCH: &str = "amd64";

#[derive(Default)]
struct Memory(RefCell<BTreeMap<Digest, Bytes>>);

impl Sink for Memory {
    fn file(&self, content: &mut dyn Read, size: u64) -> Result<Digest, SinkError> {
        let mut bytes = Vec::new();
        content.read_to_end(&mut bytes).map_err(SinkError::Read)?;
        assert_eq!(bytes.len() as u64, size);
        let digest = hands_tree::hash(SHA, &bytes);
        self.0.borrow_mut().insert(digest, bytes.into());
        Ok(digest)
    }

    fn directories(&self, directories: Vec<(Digest, Bytes)>) -> Result<(), SinkError> {
        for (digest, bytes) in directories {
            assert_eq!(hands_tree::hash(SHA, &bytes), digest);
            self.0.borrow_mut().insert(digest, bytes);
        }
        Ok(())
    }

    fn is_wanted(&self) -> bool {
        true
    }
}

impl Memory {
    fn list(&self, root: &Digest, prefix: &str, all: &mut Vec<String>) {
        let bytes = self.0.borrow()[root].clone();
        let directory = reapi::Directory::decode(bytes).unwrap();
        for file in &directory.files {
            let digest = file.digest.as_ref().unwrap().to_digest(SHA).unwrap();
            let content = String::from_utf8_lossy(&self.0.borrow()[&digest]).into_owned();
            let mark = if file.is_executable { "*" } else { "" };
            all.push(format!("{prefix}{}{mark}={content}", file.name));
        }
        for link in &directory.symlinks {
            all.push(format!("{prefix}{}->{}", link.name, link.target));
        }
        for below in &directory.directories {
            let digest = below.digest.as_ref().unwrap().to_digest(SHA).unwrap();
            all.push(format!("{prefix}{}/", below.name));
            self.list(&digest, &format!("{prefix}{}/", below.name), all);
        }
    }
}

/// One entry of a layer: `dir/`, `file=content`, `link->target`, `hard=>target`, each after an optional mode and `:`.
fn add(builder: &mut tar::Builder<Vec<u8>>, text: &str) {
    let (mode, text) = match text.split_once(':') {
        Some((mode, text)) => (u32::from_str_radix(mode, 8).unwrap(), text),
        None => (0o644, text),
    };
    let mut header = Header::new_gnu();
    header.set_mode(mode);
    header.set_mtime(7);
    if let Some((path, target)) = text.split_once("->") {
        header.set_entry_type(EntryType::Symlink);
        header.set_size(0);
        builder.append_link(&mut header, path, target).unwrap();
    } else if let Some((path, target)) = text.split_once("=>") {
        header.set_entry_type(EntryType::Link);
        header.set_size(0);
        builder.append_link(&mut header, path, target).unwrap();
    } else if let Some((path, content)) = text.split_once('=') {
        header.set_size(content.len() as u64);
        builder.append_data(&mut header, path, content.as_bytes()).unwrap();
    } else {
        header.set_entry_type(EntryType::Directory);
        header.set_size(0);
        builder.append_data(&mut header, text, &[][..]).unwrap();
    }
}

fn tar_of(entries: &str) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for entry in entries.split_whitespace() {
        add(&mut builder, entry);
    }
    builder.into_inner().unwrap()
}

fn hex(bytes: &[u8]) -> String {
    hands_tree::hash(SHA, bytes).hex()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A layout that is being made.
struct Made {
    directory: tempfile::TempDir,
    manifests: Vec<String>,
}

impl Made {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir_all(directory.path().join("blobs/sha256")).unwrap();
        Self { directory, manifests: Vec::new() }
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    /// A descriptor of a new blob.
    fn blob(&self, kind: &str, bytes: &[u8], more: &str) -> String {
        fs::write(self.path().join("blobs/sha256").join(hex(bytes)), bytes).unwrap();
        let (hex, size) = (hex(bytes), bytes.len());
        format!(r#"{{"mediaType":"{kind}","digest":"sha256:{hex}","size":{size}{more}}}"#)
    }

    /// A manifest of these layers, as they stand in the layout and as they expand.
    fn manifest(&self, arch: &str, layers: &[(Vec<u8>, Vec<u8>)], more: &str) -> String {
        let diff_ids: Vec<String> =
            layers.iter().map(|(_, tar)| format!(r#""sha256:{}""#, hex(tar))).collect();
        let config = format!(
            r#"{{"os":"linux","architecture":"{arch}","config":{{"Env":["PATH=/bin","A=b=c"],"WorkingDir":"/w","User":"1:2",
               "Entrypoint":["/e"],"Cmd":null}},"rootfs":{{"type":"layers","diff_ids":[{}]}}}}"#,
            diff_ids.join(",")
        );
        let config = self.blob("application/vnd.oci.image.config.v1+json", config.as_bytes(), "");
        let kind = "application/vnd.oci.image.layer.v1.tar";
        let layers: Vec<String> =
            layers.iter().map(|(blob, _)| self.blob(kind, blob, "")).collect();
        let manifest = format!(r#"{{"config":{config},"layers":[{}]}}"#, layers.join(","));
        self.blob("application/vnd.oci.image.manifest.v1+json", manifest.as_bytes(), more)
    }

    fn index(&self) {
        let index = format!(r#"{{"schemaVersion":2,"manifests":[{}]}}"#, self.manifests.join(","));
        fs::write(self.path().join("index.json"), index).unwrap();
    }

    /// A layout of one image.
    fn of(layers: &[(Vec<u8>, Vec<u8>)]) -> Self {
        let mut made = Self::new();
        made.manifests = vec![made.manifest(ARCH, layers, &tag("latest"))];
        made.index();
        made
    }

    /// The same of layers that are not compressed.
    fn of_tars(layers: &[&str]) -> Self {
        let layers: Vec<_> = layers.iter().map(|l| (tar_of(l), tar_of(l))).collect();
        Self::of(&layers)
    }

    fn place(&self) -> Place {
        Place::Layout(File::open(self.path()).unwrap().into())
    }

    fn read(&self, reference: &str) -> Result<Image, ImageError> {
        read(&self.place(), &wanted(reference), SHA, &ImageLimits::standard(), &Memory::default())
    }
}

fn tag(name: &str) -> String {
    format!(r#","annotations":{{"org.opencontainers.image.ref.name":"{name}"}}"#)
}

fn wanted(reference: &str) -> Wanted {
    let (os, architecture) = ("linux".to_owned(), ARCH.to_owned());
    Wanted { reference: reference.to_owned(), os, architecture }
}

/// What the image shows, and the image.
#[track_caller]
fn shows(place: &Place, expect: &str) -> Image {
    let memory = Memory::default();
    let image = read(place, &wanted(""), SHA, &ImageLimits::standard(), &memory).unwrap();
    let mut all = Vec::new();
    memory.list(&image.root, "", &mut all);
    assert_eq!(all.join(" "), expect);
    for blob in &image.blobs {
        assert!(memory.0.borrow().contains_key(blob), "{blob} is there");
    }
    image
}

#[track_caller]
fn refused(made: &Made, expect: &str) {
    assert_eq!(made.read("").unwrap_err().to_string(), expect);
}
