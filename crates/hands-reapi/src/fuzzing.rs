//! What no resource name, no compressed stream and no message may do, whatever its bytes are: for `fuzz/` and for the tests.

#[cfg(test)]
mod tests;

use std::fmt::Debug;

use bytes::Bytes;
use hands_proto::{Shaped, decode_blob, reapi, weigh};
use prost::Message;

use crate::codec::{CodecError, Inflate, expand};
use crate::{BlobName, LogName, UploadName};

/// Reads bytes as each kind of resource name.
pub fn resource_names(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    stays(BlobName::parse(&text).ok(), BlobName::to_name, |name| BlobName::parse(name).ok());
    stays(UploadName::parse(&text).ok(), UploadName::to_name, |name| UploadName::parse(name).ok());
    stays(LogName::parse(&text), LogName::to_string, LogName::parse);
}

/// What was read is written, and read again as the same.
fn stays<N: PartialEq + Debug>(
    read: Option<N>,
    write: impl Fn(&N) -> String,
    parse: impl Fn(&str) -> Option<N>,
) {
    if let Some(name) = read {
        let written = write(&name);
        assert_eq!(parse(&written), Some(name), "{written}");
    }
}

/// Expands bytes, the first two of which say to how many, at once and piece by piece.
pub fn compressed_streams(data: &[u8]) {
    let Some((size, stream)) = data.split_first_chunk::<2>() else { return };
    let size = u64::from(u16::from_le_bytes(*size)) * 16;
    let whole = expand(stream, size);
    if let Ok(bytes) = &whole {
        assert!(bytes.len() as u64 <= size, "more than was announced");
    }
    let step = usize::from(data[0] % 7) + 1;
    let mut pieces = Vec::new();
    let inflated = Inflate::new(size).map_err(CodecError::Invalid).and_then(|mut inflate| {
        for piece in stream.chunks(step) {
            inflate.push(piece, |bytes| {
                pieces.extend_from_slice(bytes);
                Ok::<(), CodecError>(())
            })?;
        }
        inflate.finish()
    });
    assert!(pieces.len() as u64 <= size, "more than was announced, in pieces");
    // Not the other way round: libzstd looks less closely at an empty frame that comes in pieces.
    if let Ok(whole) = whole {
        assert!(inflated.is_ok(), "{inflated:?}, and is well in one piece");
        assert_eq!(pieces, whole, "pieces make another whole");
    }
}

/// Weighs bytes, the first of which says as what message, and decodes them.
pub fn message_weights(data: &[u8]) {
    let Some((kind, bytes)) = data.split_first() else { return };
    match kind % 5 {
        0 => weighs(bytes, |it: &reapi::Directory| {
            let files = list(&it.files, |n| text(&n.name) + digest(n.digest.as_ref()));
            let properties = it.files.iter().filter_map(|n| n.node_properties.as_ref());
            let properties = properties
                .map(|all| list(&all.properties, |one| text(&one.name) + text(&one.value)));
            let below = list(&it.directories, |n| text(&n.name) + digest(n.digest.as_ref()));
            let links = list(&it.symlinks, |n| text(&n.name) + text(&n.target));
            files + properties.sum::<usize>() + below + links
        }),
        1 => weighs(bytes, |it: &reapi::Command| {
            let lists = [&it.arguments, &it.output_files, &it.output_directories, &it.output_paths];
            let variables = list(&it.environment_variables, |v| text(&v.name) + text(&v.value));
            lists.into_iter().map(|all| list(all, text)).sum::<usize>() + variables
        }),
        2 => weighs(bytes, |it: &reapi::FindMissingBlobsRequest| {
            text(&it.instance_name) + list(&it.blob_digests, |it| digest(Some(it)))
        }),
        3 => weighs(bytes, |it: &reapi::BatchUpdateBlobsRequest| {
            text(&it.instance_name) + list(&it.requests, |it| digest(it.digest.as_ref()))
        }),
        _ => weighs(bytes, |it: &reapi::BatchReadBlobsRequest| {
            let compressors = it.acceptable_compressors.capacity() * size_of::<i32>();
            list(&it.digests, |it| digest(Some(it))) + compressors
        }),
    }
}

/// Whatever can be decoded is, and takes no more than twice what it weighs: a list that has just grown has room for as many
/// elements again.
fn weighs<M: Message + Shaped + Default + PartialEq + Debug>(bytes: &[u8], heap: fn(&M) -> usize) {
    let weight = weigh::<M>(bytes, usize::MAX).expect("nothing is above that");
    let decoded = M::decode(bytes).ok();
    if let Some(message) = &decoded {
        assert!(heap(message) <= 2 * weight, "{weight} of {}: {message:?}", heap(message));
    }
    assert_eq!(decode_blob::<M>(Bytes::copy_from_slice(bytes)).ok(), decoded);
    if weight > 0 {
        assert!(weigh::<M>(bytes, weight - 1).is_err(), "{weight} is more than one less");
    }
}

fn list<T>(elements: &Vec<T>, each: impl Fn(&T) -> usize) -> usize {
    elements.capacity() * size_of::<T>() + elements.iter().map(each).sum::<usize>()
}

fn text(text: &String) -> usize {
    text.capacity()
}

fn digest(digest: Option<&reapi::Digest>) -> usize {
    digest.map_or(0, |digest| text(&digest.hash))
}
