"""TensorFlow Serving's configuration files: text protos of its own messages.

Conventions: `tensorflow-serving-api` brings `ModelServerConfig`. The messages of TLS,
monitoring and batching are not in it, so they are declared here, in a descriptor pool
of their own, with the names that TF Serving's files use; a field that is not known is
an error that names line and column.
"""

import pathlib
from typing import TypeVar

from google.protobuf import (
    descriptor_pb2,
    descriptor_pool,
    message,
    message_factory,
    text_format,
    wrappers_pb2,
)

from portrait_tf.errors import PortraitError

_Message = TypeVar("_Message", bound=message.Message)
_PACKAGE = "tensorflow.serving"
_INT64_VALUE = ".google.protobuf.Int64Value"
_BOOL_VALUE = ".google.protobuf.BoolValue"
_STRING_VALUE = ".google.protobuf.StringValue"

# The fields of each message: a scalar type, or the full name of a message; the types
# of repeated fields are in brackets.
_MESSAGES = {
    "SSLConfig": {
        "server_key": "string",
        "server_cert": "string",
        "custom_ca": "string",
        "client_verify": "bool",
    },
    "PrometheusConfig": {"enable": "bool", "path": "string"},
    "MonitoringConfig": {"prometheus_config": f".{_PACKAGE}.PrometheusConfig"},
    "BatchingParameters": {
        "max_batch_size": _INT64_VALUE,
        "batch_timeout_micros": _INT64_VALUE,
        "max_enqueued_batches": _INT64_VALUE,
        "num_batch_threads": _INT64_VALUE,
        "thread_pool_name": _STRING_VALUE,
        "allowed_batch_sizes": ["int64"],
        "pad_variable_length_inputs": "bool",
        "enable_large_batch_splitting": _BOOL_VALUE,
        "max_execution_batch_size": _INT64_VALUE,
    },
}


def _build_messages() -> dict[str, type[message.Message]]:
    field_type = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(
        name="portrait_tf/serving_config.proto",
        package=_PACKAGE,
        syntax="proto3",
        dependency=[wrappers_pb2.DESCRIPTOR.name],
    )
    for name, fields in _MESSAGES.items():
        declared = file.message_type.add(name=name)
        for number, (field, kind) in enumerate(fields.items(), 1):
            repeated = isinstance(kind, list)
            kind = kind[0] if repeated else kind
            entry = declared.field.add(name=field, number=number)
            entry.label = (
                field_type.LABEL_REPEATED if repeated else field_type.LABEL_OPTIONAL
            )
            if kind.startswith("."):
                entry.type, entry.type_name = field_type.TYPE_MESSAGE, kind
            else:
                entry.type = field_type.Type.Value(f"TYPE_{kind.upper()}")
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(wrappers_pb2.DESCRIPTOR.serialized_pb)
    pool.AddSerializedFile(file.SerializeToString())
    return {
        name: message_factory.GetMessageClass(
            pool.FindMessageTypeByName(f"{_PACKAGE}.{name}")
        )
        for name in _MESSAGES
    }


_CLASSES = _build_messages()
SSLConfig = _CLASSES["SSLConfig"]
MonitoringConfig = _CLASSES["MonitoringConfig"]
BatchingParameters = _CLASSES["BatchingParameters"]


def read_text_proto(path: str | pathlib.Path, kind: type[_Message]) -> _Message:
    """Reads a file that holds such a message.

    Raises:
        PortraitError: When it cannot be read, or is not such a message.
    """
    try:
        text = pathlib.Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise PortraitError(f"{path} cannot be read: {error}") from error
    try:
        return text_format.Parse(text, kind())
    except text_format.ParseError as error:
        raise PortraitError(
            # The first half is protobuf's, in C++; scripts look for both.
            f"Error parsing text-format {kind.DESCRIPTOR.full_name}: {error};"
            f" Invalid protobuf file: '{path}'"
        ) from error
