//! What each message becomes in memory: a table of the fields that cost something, beside the generated code.

use std::fmt::Write as _;

use anyhow::{Context as _, Result};
use protox::prost_reflect::{
    Cardinality, DescriptorPool, FieldDescriptor, Kind, MessageDescriptor,
};

/// The text of `shapes.rs`.
pub(super) fn text(pool: &DescriptorPool) -> Result<String> {
    let mut text = String::from("// This file is made by `cargo xtask proto`.\n");
    let mut messages: Vec<MessageDescriptor> = pool.all_messages().collect();
    messages.sort_by(|a, b| a.full_name().cmp(b.full_name()));
    for message in messages.iter().filter(|message| is_used(message)) {
        let path = path(message)?;
        let name = constant(message);
        let mut fields: Vec<FieldDescriptor> = message.fields().collect();
        fields.sort_by_key(FieldDescriptor::number);
        let fields: Vec<String> = fields
            .iter()
            .filter_map(|field| Some(format!("({}, {})", field.number(), cost(field)?)))
            .collect();
        writeln!(
            text,
            "static {name}: Shape = Shape {{ name: {:?}, size: size_of::<{path}>(), fields: &[{}] }};",
            message.full_name(),
            fields.join(", ")
        )?;
        if !message.is_map_entry() {
            writeln!(
                text,
                "impl Shaped for {path} {{ fn shape() -> &'static Shape {{ &{name} }} }}"
            )?;
        }
    }
    Ok(text)
}

/// Our own messages, and those of Google's that they use.
fn is_used(message: &MessageDescriptor) -> bool {
    let name = message.full_name();
    !name.starts_with("google.protobuf.")
        || matches!(
            name,
            "google.protobuf.Any" | "google.protobuf.Duration" | "google.protobuf.Timestamp"
        )
}

/// The variant of `Cost`; none for what lies in the message's own struct.
fn cost(field: &FieldDescriptor) -> Option<String> {
    let repeated = field.cardinality() == Cardinality::Repeated;
    let cost = match (field.kind(), repeated) {
        (Kind::Message(message), _) if !is_used(&message) => return None,
        (Kind::Message(message), true) => format!("Cost::Messages(&{})", constant(&message)),
        (Kind::Message(message), false) => format!("Cost::Message(&{})", constant(&message)),
        (Kind::String, true) => "Cost::Texts".to_owned(),
        (Kind::String, false) => "Cost::Text".to_owned(),
        (Kind::Bytes, true) => "Cost::Blobs".to_owned(),
        // A slice of the buffer that it arrived in, except in Google's own types.
        (Kind::Bytes, false) if field.full_name().starts_with("google.protobuf.") => {
            "Cost::Text".to_owned()
        }
        (Kind::Bytes, false) => return None,
        (_, true) => "Cost::Numbers".to_owned(),
        (_, false) => return None,
    };
    Some(cost)
}

fn constant(message: &MessageDescriptor) -> String {
    message.full_name().replace('.', "_").to_uppercase()
}

/// Where prost puts the struct.
fn path(message: &MessageDescriptor) -> Result<String> {
    if message.is_map_entry() {
        // A node of a BTreeMap holds 11 keys and values, of which half may be empty.
        return Ok("[String; 6]".to_owned());
    }
    if let Some(name) = message.full_name().strip_prefix("google.protobuf.") {
        return Ok(format!("prost_types::{name}"));
    }
    let package = message.package_name();
    let rest = message
        .full_name()
        .strip_prefix(package)
        .and_then(|rest| rest.strip_prefix('.'))
        .context("a message outside of its package")?;
    let mut parts: Vec<String> = package.split('.').map(str::to_owned).collect();
    let names: Vec<&str> = rest.split('.').collect();
    let (last, parents) = names.split_last().context("a message without a name")?;
    parts.extend(parents.iter().map(|parent| snake(parent)));
    parts.push((*last).to_owned());
    Ok(format!("crate::generated::{}", parts.join("::")))
}

fn snake(name: &str) -> String {
    let mut out = String::new();
    for (at, letter) in name.char_indices() {
        if letter.is_ascii_uppercase() && at > 0 {
            out.push('_');
        }
        out.push(letter.to_ascii_lowercase());
    }
    out
}
