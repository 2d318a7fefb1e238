// This file is made by `cargo xtask proto`.
static BUILD_BAZEL_REMOTE_ASSET_V1_FETCHBLOBREQUEST: Shape = Shape {
    name: "build.bazel.remote.asset.v1.FetchBlobRequest",
    size: size_of::<crate::generated::build::bazel::remote::asset::v1::FetchBlobRequest>(),
    fields: &[
        (1, Cost::Text),
        (2, Cost::Message(&GOOGLE_PROTOBUF_DURATION)),
        (3, Cost::Message(&GOOGLE_PROTOBUF_TIMESTAMP)),
        (4, Cost::Texts),
        (5, Cost::Messages(&BUILD_BAZEL_REMOTE_ASSET_V1_QUALIFIER)),
    ],
};
impl Shaped for crate::generated::build::bazel::remote::asset::v1::FetchBlobRequest {
    fn shape() -> &'static Shape {
        &BUILD_BAZEL_REMOTE_ASSET_V1_FETCHBLOBREQUEST
    }
}
static BUILD_BAZEL_REMOTE_ASSET_V1_FETCHBLOBRESPONSE: Shape = Shape {
    name: "build.bazel.remote.asset.v1.FetchBlobResponse",
    size: size_of::<crate::generated::build::bazel::remote::asset::v1::FetchBlobResponse>(),
    fields: &[
        (1, Cost::Message(&GOOGLE_RPC_STATUS)),
        (2, Cost::Text),
        (3, Cost::Messages(&BUILD_BAZEL_REMOTE_ASSET_V1_QUALIFIER)),
        (4, Cost::Message(&GOOGLE_PROTOBUF_TIMESTAMP)),
        (5, Cost::Message(&BUILD_BAZEL_REMOTE_EXECUTION_V2_DIGEST)),
    ],
};
impl Shaped for crate::generated::build::bazel::remote::asset::v1::FetchBlobResponse {
    fn shape() -> &'static Shape {
        &BUILD_BAZEL_REMOTE_ASSET_V1_FETCHBLOBRESPONSE
    }
}
static BUILD_BAZEL_REMOTE_ASSET_V1_FETCHDIRECTORYREQUEST: Shape = Shape {
    name: "build.bazel.remote.asset.v1.FetchDirectoryRequest",
    size: size_of::<crate::generated::build::bazel::remote::asset::v1::FetchDirectoryRequest>(),
    fields: &[
        (1, Cost::Text),
        (2, Cost::Message(&GOOGLE_PROTOBUF_DURATION)),
        (3, Cost::Message(&GOOGLE_PROTOBUF_TIMESTAMP)),
        (4, Cost::Texts),
        (5, Cost::Messages(&BUILD_BAZEL_REMOTE_ASSET_V1_QUALIFIER)),
    ],
};
impl Shaped for crate::generated::build::bazel::remote::asset::v1::FetchDirectoryRequest {
    fn shape() -> &'static Shape {
        &BUILD_BAZEL_REMOTE_ASSET_V1_FETCHDIRECTORYREQUEST
    }
}
static BUILD_BAZEL_REMOTE_ASSET_V1_FETCHDIRECTORYRESPONSE: Shape = Shape {
    name: "build.bazel.remote.asset.v1.FetchDirectoryResponse",
    size: size_of::<crate::generated::build::bazel::remote::asset::v1::FetchDirectoryResponse>(),
    fields: &[
        (1, Cost::Message(&GOOGLE_RPC_STATUS)),
        (2, Cost::Text),
        (3, Cost::Messages(&BUILD_BAZEL_REMOTE_ASSET_V1_QUALIFIER)),
        (4, Cost::Message(&GOOGLE_PROTOBUF_TIMESTAMP)),
        (5, Cost::Message(&BUILD_BAZEL_REMOTE_EXECUTION_V2_DIGEST)),
    ],
};
impl Shaped for crate::generated::build::bazel::remote::asset::v1::FetchDirectoryResponse {
    fn shape() -> &'static Shape {
        &BUILD_BAZEL_REMOTE_ASSET_V1_FETCHDIRECTORYRESPONSE
    }
}
static BUILD_BAZEL_REMOTE_ASSET_V1_PUSHBLOBREQUEST: Shape = Shape {
    name: "build.bazel.remote.asset.v1.PushBlobRequest",
    size: size_of::<crate::generated::build::bazel::remote::asset::v1::PushBlobRequest>(),
    fields: &[
        (1, Cost::Text),
        (2, Cost::Texts),
        (3, Cost::Messages(&BUILD_BAZEL_REMOTE_ASSET_V1_QUALIFIER)),
        (4, Cost::Message(&GOOGLE_PROTOBUF_TIMESTAMP)),
        (5, Cost::Message(&BUILD_BAZEL_REMOTE_EXECUTION_V2_DIGEST)),
        (6, Cost::Messages(&BUILD_BAZEL_REMOTE_EXECUTION_V2_DIGEST)),
        (7, Cost::Messages(&BUILD_BAZEL_REMOTE_EXECUTION_V2_DIGEST)),
    ],
};
impl Shaped for crate::generated::build::bazel::remote::asset::v1::PushBlobRequest {
    fn shape() -> &'static Shape {
        &BUILD_BAZEL_REMOTE_ASSET_V1_PUSHBLOBREQUEST
    }
}
static BUILD_BAZEL_REMOTE_ASSET_V1_PUSHBLOBRESPONSE: Shape = Shape {
    name: "build.bazel.remote.asset.v1.PushBlobResponse",
    size: size_of::<crate::generated::build::bazel::remote::asset::v1::PushBlobResponse>(),
    fields: &[],
};
impl Shaped for crate::generated::build::bazel::remote::asset::v1::PushBlobResponse {
    fn shape() -> &'static Shape {
        &BUILD_BAZEL_REMOTE_ASSET_V1_PUSHBLOBRESPONSE
    }
}
static BUILD_BAZEL_REMOTE_ASSET_V1_PUSHDIRECTORYREQUEST: Shape = Shape {
    name: "build.bazel.remote.asset.v1.PushDirectoryRequest",
    size: size_of::<crate::generated::build::bazel::remote::asset::v1::PushDirectoryRequest>(),
    fields: &[
        (1, Cost::Text),
        (2, Cost::Texts),
        (3, Cost::Messages(&BUILD_BAZEL_REMOTE_ASSET_V1_QUALIFIER)),
        (4, Cost::Message(&GOOGLE_PROTOBUF_TIMESTAMP)),
        (5, Cost::Message(&BUILD_BAZEL_REMOTE_EXECUTION_V2_DIGEST)),
        (6, Cost::Messages(&BUILD_BAZEL_REMOTE_EXECUTION_V2_DIGEST)),
        (7, Cost::Messages(&BUILD_BAZEL_REMOTE_EXECUTION_V2_DIGEST)),
    ],
};
impl Shaped for crate::generated::build::bazel::remote::asset::v1::PushDirectoryRequest {
    fn shape() -> &'static Shape {
        &BUILD_BAZEL_REMOTE_ASSET_V1_PUSHDIRECTORYREQUEST
    }
}
static BUILD_BAZEL_REMOTE_ASSET_V1_PUSHDIRECTORYRESPONSE: Shape = Shape {
    name: "build.bazel.remote.asset.v1.PushDirectoryResponse",
    size: size_of::<crate::generated::build::bazel::remote::asset::v1::PushDirectoryResponse>(),
    fields: &[],
};
impl Shaped for crate::generated::build::bazel::remote::asset::v1::PushDirectoryResponse {
    fn shape() -> &'static Shape {
        &BUILD_BAZEL_REMOTE_ASSET_V1_PUSHDIRECTORYRESPONSE
    }
}
static BUILD_BAZEL_REMOTE_ASSET_V1_QUALIFIER: Shape = Shape {
    name: "build.bazel.remote.asset.v1.Qualifier",
    size: size_of::<crate::generated::build::bazel::remote::asset::v1::Qualifier>(),
    fields: &[(1, Cost::Text), (2, Cost::Text)],
};
impl Shaped for crate::generated::build::bazel::remote::asset::v1::Qualifier {
    fn shape() -> &'static Shape {
        &BUILD_BAZEL_REMOTE_ASSET_V1_QUALIFIER
    }
}
static BUILD_BAZEL_REMOTE_EXECUTION_V2_ACTION: Shape = Shape {
    name: "build.bazel.remote.execution.v2.Action",
    size: size_of::<crate::generated::build::bazel::remote::execution::v2::Action>(),
    fields: &[
        (1, Cost::Message(&BUILD_BAZEL_REMOTE_EXECUTION_V2_DIGEST)),
        (2, Cost::Message(&BUILD_BAZEL_REMOTE_EXECUTION_V2_DIGEST)),
        (6, Cost::Message(&GOOGLE_PROTOBUF_DURATION)),
        (10, Cost::Message(&BUILD_BAZEL_REMOTE_EXECUTION_V2_PLATFORM)),
    ],
};
impl Shaped for crate::generated::build::bazel::remote::execution::v2::Action {
    fn shape() -> &'static Shape {
        &BUILD_BAZEL_REMOTE_EXECUTION_V2_ACTION
    }
}
static BUILD_BAZEL_REMOTE_EXECUTION_V2_ACTIONCACHEUPDATECAPABILITIES: Shape = Shape {
    name: "build.bazel.remote.execution.v2.ActionCacheUpdateCapabilities",
    size: size_of::<
        crate::generated::build::bazel::remote::execution::v2::ActionCacheUpdateCapabilities,
    >(),
    fields: &[],
};
impl Shaped
    for crate::generated::build::bazel::remote::execution::v2::ActionCacheUpdateCapabilities
{
    fn shape() -> &'static Shape {
        &BUILD_BAZEL_REMOTE_EXECUTION_V2_ACTIONCACHEUPDATECAPABILITIES
    }
}
static BUILD_BAZEL_REMOTE_EXECUTION_V2_ACTIONRESULT: Shape = Shape {
    name: "build.bazel.remote.execution.v2.ActionResult",
    size: size_of::<crate::generated::build::bazel::remote::execution::v2::ActionResult>(),
    fields: &[
        (2, Cost::Messages(&BUILD_BAZEL_REMOTE_EXECUTION_V2_OUTPUTFILE)),
        (3, Cost::Messages(&BUILD_BAZEL_REMOTE_EXECUTION_V2_OUTPUTDIRECTORY)),
        (6, Cost::Message(&BUILD_BAZEL_REMOTE_EXECUTION_V2_DIGEST)),
        (8, Cost::Message(&BUILD_BAZEL_REMOTE_EXECUTION_V2_DIGEST)),
        (9, Cost::Message(&BUILD_BAZEL_REMOTE_EXECUTION_V2_EXECUTEDACTIONMETADATA)),
        (10, Cost::Messages(&BUILD_BAZEL_REMOTE_EXECUTION_V2_OUTPUTSYMLINK)),
        (11, Cost::Messages(&BUILD_BAZEL_REMOTE_EXECUTION_V2_OUTPUTSYMLINK)),
        (12, Cost::Messages(&BUILD_BAZEL_REMOTE_EXECUTION_V2_OUTPUTSYMLINK)),
    ],
};
impl Shaped for crate::generated::build::bazel::remote::execution::v2::ActionResult {
    fn shape() -> &'static Shape {
        &BUILD_BAZEL_REMOTE_EXECUTION_V2_ACTIONRESULT
    }
}
static BUILD_BAZEL_REMOTE_EXECUTION_V2_BATCHREADBLOBSREQUEST: Shape = Shape {
    name: "build.bazel.remote.execution.v2.BatchReadBlobsRequest",
    size: size_of::<crate::generated::build::bazel::remote::execution::v2::BatchReadBlobsRequest>(),
    fields: &[
        (1, Cost::Text),
        (2, Cost::Messages(&BUILD_BAZEL_REMOTE_EXECUTION_V2_DIGEST)),
        (3, Cost::Numbers),
    ],
};
impl Shaped for crate::generated::build::bazel::remote::execution::v2::BatchReadBlobsRequest {
    fn shape() -> &'static Shape {
        &BUILD_BAZEL_REMOTE_EXECUTION_V2_BATCHREADBLOBSREQUEST
    }
}
static BUILD_BAZEL_REMOTE_EXECUTION_V2_BATCHREADBLOBSRESPONSE: Shape = Shape {
    name: "build.bazel.remote.execution.v2.BatchReadBlobsResponse",
    size: size_of::<crate::generated::build::bazel::remote::execution::v2::BatchReadBlobsResponse>(
    ),
    fields: &[(
        1,
        Cost::Messages(&BUILD_BAZEL_REMOTE_EXECUTION_V2_BATCHREADBLOBSRESPONSE_RESPONSE),
    )],
};
impl Shaped for crate::generated::build::bazel::remote::execution::v2::BatchReadBlobsResponse {
    fn shape() -> &'static Shape {
        &BUILD_BAZEL_REMOTE_EXECUTION_V2_BATCHREADBLOBSRESPONSE
    }
}
static BUILD_BAZEL_REMOTE_EXECUTION_V2_BATCHREADBLOBSRESPONSE_RESPONSE: Shape = Shape {
    name: "build.bazel.remote.execution.v2.BatchReadBlobsResponse.Response",
    size: size_of::<
        crate::generated::build::bazel::remote::execution::v2::batch_read_blobs_response::Response,
    >(),
    fields: &[
        (1, Cost::Message(&BUILD_BAZEL_REMOTE_EXECUTION_V2_DIGEST)),
        (3, Cost::Message(&GOOGLE_RPC_STATUS)),
    ],
};
impl Shaped
    for crate::generated::build::bazel::remote::execution::v2::batch_read_blobs_response::Response
{
    fn shape() -> &'static Shape {
        &BUILD_BAZEL_REMOTE_EXECUTION_V2_BATCHREADBLOBSRESPONSE_RESPONSE
    }
}
static BUILD_BAZEL_REMOTE_EXECUTION_V2_BATCHUPDATEBLOBSREQUEST: Shape = Shape {
    name: "build.bazel.remote.execution.v2.BatchUpdateBlobsRequest",
    size: size_of::<crate::generated::build::bazel::remote::execution::v2::BatchUpdateBlobsRequest>(
    ),
    fields: &[
        (1, Cost::Text),
        (2, Cost::Messages(&BUILD_BAZEL_REMOTE_EXECUTION_V2_BATCHUPDATEBLOBSREQUEST_REQUEST)),
    ],
};
impl Shaped for crate::generated::build::bazel::remote::execution::v2::BatchUpdateBlobsRequest {
    fn shape() -> &'static Shape {
        &BUILD_BAZEL_REMOTE_EXECUTION_V2_BATCHUPDATEBLOBSREQUEST
    }
}
static BUILD_BAZEL_REMOTE_EXECUTION_V2_BATCHUPDATEBLOBSREQUEST_REQUEST: Shape = Shape {
    name: "build.bazel.remote.execution.v2.BatchUpdateBlobsRequest.Request",
    size: size_of::<
        crate::generated::build::bazel::remote::execution::v2::batch_update_blobs_request::Request,
    >(),
    fields: &[(1, Cost::Message(&BUILD_BAZEL_REMOTE_EXECUTION_V2_DIGEST))],
};
impl Shaped
    for crate::generated::build::bazel::remote::execution::v2::batch_update_blobs_request::Request
{
    fn shape() -> &'static Shape {
        &BUILD_BAZEL_REMOTE_EXECUTION_V2_BATCHUPDATEBLOBSREQUEST_REQUEST
    }
}
static BUILD_BAZEL_REMOTE_EXECUTION_V2_BATCHUPDATEBLOBSRESPONSE: Shape = Shape {
    name: "build.bazel.remote.execution.v2.BatchUpdateBlobsResponse",
    size: size_of::<crate::generated::build::bazel::remote::execution::v2::BatchUpdateBlobsResponse>(
    ),
    fields: &[(
        1,
        Cost::Messages(&BUILD_BAZEL_REMOTE_EXECUTION_V2_BATCHUPDATEBLOBSRESPONSE_RESPONSE),
    )],
};
impl Shaped for crate::generated::build::bazel::remote::execution::v2::BatchUpdateBlobsResponse {
    fn shape() -> &'static Shape {
        &BUILD_BAZEL_REMOTE_EXECUTION_V2_BATCHUPDATEBLOBSRESPONSE
    }
}
static BUILD_BAZEL_REMOTE_EXECUTION_V2_BATCHUPDATEBLOBSRESPONSE_RESPONSE: Shape = Shape { name: "build.bazel.remote.execution.v2.BatchUpdateBlobsResponse.Response", size: size_of::<crate::generated::build::bazel::remote::execution::v2::batch_update_blobs_response::Response>(), fields: &[(1, Cost::Message(&BUILD_BAZEL_REMOTE_EXECUTION_V2_DIGEST)), (2, Cost::Message(&GOOGLE_RPC_STATUS))] };
impl Shaped
    for crate::generated::build::bazel::remote::execution::v2::batch_update_blobs_response::Response
{
    fn shape() -> &'static Shape {
        &BUILD_BAZEL_REMOTE_EXECUTION_V2_BATCHUPDATEBLOBSRESPONSE_RESPONSE
    }
}
static BUILD_BAZEL_REMOTE_EXECUTION_V2_CACHECAPABILITIES: Shape = Shape {
    name: "build.bazel.remote.execution.v2.CacheCapabilities",
    size: size_of::<crate::generated::build::bazel::remote::execution::v2::CacheCapabilities>(),
    fields: &[
        (1, Cost::Numbers),
        (2, Cost::Message(&BUILD_BAZEL_REMOTE_EXECUTION_V2_ACTIONCACHEUPDATECAPABILITIES)),
        (3, Cost::Message(&BUILD_BAZEL_REMOTE_EXECUTION_V2_PRIORITYCAPABILITIES)),
        (6, Cost::Numbers),
        (7, Cost::Numbers),
        (11, Cost::Message(&BUILD_BAZEL_REMOTE_EXECUTION_V2_FASTCDC2020PARAMS)),
        (12, Cost::Message(&BUILD_BAZEL_REMOTE_EXECUTION_V2_REPMAXCDCPARAMS)),
    ],
};
impl Shaped for crate::generated::build::bazel::remote::execution::v2::CacheCapabilities {
    fn shape() -> &'static Shape {
        &BUILD_BAZEL_REMOTE_EXECUTION_V2_CACHECAPABILITIES
    }
}
static BUILD_BAZEL_REMOTE_EXECUTION_V2_CHUNKINGFUNCTION: Shape = Shape {
    name: "build.bazel.remote.execution.v2.ChunkingFunction",
    size: size_of::<crate::generated::build::bazel::remote::execution::v2::ChunkingFunction>(),
    fields: &[],
};
impl Shaped for crate::generated::build::bazel::remote::execution::v2::ChunkingFunction {
    fn shape() -> &'static Shape {
        &BUILD_BAZEL_REMOTE_EXECUTION_V2_CHUNKINGFUNCTION
    }
}
static BUILD_BAZEL_REMOTE_EXECUTION_V2_COMMAND: Shape = Shape {
    name: "build.bazel.remote.execution.v2.Command",
    size: size_of::<crate::generated::build::bazel::remote::execution::v2::Command>(),
    fields: &[
        (1, Cost::Texts),
        (2, Cost::Messages(&BUILD_BAZEL_REMOTE_EXECUTION_V2_COMMAND_ENVIRONMENTVARIABLE)),
        (3, Cost::Texts),
        (4, Cost::Texts),
        (5, Cost::Message(&BUILD_BAZEL_REMOTE_EXECUTION_V2_PLATFORM)),
        (6, Cost::Text),
        (7, Cost::Texts),
        (8, Cost::Texts),
    ],
};
impl Shaped for crate::generated::build::bazel::remote::execution::v2::Command {
    fn shape() -> &'static Shape {
        &BUILD_BAZEL_REMOTE_EXECUTION_V2_COMMAND
    }
}
static BUILD_BAZEL_REMOTE_EXECUTION_V2_COMMAND_ENVIRONMENTVARIABLE: Shape = Shape {
    name: "build.bazel.remote.execution.v2.Command.EnvironmentVariable",
    size: size_of::<
        crate::generated::build::bazel::remote::execution::v2::command::EnvironmentVariable,
    >(),
    fields: &[(1, Cost::Text), (2, Cost::Text)],
};
impl Shaped
    for crate::generated::build::bazel::remote::execution::v2::command::EnvironmentVariable
{
    fn shape() -> &'static Shape {
        &BUILD_BAZEL_REMOTE_EXECUTION_V2_COMMAND_ENVIRONMENTVARIABLE
    }
}
static BUILD_BAZEL_REMOTE_EXECUTION_V2_COMPRESSOR: Shape = Shape {
    name: "build.bazel.remote.execution.v2.Compressor",
    size: size_of::<crate::generated::build::bazel::remote::execution::v2::Compressor>(),
    fields: &[],
};
impl Shaped for crate::generated::build::bazel::remote::execution::v2::Compressor {
    fn shape() -> &'static Shape {
        &BUILD_BAZEL_REMOTE_EXECUTION_V2_COMPRESSOR
    }
}
static BUILD_BAZEL_REMOTE_EXECUTION_V2_DIGEST: Shape = Shape {
    name: "build.bazel.remote.execution.v2.Digest",
    size: size_of::<crate::generated::build::bazel::remote::execution::v2::Digest>(),
    fields: &[(1, Cost::Text)],
};
impl Shaped for crate::generated::build::bazel::remote::execution::v2::Digest {
    fn shape() -> &'static Shape {
        &BUILD_BAZEL_REMOTE_EXECUTION_V2_DIGEST
    }
}
static BUILD_BAZEL_REMOTE_EXECUTION_V2_DIGESTFUNCTION: Shape = Shape {
    name: "build.bazel.remote.execution.v2.DigestFunction",
    size: size_of::<crate::generated::build::bazel::remote::execution::v2::DigestFunction>(),
    fields: &[],
};
impl Shaped for crate::generated::build::bazel::remote::execution::v2::DigestFunction {
    fn shape() -> &'static Shape {
        &BUILD_BAZEL_REMOTE_EXECUTION_V2_DIGESTFUNCTION
    }
}
static BUILD_BAZEL_REMOTE_EXECUTION_V2_DIRECTORY: Shape = Shape {
    name: "build.bazel.remote.execution.v2.Directory",
    size: size_of::<crate::generated::build::bazel::remote::execution::v2::Directory>(),
    fields: &[
        (1, Cost::Messages(&BUILD_BAZEL_REMOTE_EXECUTION_V2_FILENODE)),
        (2, Cost::Messages(&BUILD_BAZEL_REMOTE_EXECUTION_V2_DIRECTORYNODE)),
        (3, Cost::Messages(&BUILD_BAZEL_REMOTE_EXECUTION_V2_SYMLINKNODE)),
        (5, Cost::Message(&BUILD_BAZEL_REMOTE_EXECUTION_V2_NODEPROPERTIES)),
    ],
};
impl Shaped for crate::generated::build::bazel::remote::execution::v2::Directory {
    fn shape() -> &'static Shape {
        &BUILD_BAZEL_REMOTE_EXECUTION_V2_DIRECTORY
    }
}
static BUILD_BAZEL_REMOTE_EXECUTION_V2_DIRECTORYNODE: Shape = Shape {
    name: "build.bazel.remote.execution.v2.DirectoryNode",
    size: size_of::<crate::generated::build::bazel::remote::execution::v2::DirectoryNode>(),
    fields: &[(1, Cost::Text), (2, Cost::Message(&BUILD_BAZEL_REMOTE_EXECUTION_V2_DIGEST))],
};
impl Shaped for crate::generated::build::bazel::remote::execution::v2::DirectoryNode {
    fn shape() -> &'static Shape {
        &BUILD_BAZEL_REMOTE_EXECUTION_V2_DIRECTORYNODE
    }
}
static BUILD_BAZEL_REMOTE_EXECUTION_V2_EXECUTEOPERATIONMETADATA: Shape = Shape {
    name: "build.bazel.remote.execution.v2.ExecuteOperationMetadata",
    size: size_of::<crate::generated::build::bazel::remote::execution::v2::ExecuteOperationMetadata>(
    ),
    fields: &[
        (2, Cost::Message(&BUILD_BAZEL_REMOTE_EXECUTION_V2_DIGEST)),
        (3, Cost::Text),
        (4, Cost::Text),
        (5, Cost::Message(&BUILD_BAZEL_REMOTE_EXECUTION_V2_EXECUTEDACTIONMETADATA)),
    ],
};
impl Shaped for crate::generated::build::bazel::remote::execution::v2::ExecuteOperationMetadata {
    fn shape() -> &'static Shape {
        &BUILD_BAZEL_REMOTE_EXECUTION_V2_EXECUTEOPERATIONMETADATA
    }
}
static BUILD_BAZEL_REMOTE_EXECUTION_V2_EXECUTEREQUEST: Shape = Shape {
    name: "build.bazel.remote.execution.v2.ExecuteRequest",
    size: size_of::<crate::generated::build::bazel::remote::execution::v2::ExecuteRequest>(),
    fields: &[
        (1, Cost::Text),
        (6, Cost::Message(&BUILD_BAZEL_REMOTE_EXECUTION_V2_DIGEST)),
        (7, Cost::Message(&BUILD_BAZEL_REMOTE_EXECUTION_V2_EXECUTIONPOLICY)),
        (8, Cost::Message(&BUILD_BAZEL_REMOTE_EXECUTION_V2_RESULTSCACHEPOLICY)),
        (12, Cost::Texts),
    ],
};
impl Shaped for crate::generated::build::bazel::remote::execution::v2::ExecuteRequest {
    fn shape() -> &'static Shape {
        &BUILD_BAZEL_REMOTE_EXECUTION_V2_EXECUTEREQUEST
    }
}
static BUILD_BAZEL_REMOTE_EXECUTION_V2_EXECUTERESPONSE: Shape = Shape {
    name: "build.bazel.remote.execution.v2.ExecuteResponse",
    size: size_of::<crate::generated::build::bazel::remote::execution::v2::ExecuteResponse>(),
    fields: &[
        (1, Cost::Message(&BUILD_BAZEL_REMOTE_EXECUTION_V2_ACTIONRESULT)),
        (3, Cost::Message(&GOOGLE_RPC_STATUS)),
        (4, Cost::Messages(&BUILD_BAZEL_REMOTE_EXECUTION_V2_EXECUTERESPONSE_SERVERLOGSENTRY)),
        (5, Cost::Text),
    ],
};
impl Shaped for crate::generated::build::bazel::remote::execution::v2::ExecuteResponse {
    fn shape() -> &'static Shape {
        &BUILD_BAZEL_REMOTE_EXECUTION_V2_EXECUTERESPONSE
    }
}
static BUILD_BAZEL_REMOTE_EXECUTION_V2_EXECUTERESPONSE_SERVERLOGSENTRY: Shape = Shape {
    name: "build.bazel.remote.execution.v2.ExecuteResponse.ServerLogsEntry",
    size: size_of::<[String; 6]>(),
    fields: &[(1, Cost::Text), (2, Cost::Message(&BUILD_BAZEL_REMOTE_EXECUTION_V2_LOGFILE))],
};
static BUILD_BAZEL_REMOTE_EXECUTION_V2_EXECUTEDACTIONMETADATA: Shape = Shape {
    name: "build.bazel.remote.execution.v2.ExecutedActionMetadata",
    size: size_of::<crate::generated::build::bazel::remote::execution::v2::ExecutedActionMetadata>(
    ),
    fields: &[
        (1, Cost::Text),
        (2, Cost::Message(&GOOGLE_PROTOBUF_TIMESTAMP)),
        (3, Cost::Message(&GOOGLE_PROTOBUF_TIMESTAMP)),
        (4, Cost::Message(&GOOGLE_PROTOBUF_TIMESTAMP)),
        (5, Cost::Message(&GOOGLE_PROTOBUF_TIMESTAMP)),
        (6, Cost::Message(&GOOGLE_PROTOBUF_TIMESTAMP)),
        (7, Cost::Message(&GOOGLE_PROTOBUF_TIMESTAMP)),
        (8, Cost::Message(&GOOGLE_PROTOBUF_TIMESTAMP)),
        (9, Cost::Message(&GOOGLE_PROTOBUF_TIMESTAMP)),
        (10, Cost::Message(&GOOGLE_PROTOBUF_TIMESTAMP)),
        (11, Cost::Messages(&GOOGLE_PROTOBUF_ANY)),
        (12, Cost::Message(&GOOGLE_PROTOBUF_DURATION)),
    ],
};
impl Shaped for crate::generated::build::bazel::remote::execution::v2::ExecutedActionMetadata {
    fn shape() -> &'static Shape {
        &BUILD_BAZEL_REMOTE_EXECUTION_V2_EXECUTEDACTIONMETADATA
    }
}
static BUILD_BAZEL_REMOTE_EXECUTION_V2_EXECUTIONCAPABILITIES: Shape = Shape {
    name: "build.bazel.remote.execution.v2.ExecutionCapabilities",
    size: size_of::<crate::generated::build::bazel::remote::execution::v2::ExecutionCapabilities>(),
    fields: &[
        (3, Cost::Message(&BUILD_BAZEL_REMOTE_EXECUTION_V2_PRIORITYCAPABILITIES)),
        (4, Cost::Texts),
        (5, Cost::Numbers),
    ],
};
impl Shaped for crate::generated::build::bazel::remote::execution::v2::ExecutionCapabilities {
    fn shape() -> &'static Shape {
        &BUILD_BAZEL_REMOTE_EXECUTION_V2_EXECUTIONCAPABILITIES
    }
}
static BUILD_BAZEL_REMOTE_EXECUTION_V2_EXECUTIONPOLICY: Shape = Shape {
    name: "build.bazel.remote.execution.v2.ExecutionPolicy",
    size: size_of::<crate::generated::build::bazel::remote::execution::v2::ExecutionPolicy>(),
    fields: &[],
};
impl Shaped for crate::generated::build::bazel::remote::execution::v2::ExecutionPolicy {
    fn shape() -> &'static Shape {
        &BUILD_BAZEL_REMOTE_EXECUTION_V2_EXECUTIONPOLICY
    }
}
static BUILD_BAZEL_REMOTE_EXECUTION_V2_EXECUTIONSTAGE: Shape = Shape {
    name: "build.bazel.remote.execution.v2.ExecutionStage",
    size: size_of::<crate::generated::build::bazel::remote::execution::v2::ExecutionStage>(),
    fields: &[],
};
impl Shaped for crate::generated::build::bazel::remote::execution::v2::ExecutionStage {
    fn shape() -> &'static Shape {
        &BUILD_BAZEL_REMOTE_EXECUTION_V2_EXECUTIONSTAGE
    }
}
static BUILD_BAZEL_REMOTE_EXECUTION_V2_FASTCDC2020PARAMS: Shape = Shape {
    name: "build.bazel.remote.execution.v2.FastCdc2020Params",
    size: size_of::<crate::generated::build::bazel::remote::execution::v2::FastCdc2020Params>(),
    fields: &[],
};
impl Shaped for crate::generated::build::bazel::remote::execution::v2::FastCdc2020Params {
    fn shape() -> &'static Shape {
        &BUILD_BAZEL_REMOTE_EXECUTION_V2_FASTCDC2020PARAMS
    }
}
static BUILD_BAZEL_REMOTE_EXECUTION_V2_FILENODE: Shape = Shape {
    name: "build.bazel.remote.execution.v2.FileNode",
    size: size_of::<crate::generated::build::bazel::remote::execution::v2::FileNode>(),
    fields: &[
        (1, Cost::Text),
        (2, Cost::Message(&BUILD_BAZEL_REMOTE_EXECUTION_V2_DIGEST)),
        (6, Cost::Message(&BUILD_BAZEL_REMOTE_EXECUTION_V2_NODEPROPERTIES)),
    ],
};
impl Shaped for crate::generated::build::bazel::remote::execution::v2::FileNode {
    fn shape() -> &'static Shape {
        &BUILD_BAZEL_REMOTE_EXECUTION_V2_FILENODE
    }
}
static BUILD_BAZEL_REMOTE_EXECUTION_V2_FINDMISSINGBLOBSREQUEST: Shape = Shape {
    name: "build.bazel.remote.execution.v2.FindMissingBlobsRequest",
    size: size_of::<crate::generated::build::bazel::remote::execution::v2::FindMissingBlobsRequest>(
    ),
    fields: &[(1, Cost::Text), (2, Cost::Messages(&BUILD_BAZEL_REMOTE_EXECUTION_V2_DIGEST))],
};
impl Shaped for crate::generated::build::bazel::remote::execution::v2::FindMissingBlobsRequest {
    fn shape() -> &'static Shape {
        &BUILD_BAZEL_REMOTE_EXECUTION_V2_FINDMISSINGBLOBSREQUEST
    }
}
static BUILD_BAZEL_REMOTE_EXECUTION_V2_FINDMISSINGBLOBSRESPONSE: Shape = Shape {
    name: "build.bazel.remote.execution.v2.FindMissingBlobsResponse",
    size: size_of::<crate::generated::build::bazel::remote::execution::v2::FindMissingBlobsResponse>(
    ),
    fields: &[(2, Cost::Messages(&BUILD_BAZEL_REMOTE_EXECUTION_V2_DIGEST))],
};
impl Shaped for crate::generated::build::bazel::remote::execution::v2::FindMissingBlobsResponse {
    fn shape() -> &'static Shape {
        &BUILD_BAZEL_REMOTE_EXECUTION_V2_FINDMISSINGBLOBSRESPONSE
    }
}
static BUILD_BAZEL_REMOTE_EXECUTION_V2_GETACTIONRESULTREQUEST: Shape = Shape {
    name: "build.bazel.remote.execution.v2.GetActionResultRequest",
    size: size_of::<crate::generated::build::bazel::remote::execution::v2::GetActionResultRequest>(
    ),
    fields: &[
        (1, Cost::Text),
        (2, Cost::Message(&BUILD_BAZEL_REMOTE_EXECUTION_V2_DIGEST)),
        (5, Cost::Texts),
    ],
};
impl Shaped for crate::generated::build::bazel::remote::execution::v2::GetActionResultRequest {
    fn shape() -> &'static Shape {
        &BUILD_BAZEL_REMOTE_EXECUTION_V2_GETACTIONRESULTREQUEST
    }
}
static BUILD_BAZEL_REMOTE_EXECUTION_V2_GETCAPABILITIESREQUEST: Shape = Shape {
    name: "build.bazel.remote.execution.v2.GetCapabilitiesRequest",
    size: size_of::<crate::generated::build::bazel::remote::execution::v2::GetCapabilitiesRequest>(
    ),
    fields: &[(1, Cost::Text)],
};
impl Shaped for crate::generated::build::bazel::remote::execution::v2::GetCapabilitiesRequest {
    fn shape() -> &'static Shape {
        &BUILD_BAZEL_REMOTE_EXECUTION_V2_GETCAPABILITIESREQUEST
    }
}
static BUILD_BAZEL_REMOTE_EXECUTION_V2_GETTREEREQUEST: Shape = Shape {
    name: "build.bazel.remote.execution.v2.GetTreeRequest",
    size: size_of::<crate::generated::build::bazel::remote::execution::v2::GetTreeRequest>(),
    fields: &[
        (1, Cost::Text),
        (2, Cost::Message(&BUILD_BAZEL_REMOTE_EXECUTION_V2_DIGEST)),
        (4, Cost::Text),
    ],
};
impl Shaped for crate::generated::build::bazel::remote::execution::v2::GetTreeRequest {
    fn shape() -> &'static Shape {
        &BUILD_BAZEL_REMOTE_EXECUTION_V2_GETTREEREQUEST
    }
}
static BUILD_BAZEL_REMOTE_EXECUTION_V2_GETTREERESPONSE: Shape = Shape {
    name: "build.bazel.remote.execution.v2.GetTreeResponse",
    size: size_of::<crate::generated::build::bazel::remote::execution::v2::GetTreeResponse>(),
    fields: &[(1, Cost::Messages(&BUILD_BAZEL_REMOTE_EXECUTION_V2_DIRECTORY)), (2, Cost::Text)],
};
impl Shaped for crate::generated::build::bazel::remote::execution::v2::GetTreeResponse {
    fn shape() -> &'static Shape {
        &BUILD_BAZEL_REMOTE_EXECUTION_V2_GETTREERESPONSE
    }
}
static BUILD_BAZEL_REMOTE_EXECUTION_V2_LOGFILE: Shape = Shape {
    name: "build.bazel.remote.execution.v2.LogFile",
    size: size_of::<crate::generated::build::bazel::remote::execution::v2::LogFile>(),
    fields: &[(1, Cost::Message(&BUILD_BAZEL_REMOTE_EXECUTION_V2_DIGEST))],
};
impl Shaped for crate::generated::build::bazel::remote::execution::v2::LogFile {
    fn shape() -> &'static Shape {
        &BUILD_BAZEL_REMOTE_EXECUTION_V2_LOGFILE
    }
}
static BUILD_BAZEL_REMOTE_EXECUTION_V2_NODEPROPERTIES: Shape = Shape {
    name: "build.bazel.remote.execution.v2.NodeProperties",
    size: size_of::<crate::generated::build::bazel::remote::execution::v2::NodeProperties>(),
    fields: &[
        (1, Cost::Messages(&BUILD_BAZEL_REMOTE_EXECUTION_V2_NODEPROPERTY)),
        (2, Cost::Message(&GOOGLE_PROTOBUF_TIMESTAMP)),
    ],
};
impl Shaped for crate::generated::build::bazel::remote::execution::v2::NodeProperties {
    fn shape() -> &'static Shape {
        &BUILD_BAZEL_REMOTE_EXECUTION_V2_NODEPROPERTIES
    }
}
static BUILD_BAZEL_REMOTE_EXECUTION_V2_NODEPROPERTY: Shape = Shape {
    name: "build.bazel.remote.execution.v2.NodeProperty",
    size: size_of::<crate::generated::build::bazel::remote::execution::v2::NodeProperty>(),
    fields: &[(1, Cost::Text), (2, Cost::Text)],
};
impl Shaped for crate::generated::build::bazel::remote::execution::v2::NodeProperty {
    fn shape() -> &'static Shape {
        &BUILD_BAZEL_REMOTE_EXECUTION_V2_NODEPROPERTY
    }
}
static BUILD_BAZEL_REMOTE_EXECUTION_V2_OUTPUTDIRECTORY: Shape = Shape {
    name: "build.bazel.remote.execution.v2.OutputDirectory",
    size: size_of::<crate::generated::build::bazel::remote::execution::v2::OutputDirectory>(),
    fields: &[
        (1, Cost::Text),
        (3, Cost::Message(&BUILD_BAZEL_REMOTE_EXECUTION_V2_DIGEST)),
        (5, Cost::Message(&BUILD_BAZEL_REMOTE_EXECUTION_V2_DIGEST)),
    ],
};
impl Shaped for crate::generated::build::bazel::remote::execution::v2::OutputDirectory {
    fn shape() -> &'static Shape {
        &BUILD_BAZEL_REMOTE_EXECUTION_V2_OUTPUTDIRECTORY
    }
}
static BUILD_BAZEL_REMOTE_EXECUTION_V2_OUTPUTFILE: Shape = Shape {
    name: "build.bazel.remote.execution.v2.OutputFile",
    size: size_of::<crate::generated::build::bazel::remote::execution::v2::OutputFile>(),
    fields: &[
        (1, Cost::Text),
        (2, Cost::Message(&BUILD_BAZEL_REMOTE_EXECUTION_V2_DIGEST)),
        (7, Cost::Message(&BUILD_BAZEL_REMOTE_EXECUTION_V2_NODEPROPERTIES)),
    ],
};
impl Shaped for crate::generated::build::bazel::remote::execution::v2::OutputFile {
    fn shape() -> &'static Shape {
        &BUILD_BAZEL_REMOTE_EXECUTION_V2_OUTPUTFILE
    }
}
static BUILD_BAZEL_REMOTE_EXECUTION_V2_OUTPUTSYMLINK: Shape = Shape {
    name: "build.bazel.remote.execution.v2.OutputSymlink",
    size: size_of::<crate::generated::build::bazel::remote::execution::v2::OutputSymlink>(),
    fields: &[
        (1, Cost::Text),
        (2, Cost::Text),
        (4, Cost::Message(&BUILD_BAZEL_REMOTE_EXECUTION_V2_NODEPROPERTIES)),
    ],
};
impl Shaped for crate::generated::build::bazel::remote::execution::v2::OutputSymlink {
    fn shape() -> &'static Shape {
        &BUILD_BAZEL_REMOTE_EXECUTION_V2_OUTPUTSYMLINK
    }
}
static BUILD_BAZEL_REMOTE_EXECUTION_V2_PLATFORM: Shape = Shape {
    name: "build.bazel.remote.execution.v2.Platform",
    size: size_of::<crate::generated::build::bazel::remote::execution::v2::Platform>(),
    fields: &[(1, Cost::Messages(&BUILD_BAZEL_REMOTE_EXECUTION_V2_PLATFORM_PROPERTY))],
};
impl Shaped for crate::generated::build::bazel::remote::execution::v2::Platform {
    fn shape() -> &'static Shape {
        &BUILD_BAZEL_REMOTE_EXECUTION_V2_PLATFORM
    }
}
static BUILD_BAZEL_REMOTE_EXECUTION_V2_PLATFORM_PROPERTY: Shape = Shape {
    name: "build.bazel.remote.execution.v2.Platform.Property",
    size: size_of::<crate::generated::build::bazel::remote::execution::v2::platform::Property>(),
    fields: &[(1, Cost::Text), (2, Cost::Text)],
};
impl Shaped for crate::generated::build::bazel::remote::execution::v2::platform::Property {
    fn shape() -> &'static Shape {
        &BUILD_BAZEL_REMOTE_EXECUTION_V2_PLATFORM_PROPERTY
    }
}
static BUILD_BAZEL_REMOTE_EXECUTION_V2_PRIORITYCAPABILITIES: Shape = Shape {
    name: "build.bazel.remote.execution.v2.PriorityCapabilities",
    size: size_of::<crate::generated::build::bazel::remote::execution::v2::PriorityCapabilities>(),
    fields: &[(
        1,
        Cost::Messages(&BUILD_BAZEL_REMOTE_EXECUTION_V2_PRIORITYCAPABILITIES_PRIORITYRANGE),
    )],
};
impl Shaped for crate::generated::build::bazel::remote::execution::v2::PriorityCapabilities {
    fn shape() -> &'static Shape {
        &BUILD_BAZEL_REMOTE_EXECUTION_V2_PRIORITYCAPABILITIES
    }
}
static BUILD_BAZEL_REMOTE_EXECUTION_V2_PRIORITYCAPABILITIES_PRIORITYRANGE: Shape = Shape {
    name: "build.bazel.remote.execution.v2.PriorityCapabilities.PriorityRange",
    size: size_of::<
        crate::generated::build::bazel::remote::execution::v2::priority_capabilities::PriorityRange,
    >(),
    fields: &[],
};
impl Shaped
    for crate::generated::build::bazel::remote::execution::v2::priority_capabilities::PriorityRange
{
    fn shape() -> &'static Shape {
        &BUILD_BAZEL_REMOTE_EXECUTION_V2_PRIORITYCAPABILITIES_PRIORITYRANGE
    }
}
static BUILD_BAZEL_REMOTE_EXECUTION_V2_REPMAXCDCPARAMS: Shape = Shape {
    name: "build.bazel.remote.execution.v2.RepMaxCdcParams",
    size: size_of::<crate::generated::build::bazel::remote::execution::v2::RepMaxCdcParams>(),
    fields: &[],
};
impl Shaped for crate::generated::build::bazel::remote::execution::v2::RepMaxCdcParams {
    fn shape() -> &'static Shape {
        &BUILD_BAZEL_REMOTE_EXECUTION_V2_REPMAXCDCPARAMS
    }
}
static BUILD_BAZEL_REMOTE_EXECUTION_V2_REQUESTMETADATA: Shape = Shape {
    name: "build.bazel.remote.execution.v2.RequestMetadata",
    size: size_of::<crate::generated::build::bazel::remote::execution::v2::RequestMetadata>(),
    fields: &[
        (1, Cost::Message(&BUILD_BAZEL_REMOTE_EXECUTION_V2_TOOLDETAILS)),
        (2, Cost::Text),
        (3, Cost::Text),
        (4, Cost::Text),
        (5, Cost::Text),
        (6, Cost::Text),
        (7, Cost::Text),
    ],
};
impl Shaped for crate::generated::build::bazel::remote::execution::v2::RequestMetadata {
    fn shape() -> &'static Shape {
        &BUILD_BAZEL_REMOTE_EXECUTION_V2_REQUESTMETADATA
    }
}
static BUILD_BAZEL_REMOTE_EXECUTION_V2_RESULTSCACHEPOLICY: Shape = Shape {
    name: "build.bazel.remote.execution.v2.ResultsCachePolicy",
    size: size_of::<crate::generated::build::bazel::remote::execution::v2::ResultsCachePolicy>(),
    fields: &[],
};
impl Shaped for crate::generated::build::bazel::remote::execution::v2::ResultsCachePolicy {
    fn shape() -> &'static Shape {
        &BUILD_BAZEL_REMOTE_EXECUTION_V2_RESULTSCACHEPOLICY
    }
}
static BUILD_BAZEL_REMOTE_EXECUTION_V2_SERVERCAPABILITIES: Shape = Shape {
    name: "build.bazel.remote.execution.v2.ServerCapabilities",
    size: size_of::<crate::generated::build::bazel::remote::execution::v2::ServerCapabilities>(),
    fields: &[
        (1, Cost::Message(&BUILD_BAZEL_REMOTE_EXECUTION_V2_CACHECAPABILITIES)),
        (2, Cost::Message(&BUILD_BAZEL_REMOTE_EXECUTION_V2_EXECUTIONCAPABILITIES)),
        (3, Cost::Message(&BUILD_BAZEL_SEMVER_SEMVER)),
        (4, Cost::Message(&BUILD_BAZEL_SEMVER_SEMVER)),
        (5, Cost::Message(&BUILD_BAZEL_SEMVER_SEMVER)),
    ],
};
impl Shaped for crate::generated::build::bazel::remote::execution::v2::ServerCapabilities {
    fn shape() -> &'static Shape {
        &BUILD_BAZEL_REMOTE_EXECUTION_V2_SERVERCAPABILITIES
    }
}
static BUILD_BAZEL_REMOTE_EXECUTION_V2_SPLICEBLOBREQUEST: Shape = Shape {
    name: "build.bazel.remote.execution.v2.SpliceBlobRequest",
    size: size_of::<crate::generated::build::bazel::remote::execution::v2::SpliceBlobRequest>(),
    fields: &[
        (1, Cost::Text),
        (2, Cost::Message(&BUILD_BAZEL_REMOTE_EXECUTION_V2_DIGEST)),
        (3, Cost::Messages(&BUILD_BAZEL_REMOTE_EXECUTION_V2_DIGEST)),
    ],
};
impl Shaped for crate::generated::build::bazel::remote::execution::v2::SpliceBlobRequest {
    fn shape() -> &'static Shape {
        &BUILD_BAZEL_REMOTE_EXECUTION_V2_SPLICEBLOBREQUEST
    }
}
static BUILD_BAZEL_REMOTE_EXECUTION_V2_SPLICEBLOBRESPONSE: Shape = Shape {
    name: "build.bazel.remote.execution.v2.SpliceBlobResponse",
    size: size_of::<crate::generated::build::bazel::remote::execution::v2::SpliceBlobResponse>(),
    fields: &[(1, Cost::Message(&BUILD_BAZEL_REMOTE_EXECUTION_V2_DIGEST))],
};
impl Shaped for crate::generated::build::bazel::remote::execution::v2::SpliceBlobResponse {
    fn shape() -> &'static Shape {
        &BUILD_BAZEL_REMOTE_EXECUTION_V2_SPLICEBLOBRESPONSE
    }
}
static BUILD_BAZEL_REMOTE_EXECUTION_V2_SPLITBLOBREQUEST: Shape = Shape {
    name: "build.bazel.remote.execution.v2.SplitBlobRequest",
    size: size_of::<crate::generated::build::bazel::remote::execution::v2::SplitBlobRequest>(),
    fields: &[(1, Cost::Text), (2, Cost::Message(&BUILD_BAZEL_REMOTE_EXECUTION_V2_DIGEST))],
};
impl Shaped for crate::generated::build::bazel::remote::execution::v2::SplitBlobRequest {
    fn shape() -> &'static Shape {
        &BUILD_BAZEL_REMOTE_EXECUTION_V2_SPLITBLOBREQUEST
    }
}
static BUILD_BAZEL_REMOTE_EXECUTION_V2_SPLITBLOBRESPONSE: Shape = Shape {
    name: "build.bazel.remote.execution.v2.SplitBlobResponse",
    size: size_of::<crate::generated::build::bazel::remote::execution::v2::SplitBlobResponse>(),
    fields: &[(1, Cost::Messages(&BUILD_BAZEL_REMOTE_EXECUTION_V2_DIGEST))],
};
impl Shaped for crate::generated::build::bazel::remote::execution::v2::SplitBlobResponse {
    fn shape() -> &'static Shape {
        &BUILD_BAZEL_REMOTE_EXECUTION_V2_SPLITBLOBRESPONSE
    }
}
static BUILD_BAZEL_REMOTE_EXECUTION_V2_SYMLINKABSOLUTEPATHSTRATEGY: Shape = Shape {
    name: "build.bazel.remote.execution.v2.SymlinkAbsolutePathStrategy",
    size: size_of::<
        crate::generated::build::bazel::remote::execution::v2::SymlinkAbsolutePathStrategy,
    >(),
    fields: &[],
};
impl Shaped for crate::generated::build::bazel::remote::execution::v2::SymlinkAbsolutePathStrategy {
    fn shape() -> &'static Shape {
        &BUILD_BAZEL_REMOTE_EXECUTION_V2_SYMLINKABSOLUTEPATHSTRATEGY
    }
}
static BUILD_BAZEL_REMOTE_EXECUTION_V2_SYMLINKNODE: Shape = Shape {
    name: "build.bazel.remote.execution.v2.SymlinkNode",
    size: size_of::<crate::generated::build::bazel::remote::execution::v2::SymlinkNode>(),
    fields: &[
        (1, Cost::Text),
        (2, Cost::Text),
        (4, Cost::Message(&BUILD_BAZEL_REMOTE_EXECUTION_V2_NODEPROPERTIES)),
    ],
};
impl Shaped for crate::generated::build::bazel::remote::execution::v2::SymlinkNode {
    fn shape() -> &'static Shape {
        &BUILD_BAZEL_REMOTE_EXECUTION_V2_SYMLINKNODE
    }
}
static BUILD_BAZEL_REMOTE_EXECUTION_V2_TOOLDETAILS: Shape = Shape {
    name: "build.bazel.remote.execution.v2.ToolDetails",
    size: size_of::<crate::generated::build::bazel::remote::execution::v2::ToolDetails>(),
    fields: &[(1, Cost::Text), (2, Cost::Text)],
};
impl Shaped for crate::generated::build::bazel::remote::execution::v2::ToolDetails {
    fn shape() -> &'static Shape {
        &BUILD_BAZEL_REMOTE_EXECUTION_V2_TOOLDETAILS
    }
}
static BUILD_BAZEL_REMOTE_EXECUTION_V2_TREE: Shape = Shape {
    name: "build.bazel.remote.execution.v2.Tree",
    size: size_of::<crate::generated::build::bazel::remote::execution::v2::Tree>(),
    fields: &[
        (1, Cost::Message(&BUILD_BAZEL_REMOTE_EXECUTION_V2_DIRECTORY)),
        (2, Cost::Messages(&BUILD_BAZEL_REMOTE_EXECUTION_V2_DIRECTORY)),
    ],
};
impl Shaped for crate::generated::build::bazel::remote::execution::v2::Tree {
    fn shape() -> &'static Shape {
        &BUILD_BAZEL_REMOTE_EXECUTION_V2_TREE
    }
}
static BUILD_BAZEL_REMOTE_EXECUTION_V2_UPDATEACTIONRESULTREQUEST: Shape = Shape {
    name: "build.bazel.remote.execution.v2.UpdateActionResultRequest",
    size: size_of::<crate::generated::build::bazel::remote::execution::v2::UpdateActionResultRequest>(
    ),
    fields: &[
        (1, Cost::Text),
        (2, Cost::Message(&BUILD_BAZEL_REMOTE_EXECUTION_V2_DIGEST)),
        (3, Cost::Message(&BUILD_BAZEL_REMOTE_EXECUTION_V2_ACTIONRESULT)),
        (4, Cost::Message(&BUILD_BAZEL_REMOTE_EXECUTION_V2_RESULTSCACHEPOLICY)),
    ],
};
impl Shaped for crate::generated::build::bazel::remote::execution::v2::UpdateActionResultRequest {
    fn shape() -> &'static Shape {
        &BUILD_BAZEL_REMOTE_EXECUTION_V2_UPDATEACTIONRESULTREQUEST
    }
}
static BUILD_BAZEL_REMOTE_EXECUTION_V2_WAITEXECUTIONREQUEST: Shape = Shape {
    name: "build.bazel.remote.execution.v2.WaitExecutionRequest",
    size: size_of::<crate::generated::build::bazel::remote::execution::v2::WaitExecutionRequest>(),
    fields: &[(1, Cost::Text)],
};
impl Shaped for crate::generated::build::bazel::remote::execution::v2::WaitExecutionRequest {
    fn shape() -> &'static Shape {
        &BUILD_BAZEL_REMOTE_EXECUTION_V2_WAITEXECUTIONREQUEST
    }
}
static BUILD_BAZEL_SEMVER_SEMVER: Shape = Shape {
    name: "build.bazel.semver.SemVer",
    size: size_of::<crate::generated::build::bazel::semver::SemVer>(),
    fields: &[(4, Cost::Text)],
};
impl Shaped for crate::generated::build::bazel::semver::SemVer {
    fn shape() -> &'static Shape {
        &BUILD_BAZEL_SEMVER_SEMVER
    }
}
static GOOGLE_BYTESTREAM_QUERYWRITESTATUSREQUEST: Shape = Shape {
    name: "google.bytestream.QueryWriteStatusRequest",
    size: size_of::<crate::generated::google::bytestream::QueryWriteStatusRequest>(),
    fields: &[(1, Cost::Text)],
};
impl Shaped for crate::generated::google::bytestream::QueryWriteStatusRequest {
    fn shape() -> &'static Shape {
        &GOOGLE_BYTESTREAM_QUERYWRITESTATUSREQUEST
    }
}
static GOOGLE_BYTESTREAM_QUERYWRITESTATUSRESPONSE: Shape = Shape {
    name: "google.bytestream.QueryWriteStatusResponse",
    size: size_of::<crate::generated::google::bytestream::QueryWriteStatusResponse>(),
    fields: &[],
};
impl Shaped for crate::generated::google::bytestream::QueryWriteStatusResponse {
    fn shape() -> &'static Shape {
        &GOOGLE_BYTESTREAM_QUERYWRITESTATUSRESPONSE
    }
}
static GOOGLE_BYTESTREAM_READREQUEST: Shape = Shape {
    name: "google.bytestream.ReadRequest",
    size: size_of::<crate::generated::google::bytestream::ReadRequest>(),
    fields: &[(1, Cost::Text)],
};
impl Shaped for crate::generated::google::bytestream::ReadRequest {
    fn shape() -> &'static Shape {
        &GOOGLE_BYTESTREAM_READREQUEST
    }
}
static GOOGLE_BYTESTREAM_READRESPONSE: Shape = Shape {
    name: "google.bytestream.ReadResponse",
    size: size_of::<crate::generated::google::bytestream::ReadResponse>(),
    fields: &[],
};
impl Shaped for crate::generated::google::bytestream::ReadResponse {
    fn shape() -> &'static Shape {
        &GOOGLE_BYTESTREAM_READRESPONSE
    }
}
static GOOGLE_BYTESTREAM_WRITEREQUEST: Shape = Shape {
    name: "google.bytestream.WriteRequest",
    size: size_of::<crate::generated::google::bytestream::WriteRequest>(),
    fields: &[(1, Cost::Text)],
};
impl Shaped for crate::generated::google::bytestream::WriteRequest {
    fn shape() -> &'static Shape {
        &GOOGLE_BYTESTREAM_WRITEREQUEST
    }
}
static GOOGLE_BYTESTREAM_WRITERESPONSE: Shape = Shape {
    name: "google.bytestream.WriteResponse",
    size: size_of::<crate::generated::google::bytestream::WriteResponse>(),
    fields: &[],
};
impl Shaped for crate::generated::google::bytestream::WriteResponse {
    fn shape() -> &'static Shape {
        &GOOGLE_BYTESTREAM_WRITERESPONSE
    }
}
static GOOGLE_LONGRUNNING_CANCELOPERATIONREQUEST: Shape = Shape {
    name: "google.longrunning.CancelOperationRequest",
    size: size_of::<crate::generated::google::longrunning::CancelOperationRequest>(),
    fields: &[(1, Cost::Text)],
};
impl Shaped for crate::generated::google::longrunning::CancelOperationRequest {
    fn shape() -> &'static Shape {
        &GOOGLE_LONGRUNNING_CANCELOPERATIONREQUEST
    }
}
static GOOGLE_LONGRUNNING_DELETEOPERATIONREQUEST: Shape = Shape {
    name: "google.longrunning.DeleteOperationRequest",
    size: size_of::<crate::generated::google::longrunning::DeleteOperationRequest>(),
    fields: &[(1, Cost::Text)],
};
impl Shaped for crate::generated::google::longrunning::DeleteOperationRequest {
    fn shape() -> &'static Shape {
        &GOOGLE_LONGRUNNING_DELETEOPERATIONREQUEST
    }
}
static GOOGLE_LONGRUNNING_GETOPERATIONREQUEST: Shape = Shape {
    name: "google.longrunning.GetOperationRequest",
    size: size_of::<crate::generated::google::longrunning::GetOperationRequest>(),
    fields: &[(1, Cost::Text)],
};
impl Shaped for crate::generated::google::longrunning::GetOperationRequest {
    fn shape() -> &'static Shape {
        &GOOGLE_LONGRUNNING_GETOPERATIONREQUEST
    }
}
static GOOGLE_LONGRUNNING_LISTOPERATIONSREQUEST: Shape = Shape {
    name: "google.longrunning.ListOperationsRequest",
    size: size_of::<crate::generated::google::longrunning::ListOperationsRequest>(),
    fields: &[(1, Cost::Text), (3, Cost::Text), (4, Cost::Text)],
};
impl Shaped for crate::generated::google::longrunning::ListOperationsRequest {
    fn shape() -> &'static Shape {
        &GOOGLE_LONGRUNNING_LISTOPERATIONSREQUEST
    }
}
static GOOGLE_LONGRUNNING_LISTOPERATIONSRESPONSE: Shape = Shape {
    name: "google.longrunning.ListOperationsResponse",
    size: size_of::<crate::generated::google::longrunning::ListOperationsResponse>(),
    fields: &[(1, Cost::Messages(&GOOGLE_LONGRUNNING_OPERATION)), (2, Cost::Text)],
};
impl Shaped for crate::generated::google::longrunning::ListOperationsResponse {
    fn shape() -> &'static Shape {
        &GOOGLE_LONGRUNNING_LISTOPERATIONSRESPONSE
    }
}
static GOOGLE_LONGRUNNING_OPERATION: Shape = Shape {
    name: "google.longrunning.Operation",
    size: size_of::<crate::generated::google::longrunning::Operation>(),
    fields: &[
        (1, Cost::Text),
        (2, Cost::Message(&GOOGLE_PROTOBUF_ANY)),
        (4, Cost::Message(&GOOGLE_RPC_STATUS)),
        (5, Cost::Message(&GOOGLE_PROTOBUF_ANY)),
    ],
};
impl Shaped for crate::generated::google::longrunning::Operation {
    fn shape() -> &'static Shape {
        &GOOGLE_LONGRUNNING_OPERATION
    }
}
static GOOGLE_LONGRUNNING_WAITOPERATIONREQUEST: Shape = Shape {
    name: "google.longrunning.WaitOperationRequest",
    size: size_of::<crate::generated::google::longrunning::WaitOperationRequest>(),
    fields: &[(1, Cost::Text), (2, Cost::Message(&GOOGLE_PROTOBUF_DURATION))],
};
impl Shaped for crate::generated::google::longrunning::WaitOperationRequest {
    fn shape() -> &'static Shape {
        &GOOGLE_LONGRUNNING_WAITOPERATIONREQUEST
    }
}
static GOOGLE_PROTOBUF_ANY: Shape = Shape {
    name: "google.protobuf.Any",
    size: size_of::<prost_types::Any>(),
    fields: &[(1, Cost::Text), (2, Cost::Text)],
};
impl Shaped for prost_types::Any {
    fn shape() -> &'static Shape {
        &GOOGLE_PROTOBUF_ANY
    }
}
static GOOGLE_PROTOBUF_DURATION: Shape = Shape {
    name: "google.protobuf.Duration",
    size: size_of::<prost_types::Duration>(),
    fields: &[],
};
impl Shaped for prost_types::Duration {
    fn shape() -> &'static Shape {
        &GOOGLE_PROTOBUF_DURATION
    }
}
static GOOGLE_PROTOBUF_TIMESTAMP: Shape = Shape {
    name: "google.protobuf.Timestamp",
    size: size_of::<prost_types::Timestamp>(),
    fields: &[],
};
impl Shaped for prost_types::Timestamp {
    fn shape() -> &'static Shape {
        &GOOGLE_PROTOBUF_TIMESTAMP
    }
}
static GOOGLE_RPC_BADREQUEST: Shape = Shape {
    name: "google.rpc.BadRequest",
    size: size_of::<crate::generated::google::rpc::BadRequest>(),
    fields: &[(1, Cost::Messages(&GOOGLE_RPC_BADREQUEST_FIELDVIOLATION))],
};
impl Shaped for crate::generated::google::rpc::BadRequest {
    fn shape() -> &'static Shape {
        &GOOGLE_RPC_BADREQUEST
    }
}
static GOOGLE_RPC_BADREQUEST_FIELDVIOLATION: Shape = Shape {
    name: "google.rpc.BadRequest.FieldViolation",
    size: size_of::<crate::generated::google::rpc::bad_request::FieldViolation>(),
    fields: &[(1, Cost::Text), (2, Cost::Text)],
};
impl Shaped for crate::generated::google::rpc::bad_request::FieldViolation {
    fn shape() -> &'static Shape {
        &GOOGLE_RPC_BADREQUEST_FIELDVIOLATION
    }
}
static GOOGLE_RPC_DEBUGINFO: Shape = Shape {
    name: "google.rpc.DebugInfo",
    size: size_of::<crate::generated::google::rpc::DebugInfo>(),
    fields: &[(1, Cost::Texts), (2, Cost::Text)],
};
impl Shaped for crate::generated::google::rpc::DebugInfo {
    fn shape() -> &'static Shape {
        &GOOGLE_RPC_DEBUGINFO
    }
}
static GOOGLE_RPC_ERRORINFO: Shape = Shape {
    name: "google.rpc.ErrorInfo",
    size: size_of::<crate::generated::google::rpc::ErrorInfo>(),
    fields: &[
        (1, Cost::Text),
        (2, Cost::Text),
        (3, Cost::Messages(&GOOGLE_RPC_ERRORINFO_METADATAENTRY)),
    ],
};
impl Shaped for crate::generated::google::rpc::ErrorInfo {
    fn shape() -> &'static Shape {
        &GOOGLE_RPC_ERRORINFO
    }
}
static GOOGLE_RPC_ERRORINFO_METADATAENTRY: Shape = Shape {
    name: "google.rpc.ErrorInfo.MetadataEntry",
    size: size_of::<[String; 6]>(),
    fields: &[(1, Cost::Text), (2, Cost::Text)],
};
static GOOGLE_RPC_PRECONDITIONFAILURE: Shape = Shape {
    name: "google.rpc.PreconditionFailure",
    size: size_of::<crate::generated::google::rpc::PreconditionFailure>(),
    fields: &[(1, Cost::Messages(&GOOGLE_RPC_PRECONDITIONFAILURE_VIOLATION))],
};
impl Shaped for crate::generated::google::rpc::PreconditionFailure {
    fn shape() -> &'static Shape {
        &GOOGLE_RPC_PRECONDITIONFAILURE
    }
}
static GOOGLE_RPC_PRECONDITIONFAILURE_VIOLATION: Shape = Shape {
    name: "google.rpc.PreconditionFailure.Violation",
    size: size_of::<crate::generated::google::rpc::precondition_failure::Violation>(),
    fields: &[(1, Cost::Text), (2, Cost::Text), (3, Cost::Text)],
};
impl Shaped for crate::generated::google::rpc::precondition_failure::Violation {
    fn shape() -> &'static Shape {
        &GOOGLE_RPC_PRECONDITIONFAILURE_VIOLATION
    }
}
static GOOGLE_RPC_QUOTAFAILURE: Shape = Shape {
    name: "google.rpc.QuotaFailure",
    size: size_of::<crate::generated::google::rpc::QuotaFailure>(),
    fields: &[(1, Cost::Messages(&GOOGLE_RPC_QUOTAFAILURE_VIOLATION))],
};
impl Shaped for crate::generated::google::rpc::QuotaFailure {
    fn shape() -> &'static Shape {
        &GOOGLE_RPC_QUOTAFAILURE
    }
}
static GOOGLE_RPC_QUOTAFAILURE_VIOLATION: Shape = Shape {
    name: "google.rpc.QuotaFailure.Violation",
    size: size_of::<crate::generated::google::rpc::quota_failure::Violation>(),
    fields: &[(1, Cost::Text), (2, Cost::Text)],
};
impl Shaped for crate::generated::google::rpc::quota_failure::Violation {
    fn shape() -> &'static Shape {
        &GOOGLE_RPC_QUOTAFAILURE_VIOLATION
    }
}
static GOOGLE_RPC_RETRYINFO: Shape = Shape {
    name: "google.rpc.RetryInfo",
    size: size_of::<crate::generated::google::rpc::RetryInfo>(),
    fields: &[(1, Cost::Message(&GOOGLE_PROTOBUF_DURATION))],
};
impl Shaped for crate::generated::google::rpc::RetryInfo {
    fn shape() -> &'static Shape {
        &GOOGLE_RPC_RETRYINFO
    }
}
static GOOGLE_RPC_STATUS: Shape = Shape {
    name: "google.rpc.Status",
    size: size_of::<crate::generated::google::rpc::Status>(),
    fields: &[(2, Cost::Text), (3, Cost::Messages(&GOOGLE_PROTOBUF_ANY))],
};
impl Shaped for crate::generated::google::rpc::Status {
    fn shape() -> &'static Shape {
        &GOOGLE_RPC_STATUS
    }
}
static HANDS_V1_ACTIONACCEPTED: Shape = Shape {
    name: "hands.v1.ActionAccepted",
    size: size_of::<crate::generated::hands::v1::ActionAccepted>(),
    fields: &[(2, Cost::Text)],
};
impl Shaped for crate::generated::hands::v1::ActionAccepted {
    fn shape() -> &'static Shape {
        &HANDS_V1_ACTIONACCEPTED
    }
}
static HANDS_V1_ACTIONENDED: Shape = Shape {
    name: "hands.v1.ActionEnded",
    size: size_of::<crate::generated::hands::v1::ActionEnded>(),
    fields: &[
        (2, Cost::Text),
        (4, Cost::Message(&BUILD_BAZEL_REMOTE_EXECUTION_V2_EXECUTERESPONSE)),
    ],
};
impl Shaped for crate::generated::hands::v1::ActionEnded {
    fn shape() -> &'static Shape {
        &HANDS_V1_ACTIONENDED
    }
}
static HANDS_V1_ACTIONEVENTS: Shape = Shape {
    name: "hands.v1.ActionEvents",
    size: size_of::<crate::generated::hands::v1::ActionEvents>(),
    fields: &[
        (1, Cost::Messages(&HANDS_V1_ACTIONACCEPTED)),
        (2, Cost::Messages(&HANDS_V1_ACTIONSTATE)),
        (3, Cost::Messages(&HANDS_V1_ACTIONENDED)),
        (4, Cost::Numbers),
        (6, Cost::Text),
    ],
};
impl Shaped for crate::generated::hands::v1::ActionEvents {
    fn shape() -> &'static Shape {
        &HANDS_V1_ACTIONEVENTS
    }
}
static HANDS_V1_ACTIONSTATE: Shape = Shape {
    name: "hands.v1.ActionState",
    size: size_of::<crate::generated::hands::v1::ActionState>(),
    fields: &[(3, Cost::Text), (4, Cost::Text), (6, Cost::Messages(&HANDS_V1_LOSTATTEMPT))],
};
impl Shaped for crate::generated::hands::v1::ActionState {
    fn shape() -> &'static Shape {
        &HANDS_V1_ACTIONSTATE
    }
}
static HANDS_V1_ACTIONSREPLY: Shape = Shape {
    name: "hands.v1.ActionsReply",
    size: size_of::<crate::generated::hands::v1::ActionsReply>(),
    fields: &[
        (1, Cost::Message(&HANDS_V1_SESSIONWELCOME)),
        (2, Cost::Message(&HANDS_V1_ACTIONEVENTS)),
    ],
};
impl Shaped for crate::generated::hands::v1::ActionsReply {
    fn shape() -> &'static Shape {
        &HANDS_V1_ACTIONSREPLY
    }
}
static HANDS_V1_ACTIONSREQUEST: Shape = Shape {
    name: "hands.v1.ActionsRequest",
    size: size_of::<crate::generated::hands::v1::ActionsRequest>(),
    fields: &[
        (1, Cost::Message(&HANDS_V1_OPENSESSION)),
        (2, Cost::Message(&HANDS_V1_SUBMISSIONS)),
        (3, Cost::Message(&HANDS_V1_CANCELACTIONS)),
    ],
};
impl Shaped for crate::generated::hands::v1::ActionsRequest {
    fn shape() -> &'static Shape {
        &HANDS_V1_ACTIONSREQUEST
    }
}
static HANDS_V1_ASSET: Shape = Shape {
    name: "hands.v1.Asset",
    size: size_of::<crate::generated::hands::v1::Asset>(),
    fields: &[
        (1, Cost::Message(&BUILD_BAZEL_REMOTE_EXECUTION_V2_DIGEST)),
        (2, Cost::Message(&GOOGLE_PROTOBUF_TIMESTAMP)),
        (3, Cost::Message(&GOOGLE_PROTOBUF_TIMESTAMP)),
    ],
};
impl Shaped for crate::generated::hands::v1::Asset {
    fn shape() -> &'static Shape {
        &HANDS_V1_ASSET
    }
}
static HANDS_V1_ATTACHMESSAGE: Shape = Shape {
    name: "hands.v1.AttachMessage",
    size: size_of::<crate::generated::hands::v1::AttachMessage>(),
    fields: &[(1, Cost::Text), (4, Cost::Message(&HANDS_V1_TERMINAL))],
};
impl Shaped for crate::generated::hands::v1::AttachMessage {
    fn shape() -> &'static Shape {
        &HANDS_V1_ATTACHMESSAGE
    }
}
static HANDS_V1_ATTACHREPLY: Shape = Shape {
    name: "hands.v1.AttachReply",
    size: size_of::<crate::generated::hands::v1::AttachReply>(),
    fields: &[],
};
impl Shaped for crate::generated::hands::v1::AttachReply {
    fn shape() -> &'static Shape {
        &HANDS_V1_ATTACHREPLY
    }
}
static HANDS_V1_ATTEMPTID: Shape = Shape {
    name: "hands.v1.AttemptId",
    size: size_of::<crate::generated::hands::v1::AttemptId>(),
    fields: &[(1, Cost::Text)],
};
impl Shaped for crate::generated::hands::v1::AttemptId {
    fn shape() -> &'static Shape {
        &HANDS_V1_ATTEMPTID
    }
}
static HANDS_V1_CANCEL: Shape = Shape {
    name: "hands.v1.Cancel",
    size: size_of::<crate::generated::hands::v1::Cancel>(),
    fields: &[(1, Cost::Message(&HANDS_V1_ATTEMPTID)), (2, Cost::Text)],
};
impl Shaped for crate::generated::hands::v1::Cancel {
    fn shape() -> &'static Shape {
        &HANDS_V1_CANCEL
    }
}
static HANDS_V1_CANCELACTIONS: Shape = Shape {
    name: "hands.v1.CancelActions",
    size: size_of::<crate::generated::hands::v1::CancelActions>(),
    fields: &[(1, Cost::Numbers)],
};
impl Shaped for crate::generated::hands::v1::CancelActions {
    fn shape() -> &'static Shape {
        &HANDS_V1_CANCELACTIONS
    }
}
static HANDS_V1_CLOSEOUTPUTREPLY: Shape = Shape {
    name: "hands.v1.CloseOutputReply",
    size: size_of::<crate::generated::hands::v1::CloseOutputReply>(),
    fields: &[],
};
impl Shaped for crate::generated::hands::v1::CloseOutputReply {
    fn shape() -> &'static Shape {
        &HANDS_V1_CLOSEOUTPUTREPLY
    }
}
static HANDS_V1_CLOSEOUTPUTREQUEST: Shape = Shape {
    name: "hands.v1.CloseOutputRequest",
    size: size_of::<crate::generated::hands::v1::CloseOutputRequest>(),
    fields: &[(1, Cost::Text)],
};
impl Shaped for crate::generated::hands::v1::CloseOutputRequest {
    fn shape() -> &'static Shape {
        &HANDS_V1_CLOSEOUTPUTREQUEST
    }
}
static HANDS_V1_COLLECTSTOREREQUEST: Shape = Shape {
    name: "hands.v1.CollectStoreRequest",
    size: size_of::<crate::generated::hands::v1::CollectStoreRequest>(),
    fields: &[],
};
impl Shaped for crate::generated::hands::v1::CollectStoreRequest {
    fn shape() -> &'static Shape {
        &HANDS_V1_COLLECTSTOREREQUEST
    }
}
static HANDS_V1_COUNTER: Shape = Shape {
    name: "hands.v1.Counter",
    size: size_of::<crate::generated::hands::v1::Counter>(),
    fields: &[(1, Cost::Text)],
};
impl Shaped for crate::generated::hands::v1::Counter {
    fn shape() -> &'static Shape {
        &HANDS_V1_COUNTER
    }
}
static HANDS_V1_CREATETOKENREPLY: Shape = Shape {
    name: "hands.v1.CreateTokenReply",
    size: size_of::<crate::generated::hands::v1::CreateTokenReply>(),
    fields: &[(1, Cost::Message(&HANDS_V1_TOKEN)), (2, Cost::Text)],
};
impl Shaped for crate::generated::hands::v1::CreateTokenReply {
    fn shape() -> &'static Shape {
        &HANDS_V1_CREATETOKENREPLY
    }
}
static HANDS_V1_CREATETOKENREQUEST: Shape = Shape {
    name: "hands.v1.CreateTokenRequest",
    size: size_of::<crate::generated::hands::v1::CreateTokenRequest>(),
    fields: &[(1, Cost::Texts)],
};
impl Shaped for crate::generated::hands::v1::CreateTokenRequest {
    fn shape() -> &'static Shape {
        &HANDS_V1_CREATETOKENREQUEST
    }
}
static HANDS_V1_DOUBTED: Shape = Shape {
    name: "hands.v1.Doubted",
    size: size_of::<crate::generated::hands::v1::Doubted>(),
    fields: &[(1, Cost::Text), (2, Cost::Messages(&HANDS_V1_DOUBTEDRESULT))],
};
impl Shaped for crate::generated::hands::v1::Doubted {
    fn shape() -> &'static Shape {
        &HANDS_V1_DOUBTED
    }
}
static HANDS_V1_DOUBTEDACK: Shape = Shape {
    name: "hands.v1.DoubtedAck",
    size: size_of::<crate::generated::hands::v1::DoubtedAck>(),
    fields: &[],
};
impl Shaped for crate::generated::hands::v1::DoubtedAck {
    fn shape() -> &'static Shape {
        &HANDS_V1_DOUBTEDACK
    }
}
static HANDS_V1_DOUBTEDRESULT: Shape = Shape {
    name: "hands.v1.DoubtedResult",
    size: size_of::<crate::generated::hands::v1::DoubtedResult>(),
    fields: &[(1, Cost::Text), (2, Cost::Text), (3, Cost::Text)],
};
impl Shaped for crate::generated::hands::v1::DoubtedResult {
    fn shape() -> &'static Shape {
        &HANDS_V1_DOUBTEDRESULT
    }
}
static HANDS_V1_DRAIN: Shape = Shape {
    name: "hands.v1.Drain",
    size: size_of::<crate::generated::hands::v1::Drain>(),
    fields: &[(1, Cost::Text)],
};
impl Shaped for crate::generated::hands::v1::Drain {
    fn shape() -> &'static Shape {
        &HANDS_V1_DRAIN
    }
}
static HANDS_V1_DRAINWORKERREPLY: Shape = Shape {
    name: "hands.v1.DrainWorkerReply",
    size: size_of::<crate::generated::hands::v1::DrainWorkerReply>(),
    fields: &[],
};
impl Shaped for crate::generated::hands::v1::DrainWorkerReply {
    fn shape() -> &'static Shape {
        &HANDS_V1_DRAINWORKERREPLY
    }
}
static HANDS_V1_DRAINWORKERREQUEST: Shape = Shape {
    name: "hands.v1.DrainWorkerRequest",
    size: size_of::<crate::generated::hands::v1::DrainWorkerRequest>(),
    fields: &[(1, Cost::Text)],
};
impl Shaped for crate::generated::hands::v1::DrainWorkerRequest {
    fn shape() -> &'static Shape {
        &HANDS_V1_DRAINWORKERREQUEST
    }
}
static HANDS_V1_DRAINING: Shape = Shape {
    name: "hands.v1.Draining",
    size: size_of::<crate::generated::hands::v1::Draining>(),
    fields: &[],
};
impl Shaped for crate::generated::hands::v1::Draining {
    fn shape() -> &'static Shape {
        &HANDS_V1_DRAINING
    }
}
static HANDS_V1_ENGINEHEADER: Shape = Shape {
    name: "hands.v1.EngineHeader",
    size: size_of::<crate::generated::hands::v1::EngineHeader>(),
    fields: &[(1, Cost::Text), (2, Cost::Text)],
};
impl Shaped for crate::generated::hands::v1::EngineHeader {
    fn shape() -> &'static Shape {
        &HANDS_V1_ENGINEHEADER
    }
}
static HANDS_V1_ENGINETARGET: Shape = Shape {
    name: "hands.v1.EngineTarget",
    size: size_of::<crate::generated::hands::v1::EngineTarget>(),
    fields: &[
        (1, Cost::Text),
        (2, Cost::Messages(&HANDS_V1_ENGINEHEADER)),
        (3, Cost::Text),
        (4, Cost::Text),
        (5, Cost::Text),
    ],
};
impl Shaped for crate::generated::hands::v1::EngineTarget {
    fn shape() -> &'static Shape {
        &HANDS_V1_ENGINETARGET
    }
}
static HANDS_V1_ENROLREQUEST: Shape = Shape {
    name: "hands.v1.EnrolRequest",
    size: size_of::<crate::generated::hands::v1::EnrolRequest>(),
    fields: &[(3, Cost::Text), (4, Cost::Texts)],
};
impl Shaped for crate::generated::hands::v1::EnrolRequest {
    fn shape() -> &'static Shape {
        &HANDS_V1_ENROLREQUEST
    }
}
static HANDS_V1_EXECUTEOPTIONS: Shape = Shape {
    name: "hands.v1.ExecuteOptions",
    size: size_of::<crate::generated::hands::v1::ExecuteOptions>(),
    fields: &[(3, Cost::Message(&HANDS_V1_TERMINAL)), (6, Cost::Text)],
};
impl Shaped for crate::generated::hands::v1::ExecuteOptions {
    fn shape() -> &'static Shape {
        &HANDS_V1_EXECUTEOPTIONS
    }
}
static HANDS_V1_FEEDMESSAGE: Shape = Shape {
    name: "hands.v1.FeedMessage",
    size: size_of::<crate::generated::hands::v1::FeedMessage>(),
    fields: &[(1, Cost::Text), (2, Cost::Text)],
};
impl Shaped for crate::generated::hands::v1::FeedMessage {
    fn shape() -> &'static Shape {
        &HANDS_V1_FEEDMESSAGE
    }
}
static HANDS_V1_FEEDREPLY: Shape = Shape {
    name: "hands.v1.FeedReply",
    size: size_of::<crate::generated::hands::v1::FeedReply>(),
    fields: &[],
};
impl Shaped for crate::generated::hands::v1::FeedReply {
    fn shape() -> &'static Shape {
        &HANDS_V1_FEEDREPLY
    }
}
static HANDS_V1_FINISHED: Shape = Shape {
    name: "hands.v1.Finished",
    size: size_of::<crate::generated::hands::v1::Finished>(),
    fields: &[
        (1, Cost::Message(&HANDS_V1_ATTEMPTID)),
        (2, Cost::Message(&BUILD_BAZEL_REMOTE_EXECUTION_V2_ACTIONRESULT)),
        (3, Cost::Message(&GOOGLE_RPC_STATUS)),
        (4, Cost::Text),
    ],
};
impl Shaped for crate::generated::hands::v1::Finished {
    fn shape() -> &'static Shape {
        &HANDS_V1_FINISHED
    }
}
static HANDS_V1_GETREQUEST: Shape = Shape {
    name: "hands.v1.GetRequest",
    size: size_of::<crate::generated::hands::v1::GetRequest>(),
    fields: &[(1, Cost::Text)],
};
impl Shaped for crate::generated::hands::v1::GetRequest {
    fn shape() -> &'static Shape {
        &HANDS_V1_GETREQUEST
    }
}
static HANDS_V1_HANDBACK: Shape = Shape {
    name: "hands.v1.HandBack",
    size: size_of::<crate::generated::hands::v1::HandBack>(),
    fields: &[(1, Cost::Message(&HANDS_V1_ATTEMPTID)), (2, Cost::Text)],
};
impl Shaped for crate::generated::hands::v1::HandBack {
    fn shape() -> &'static Shape {
        &HANDS_V1_HANDBACK
    }
}
static HANDS_V1_HEARTBEAT: Shape = Shape {
    name: "hands.v1.Heartbeat",
    size: size_of::<crate::generated::hands::v1::Heartbeat>(),
    fields: &[],
};
impl Shaped for crate::generated::hands::v1::Heartbeat {
    fn shape() -> &'static Shape {
        &HANDS_V1_HEARTBEAT
    }
}
static HANDS_V1_HELLO: Shape = Shape {
    name: "hands.v1.Hello",
    size: size_of::<crate::generated::hands::v1::Hello>(),
    fields: &[
        (1, Cost::Message(&HANDS_V1_PROTOCOL)),
        (2, Cost::Text),
        (3, Cost::Text),
        (4, Cost::Messages(&HANDS_V1_PROPERTY)),
        (7, Cost::Messages(&HANDS_V1_COUNTER)),
        (10, Cost::Messages(&HANDS_V1_ATTEMPTID)),
        (15, Cost::Messages(&HANDS_V1_INPUTTAKEN)),
    ],
};
impl Shaped for crate::generated::hands::v1::Hello {
    fn shape() -> &'static Shape {
        &HANDS_V1_HELLO
    }
}
static HANDS_V1_HELLOREPLY: Shape = Shape {
    name: "hands.v1.HelloReply",
    size: size_of::<crate::generated::hands::v1::HelloReply>(),
    fields: &[
        (1, Cost::Message(&HANDS_V1_PROTOCOL)),
        (3, Cost::Message(&GOOGLE_PROTOBUF_TIMESTAMP)),
        (6, Cost::Text),
        (7, Cost::Text),
        (8, Cost::Text),
        (9, Cost::Text),
        (10, Cost::Text),
        (11, Cost::Text),
        (12, Cost::Texts),
    ],
};
impl Shaped for crate::generated::hands::v1::HelloReply {
    fn shape() -> &'static Shape {
        &HANDS_V1_HELLOREPLY
    }
}
static HANDS_V1_HELLOREQUEST: Shape = Shape {
    name: "hands.v1.HelloRequest",
    size: size_of::<crate::generated::hands::v1::HelloRequest>(),
    fields: &[(1, Cost::Message(&HANDS_V1_PROTOCOL))],
};
impl Shaped for crate::generated::hands::v1::HelloRequest {
    fn shape() -> &'static Shape {
        &HANDS_V1_HELLOREQUEST
    }
}
static HANDS_V1_HOLDS: Shape = Shape {
    name: "hands.v1.Holds",
    size: size_of::<crate::generated::hands::v1::Holds>(),
    fields: &[(1, Cost::Texts)],
};
impl Shaped for crate::generated::hands::v1::Holds {
    fn shape() -> &'static Shape {
        &HANDS_V1_HOLDS
    }
}
static HANDS_V1_HUBMESSAGE: Shape = Shape {
    name: "hands.v1.HubMessage",
    size: size_of::<crate::generated::hands::v1::HubMessage>(),
    fields: &[
        (1, Cost::Message(&HANDS_V1_WELCOME)),
        (2, Cost::Message(&HANDS_V1_LEASE)),
        (3, Cost::Message(&HANDS_V1_CANCEL)),
        (4, Cost::Message(&HANDS_V1_OUTPUTACK)),
        (5, Cost::Message(&HANDS_V1_RESULTACK)),
        (6, Cost::Message(&HANDS_V1_INPUT)),
        (7, Cost::Message(&HANDS_V1_DRAIN)),
        (8, Cost::Message(&HANDS_V1_REFUSED)),
        (9, Cost::Message(&HANDS_V1_RECALL)),
        (10, Cost::Message(&HANDS_V1_DOUBTEDACK)),
    ],
};
impl Shaped for crate::generated::hands::v1::HubMessage {
    fn shape() -> &'static Shape {
        &HANDS_V1_HUBMESSAGE
    }
}
static HANDS_V1_IMAGECONFIG: Shape = Shape {
    name: "hands.v1.ImageConfig",
    size: size_of::<crate::generated::hands::v1::ImageConfig>(),
    fields: &[
        (1, Cost::Texts),
        (2, Cost::Text),
        (3, Cost::Texts),
        (4, Cost::Texts),
        (5, Cost::Text),
    ],
};
impl Shaped for crate::generated::hands::v1::ImageConfig {
    fn shape() -> &'static Shape {
        &HANDS_V1_IMAGECONFIG
    }
}
static HANDS_V1_IMAGEREQUEST: Shape = Shape {
    name: "hands.v1.ImageRequest",
    size: size_of::<crate::generated::hands::v1::ImageRequest>(),
    fields: &[(3, Cost::Text), (4, Cost::Text), (5, Cost::Text), (6, Cost::Text)],
};
impl Shaped for crate::generated::hands::v1::ImageRequest {
    fn shape() -> &'static Shape {
        &HANDS_V1_IMAGEREQUEST
    }
}
static HANDS_V1_INFOREPLY: Shape = Shape {
    name: "hands.v1.InfoReply",
    size: size_of::<crate::generated::hands::v1::InfoReply>(),
    fields: &[
        (1, Cost::Message(&HANDS_V1_PROTOCOL)),
        (2, Cost::Text),
        (3, Cost::Message(&GOOGLE_PROTOBUF_TIMESTAMP)),
        (5, Cost::Texts),
    ],
};
impl Shaped for crate::generated::hands::v1::InfoReply {
    fn shape() -> &'static Shape {
        &HANDS_V1_INFOREPLY
    }
}
static HANDS_V1_INFOREQUEST: Shape = Shape {
    name: "hands.v1.InfoRequest",
    size: size_of::<crate::generated::hands::v1::InfoRequest>(),
    fields: &[(1, Cost::Messages(&HANDS_V1_PROPERTY))],
};
impl Shaped for crate::generated::hands::v1::InfoRequest {
    fn shape() -> &'static Shape {
        &HANDS_V1_INFOREQUEST
    }
}
static HANDS_V1_INPUT: Shape = Shape {
    name: "hands.v1.Input",
    size: size_of::<crate::generated::hands::v1::Input>(),
    fields: &[(1, Cost::Message(&HANDS_V1_ATTEMPTID)), (4, Cost::Message(&HANDS_V1_TERMINAL))],
};
impl Shaped for crate::generated::hands::v1::Input {
    fn shape() -> &'static Shape {
        &HANDS_V1_INPUT
    }
}
static HANDS_V1_INPUTTAKEN: Shape = Shape {
    name: "hands.v1.InputTaken",
    size: size_of::<crate::generated::hands::v1::InputTaken>(),
    fields: &[(1, Cost::Message(&HANDS_V1_ATTEMPTID))],
};
impl Shaped for crate::generated::hands::v1::InputTaken {
    fn shape() -> &'static Shape {
        &HANDS_V1_INPUTTAKEN
    }
}
static HANDS_V1_INVOCATION: Shape = Shape {
    name: "hands.v1.Invocation",
    size: size_of::<crate::generated::hands::v1::Invocation>(),
    fields: &[
        (1, Cost::Text),
        (2, Cost::Text),
        (8, Cost::Message(&GOOGLE_PROTOBUF_TIMESTAMP)),
        (9, Cost::Message(&GOOGLE_PROTOBUF_TIMESTAMP)),
    ],
};
impl Shaped for crate::generated::hands::v1::Invocation {
    fn shape() -> &'static Shape {
        &HANDS_V1_INVOCATION
    }
}
static HANDS_V1_JOB: Shape = Shape {
    name: "hands.v1.Job",
    size: size_of::<crate::generated::hands::v1::Job>(),
    fields: &[
        (1, Cost::Text),
        (2, Cost::Text),
        (3, Cost::Text),
        (4, Cost::Text),
        (6, Cost::Text),
        (7, Cost::Text),
        (9, Cost::Message(&GOOGLE_PROTOBUF_TIMESTAMP)),
        (10, Cost::Message(&GOOGLE_PROTOBUF_TIMESTAMP)),
        (11, Cost::Message(&GOOGLE_PROTOBUF_TIMESTAMP)),
        (12, Cost::Text),
        (13, Cost::Text),
        (14, Cost::Text),
        (15, Cost::Text),
        (19, Cost::Message(&GOOGLE_RPC_STATUS)),
        (20, Cost::Text),
        (21, Cost::Message(&HANDS_V1_USAGE)),
        (24, Cost::Messages(&HANDS_V1_LOSTATTEMPT)),
    ],
};
impl Shaped for crate::generated::hands::v1::Job {
    fn shape() -> &'static Shape {
        &HANDS_V1_JOB
    }
}
static HANDS_V1_LEASE: Shape = Shape {
    name: "hands.v1.Lease",
    size: size_of::<crate::generated::hands::v1::Lease>(),
    fields: &[
        (1, Cost::Message(&HANDS_V1_ATTEMPTID)),
        (2, Cost::Text),
        (4, Cost::Message(&BUILD_BAZEL_REMOTE_EXECUTION_V2_DIGEST)),
        (7, Cost::Message(&HANDS_V1_EXECUTEOPTIONS)),
        (8, Cost::Message(&GOOGLE_PROTOBUF_TIMESTAMP)),
        (9, Cost::Message(&BUILD_BAZEL_REMOTE_EXECUTION_V2_REQUESTMETADATA)),
        (10, Cost::Message(&HANDS_V1_TAKES)),
    ],
};
impl Shaped for crate::generated::hands::v1::Lease {
    fn shape() -> &'static Shape {
        &HANDS_V1_LEASE
    }
}
static HANDS_V1_LEFTOUT: Shape = Shape {
    name: "hands.v1.LeftOut",
    size: size_of::<crate::generated::hands::v1::LeftOut>(),
    fields: &[(1, Cost::Messages(&HANDS_V1_LEFTOUT_ENTRY))],
};
impl Shaped for crate::generated::hands::v1::LeftOut {
    fn shape() -> &'static Shape {
        &HANDS_V1_LEFTOUT
    }
}
static HANDS_V1_LEFTOUT_ENTRY: Shape = Shape {
    name: "hands.v1.LeftOut.Entry",
    size: size_of::<crate::generated::hands::v1::left_out::Entry>(),
    fields: &[(1, Cost::Text), (2, Cost::Text)],
};
impl Shaped for crate::generated::hands::v1::left_out::Entry {
    fn shape() -> &'static Shape {
        &HANDS_V1_LEFTOUT_ENTRY
    }
}
static HANDS_V1_LISTMEMBERSREPLY: Shape = Shape {
    name: "hands.v1.ListMembersReply",
    size: size_of::<crate::generated::hands::v1::ListMembersReply>(),
    fields: &[(1, Cost::Messages(&HANDS_V1_MEMBER)), (2, Cost::Text)],
};
impl Shaped for crate::generated::hands::v1::ListMembersReply {
    fn shape() -> &'static Shape {
        &HANDS_V1_LISTMEMBERSREPLY
    }
}
static HANDS_V1_LISTMEMBERSREQUEST: Shape = Shape {
    name: "hands.v1.ListMembersRequest",
    size: size_of::<crate::generated::hands::v1::ListMembersRequest>(),
    fields: &[(1, Cost::Text)],
};
impl Shaped for crate::generated::hands::v1::ListMembersRequest {
    fn shape() -> &'static Shape {
        &HANDS_V1_LISTMEMBERSREQUEST
    }
}
static HANDS_V1_LISTREPLY: Shape = Shape {
    name: "hands.v1.ListReply",
    size: size_of::<crate::generated::hands::v1::ListReply>(),
    fields: &[(1, Cost::Messages(&HANDS_V1_JOB)), (2, Cost::Text)],
};
impl Shaped for crate::generated::hands::v1::ListReply {
    fn shape() -> &'static Shape {
        &HANDS_V1_LISTREPLY
    }
}
static HANDS_V1_LISTREQUEST: Shape = Shape {
    name: "hands.v1.ListRequest",
    size: size_of::<crate::generated::hands::v1::ListRequest>(),
    fields: &[(3, Cost::Text), (4, Cost::Text)],
};
impl Shaped for crate::generated::hands::v1::ListRequest {
    fn shape() -> &'static Shape {
        &HANDS_V1_LISTREQUEST
    }
}
static HANDS_V1_LISTTOKENSREPLY: Shape = Shape {
    name: "hands.v1.ListTokensReply",
    size: size_of::<crate::generated::hands::v1::ListTokensReply>(),
    fields: &[(1, Cost::Messages(&HANDS_V1_TOKEN)), (2, Cost::Text)],
};
impl Shaped for crate::generated::hands::v1::ListTokensReply {
    fn shape() -> &'static Shape {
        &HANDS_V1_LISTTOKENSREPLY
    }
}
static HANDS_V1_LISTTOKENSREQUEST: Shape = Shape {
    name: "hands.v1.ListTokensRequest",
    size: size_of::<crate::generated::hands::v1::ListTokensRequest>(),
    fields: &[(1, Cost::Text)],
};
impl Shaped for crate::generated::hands::v1::ListTokensRequest {
    fn shape() -> &'static Shape {
        &HANDS_V1_LISTTOKENSREQUEST
    }
}
static HANDS_V1_LISTWORKERSREPLY: Shape = Shape {
    name: "hands.v1.ListWorkersReply",
    size: size_of::<crate::generated::hands::v1::ListWorkersReply>(),
    fields: &[(1, Cost::Messages(&HANDS_V1_WORKERINFO)), (2, Cost::Text)],
};
impl Shaped for crate::generated::hands::v1::ListWorkersReply {
    fn shape() -> &'static Shape {
        &HANDS_V1_LISTWORKERSREPLY
    }
}
static HANDS_V1_LISTWORKERSREQUEST: Shape = Shape {
    name: "hands.v1.ListWorkersRequest",
    size: size_of::<crate::generated::hands::v1::ListWorkersRequest>(),
    fields: &[(1, Cost::Text)],
};
impl Shaped for crate::generated::hands::v1::ListWorkersRequest {
    fn shape() -> &'static Shape {
        &HANDS_V1_LISTWORKERSREQUEST
    }
}
static HANDS_V1_LOSTATTEMPT: Shape = Shape {
    name: "hands.v1.LostAttempt",
    size: size_of::<crate::generated::hands::v1::LostAttempt>(),
    fields: &[(2, Cost::Text), (3, Cost::Text)],
};
impl Shaped for crate::generated::hands::v1::LostAttempt {
    fn shape() -> &'static Shape {
        &HANDS_V1_LOSTATTEMPT
    }
}
static HANDS_V1_LOSTATTEMPTS: Shape = Shape {
    name: "hands.v1.LostAttempts",
    size: size_of::<crate::generated::hands::v1::LostAttempts>(),
    fields: &[(1, Cost::Messages(&HANDS_V1_LOSTATTEMPT))],
};
impl Shaped for crate::generated::hands::v1::LostAttempts {
    fn shape() -> &'static Shape {
        &HANDS_V1_LOSTATTEMPTS
    }
}
static HANDS_V1_MADEBY: Shape = Shape {
    name: "hands.v1.MadeBy",
    size: size_of::<crate::generated::hands::v1::MadeBy>(),
    fields: &[(1, Cost::Text)],
};
impl Shaped for crate::generated::hands::v1::MadeBy {
    fn shape() -> &'static Shape {
        &HANDS_V1_MADEBY
    }
}
static HANDS_V1_MEMBER: Shape = Shape {
    name: "hands.v1.Member",
    size: size_of::<crate::generated::hands::v1::Member>(),
    fields: &[
        (1, Cost::Text),
        (2, Cost::Text),
        (3, Cost::Texts),
        (4, Cost::Text),
        (5, Cost::Message(&GOOGLE_PROTOBUF_TIMESTAMP)),
        (6, Cost::Message(&GOOGLE_PROTOBUF_TIMESTAMP)),
    ],
};
impl Shaped for crate::generated::hands::v1::Member {
    fn shape() -> &'static Shape {
        &HANDS_V1_MEMBER
    }
}
static HANDS_V1_MEMBERSHIP: Shape = Shape {
    name: "hands.v1.Membership",
    size: size_of::<crate::generated::hands::v1::Membership>(),
    fields: &[
        (1, Cost::Text),
        (2, Cost::Text),
        (3, Cost::Texts),
        (4, Cost::Blobs),
        (5, Cost::Text),
        (6, Cost::Texts),
        (7, Cost::Message(&GOOGLE_PROTOBUF_TIMESTAMP)),
        (8, Cost::Message(&GOOGLE_PROTOBUF_TIMESTAMP)),
        (9, Cost::Texts),
    ],
};
impl Shaped for crate::generated::hands::v1::Membership {
    fn shape() -> &'static Shape {
        &HANDS_V1_MEMBERSHIP
    }
}
static HANDS_V1_NAMEDTREE: Shape = Shape {
    name: "hands.v1.NamedTree",
    size: size_of::<crate::generated::hands::v1::NamedTree>(),
    fields: &[(1, Cost::Text), (2, Cost::Text), (5, Cost::Message(&GOOGLE_PROTOBUF_TIMESTAMP))],
};
impl Shaped for crate::generated::hands::v1::NamedTree {
    fn shape() -> &'static Shape {
        &HANDS_V1_NAMEDTREE
    }
}
static HANDS_V1_OPENSESSION: Shape = Shape {
    name: "hands.v1.OpenSession",
    size: size_of::<crate::generated::hands::v1::OpenSession>(),
    fields: &[(3, Cost::Text)],
};
impl Shaped for crate::generated::hands::v1::OpenSession {
    fn shape() -> &'static Shape {
        &HANDS_V1_OPENSESSION
    }
}
static HANDS_V1_OUTPUT: Shape = Shape {
    name: "hands.v1.Output",
    size: size_of::<crate::generated::hands::v1::Output>(),
    fields: &[(1, Cost::Message(&HANDS_V1_ATTEMPTID))],
};
impl Shaped for crate::generated::hands::v1::Output {
    fn shape() -> &'static Shape {
        &HANDS_V1_OUTPUT
    }
}
static HANDS_V1_OUTPUTACK: Shape = Shape {
    name: "hands.v1.OutputAck",
    size: size_of::<crate::generated::hands::v1::OutputAck>(),
    fields: &[(1, Cost::Message(&HANDS_V1_ATTEMPTID))],
};
impl Shaped for crate::generated::hands::v1::OutputAck {
    fn shape() -> &'static Shape {
        &HANDS_V1_OUTPUTACK
    }
}
static HANDS_V1_OVERVIEWREPLY: Shape = Shape {
    name: "hands.v1.OverviewReply",
    size: size_of::<crate::generated::hands::v1::OverviewReply>(),
    fields: &[
        (1, Cost::Message(&HANDS_V1_INFOREPLY)),
        (2, Cost::Messages(&HANDS_V1_WORKERINFO)),
        (3, Cost::Messages(&HANDS_V1_INVOCATION)),
        (4, Cost::Messages(&HANDS_V1_JOB)),
        (5, Cost::Messages(&HANDS_V1_JOB)),
        (6, Cost::Messages(&HANDS_V1_JOB)),
        (7, Cost::Message(&GOOGLE_PROTOBUF_TIMESTAMP)),
    ],
};
impl Shaped for crate::generated::hands::v1::OverviewReply {
    fn shape() -> &'static Shape {
        &HANDS_V1_OVERVIEWREPLY
    }
}
static HANDS_V1_OVERVIEWREQUEST: Shape = Shape {
    name: "hands.v1.OverviewRequest",
    size: size_of::<crate::generated::hands::v1::OverviewRequest>(),
    fields: &[],
};
impl Shaped for crate::generated::hands::v1::OverviewRequest {
    fn shape() -> &'static Shape {
        &HANDS_V1_OVERVIEWREQUEST
    }
}
static HANDS_V1_PINTREEREPLY: Shape = Shape {
    name: "hands.v1.PinTreeReply",
    size: size_of::<crate::generated::hands::v1::PinTreeReply>(),
    fields: &[(1, Cost::Message(&HANDS_V1_NAMEDTREE)), (2, Cost::Text)],
};
impl Shaped for crate::generated::hands::v1::PinTreeReply {
    fn shape() -> &'static Shape {
        &HANDS_V1_PINTREEREPLY
    }
}
static HANDS_V1_PINTREEREQUEST: Shape = Shape {
    name: "hands.v1.PinTreeRequest",
    size: size_of::<crate::generated::hands::v1::PinTreeRequest>(),
    fields: &[(1, Cost::Text), (2, Cost::Text)],
};
impl Shaped for crate::generated::hands::v1::PinTreeRequest {
    fn shape() -> &'static Shape {
        &HANDS_V1_PINTREEREQUEST
    }
}
static HANDS_V1_PROPERTY: Shape = Shape {
    name: "hands.v1.Property",
    size: size_of::<crate::generated::hands::v1::Property>(),
    fields: &[(1, Cost::Text), (2, Cost::Text)],
};
impl Shaped for crate::generated::hands::v1::Property {
    fn shape() -> &'static Shape {
        &HANDS_V1_PROPERTY
    }
}
static HANDS_V1_PROTOCOL: Shape = Shape {
    name: "hands.v1.Protocol",
    size: size_of::<crate::generated::hands::v1::Protocol>(),
    fields: &[(3, Cost::Text), (4, Cost::Text)],
};
impl Shaped for crate::generated::hands::v1::Protocol {
    fn shape() -> &'static Shape {
        &HANDS_V1_PROTOCOL
    }
}
static HANDS_V1_RECALL: Shape = Shape {
    name: "hands.v1.Recall",
    size: size_of::<crate::generated::hands::v1::Recall>(),
    fields: &[(1, Cost::Message(&HANDS_V1_ATTEMPTID))],
};
impl Shaped for crate::generated::hands::v1::Recall {
    fn shape() -> &'static Shape {
        &HANDS_V1_RECALL
    }
}
static HANDS_V1_REFUSED: Shape = Shape {
    name: "hands.v1.Refused",
    size: size_of::<crate::generated::hands::v1::Refused>(),
    fields: &[(1, Cost::Message(&HANDS_V1_ATTEMPTID)), (2, Cost::Text)],
};
impl Shaped for crate::generated::hands::v1::Refused {
    fn shape() -> &'static Shape {
        &HANDS_V1_REFUSED
    }
}
static HANDS_V1_REMOVEMEMBERREPLY: Shape = Shape {
    name: "hands.v1.RemoveMemberReply",
    size: size_of::<crate::generated::hands::v1::RemoveMemberReply>(),
    fields: &[(1, Cost::Messages(&HANDS_V1_MEMBER))],
};
impl Shaped for crate::generated::hands::v1::RemoveMemberReply {
    fn shape() -> &'static Shape {
        &HANDS_V1_REMOVEMEMBERREPLY
    }
}
static HANDS_V1_REMOVEMEMBERREQUEST: Shape = Shape {
    name: "hands.v1.RemoveMemberRequest",
    size: size_of::<crate::generated::hands::v1::RemoveMemberRequest>(),
    fields: &[(1, Cost::Text)],
};
impl Shaped for crate::generated::hands::v1::RemoveMemberRequest {
    fn shape() -> &'static Shape {
        &HANDS_V1_REMOVEMEMBERREQUEST
    }
}
static HANDS_V1_RENEWREQUEST: Shape = Shape {
    name: "hands.v1.RenewRequest",
    size: size_of::<crate::generated::hands::v1::RenewRequest>(),
    fields: &[(1, Cost::Text)],
};
impl Shaped for crate::generated::hands::v1::RenewRequest {
    fn shape() -> &'static Shape {
        &HANDS_V1_RENEWREQUEST
    }
}
static HANDS_V1_RESULTACK: Shape = Shape {
    name: "hands.v1.ResultAck",
    size: size_of::<crate::generated::hands::v1::ResultAck>(),
    fields: &[(1, Cost::Message(&HANDS_V1_ATTEMPTID))],
};
impl Shaped for crate::generated::hands::v1::ResultAck {
    fn shape() -> &'static Shape {
        &HANDS_V1_RESULTACK
    }
}
static HANDS_V1_RESUME: Shape = Shape {
    name: "hands.v1.Resume",
    size: size_of::<crate::generated::hands::v1::Resume>(),
    fields: &[(1, Cost::Message(&HANDS_V1_ATTEMPTID))],
};
impl Shaped for crate::generated::hands::v1::Resume {
    fn shape() -> &'static Shape {
        &HANDS_V1_RESUME
    }
}
static HANDS_V1_RESUMEACTION: Shape = Shape {
    name: "hands.v1.ResumeAction",
    size: size_of::<crate::generated::hands::v1::ResumeAction>(),
    fields: &[(2, Cost::Text)],
};
impl Shaped for crate::generated::hands::v1::ResumeAction {
    fn shape() -> &'static Shape {
        &HANDS_V1_RESUMEACTION
    }
}
static HANDS_V1_REVOKETOKENREPLY: Shape = Shape {
    name: "hands.v1.RevokeTokenReply",
    size: size_of::<crate::generated::hands::v1::RevokeTokenReply>(),
    fields: &[(1, Cost::Text), (2, Cost::Messages(&HANDS_V1_MEMBER))],
};
impl Shaped for crate::generated::hands::v1::RevokeTokenReply {
    fn shape() -> &'static Shape {
        &HANDS_V1_REVOKETOKENREPLY
    }
}
static HANDS_V1_REVOKETOKENREQUEST: Shape = Shape {
    name: "hands.v1.RevokeTokenRequest",
    size: size_of::<crate::generated::hands::v1::RevokeTokenRequest>(),
    fields: &[(1, Cost::Text)],
};
impl Shaped for crate::generated::hands::v1::RevokeTokenRequest {
    fn shape() -> &'static Shape {
        &HANDS_V1_REVOKETOKENREQUEST
    }
}
static HANDS_V1_SESSIONWELCOME: Shape = Shape {
    name: "hands.v1.SessionWelcome",
    size: size_of::<crate::generated::hands::v1::SessionWelcome>(),
    fields: &[],
};
impl Shaped for crate::generated::hands::v1::SessionWelcome {
    fn shape() -> &'static Shape {
        &HANDS_V1_SESSIONWELCOME
    }
}
static HANDS_V1_SNAPSHOTDONE: Shape = Shape {
    name: "hands.v1.SnapshotDone",
    size: size_of::<crate::generated::hands::v1::SnapshotDone>(),
    fields: &[
        (1, Cost::Message(&BUILD_BAZEL_REMOTE_EXECUTION_V2_DIGEST)),
        (6, Cost::Texts),
        (8, Cost::Texts),
        (10, Cost::Texts),
        (12, Cost::Texts),
        (13, Cost::Message(&HANDS_V1_IMAGECONFIG)),
    ],
};
impl Shaped for crate::generated::hands::v1::SnapshotDone {
    fn shape() -> &'static Shape {
        &HANDS_V1_SNAPSHOTDONE
    }
}
static HANDS_V1_SNAPSHOTERROR: Shape = Shape {
    name: "hands.v1.SnapshotError",
    size: size_of::<crate::generated::hands::v1::SnapshotError>(),
    fields: &[(1, Cost::Text), (2, Cost::Text)],
};
impl Shaped for crate::generated::hands::v1::SnapshotError {
    fn shape() -> &'static Shape {
        &HANDS_V1_SNAPSHOTERROR
    }
}
static HANDS_V1_SNAPSHOTINPUT: Shape = Shape {
    name: "hands.v1.SnapshotInput",
    size: size_of::<crate::generated::hands::v1::SnapshotInput>(),
    fields: &[(2, Cost::Text), (3, Cost::Text), (5, Cost::Text)],
};
impl Shaped for crate::generated::hands::v1::SnapshotInput {
    fn shape() -> &'static Shape {
        &HANDS_V1_SNAPSHOTINPUT
    }
}
static HANDS_V1_SNAPSHOTPROGRESS: Shape = Shape {
    name: "hands.v1.SnapshotProgress",
    size: size_of::<crate::generated::hands::v1::SnapshotProgress>(),
    fields: &[],
};
impl Shaped for crate::generated::hands::v1::SnapshotProgress {
    fn shape() -> &'static Shape {
        &HANDS_V1_SNAPSHOTPROGRESS
    }
}
static HANDS_V1_SNAPSHOTREPLY: Shape = Shape {
    name: "hands.v1.SnapshotReply",
    size: size_of::<crate::generated::hands::v1::SnapshotReply>(),
    fields: &[
        (1, Cost::Message(&HANDS_V1_SNAPSHOTPROGRESS)),
        (2, Cost::Message(&HANDS_V1_SNAPSHOTDONE)),
        (3, Cost::Message(&HANDS_V1_SNAPSHOTERROR)),
    ],
};
impl Shaped for crate::generated::hands::v1::SnapshotReply {
    fn shape() -> &'static Shape {
        &HANDS_V1_SNAPSHOTREPLY
    }
}
static HANDS_V1_SNAPSHOTREQUEST: Shape = Shape {
    name: "hands.v1.SnapshotRequest",
    size: size_of::<crate::generated::hands::v1::SnapshotRequest>(),
    fields: &[
        (1, Cost::Text),
        (2, Cost::Text),
        (4, Cost::Messages(&HANDS_V1_SNAPSHOTINPUT)),
        (5, Cost::Text),
        (6, Cost::Message(&HANDS_V1_ENGINETARGET)),
        (8, Cost::Message(&HANDS_V1_IMAGEREQUEST)),
        (9, Cost::Message(&HANDS_V1_STREAMREQUEST)),
        (10, Cost::Message(&HANDS_V1_TARREQUEST)),
    ],
};
impl Shaped for crate::generated::hands::v1::SnapshotRequest {
    fn shape() -> &'static Shape {
        &HANDS_V1_SNAPSHOTREQUEST
    }
}
static HANDS_V1_STARTED: Shape = Shape {
    name: "hands.v1.Started",
    size: size_of::<crate::generated::hands::v1::Started>(),
    fields: &[(1, Cost::Message(&HANDS_V1_ATTEMPTID))],
};
impl Shaped for crate::generated::hands::v1::Started {
    fn shape() -> &'static Shape {
        &HANDS_V1_STARTED
    }
}
static HANDS_V1_STOPREPLY: Shape = Shape {
    name: "hands.v1.StopReply",
    size: size_of::<crate::generated::hands::v1::StopReply>(),
    fields: &[],
};
impl Shaped for crate::generated::hands::v1::StopReply {
    fn shape() -> &'static Shape {
        &HANDS_V1_STOPREPLY
    }
}
static HANDS_V1_STOPREQUEST: Shape = Shape {
    name: "hands.v1.StopRequest",
    size: size_of::<crate::generated::hands::v1::StopRequest>(),
    fields: &[],
};
impl Shaped for crate::generated::hands::v1::StopRequest {
    fn shape() -> &'static Shape {
        &HANDS_V1_STOPREQUEST
    }
}
static HANDS_V1_STOREUSAGE: Shape = Shape {
    name: "hands.v1.StoreUsage",
    size: size_of::<crate::generated::hands::v1::StoreUsage>(),
    fields: &[(1, Cost::Text)],
};
impl Shaped for crate::generated::hands::v1::StoreUsage {
    fn shape() -> &'static Shape {
        &HANDS_V1_STOREUSAGE
    }
}
static HANDS_V1_STOREUSAGEREQUEST: Shape = Shape {
    name: "hands.v1.StoreUsageRequest",
    size: size_of::<crate::generated::hands::v1::StoreUsageRequest>(),
    fields: &[],
};
impl Shaped for crate::generated::hands::v1::StoreUsageRequest {
    fn shape() -> &'static Shape {
        &HANDS_V1_STOREUSAGEREQUEST
    }
}
static HANDS_V1_STREAMREQUEST: Shape = Shape {
    name: "hands.v1.StreamRequest",
    size: size_of::<crate::generated::hands::v1::StreamRequest>(),
    fields: &[(1, Cost::Text)],
};
impl Shaped for crate::generated::hands::v1::StreamRequest {
    fn shape() -> &'static Shape {
        &HANDS_V1_STREAMREQUEST
    }
}
static HANDS_V1_SUBMISSIONS: Shape = Shape {
    name: "hands.v1.Submissions",
    size: size_of::<crate::generated::hands::v1::Submissions>(),
    fields: &[
        (1, Cost::Blobs),
        (2, Cost::Messages(&HANDS_V1_SUBMITACTION)),
        (3, Cost::Messages(&HANDS_V1_RESUMEACTION)),
    ],
};
impl Shaped for crate::generated::hands::v1::Submissions {
    fn shape() -> &'static Shape {
        &HANDS_V1_SUBMISSIONS
    }
}
static HANDS_V1_SUBMITACTION: Shape = Shape {
    name: "hands.v1.SubmitAction",
    size: size_of::<crate::generated::hands::v1::SubmitAction>(),
    fields: &[
        (3, Cost::Message(&BUILD_BAZEL_REMOTE_EXECUTION_V2_DIGEST)),
        (8, Cost::Message(&HANDS_V1_EXECUTEOPTIONS)),
        (9, Cost::Text),
        (10, Cost::Text),
    ],
};
impl Shaped for crate::generated::hands::v1::SubmitAction {
    fn shape() -> &'static Shape {
        &HANDS_V1_SUBMITACTION
    }
}
static HANDS_V1_TAKES: Shape = Shape {
    name: "hands.v1.Takes",
    size: size_of::<crate::generated::hands::v1::Takes>(),
    fields: &[(3, Cost::Messages(&HANDS_V1_COUNTER))],
};
impl Shaped for crate::generated::hands::v1::Takes {
    fn shape() -> &'static Shape {
        &HANDS_V1_TAKES
    }
}
static HANDS_V1_TARREQUEST: Shape = Shape {
    name: "hands.v1.TarRequest",
    size: size_of::<crate::generated::hands::v1::TarRequest>(),
    fields: &[(1, Cost::Text)],
};
impl Shaped for crate::generated::hands::v1::TarRequest {
    fn shape() -> &'static Shape {
        &HANDS_V1_TARREQUEST
    }
}
static HANDS_V1_TERMINAL: Shape = Shape {
    name: "hands.v1.Terminal",
    size: size_of::<crate::generated::hands::v1::Terminal>(),
    fields: &[(3, Cost::Text)],
};
impl Shaped for crate::generated::hands::v1::Terminal {
    fn shape() -> &'static Shape {
        &HANDS_V1_TERMINAL
    }
}
static HANDS_V1_TOKEN: Shape = Shape {
    name: "hands.v1.Token",
    size: size_of::<crate::generated::hands::v1::Token>(),
    fields: &[
        (1, Cost::Text),
        (2, Cost::Texts),
        (6, Cost::Message(&GOOGLE_PROTOBUF_TIMESTAMP)),
        (7, Cost::Message(&GOOGLE_PROTOBUF_TIMESTAMP)),
    ],
};
impl Shaped for crate::generated::hands::v1::Token {
    fn shape() -> &'static Shape {
        &HANDS_V1_TOKEN
    }
}
static HANDS_V1_TREENAMES: Shape = Shape {
    name: "hands.v1.TreeNames",
    size: size_of::<crate::generated::hands::v1::TreeNames>(),
    fields: &[(1, Cost::Messages(&HANDS_V1_NAMEDTREE))],
};
impl Shaped for crate::generated::hands::v1::TreeNames {
    fn shape() -> &'static Shape {
        &HANDS_V1_TREENAMES
    }
}
static HANDS_V1_TREENAMESREQUEST: Shape = Shape {
    name: "hands.v1.TreeNamesRequest",
    size: size_of::<crate::generated::hands::v1::TreeNamesRequest>(),
    fields: &[(1, Cost::Texts)],
};
impl Shaped for crate::generated::hands::v1::TreeNamesRequest {
    fn shape() -> &'static Shape {
        &HANDS_V1_TREENAMESREQUEST
    }
}
static HANDS_V1_UNPINTREEREPLY: Shape = Shape {
    name: "hands.v1.UnpinTreeReply",
    size: size_of::<crate::generated::hands::v1::UnpinTreeReply>(),
    fields: &[(1, Cost::Message(&HANDS_V1_NAMEDTREE))],
};
impl Shaped for crate::generated::hands::v1::UnpinTreeReply {
    fn shape() -> &'static Shape {
        &HANDS_V1_UNPINTREEREPLY
    }
}
static HANDS_V1_UNPINTREEREQUEST: Shape = Shape {
    name: "hands.v1.UnpinTreeRequest",
    size: size_of::<crate::generated::hands::v1::UnpinTreeRequest>(),
    fields: &[(1, Cost::Text)],
};
impl Shaped for crate::generated::hands::v1::UnpinTreeRequest {
    fn shape() -> &'static Shape {
        &HANDS_V1_UNPINTREEREQUEST
    }
}
static HANDS_V1_USAGE: Shape = Shape {
    name: "hands.v1.Usage",
    size: size_of::<crate::generated::hands::v1::Usage>(),
    fields: &[(4, Cost::Text)],
};
impl Shaped for crate::generated::hands::v1::Usage {
    fn shape() -> &'static Shape {
        &HANDS_V1_USAGE
    }
}
static HANDS_V1_VERIFYSTOREREPLY: Shape = Shape {
    name: "hands.v1.VerifyStoreReply",
    size: size_of::<crate::generated::hands::v1::VerifyStoreReply>(),
    fields: &[(3, Cost::Texts)],
};
impl Shaped for crate::generated::hands::v1::VerifyStoreReply {
    fn shape() -> &'static Shape {
        &HANDS_V1_VERIFYSTOREREPLY
    }
}
static HANDS_V1_VERIFYSTOREREQUEST: Shape = Shape {
    name: "hands.v1.VerifyStoreRequest",
    size: size_of::<crate::generated::hands::v1::VerifyStoreRequest>(),
    fields: &[],
};
impl Shaped for crate::generated::hands::v1::VerifyStoreRequest {
    fn shape() -> &'static Shape {
        &HANDS_V1_VERIFYSTOREREQUEST
    }
}
static HANDS_V1_WELCOME: Shape = Shape {
    name: "hands.v1.Welcome",
    size: size_of::<crate::generated::hands::v1::Welcome>(),
    fields: &[
        (1, Cost::Message(&HANDS_V1_PROTOCOL)),
        (2, Cost::Text),
        (3, Cost::Text),
        (5, Cost::Messages(&HANDS_V1_RESUME)),
    ],
};
impl Shaped for crate::generated::hands::v1::Welcome {
    fn shape() -> &'static Shape {
        &HANDS_V1_WELCOME
    }
}
static HANDS_V1_WORKERINFO: Shape = Shape {
    name: "hands.v1.WorkerInfo",
    size: size_of::<crate::generated::hands::v1::WorkerInfo>(),
    fields: &[
        (1, Cost::Text),
        (2, Cost::Text),
        (3, Cost::Messages(&HANDS_V1_PROPERTY)),
        (8, Cost::Messages(&HANDS_V1_COUNTER)),
        (10, Cost::Message(&GOOGLE_PROTOBUF_TIMESTAMP)),
        (11, Cost::Message(&GOOGLE_PROTOBUF_TIMESTAMP)),
        (12, Cost::Message(&HANDS_V1_PROTOCOL)),
    ],
};
impl Shaped for crate::generated::hands::v1::WorkerInfo {
    fn shape() -> &'static Shape {
        &HANDS_V1_WORKERINFO
    }
}
static HANDS_V1_WORKERMESSAGE: Shape = Shape {
    name: "hands.v1.WorkerMessage",
    size: size_of::<crate::generated::hands::v1::WorkerMessage>(),
    fields: &[
        (1, Cost::Message(&HANDS_V1_HELLO)),
        (2, Cost::Message(&HANDS_V1_HEARTBEAT)),
        (3, Cost::Message(&HANDS_V1_STARTED)),
        (4, Cost::Message(&HANDS_V1_OUTPUT)),
        (5, Cost::Message(&HANDS_V1_FINISHED)),
        (6, Cost::Message(&HANDS_V1_HANDBACK)),
        (7, Cost::Message(&HANDS_V1_HOLDS)),
        (8, Cost::Message(&HANDS_V1_DRAINING)),
        (9, Cost::Message(&HANDS_V1_DOUBTED)),
        (10, Cost::Message(&HANDS_V1_INPUTTAKEN)),
    ],
};
impl Shaped for crate::generated::hands::v1::WorkerMessage {
    fn shape() -> &'static Shape {
        &HANDS_V1_WORKERMESSAGE
    }
}
