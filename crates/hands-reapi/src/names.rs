//! ByteStream resource names (REAPI v2, `ContentAddressableStorage`).

use std::fmt;

use hands_types::{Digest, DigestFunction};

/// Words that no segment of an instance name may be; parsing hangs on it.
const RESERVED: [&str; 7] = [
    "blobs",
    "uploads",
    "actions",
    "actionResults",
    "operations",
    "capabilities",
    "compressed-blobs",
];

/// A blob as it is read: `{instance}/blobs/{function/}{hash}/{size}`, or with `compressed-blobs/zstd`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlobName {
    /// May hold slashes, may be empty.
    pub instance: String,
    /// Of the uncompressed content.
    pub digest: Digest,
    /// Whether the bytes on the wire are zstd.
    pub zstd: bool,
}

/// A blob as it is written: `{instance}/uploads/{uuid}/blobs/{function/}{hash}/{size}{/anything}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UploadName {
    /// The client's own name for this upload.
    pub uuid: String,
    /// What is uploaded.
    pub blob: BlobName,
}

impl BlobName {
    /// Reads a name from the right, since the instance may hold slashes.
    pub fn parse(name: &str) -> Result<Self, BadName> {
        let segments: Vec<&str> = name.split('/').collect();
        let at = segments
            .iter()
            .rposition(|s| matches!(*s, "blobs" | "compressed-blobs"))
            .ok_or_else(|| BadName::new(name, "holds neither `blobs` nor `compressed-blobs`"))?;
        let (digest, zstd, used) = blob_part(name, &segments[at..])?;
        if used != segments.len() - at {
            return Err(BadName::new(name, "has more after the size"));
        }
        Ok(Self { instance: instance(name, &segments[..at])?, digest, zstd })
    }

    /// The name as REAPI writes it.
    pub fn to_name(&self) -> String {
        join(&self.instance, &self.tail())
    }

    fn tail(&self) -> String {
        let kind = if self.zstd { "compressed-blobs/zstd" } else { "blobs" };
        // `Digest` displays with the function's segment where REAPI demands it.
        format!("{kind}/{}", self.digest)
    }
}

impl UploadName {
    /// Reads a name from the right, but for the optional metadata after the size, in which anything may stand: so the
    /// first `uploads` that begins a valid rest counts.
    pub fn parse(name: &str) -> Result<Self, BadName> {
        let segments: Vec<&str> = name.split('/').collect();
        let at = segments
            .iter()
            .position(|s| *s == "uploads")
            .ok_or_else(|| BadName::new(name, "holds no `uploads`"))?;
        let uuid =
            *segments.get(at + 1).ok_or_else(|| BadName::new(name, "ends after `uploads`"))?;
        if uuid.is_empty() || uuid.len() > 128 {
            return Err(BadName::new(name, "has no usable uuid after `uploads`"));
        }
        let (digest, zstd, _metadata) = blob_part(name, &segments[at + 2..])?;
        let instance = instance(name, &segments[..at])?;
        Ok(Self { uuid: uuid.to_owned(), blob: BlobName { instance, digest, zstd } })
    }

    /// The name as REAPI writes it.
    pub fn to_name(&self) -> String {
        join(&self.blob.instance, &format!("uploads/{}/{}", self.uuid, self.blob.tail()))
    }
}

fn join(instance: &str, rest: &str) -> String {
    if instance.is_empty() { rest.to_owned() } else { format!("{instance}/{rest}") }
}

/// Reads `blobs/…` or `compressed-blobs/…`; tells how many segments it took.
fn blob_part(name: &str, segments: &[&str]) -> Result<(Digest, bool, usize), BadName> {
    let bad = |why| BadName::new(name, why);
    let (zstd, mut at) = match segments {
        ["blobs", ..] => (false, 1),
        ["compressed-blobs", "zstd", ..] => (true, 2),
        ["compressed-blobs", ..] => return Err(bad("asks for a compressor other than `zstd`")),
        _ => return Err(bad("lacks `blobs` or `compressed-blobs` where it belongs")),
    };
    let function = match segments.get(at) {
        Some(&"blake3") => {
            at += 1;
            DigestFunction::Blake3
        }
        // Not as REAPI has it, but unmistakable.
        Some(&"sha256") => {
            at += 1;
            DigestFunction::Sha256
        }
        _ => DigestFunction::Sha256,
    };
    let [hash, size] = segments.get(at..at + 2).ok_or_else(|| bad("lacks a hash and a size"))?
    else {
        return Err(bad("lacks a hash and a size"));
    };
    let size = size.parse().map_err(|_| bad("has a size that is not a number"))?;
    let digest = Digest::from_hex(function, hash, size)
        .map_err(|_| bad("has a hash that is not 64 lower-case hexadecimal characters"))?;
    Ok((digest, zstd, at + 2))
}

fn instance(name: &str, segments: &[&str]) -> Result<String, BadName> {
    if segments.iter().any(|s| RESERVED.contains(s)) {
        return Err(BadName::new(name, "has a reserved word in its instance name"));
    }
    Ok(segments.join("/"))
}

/// A resource name that can't be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadName {
    name: String,
    why: &'static str,
}

impl BadName {
    fn new(name: &str, why: &'static str) -> Self {
        Self { name: name.chars().take(200).collect(), why }
    }
}

impl fmt::Display for BadName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the resource name {:?} {}", self.name, self.why)
    }
}

impl std::error::Error for BadName {}
