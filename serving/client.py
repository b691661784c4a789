"""A client of the served model: TensorFlow Serving or the embedded server, over gRPC.

Conventions: photos are RGB `uint8` `[H, W, 3]`, masks `uint8` with non-zero = hole,
parsing maps `uint8` LIP labels 0 to 19. What can be checked here is checked before
anything is sent. The modules of the protocol come with TensorFlow, whose import takes
seconds; they are imported with the first client, not with this module. No network of
the library is needed.
"""

import contextlib
import dataclasses
import functools
import time
from collections.abc import Iterator
from types import SimpleNamespace, TracebackType
from typing import TYPE_CHECKING

import grpc
import numpy as np

from portrait_tf.errors import PortraitError

if TYPE_CHECKING:
    from tensorflow.core.framework import tensor_pb2
    from tensorflow_serving.apis import model_pb2

_OPTIONS = (
    # gRPC refuses to receive more than 4 MB by default, a photo of 1200 x 1200.
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    # A server that is being started is found soon after it is there.
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 5000),
)
_POLL_SECONDS = 0.1


class ServerError(PortraitError):
    """The server could not be reached, or refused or failed a request.

    Attributes:
        code: The status, a `grpc.StatusCode`.
    """

    def __init__(self, code: grpc.StatusCode, message: str):
        super().__init__(message)
        self.code = code


@dataclasses.dataclass(frozen=True)
class CompletionResult:
    """A completed photo, or a batch of them.

    Attributes:
        completed: `uint8` RGB `[H, W, 3]`, or `[B, H, W, 3]` for a batch.
        parsing: `uint8` LIP labels `[H, W, 1]`, or `[B, H, W, 1]`.
    """

    completed: np.ndarray
    parsing: np.ndarray


@dataclasses.dataclass(frozen=True)
class VersionStatus:
    """The state of one version of the model.

    Attributes:
        version: Its number.
        state: `START`, `LOADING`, `AVAILABLE`, `UNLOADING`, `END` or `UNKNOWN`; only
            an `AVAILABLE` version answers.
        error: Why it failed to load; empty when it did not.
    """

    version: int
    state: str
    error: str = ""


@dataclasses.dataclass(frozen=True)
class TensorDescription:
    """An input or output: dtype name, and sizes (None: any) or None for any rank."""

    dtype: str
    shape: tuple[int | None, ...] | None


@dataclasses.dataclass(frozen=True)
class SignatureDescription:
    """The inputs and outputs of a signature, by name."""

    inputs: dict[str, TensorDescription]
    outputs: dict[str, TensorDescription]


@dataclasses.dataclass(frozen=True)
class ModelMetadata:
    """What the server says of the model it serves."""

    name: str
    version: int
    signatures: dict[str, SignatureDescription]


