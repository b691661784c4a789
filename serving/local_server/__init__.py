"""An embedded model server that speaks TensorFlow Serving's protocol.

For development and tests; not a replacement of TensorFlow Serving. It runs an
exported model as TF Serving does (a Session, not the eager loader) and answers as
TF Serving does (gRPC and REST, status codes, key phrases), so that an export or a
client that works here can be expected to work there.

Modules, from the inside out:

* `request_error`: the one exception that carries a status code to the client;
* `tensors`: `TensorProto` to numpy and back, bounded;
* `text_protos`: TensorFlow Serving's files of configuration;
* `metrics`: what is counted, and its page for Prometheus;
* `batching`: requests merged;
* `model`: one loaded version, its Session and signatures; the versions folder;
* `predict`: the checks of a request, then its run; `warmup` replays through it;
* `manager`: which versions are loaded, and when they come and go;
* `model_config`: which models, versions and labels are wanted;
* `core`: which model and version a request means;
* `grpc_services`, `rest`, `json_tensors`: the two front ends over `core`;
* `options`: the settings and their flags, without TensorFlow;
* `server`: ports, start and stop.
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
