//! Which call takes which role. What is not here is denied.

use hands_types::{Role, Roles};

/// One method of one service.
#[derive(Debug)]
pub(crate) struct Method {
    /// Its full name, as HTTP/2 has it.
    pub(crate) path: &'static str,
    /// Whoever has one of these may call it.
    pub(crate) roles: Roles,
    /// It answers those who have no identity.
    pub(crate) is_open: bool,
    /// It may come without a header on a connection that has shown a token: Bazel 2 sends none with these.
    pub(crate) may_be_bare: bool,
}

/// Finds a method by its path.
pub(crate) fn method(path: &str) -> Option<&'static Method> {
    METHODS.binary_search_by(|method| method.path.cmp(path)).ok().map(|at| &METHODS[at])
}

const ADMIN: Roles = Roles::NONE.with(Role::Admin);
const SUBMIT: Roles = ADMIN.with(Role::Submit);
const WRITE_CACHE: Roles = ADMIN.with(Role::CacheWrite);
const UPLOAD: Roles = SUBMIT.with(Role::CacheWrite).with(Role::Publish).with(Role::Worker);
/// People and their tools.
const READ: Roles = SUBMIT.with(Role::Read).with(Role::CacheWrite).with(Role::Publish);
/// Blobs, which workers need too.
const FETCH: Roles = READ.with(Role::Worker);
/// Only for members, and for those on this machine; see `Principal::roles`.
const WORK: Roles = Roles::NONE.with(Role::Worker);

const fn of(path: &'static str, roles: Roles) -> Method {
    Method { path, roles, is_open: false, may_be_bare: false }
}

const fn open(path: &'static str) -> Method {
    Method { path, roles: Roles::all(), is_open: true, may_be_bare: false }
}

const fn bare(path: &'static str, roles: Roles) -> Method {
    Method { path, roles, is_open: false, may_be_bare: true }
}

/// In the order of their paths.
pub(super) const METHODS: &[Method] = &[
    of("/build.bazel.remote.asset.v1.Fetch/FetchBlob", READ),
    of("/build.bazel.remote.asset.v1.Fetch/FetchDirectory", READ),
    of("/build.bazel.remote.asset.v1.Push/PushBlob", WRITE_CACHE),
    of("/build.bazel.remote.asset.v1.Push/PushDirectory", WRITE_CACHE),
    of("/build.bazel.remote.execution.v2.ActionCache/GetActionResult", FETCH),
    of("/build.bazel.remote.execution.v2.ActionCache/UpdateActionResult", WRITE_CACHE),
    // Limits and versions, which are no secret; and Bazel 2 asks before it says who it is.
    open("/build.bazel.remote.execution.v2.Capabilities/GetCapabilities"),
    of("/build.bazel.remote.execution.v2.ContentAddressableStorage/BatchReadBlobs", FETCH),
    of("/build.bazel.remote.execution.v2.ContentAddressableStorage/BatchUpdateBlobs", UPLOAD),
    of("/build.bazel.remote.execution.v2.ContentAddressableStorage/FindMissingBlobs", FETCH),
    of("/build.bazel.remote.execution.v2.ContentAddressableStorage/GetTree", FETCH),
    of("/build.bazel.remote.execution.v2.ContentAddressableStorage/SpliceBlob", UPLOAD),
    of("/build.bazel.remote.execution.v2.ContentAddressableStorage/SplitBlob", FETCH),
    of("/build.bazel.remote.execution.v2.Execution/Execute", SUBMIT),
    of("/build.bazel.remote.execution.v2.Execution/WaitExecution", READ),
    bare("/google.bytestream.ByteStream/QueryWriteStatus", UPLOAD),
    of("/google.bytestream.ByteStream/Read", FETCH),
    bare("/google.bytestream.ByteStream/Write", UPLOAD),
    of("/google.longrunning.Operations/CancelOperation", SUBMIT),
    of("/google.longrunning.Operations/DeleteOperation", SUBMIT),
    of("/google.longrunning.Operations/GetOperation", READ),
    of("/google.longrunning.Operations/ListOperations", READ),
    of("/google.longrunning.Operations/WaitOperation", READ),
    of("/hands.v1.Actions/Session", SUBMIT),
    of("/hands.v1.Authority/CreateToken", ADMIN),
    of("/hands.v1.Authority/ListMembers", ADMIN),
    of("/hands.v1.Authority/ListTokens", ADMIN),
    of("/hands.v1.Authority/RemoveMember", ADMIN),
    of("/hands.v1.Authority/RevokeToken", ADMIN),
    open("/hands.v1.Enrolment/Enrol"),
    open("/hands.v1.Enrolment/Renew"),
    of("/hands.v1.Jobs/Attach", SUBMIT),
    of("/hands.v1.Jobs/CloseOutput", SUBMIT),
    of("/hands.v1.Jobs/DrainWorker", ADMIN),
    of("/hands.v1.Jobs/Feed", SUBMIT),
    of("/hands.v1.Jobs/Get", READ),
    of("/hands.v1.Jobs/Info", READ),
    of("/hands.v1.Jobs/List", READ),
    of("/hands.v1.Jobs/ListWorkers", READ),
    of("/hands.v1.Jobs/Overview", READ),
    of("/hands.v1.Stores/Collect", ADMIN),
    of("/hands.v1.Stores/Names", READ),
    of("/hands.v1.Stores/Pin", ADMIN),
    of("/hands.v1.Stores/Unpin", ADMIN),
    of("/hands.v1.Stores/Usage", READ),
    of("/hands.v1.Stores/Verify", ADMIN),
    of("/hands.v1.Workers/Session", WORK),
];
