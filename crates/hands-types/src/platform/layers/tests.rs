//! What layers say, and what they may not.

use super::Layers;
use crate::platform::{Platform, property};
use crate::{Digest, DigestFunction};

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
    ];
    for (values, expected) in cases {
        let values: Vec<&str> = values.iter().map(String::as_str).collect();
        let error = read(&values).expect_err(expected);
        assert!(error.contains(expected), "{values:?}: {error}");
    }
}
