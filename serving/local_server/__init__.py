"""An embedded model server that speaks TensorFlow Serving's protocol.

For development and tests; not a replacement of TensorFlow Serving. It runs an
exported model as TF Serving does (a Session, not the eager loader) and answers as
TF Serving does (gRPC and REST, status codes, key phrases), so that an export or a
client that works here can be expected to work there.

Modules, from the inside out:

* `request_error`: the one exception that carries a status code to the client;
* `tensors`: `TensorProto` to numpy and back, bounded;
* `model`: one loaded version, its Session and signatures; the versions folder;
* `predict`: the checks of a request, then its run; `warmup` replays through it;
* `core`: which model and version a request means;
* `grpc_services`, `rest`, `json_tensors`: the two front ends over `core`;
* `server`: ports, start and stop.
"""

from serving.local_server.server import LocalServer

__all__ = ["LocalServer"]
