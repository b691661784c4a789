"""An embedded model server that speaks TensorFlow Serving's protocol.

For development and tests; not a replacement of TensorFlow Serving. It runs an
exported model as TF Serving does (a Session, not the eager loader) and answers as
TF Serving does (gRPC and REST, status codes, key phrases), so that an export or a
client that works here can be expected to work there.

From the inside out: `request_error` (statuses), `tensors`, `text_protos`, `metrics`,
`options`; `batching`, `model` (a loaded version), `warmup`; `model_config`, `manager`
(which versions are loaded), `core` (which of them a request means); the front ends
`grpc_services` and `rest` with `json_tensors`; `server`.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from serving.local_server.server import LocalServer

__all__ = ["LocalServer"]


def __getattr__(name: str) -> object:
    # Late, since it takes seconds: `options` needs no TensorFlow.
    if name == "LocalServer":
        from serving.local_server.server import LocalServer

        return LocalServer
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
