"""Clients of the served model: TensorFlow Serving or the embedded server, over gRPC.

Conventions: photos are RGB `uint8` `[H, W, 3]`, masks `uint8` with non-zero = hole,
parsing maps `uint8` LIP labels 0 to 19. What can be checked here is checked before
anything is sent. Only `PortraitError` leaves a client, of which `ServerError` is one.
gRPC, protobuf, NumPy and Pillow are all that it needs (`pip install portrait-tf`).

Modules, each using only those before it: `errors`, `results`, `protocol` (the messages
of TensorFlow Serving), `connection` (TLS, retries, gRPC's options), `pictures`, `calls`
(each as a request and a function that reads its answer), `base` (the body of both
clients), `sync` and `asynchronous`, `doctor`.
"""

from serving.client.asynchronous import AsyncPortraitClient
from serving.client.connection import Keepalive, RetryPolicy, Tls
from serving.client.errors import (  # fmt: skip
    AbortedError,
    AlreadyExistsError,
    CancelledError,
    DataLossError,
    DeadlineExceededError,
    FailedPreconditionError,
    InternalError,
    InvalidArgumentError,
    MessageTooLargeError,
    NotFoundError,
    OutOfRangeError,
    PermissionDeniedError,
    ResourceExhaustedError,
    ServerError,
    UnauthenticatedError,
    UnavailableError,
    UnimplementedError,
    UnknownError,
)
from serving.client.results import (
    CompletionResult,
    ModelMetadata,
    ParsingResult,
    SignatureDescription,
    TensorDescription,
    VersionStatus,
)
from serving.client.sync import PortraitClient

__all__ = [
    "AbortedError", "AlreadyExistsError", "AsyncPortraitClient", "CancelledError",
    "CompletionResult", "DataLossError", "DeadlineExceededError",
    "FailedPreconditionError", "InternalError", "InvalidArgumentError", "Keepalive",
    "MessageTooLargeError", "ModelMetadata", "NotFoundError", "OutOfRangeError",
    "ParsingResult", "PermissionDeniedError", "PortraitClient",
    "ResourceExhaustedError", "RetryPolicy", "ServerError", "SignatureDescription",
    "TensorDescription", "Tls", "UnauthenticatedError", "UnavailableError",
    "UnimplementedError", "UnknownError", "VersionStatus",
]  # fmt: skip