class PortraitClient:
    """Asks a server to complete photos. Safe to use from several threads.

    Args:
        target: `host:port` of the server's gRPC port.
        model_name: The name the model is served under.
        version: The version to ask for; None for the newest.
        timeout: Seconds that each call may take.

    Example:

    ```python
    with PortraitClient("localhost:8500") as client:
        result = client.complete(image, mask)
    ```
    """

    def __init__(
        self,
        target: str = "localhost:8500",
        model_name: str = "portrait",
        version: int | None = None,
        timeout: float = 60.0,
    ):
        if timeout <= 0:
            raise PortraitError(f"timeout is {timeout}; expected seconds above 0")
        self.target = target
        self.model_name = model_name
        self.version = version
        self.timeout = timeout
        self._protocol = _import_protocol()
        self._channel = grpc.insecure_channel(target, options=_OPTIONS)
        self._prediction = self._protocol.PredictionServiceStub(self._channel)
        self._model = self._protocol.ModelServiceStub(self._channel)

    def complete(
        self, image: np.ndarray | bytes, mask: np.ndarray | bytes
    ) -> CompletionResult:
        """Fills the hole of a photo, or of each photo of a batch.

        Args:
            image: `uint8` RGB `[H, W, 3]` or `[B, H, W, 3]`; or the bytes of an image
                file (JPEG, PNG).
            mask: `uint8`, non-zero = hole: `[H, W]` or `[H, W, 1]`, for a batch
                `[B, H, W]` or `[B, H, W, 1]`; or, with image bytes, the bytes of an
                image file of the same size.

        Returns:
            Photo and parsing map of the size that was sent.

        Raises:
            PortraitError: When image and mask do not fit together or have no hole;
                nothing is sent then.
            ServerError: When the server cannot be reached, refuses or fails.
        """
        if isinstance(image, bytes) or isinstance(mask, bytes):
            completed, parsing = self.complete_encoded(image, mask)
            return CompletionResult(_decode_rgb(completed), _decode_labels(parsing))
        image, mask, is_batch = _check_arrays(image, mask)
        outputs = self._predict(
            "serving_default",
            image=self._array_tensor(image),
            mask=self._array_tensor(mask),
        )
        completed = self._read(outputs, "completed")
        parsing = self._read(outputs, "parsing")
        if not is_batch:
            completed, parsing = completed[0], parsing[0]
        return CompletionResult(completed, parsing)

    def complete_encoded(
        self, image_bytes: bytes, mask_bytes: bytes
    ) -> tuple[bytes, bytes]:
        """Fills the hole of a photo given and returned as image files.

        Smaller on the wire than arrays, so better over a slow network.

        Args:
            image_bytes: The content of a JPEG or PNG file.
            mask_bytes: The same of a mask of the same size, non-zero = hole.

        Returns:
            The completed photo and the parsing map (labels as grey values), as PNG.

        Raises:
            PortraitError: When either is not bytes, or empty.
            ServerError: As for `complete`; INVALID_ARGUMENT when the server cannot
                decode the files or their sizes differ.
        """
        for name, content in (("image", image_bytes), ("mask", mask_bytes)):
            if not isinstance(content, bytes):
                raise PortraitError(
                    f"the {name} is {_kind(content)}; expected the bytes of an image"
                    " file, as the other one is"
                )
            if not content:
                raise PortraitError(
                    f"the {name} has 0 bytes; expected the content of an image file"
                )
        outputs = self._predict(
            "encoded",
            image_bytes=self._bytes_tensor(image_bytes),
            mask_bytes=self._bytes_tensor(mask_bytes),
        )
        return (
            self._read(outputs, "completed_bytes")[0],
            self._read(outputs, "parsing_bytes")[0],
        )

    def status(self) -> list[VersionStatus]:
        """The state of the versions the server knows, or of the one asked for.

        Raises:
            ServerError: NOT_FOUND when the server does not know the model.
        """
        return self._status(self.timeout)

    def metadata(self) -> ModelMetadata:
        """The signatures of the model that is served.

        Raises:
            ServerError: NOT_FOUND when the server does not serve the model.
        """
        protocol = self._protocol
        request = protocol.GetModelMetadataRequest(
            model_spec=self._spec(), metadata_field=["signature_def"]
        )
        with self._clear_errors(self.timeout):
            response = self._prediction.GetModelMetadata(request, timeout=self.timeout)
        found = protocol.SignatureDefMap()
        response.metadata["signature_def"].Unpack(found)
        return ModelMetadata(
            response.model_spec.name,
            response.model_spec.version.value,
            {
                name: SignatureDescription(
                    self._describe(definition.inputs),
                    self._describe(definition.outputs),
                )
                for name, definition in found.signature_def.items()
                # The initialiser of a SavedModel is listed too; nobody can call it.
                if definition.inputs
            },
        )

    def wait_until_available(self, timeout: float = 60.0) -> None:
        """Waits until a version of the model (the one asked for) is AVAILABLE.

        Reads the model's state: a server answers before its model is loaded.

        Raises:
            ServerError: When that has not come within `timeout` seconds; its code is
                that of the last attempt.
        """
        deadline = time.monotonic() + timeout
        while True:
            remaining = max(deadline - time.monotonic(), 0.001)
            try:
                states = self._status(remaining)
                if any(entry.state == "AVAILABLE" for entry in states):
                    return
                code = grpc.StatusCode.UNAVAILABLE
                reason = "its state is " + ", ".join(
                    f"{entry.version}: {entry.state} {entry.error}".rstrip()
                    for entry in states
                )
            except ServerError as error:
                code, reason = error.code, str(error)
            if time.monotonic() + _POLL_SECONDS >= deadline:
                raise ServerError(
                    code,
                    f"model {self.model_name!r} at {self.target} was not available"
                    f" within {timeout:g} s: {reason}",
                )
            time.sleep(_POLL_SECONDS)

    def close(self) -> None:
        """Ends the connection; the client cannot be used afterwards."""
        self._channel.close()

    def __enter__(self) -> "PortraitClient":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _spec(self, signature: str = "") -> "model_pb2.ModelSpec":
        spec = self._protocol.ModelSpec(name=self.model_name, signature_name=signature)
        if self.version is not None:
            spec.version.value = self.version
        return spec

    def _status(self, timeout: float) -> list[VersionStatus]:
        protocol = self._protocol
        request = protocol.GetModelStatusRequest(model_spec=self._spec())
        with self._clear_errors(timeout):
            response = self._model.GetModelStatus(request, timeout=timeout)
        return [
            VersionStatus(
                entry.version,
                protocol.ModelVersionStatus.State.Name(entry.state),
                entry.status.error_message,
            )
            for entry in response.model_version_status
        ]

    def _predict(
        self, signature: str, **inputs: "tensor_pb2.TensorProto"
    ) -> dict[str, "tensor_pb2.TensorProto"]:
        request = self._protocol.PredictRequest(
            model_spec=self._spec(signature), inputs=inputs
        )
        with self._clear_errors(self.timeout):
            return self._prediction.Predict(request, timeout=self.timeout).outputs

    def _array_tensor(self, array: np.ndarray) -> "tensor_pb2.TensorProto":
        proto = self._protocol.TensorProto(
            dtype=self._protocol.DT_UINT8, tensor_content=array.tobytes()
        )
        for size in array.shape:
            proto.tensor_shape.dim.add(size=size)
        return proto

    def _bytes_tensor(self, content: bytes) -> "tensor_pb2.TensorProto":
        proto = self._protocol.TensorProto(
            dtype=self._protocol.DT_STRING, string_val=[content]
        )
        proto.tensor_shape.dim.add(size=1)
        return proto

    def _read(
        self, outputs: dict[str, "tensor_pb2.TensorProto"], name: str
    ) -> np.ndarray:
        if name not in outputs:
            raise ServerError(
                grpc.StatusCode.INTERNAL,
                f"the answer of the server at {self.target} has no output {name!r},"
                f" only {sorted(outputs)}; is {self.model_name!r} a portrait-tf model?",
            )
        return self._protocol.make_ndarray(outputs[name])

    def _describe(self, infos) -> dict[str, TensorDescription]:  # noqa: ANN001
        described = {}
        for name, info in infos.items():
            shape = None
            if not info.tensor_shape.unknown_rank:
                shape = tuple(
                    None if dim.size < 0 else dim.size for dim in info.tensor_shape.dim
                )
            dtype = self._protocol.as_dtype(info.dtype).name
            described[name] = TensorDescription(dtype, shape)
        return described

    @contextlib.contextmanager
    def _clear_errors(self, timeout: float) -> Iterator[None]:
        try:
            yield
        except grpc.RpcError as error:
            code = error.code()
            said = (error.details() or "no reason given").strip().splitlines()[0]
            server = f"the server at {self.target}"
            if code == grpc.StatusCode.UNAVAILABLE:
                message = f"{server} cannot be reached: {said}"
            elif code == grpc.StatusCode.DEADLINE_EXCEEDED:
                message = f"{server} did not answer within {timeout:g} s"
            elif code == grpc.StatusCode.NOT_FOUND:
                message = f"{server} does not serve {self._wanted()}: {said}"
            elif code == grpc.StatusCode.INVALID_ARGUMENT:
                message = f"{server} refused the request: {said}"
            else:
                message = f"{server} answered {code.name}: {said}"
            raise ServerError(code, message) from error

    def _wanted(self) -> str:
        if self.version is None:
            return f"model {self.model_name!r}"
        return f"version {self.version} of model {self.model_name!r}"


