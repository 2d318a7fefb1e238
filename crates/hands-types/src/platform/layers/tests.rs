//! What layers say, and what they may not.

use super::Layers;
use crate::platform::{Platform, property};
use crate::{Digest, DigestFunction, TreeName, TreeRef};

fn read(values: &[&str]) -> Result<Layers, String> {
    let pairs = values.iter().map(|v| (property::LAYER.to_owned(), (*v).to_owned())).collect();
    Layers::read(&Platform::new(pairs), DigestFunction::Sha256).map_err(|e| e.to_string())
}

fn hash(byte: &str) -> String {
    byte.repeat(32)
}

fn digest(byte: &str, size: u64) -> Digest {
    Digest::from_hex(DigestFunction::Sha256, &hash(byte), size).expect("a digest")
}

#[test]
fn a_stack_keeps_its_order_and_each_layer_once() {
    let (a, b) = (hash("aa"), hash("bb"));
    let stack = format!("/={b}/2,sha256/{a}/1,{b}/2");
    let layers = read(&[&stack, &format!("/opt/x={a}/1")]).expect("layers");
    assert_eq!(layers.root, [digest("bb", 2), digest("aa", 1)]);
    assert_eq!(layers.mounted, [("/opt/x".to_owned(), digest("aa", 1))]);
    assert_eq!(layers.digests().count(), 3);
    assert_eq!(read(&[]).expect("none"), Layers::default());
}

#[test]
fn what_is_no_layer_is_told_with_what_was_expected() {
    let a = hash("aa");
    let many: Vec<String> = (0..129).map(|i| format!("{a}/{i}")).collect();
    let cases = [
        (vec!["x".to_owned()], "PATH=HASH/SIZE"),
        (vec![format!("opt={a}/1")], "absolute"),
        (vec![format!("//={a}/1")], "absolute"),
        (vec![format!("/a/../b={a}/1")], "absolute"),
        (vec![format!("/opt={a}/1,{a}/2")], "absolute"),
        (vec![format!("/={a}/1,")], "topmost"),
        (vec!["/=".to_owned()], "topmost"),
        (vec![format!("/={a}/1"), format!("/={a}/2")], "one property for the root"),
        (vec![format!("/={}", many.join(","))], "at most 128"),
        (vec![format!("/opt=blake3/{a}/1")], "action's own digest function"),
        (vec![format!("/={a}/1,blake3/{a}/1")], "action's own digest function"),
    ];
    for (values, expected) in cases {
        let values: Vec<&str> = values.iter().map(String::as_str).collect();
        let error = read(&values).expect_err(expected);
        assert!(error.contains(expected), "{values:?}: {error}");
    }
}

#[test]
fn people_write_names_in_place_of_digests() {
    let a = hash("aa");
    let (stack, mounted) = (format!("/=top,{a}/1,base"), format!("/opt/x=blake3/{a}/1"));
    let written = Layers::written([&*stack, &*mounted].into_iter()).expect("layers");
    let name = |name: &str| TreeRef::Name(TreeName::new(name).expect("a name"));
    let base = TreeRef::Digest(digest("aa", 1));
    assert_eq!(written.root, [name("top"), base, name("base")]);
    assert_eq!(written.trees().count(), 4);
    // Two names may mean one tree.
    let resolved = written.resolved(|tree| match tree {
        TreeRef::Digest(digest) => Ok(*digest),
        TreeRef::Name(name) if name.as_str() == "top" => Ok(digest("aa", 1)),
        TreeRef::Name(name) => Err(name.to_string()),
    });
    assert_eq!(resolved, Err("base".to_owned()));
    let resolved = written.resolved(|_| Ok::<_, ()>(digest("bb", 2))).expect("all are known");
    assert_eq!((resolved.root.len(), resolved.mounted.len()), (1, 1));
    for (value, expected) in [("x", "PATH=TREE"), ("/x=a b", "or the name"), ("/=a,", "topmost")] {
        let error = Layers::written([value].into_iter()).expect_err(expected).to_string();
        assert!(error.contains(expected), "{value}: {error}");
    }
}
