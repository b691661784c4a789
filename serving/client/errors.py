"""One exception for each status that a call can end with."""

import grpc

from portrait_tf.errors import PortraitError


class ServerError(PortraitError):
    """The server could not be reached, or refused or failed a request.

    Attributes:
        code: The status, a `grpc.StatusCode`.
        may_retry: Whether the same request may well succeed a moment later.
    """

    may_retry = False

    def __init__(self, code: grpc.StatusCode, message: str):
        super().__init__(message)
        self.code = code


class CancelledError(ServerError):
    """CANCELLED: the call was given up, here or on the way."""


class UnknownError(ServerError):
    """UNKNOWN: the server failed without a proper status."""


class InvalidArgumentError(ServerError):
    """INVALID_ARGUMENT: the request is wrong; sent again, it fails again."""


class DeadlineExceededError(ServerError):
    """DEADLINE_EXCEEDED: no answer within the seconds that the call may take."""


class NotFoundError(ServerError):
    """NOT_FOUND: the server does not serve this model or version."""


class AlreadyExistsError(ServerError):
    """ALREADY_EXISTS."""


class PermissionDeniedError(ServerError):
    """PERMISSION_DENIED: the API key or certificate is known, but not enough."""


class ResourceExhaustedError(ServerError):
    """RESOURCE_EXHAUSTED: the server has more to do than it takes on."""

    may_retry = True


class MessageTooLargeError(ResourceExhaustedError):
    """RESOURCE_EXHAUSTED, because a message is above a size limit on its way."""

    may_retry = False


class FailedPreconditionError(ServerError):
    """FAILED_PRECONDITION: the model has no such signature."""


class AbortedError(ServerError):
    """ABORTED."""


class OutOfRangeError(ServerError):
    """OUT_OF_RANGE."""


class UnimplementedError(ServerError):
    """UNIMPLEMENTED: what answers there is not TensorFlow Serving."""


class InternalError(ServerError):
    """INTERNAL: a bug in the server, or an answer that is no portrait-tf model's."""


class UnavailableError(ServerError):
    """UNAVAILABLE: nothing answers there, or it is going or coming; retried."""

    may_retry = True


class DataLossError(ServerError):
    """DATA_LOSS."""


class UnauthenticatedError(ServerError):
    """UNAUTHENTICATED: an API key or a client's certificate is missing or wrong."""


_CLASSES = {
    code: globals()[code.name.title().replace("_", "") + "Error"]
    for code in grpc.StatusCode
    if code != grpc.StatusCode.OK
}


def server_error(code: grpc.StatusCode, message: str) -> ServerError:
    """The exception of a status; `ServerError` itself for one that gRPC may add."""
    return _CLASSES.get(code, ServerError)(code, message)


def from_rpc_error(
    error: grpc.RpcError, target: str, wanted: str, timeout: float
) -> ServerError:
    """What a failed call to `target` for `wanted`, the model, means in one sentence."""
    code = error.code()
    # Proxies answer with pages; one line of them says enough.
    lines = (error.details() or "").strip().splitlines()
    said = lines[0] if lines else "no reason given"
    server = f"the server at {target}"
    if code == grpc.StatusCode.RESOURCE_EXHAUSTED and "larger than max" in said.lower():
        return MessageTooLargeError(
            code,
            f"a message was above the size limit of {server} or of a proxy before it:"
            f" {said}",
        )
    messages = {
        grpc.StatusCode.UNAVAILABLE: f"{server} cannot be reached: {said}",
        grpc.StatusCode.DEADLINE_EXCEEDED: (
            f"{server} did not answer within {timeout:g} s"
        ),
        grpc.StatusCode.NOT_FOUND: f"{server} does not serve {wanted}: {said}",
        grpc.StatusCode.INVALID_ARGUMENT: f"{server} refused the request: {said}",
    }
    return server_error(
        code, messages.get(code, f"{server} answered {code.name}: {said}")
    )