@functools.cache
def _import_protocol() -> SimpleNamespace:
    import tensorflow as tf
    from tensorflow.core.framework import tensor_pb2, types_pb2
    from tensorflow_serving.apis import (
        get_model_metadata_pb2,
        get_model_status_pb2,
        model_pb2,
        model_service_pb2_grpc,
        predict_pb2,
        prediction_service_pb2_grpc,
    )

    return SimpleNamespace(
        DT_STRING=types_pb2.DT_STRING,
        DT_UINT8=types_pb2.DT_UINT8,
        GetModelMetadataRequest=get_model_metadata_pb2.GetModelMetadataRequest,
        GetModelStatusRequest=get_model_status_pb2.GetModelStatusRequest,
        ModelServiceStub=model_service_pb2_grpc.ModelServiceStub,
        ModelSpec=model_pb2.ModelSpec,
        ModelVersionStatus=get_model_status_pb2.ModelVersionStatus,
        PredictRequest=predict_pb2.PredictRequest,
        PredictionServiceStub=prediction_service_pb2_grpc.PredictionServiceStub,
        SignatureDefMap=get_model_metadata_pb2.SignatureDefMap,
        TensorProto=tensor_pb2.TensorProto,
        as_dtype=tf.as_dtype,
        make_ndarray=tf.make_ndarray,
    )


