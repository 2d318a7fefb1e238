//! Container images of this machine: the agent reads them into the cluster's store.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use hands_proto::v1::{ImageRequest, SnapshotRequest};
use hands_types::platform::{isa, os_family};
use rustix::fs::{Mode, OFlags};

use crate::snapshot::bad;
use crate::{ClientError, Cluster, Snapshot, SnapshotProgress, printable};

/// A container image of this machine, opened.
#[derive(Debug)]
pub struct ImageSource {
    handle: OwnedFd,
    archive: bool,
    reference: String,
    os: String,
    isa: String,
    display: PathBuf,
}

/// An image in the cluster's store.
#[derive(Clone, Debug)]
pub struct ImageRoot {
    /// Its one tree, with what was read for it.
    pub tree: Snapshot,
    /// Variables that its programs expect, in their order.
    pub env: Vec<(String, String)>,
    /// Where its command begins; empty where nothing is said.
    pub working_directory: String,
    /// What a command's words are put behind.
    pub entrypoint: Vec<String>,
    /// The command, where nobody names one.
    pub command: Vec<String>,
    /// The user, by name or number; empty where nothing is said.
    pub user: String,
    /// What of it a tree can't hold, for people: `3 devices or pipes`.
    pub lost: Vec<String>,
    /// The operating system that it is for, as properties name it.
    pub os: String,
    /// The instruction set that it is for, as properties name it.
    pub isa: String,
}

impl ImageSource {
    /// Opens `oci:DIR[:NAME]` or `docker-archive:FILE[:NAME]`. The platform is Linux on this machine's instruction set unless
    /// it is named; names of other systems for the same set are understood.
    pub fn open(
        text: &str,
        os: Option<&str>,
        architecture: Option<&str>,
    ) -> Result<Self, ClientError> {
        let wrong = || {
            ClientError::Spec(format!(
                "`{}` is no image: name one as oci:DIR[:NAME] or docker-archive:FILE[:NAME]",
                printable(text)
            ))
        };
        let (archive, rest) = match text.split_once(':') {
            Some(("oci", rest)) => (false, rest),
            Some(("docker-archive", rest)) => (true, rest),
            _ => return Err(wrong()),
        };
        let (path, reference) = split(rest);
        if path.as_os_str().is_empty() {
            return Err(wrong());
        }
        let failed = |source: io::Error| {
            let path = path.to_string_lossy();
            let path = printable(&path);
            ClientError::Spec(format!("the image {path} can't be opened: {source}"))
        };
        let kind = if archive { OFlags::NONBLOCK } else { OFlags::DIRECTORY };
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | kind;
        let handle = rustix::fs::open(path, flags, Mode::empty()).map_err(|e| failed(e.into()))?;
        let stat = rustix::fs::fstat(&handle).map_err(|e| failed(e.into()))?;
        if archive && !rustix::fs::FileType::from_raw_mode(stat.st_mode).is_file() {
            return Err(failed(io::Error::new(io::ErrorKind::InvalidInput, "it is no file")));
        }
        Ok(Self {
            handle,
            archive,
            reference: reference.to_owned(),
            os: os_family(os.unwrap_or("linux")),
            isa: isa(architecture.unwrap_or(std::env::consts::ARCH)),
            display: path.to_owned(),
        })
    }

    fn request(&self) -> ImageRequest {
        ImageRequest {
            descriptor: 0,
            archive: self.archive,
            reference: self.reference.clone(),
            os: if self.os == "macos" { "darwin".to_owned() } else { self.os.clone() },
            architecture: in_images(&self.isa).to_owned(),
            display: self.display.to_string_lossy().into_owned(),
        }
    }
}

/// A path, and the name behind its colon. What is there as a whole has no name.
fn split(text: &str) -> (&Path, &str) {
    match text.split_once(':') {
        Some((path, name)) if !Path::new(text).exists() => (Path::new(path), name),
        _ => (Path::new(text), ""),
    }
}

/// An instruction set as images call it.
fn in_images(isa: &str) -> &str {
    match isa {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        "powerpc64le" => "ppc64le",
        isa => isa,
    }
}

impl Cluster {
    /// Reads an image into the cluster's store, checks all that it names by digest, and makes one tree of its layers. The agent
    /// does it, and is started for it where needed.
    pub async fn image(
        &self,
        image: &ImageSource,
        mut progress: impl FnMut(&SnapshotProgress),
    ) -> Result<ImageRoot, ClientError> {
        let function = self.function();
        let request = SnapshotRequest { image: Some(image.request()), ..self.snapshot_request() };
        let handles = [image.handle.as_fd()];
        let done = self.ask_agent(&request, &handles, &mut progress).await?;
        let tree = Snapshot::of(&done, function)?;
        let config = done.image.ok_or_else(|| bad("an image without its configuration"))?;
        let lost = [
            (config.lost_modes, "modes such as setuid"),
            (config.lost_attributes, "entries' extended attributes"),
            (config.lost_special, "devices or pipes"),
        ];
        Ok(ImageRoot {
            tree,
            env: config
                .env
                .iter()
                .filter_map(|text| text.split_once('='))
                .filter(|(name, _)| !name.is_empty())
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
            working_directory: config.working_directory,
            entrypoint: config.entrypoint,
            command: config.command,
            user: config.user,
            lost: lost
                .iter()
                .filter(|(n, _)| *n > 0)
                .map(|(n, what)| format!("{n} {what}"))
                .collect(),
            os: image.os.clone(),
            isa: image.isa.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_named_by_kind_place_and_name() {
        assert_eq!(split("no/such:tag:1"), (Path::new("no/such"), "tag:1"));
        assert_eq!(split("/"), (Path::new("/"), ""));
        for text in ["busybox", "oci:", "docker://busybox", ""] {
            let error = ImageSource::open(text, None, None).unwrap_err().to_string();
            assert!(error.contains("is no image: name one as oci:DIR"), "{text}: {error}");
        }
        let [arm, amd] = ["arm-a64", "AMD64"].map(|arch| {
            let image = ImageSource::open("oci:/", None, Some(arch)).unwrap();
            image.request().architecture
        });
        assert_eq!((arm.as_str(), amd.as_str()), ("arm64", "amd64"));
        let error = ImageSource::open("oci:/no/such:x", None, None).unwrap_err().to_string();
        assert!(error.contains("/no/such"), "{error}");
    }
}
