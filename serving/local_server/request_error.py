"""Statuses: how a request or a load ends, the same for gRPC and REST.

Codes are gRPC's, which number the same as `tf.errors`' and `absl::Status`'. Messages
keep the key phrases of TensorFlow Serving, because clients and people search for them.
"""

import functools
import logging
from collections.abc import Callable
from typing import TypeVar

import grpc
import tensorflow as tf

_MAX_MESSAGE = 1024
_CODES = {code.value[0]: code for code in grpc.StatusCode}
_LOGGER = logging.getLogger(__name__)
_Answer = TypeVar("_Answer")


class RequestError(Exception):
    """A request that is refused, or that failed inside the model.

    `message` is one sentence for the client, cut at 1024 characters as TensorFlow
    Serving does, since it travels in size-limited HTTP/2 trailers.
    """

    def __init__(self, code: grpc.StatusCode, message: str):
        if len(message) > _MAX_MESSAGE:
            message = message[:_MAX_MESSAGE] + "...TRUNCATED"
        super().__init__(message)
        self.code, self.message = code, message

    def __str__(self) -> str:
        return f"{self.code.name}: {self.message}"


invalid_argument = functools.partial(RequestError, grpc.StatusCode.INVALID_ARGUMENT)
failed_precondition = functools.partial(
    RequestError, grpc.StatusCode.FAILED_PRECONDITION
)
not_found = functools.partial(RequestError, grpc.StatusCode.NOT_FOUND)
unimplemented = functools.partial(RequestError, grpc.StatusCode.UNIMPLEMENTED)


def status_of(error: Exception, message: str | None = None) -> RequestError:
    """The status of any exception, with its own message or another one."""
    code = grpc.StatusCode.UNKNOWN
    if isinstance(error, RequestError):
        code, own = error.code, error.message
    elif isinstance(error, tf.errors.OpError):
        code = _CODES.get(error.error_code, code)
        # Without what Python adds.
        own = str(error.message).removeprefix("Graph execution error:").strip()
        own = own.split("\n\nOriginal stack trace", 1)[0]
    else:
        code = grpc.StatusCode.NOT_FOUND if isinstance(error, OSError) else code
        own = str(error)
    return RequestError(code, own if message is None else message)


def attempt(produce: Callable[[], _Answer]) -> tuple[grpc.StatusCode, _Answer | str]:
    """How a request ends: its status, and its answer or the sentence for the client."""
    try:
        return grpc.StatusCode.OK, produce()
    except RequestError as error:
        return error.code, error.message
    except Exception as error:
        _LOGGER.exception("a request failed in the server")
        return grpc.StatusCode.INTERNAL, f"{type(error).__name__} in the server"
