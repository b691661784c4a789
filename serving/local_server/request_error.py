"""Refusals: a status code and a sentence, on their way to the client.

Conventions: codes are gRPC's, which number the same as `tf.errors`' and
`absl::Status`'; REST maps them to HTTP. Messages keep the key phrases of TensorFlow
Serving, because clients and people search for them.
"""

import grpc
import tensorflow as tf

_MAX_MESSAGE = 1024
_CODES = {code.value[0]: code for code in grpc.StatusCode}


class RequestError(Exception):
    """A request that is refused, or that failed inside the model.

    Args:
        code: The status of the answer.
        message: One sentence for the client, cut at 1024 characters as TensorFlow
            Serving does, since it travels in size-limited HTTP/2 trailers.
    """

    def __init__(self, code: grpc.StatusCode, message: str):
        if len(message) > _MAX_MESSAGE:
            message = message[:_MAX_MESSAGE] + "...TRUNCATED"
        super().__init__(message)
        self.code = code
        self.message = message


def invalid_argument(message: str) -> RequestError:
    return RequestError(grpc.StatusCode.INVALID_ARGUMENT, message)


def from_tensorflow(error: tf.errors.OpError) -> RequestError:
    """The same status as the Session's, without what Python adds to the message."""
    message = str(error.message).removeprefix("Graph execution error:").strip()
    message = message.split("\n\nOriginal stack trace", 1)[0]
    return RequestError(_CODES.get(error.error_code, grpc.StatusCode.UNKNOWN), message)
