//! Outputs that are links of the inputs: what they lead to is an output, too.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::spec::Layout;

/// What the outputs lead to that are links here, sent as inputs, as paths of further outputs: a command that writes to such a
/// link changes what is behind it, as it would here. Nothing that lies outside of what is sent, or in another output.
pub(crate) fn behind_links(outputs: &[String], layout: &Layout) -> Vec<String> {
    let here = layout.top.join(layout.directory.as_str());
    let is_sent = |path: &Path| {
        let path = Path::new(layout.directory.as_str()).join(path);
        layout.places.iter().any(|place| path.starts_with(place.as_str()))
    };
    let links = outputs.iter().filter(|output| {
        let metadata = || here.join(output).symlink_metadata();
        is_sent(Path::new(output)) && metadata().is_ok_and(|metadata| metadata.is_symlink())
    });
    let mut all = outputs.to_vec();
    for link in links {
        let behind = real_path(&here.join(link)).ok().and_then(|real| below(&here, &real));
        if let Some(behind) = behind.filter(|behind| is_sent(Path::new(behind)))
            && !all.iter().any(|output| Path::new(&behind).starts_with(output))
        {
            all.push(behind);
        }
    }
    all.split_off(outputs.len())
}

/// Where a link leads in the end; what it leads to need not be there yet.
fn real_path(link: &Path) -> io::Result<PathBuf> {
    match link.canonicalize() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let parent = link.parent().unwrap_or(Path::new("/"));
            let target = parent.join(fs::read_link(link)?);
            let name = target.file_name().ok_or(error)?;
            Ok(target.parent().unwrap_or(parent).canonicalize()?.join(name))
        }
        found => found,
    }
}

/// The path of something below a directory, which may itself be reached through links.
fn below(directory: &Path, real: &Path) -> Option<String> {
    let below = real.strip_prefix(directory.canonicalize().ok()?).ok()?.to_str()?;
    (!below.is_empty()).then(|| below.to_owned())
}
