use hands_proto::reapi::digest_function::Value;
use hands_proto::reapi::{GetCapabilitiesRequest, compressor};

use crate::Hub;

#[tokio::test]
async fn old_and_new_clients_both_find_what_they_look_for() {
    for hub in [Hub::start().await, Hub::start_tcp().await] {
        let request = GetCapabilitiesRequest { instance_name: "any/name at all".to_owned() };
        let answer = hub.capabilities().get_capabilities(request).await.unwrap().into_inner();
        // Bazel 2 to 4 speak exactly 2.0.
        let (low, high) = (answer.low_api_version.unwrap(), answer.high_api_version.unwrap());
        assert_eq!((low.major, low.minor, high.major, high.minor), (2, 0, 2, 12));
        let cache = answer.cache_capabilities.unwrap();
        let both = [i32::from(Value::Sha256), i32::from(Value::Blake3)];
        assert_eq!(cache.digest_functions, both);
        assert_eq!(cache.supported_compressors, [i32::from(compressor::Value::Zstd)]);
        assert_eq!(cache.supported_batch_update_compressors, [i32::from(compressor::Value::Zstd)]);
        // Below what gRPC libraries decode by default, envelope included.
        assert!((1 << 20..4 << 20).contains(&cache.max_batch_total_size_bytes));
        // Targets are kept as they are, wherever they point.
        let allowed = hands_proto::reapi::symlink_absolute_path_strategy::Value::Allowed;
        assert_eq!(cache.symlink_absolute_path_strategy(), allowed);
        let execution = answer.execution_capabilities.unwrap();
        assert!(execution.exec_enabled);
        assert_eq!(
            execution.digest_function,
            i32::from(Value::Sha256),
            "old Bazel compares it with =="
        );
        assert_eq!(execution.digest_functions, both);
        let range = execution.execution_priority_capabilities.unwrap().priorities[0];
        assert_eq!((range.min_priority, range.max_priority), (-1000, 1000));
    }
}

#[tokio::test]
async fn what_is_switched_off_is_not_announced() {
    let hub = Hub::start_with(|backend| {
        backend.exec_enabled = false;
        backend.update_enabled = false;
    })
    .await;
    let answer = hub
        .capabilities()
        .get_capabilities(GetCapabilitiesRequest::default())
        .await
        .unwrap()
        .into_inner();
    assert!(!answer.execution_capabilities.unwrap().exec_enabled);
    let update = answer.cache_capabilities.unwrap().action_cache_update_capabilities.unwrap();
    assert!(!update.update_enabled);
}
