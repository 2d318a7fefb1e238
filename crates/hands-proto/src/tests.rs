use hands_types::{Digest, DigestFunction};

use crate::{BadDigest, function_from_proto, longrunning, pack, reapi, unpack};

#[test]
fn a_digest_survives_the_way_there_and_back() {
    let digest = Digest { function: DigestFunction::Blake3, hash: [0xab; 32], size: 12 };
    let sent = reapi::Digest::from(&digest);
    assert_eq!(sent.hash.len(), 64);
    assert_eq!(sent.to_digest(DigestFunction::Blake3), Ok(digest));
}

#[test]
fn a_digest_that_is_none_is_refused() {
    let hash = "ab".repeat(32);
    let bad = [
        reapi::Digest { hash: hash.clone(), size_bytes: -1 },
        reapi::Digest { hash: hash.to_uppercase(), size_bytes: 1 },
        reapi::Digest { hash: "../../etc/passwd".to_owned(), size_bytes: 1 },
        reapi::Digest { hash: "é".repeat(32), size_bytes: 1 },
        reapi::Digest::default(),
    ];
    for digest in bad {
        assert!(
            matches!(digest.to_digest(DigestFunction::Sha256), Err(BadDigest::Malformed { .. })),
            "{digest:?}"
        );
    }
}

#[test]
fn an_unset_digest_function_is_sha256_and_a_foreign_one_is_named() {
    assert_eq!(function_from_proto(0), Ok(DigestFunction::Sha256));
    assert_eq!(function_from_proto(9), Ok(DigestFunction::Blake3));
    assert_eq!(function_from_proto(3), Err(BadDigest::Function("MD5".to_owned())));
    assert_eq!(function_from_proto(99), Err(BadDigest::Function("99".to_owned())));
}

#[test]
fn an_any_opens_only_as_what_it_holds() {
    let metadata = reapi::ExecuteOperationMetadata {
        stage: reapi::execution_stage::Value::Queued.into(),
        ..Default::default()
    };
    let any = pack(&metadata);
    assert_eq!(
        any.type_url,
        "type.googleapis.com/build.bazel.remote.execution.v2.ExecuteOperationMetadata"
    );
    assert_eq!(unpack::<reapi::ExecuteOperationMetadata>(&any).expect("its own type"), metadata);
    unpack::<longrunning::Operation>(&any).expect_err("another type");
    let cut = prost_types::Any { value: vec![0x0a, 0x7f], ..any };
    unpack::<reapi::ExecuteOperationMetadata>(&cut).expect_err("a cut message");
}