def _check_arrays(
    image: np.ndarray, mask: np.ndarray
) -> tuple[np.ndarray, np.ndarray, bool]:
    """Image and mask as batches, and whether they came as such."""
    for name, array in (("image", image), ("mask", mask)):
        if not isinstance(array, np.ndarray) or array.dtype != np.uint8:
            raise PortraitError(
                f"the {name} is {_kind(array)}; expected a numpy array of uint8, or the"
                " bytes of an image file"
            )
    if image.ndim not in (3, 4) or image.shape[-1] != 3 or 0 in image.shape:
        raise PortraitError(
            f"the image has shape {list(image.shape)}; expected RGB [H, W, 3] or"
            " [B, H, W, 3]"
        )
    expected = image.shape[:-1]
    if mask.shape not in (expected, (*expected, 1)):
        raise PortraitError(
            f"the mask has shape {list(mask.shape)}; expected"
            f" {[*expected, 1]} or {list(expected)} for an image of shape"
            f" {list(image.shape)}"
        )
    is_batch = image.ndim == 4
    image = image if is_batch else image[None]
    mask = mask.reshape(*image.shape[:-1], 1)
    without_hole = np.flatnonzero(~mask.any(axis=(1, 2, 3)))
    if without_hole.size:
        which = f"mask {without_hole[0]} of the batch" if is_batch else "the mask"
        raise PortraitError(
            f"{which} has no hole: all its pixels are 0; expected non-zero where the"
            " photo is to be filled"
        )
    return image, mask, is_batch


def _kind(value: object) -> str:
    if isinstance(value, np.ndarray):
        return f"an array of {value.dtype} and shape {list(value.shape)}"
    return f"a {type(value).__name__}"


def _decode_rgb(content: bytes) -> np.ndarray:
    import cv2

    picture = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    return cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)


def _decode_labels(content: bytes) -> np.ndarray:
    import cv2

    labels = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_GRAYSCALE)
    return labels[..., np.newaxis]
