//! What the messages become in memory: the table that `cargo xtask proto` makes from the `.proto` files.

/// A message's own size, and its fields that take memory beside it.
#[derive(Debug)]
pub struct Shape {
    /// As protobuf writes it.
    pub(crate) name: &'static str,
    /// Bytes of the struct.
    pub(crate) size: usize,
    /// By number, ascending.
    pub(crate) fields: &'static [(u32, Cost)],
}

/// What a field costs each time that it stands in the bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Cost {
    /// A message inside the struct.
    Message(&'static Shape),
    /// An element of a list of messages, or of a map.
    Messages(&'static Shape),
    /// A string.
    Text,
    /// An element of a list of strings.
    Texts,
    /// An element of a list of byte strings, each a slice of the buffer that it arrived in.
    Blobs,
    /// Elements of a list of numbers.
    Numbers,
}

/// A message whose [`Shape`] is known.
pub trait Shaped {
    /// What it becomes in memory.
    fn shape() -> &'static Shape;
}

impl Shaped for () {
    fn shape() -> &'static Shape {
        static EMPTY: Shape = Shape { name: "google.protobuf.Empty", size: 0, fields: &[] };
        &EMPTY
    }
}

include!("generated/shapes.rs");
