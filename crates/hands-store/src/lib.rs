//! Blobs, action cache and staged trees on disk.
