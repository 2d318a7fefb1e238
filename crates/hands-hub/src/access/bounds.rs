//! How large the messages of each method may be: on the wire, and in memory. `docs/limits.md` has the same table, made from this
//! one.

use hands_proto::MessageBound;

/// What one method's messages may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bound {
    /// The method's full name, as HTTP/2 has it.
    pub(crate) path: &'static str,
    pub(crate) message: MessageBound,
}

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

const fn of(path: &'static str, request: usize, memory: usize, answer: usize) -> Bound {
    Bound { path, message: MessageBound { request, memory, answer, streams: false } }
}

const fn streams(path: &'static str, request: usize, memory: usize, answer: usize) -> Bound {
    Bound { path, message: MessageBound { request, memory, answer, streams: true } }
}

/// The bound of a method that is missing in the table. It is refused anyway, unless somebody adds a service of their own.
pub(crate) const OTHERS: Bound = of("", 4 * MIB, 16 * MIB, 16 * MIB);

/// The bound of a method.
pub(crate) fn bound(path: &str) -> &'static Bound {
    BOUNDS.binary_search_by(|bound| bound.path.cmp(path)).map_or(&OTHERS, |at| &BOUNDS[at])
}

/// In the order of their paths.
pub(super) const BOUNDS: &[Bound] = &[
    of("/build.bazel.remote.asset.v1.Fetch/FetchBlob", 256 * KIB, MIB, 512 * KIB),
    of("/build.bazel.remote.asset.v1.Fetch/FetchDirectory", 256 * KIB, MIB, 512 * KIB),
    // They may name what else the asset needs.
    of("/build.bazel.remote.asset.v1.Push/PushBlob", 4 * MIB, 16 * MIB, KIB),
    of("/build.bazel.remote.asset.v1.Push/PushDirectory", 4 * MIB, 16 * MIB, KIB),
    of("/build.bazel.remote.execution.v2.ActionCache/GetActionResult", 4 * MIB, 16 * MIB, 16 * MIB),
    of(
        "/build.bazel.remote.execution.v2.ActionCache/UpdateActionResult",
        16 * MIB,
        64 * MIB,
        16 * MIB,
    ),
    of("/build.bazel.remote.execution.v2.Capabilities/GetCapabilities", 64 * KIB, MIB, 64 * KIB),
    of(
        "/build.bazel.remote.execution.v2.ContentAddressableStorage/BatchReadBlobs",
        16 * MIB,
        32 * MIB,
        16 * MIB,
    ),
    of(
        "/build.bazel.remote.execution.v2.ContentAddressableStorage/BatchUpdateBlobs",
        16 * MIB,
        32 * MIB,
        16 * MIB,
    ),
    of(
        "/build.bazel.remote.execution.v2.ContentAddressableStorage/FindMissingBlobs",
        16 * MIB,
        64 * MIB,
        16 * MIB,
    ),
    of(
        "/build.bazel.remote.execution.v2.ContentAddressableStorage/GetTree",
        64 * KIB,
        MIB,
        16 * MIB,
    ),
    of(
        "/build.bazel.remote.execution.v2.ContentAddressableStorage/SpliceBlob",
        16 * MIB,
        64 * MIB,
        64 * KIB,
    ),
    of(
        "/build.bazel.remote.execution.v2.ContentAddressableStorage/SplitBlob",
        64 * KIB,
        MIB,
        16 * MIB,
    ),
    of("/build.bazel.remote.execution.v2.Execution/Execute", 4 * MIB, 16 * MIB, 16 * MIB),
    of("/build.bazel.remote.execution.v2.Execution/WaitExecution", 64 * KIB, MIB, 16 * MIB),
    of("/google.bytestream.ByteStream/QueryWriteStatus", 64 * KIB, MIB, 64 * KIB),
    of("/google.bytestream.ByteStream/Read", 64 * KIB, MIB, 4 * MIB),
    streams("/google.bytestream.ByteStream/Write", 4 * MIB + 64 * KIB, MIB, 64 * KIB),
    of("/google.longrunning.Operations/CancelOperation", 64 * KIB, MIB, KIB),
    of("/google.longrunning.Operations/DeleteOperation", 64 * KIB, MIB, KIB),
    of("/google.longrunning.Operations/GetOperation", 64 * KIB, MIB, 16 * MIB),
    of("/google.longrunning.Operations/ListOperations", 64 * KIB, MIB, 16 * MIB),
    of("/google.longrunning.Operations/WaitOperation", 64 * KIB, MIB, 16 * MIB),
    streams("/hands.v1.Actions/Session", 4 * MIB, 16 * MIB, 16 * MIB),
    of("/hands.v1.Authority/CreateToken", 64 * KIB, MIB, 64 * KIB),
    of("/hands.v1.Authority/ListMembers", 64 * KIB, MIB, 16 * MIB),
    of("/hands.v1.Authority/ListTokens", 64 * KIB, MIB, 16 * MIB),
    of("/hands.v1.Authority/RemoveMember", 64 * KIB, MIB, 64 * KIB),
    of("/hands.v1.Authority/RevokeToken", 64 * KIB, MIB, 64 * KIB),
    of("/hands.v1.Enrolment/Enrol", 64 * KIB, MIB, 64 * KIB),
    of("/hands.v1.Enrolment/Renew", 64 * KIB, MIB, 64 * KIB),
    streams("/hands.v1.Jobs/Attach", 4 * MIB, MIB, KIB),
    of("/hands.v1.Jobs/CloseOutput", 64 * KIB, MIB, KIB),
    of("/hands.v1.Jobs/DrainWorker", 64 * KIB, MIB, KIB),
    streams("/hands.v1.Jobs/Feed", 4 * MIB, MIB, KIB),
    of("/hands.v1.Jobs/Get", 64 * KIB, MIB, MIB),
    of("/hands.v1.Jobs/Info", 64 * KIB, MIB, 16 * MIB),
    of("/hands.v1.Jobs/List", 64 * KIB, MIB, 16 * MIB),
    of("/hands.v1.Jobs/ListWorkers", 64 * KIB, MIB, 16 * MIB),
    of("/hands.v1.Jobs/Overview", 64 * KIB, MIB, 16 * MIB),
    of("/hands.v1.Stores/Collect", 64 * KIB, MIB, 64 * KIB),
    of("/hands.v1.Stores/Names", 64 * KIB, MIB, MIB),
    of("/hands.v1.Stores/Pin", 64 * KIB, MIB, 64 * KIB),
    of("/hands.v1.Stores/Unpin", 64 * KIB, MIB, 64 * KIB),
    of("/hands.v1.Stores/Usage", 64 * KIB, MIB, 64 * KIB),
    of("/hands.v1.Stores/Verify", 64 * KIB, MIB, 4 * MIB),
    streams("/hands.v1.Workers/Session", 16 * MIB, 64 * MIB, 16 * MIB),
];
