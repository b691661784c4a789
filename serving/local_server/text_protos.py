"""TensorFlow Serving's configuration files: text protos of its own messages.

`tensorflow-serving-api` brings `ModelServerConfig`; the messages of TLS, monitoring and
batching are not in it, so they are here. Only names count in a text: the numbers are
ours.
"""

import pathlib
from typing import TypeVar

from google.protobuf import message, text_format

from portrait_tf.errors import PortraitError
from serving.messages import build_messages

_Message = TypeVar("_Message", bound=message.Message)
_CLASSES = build_messages(
    """
Int64Value: 1 int64 value
BoolValue: 1 bool value
StringValue: 1 string value
SSLConfig: 1 string server_key, 2 string server_cert, 3 string custom_ca,
    4 bool client_verify
PrometheusConfig: 1 bool enable, 2 string path
MonitoringConfig: 1 PrometheusConfig prometheus_config
BatchingParameters: 1 Int64Value max_batch_size, 2 Int64Value batch_timeout_micros,
    3 Int64Value max_enqueued_batches, 4 Int64Value num_batch_threads,
    5 StringValue thread_pool_name, 6 repeated int64 allowed_batch_sizes,
    7 bool pad_variable_length_inputs, 8 BoolValue enable_large_batch_splitting,
    9 Int64Value max_execution_batch_size
""",
    "tensorflow.serving",
)
SSLConfig = _CLASSES["SSLConfig"]
MonitoringConfig = _CLASSES["MonitoringConfig"]
BatchingParameters = _CLASSES["BatchingParameters"]


def read_text_proto(path: str | pathlib.Path, kind: type[_Message]) -> _Message:
    """Reads a file that holds such a message; PortraitError for any other."""
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
