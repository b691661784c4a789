"""Writes TensorFlow Serving's published protos as one descriptor set.

    python examples/clients/make_descriptors.py serving.desc

The Python package `tensorflow-serving-api` has the protos compiled, not as text. A
descriptor set is the same in a form that every gRPC library loads, as `protoc
--include_imports --descriptor_set_out` writes it.
"""

import os
import pathlib
import sys

# The faster one refuses what tensorflow-serving-api 2.15, of the addons stack, has.
os.environ["PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION"] = "python"

from google.protobuf import descriptor_pb2
from google.protobuf.descriptor import FileDescriptor
from tensorflow_serving.apis import model_service_pb2, prediction_service_pb2


def collect(*files: FileDescriptor) -> descriptor_pb2.FileDescriptorSet:
    """The files and all that they import, each after what it imports."""
    found: dict[str, FileDescriptor] = {}

    def add(file: FileDescriptor) -> None:
        if file.name not in found:
            for imported in file.dependencies:
                add(imported)
            found[file.name] = file

    for file in files:
        add(file)
    result = descriptor_pb2.FileDescriptorSet()
    for file in found.values():
        file.CopyToProto(result.file.add())
    return result


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: make_descriptors.py OUT")
    files = collect(prediction_service_pb2.DESCRIPTOR, model_service_pb2.DESCRIPTOR)
    pathlib.Path(sys.argv[1]).write_bytes(files.SerializeToString())
