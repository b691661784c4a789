"""Each call as a request and a function that reads its answer; nothing is sent here.

The clients, which only differ in how they wait, share all of this: what is checked,
which signature is chosen, how a request is built and an answer is read.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, TypeVar

import grpc
import numpy as np

from portrait_tf.errors import PortraitError
from portrait_tf.labels import NUM_JOINTS, check_joints
from serving.client import pictures
from serving.client.connection import (
    SURROGATE,
    check_choice,
    check_number,
    check_timeout,
)
from serving.client.errors import ServerError, server_error
from serving.client.pictures import Picture, PictureFile, describe, encode_png
from serving.client.protocol import (
    MESSAGES,
    METADATA,
    PREDICT,
    STATES,
    STATUS,
    decode_tensor,
    describe_tensor,
    encode_tensor,
)
from serving.client.results import (
    CompletionResult,
    ModelMetadata,
    ParsingResult,
    SignatureDescription,
    TensorDescription,
    VersionStatus,
)

_MAX_MESSAGE = 2**31 - 2**16
_SIDES = ("top", "bottom", "left", "right")
COMPLETING = ("serving_default", "encoded")

Result = TypeVar("Result")


@dataclasses.dataclass(frozen=True)
class Call(Generic[Result]):
    """One request, ready to be sent.

    Attributes:
        method: `/SERVICE/METHOD`.
        request: Its message.
        read: Makes the result of the answer; raises ServerError for an answer that is
            no portrait-tf model's.
        timeout: Seconds that it may take.
    """

    method: str
    request: Any
    read: Callable[[Any], Result]
    timeout: float

    @property
    def codecs(self) -> tuple[Callable, Callable]:
        """What makes bytes of the request, and a message of an answer's."""
        name = self.request.DESCRIPTOR.name.replace("Request", "Response")
        return type(self.request).SerializeToString, MESSAGES[name].FromString


class Calls:
    """Builds the calls of one client; its public methods are the clients' own.

    The settings are those of `PortraitClient`; PortraitError for those that cannot be.
    """

    def __init__(
        self,
        target: str,
        model_name: str,
        version: int | None,
        version_label: str | None,
        timeout: float,
        max_pixels: int,
    ):
        for kind, text in (("name", model_name), ("label", version_label or "none")):
            if not (isinstance(text, str) and text) or SURROGATE.search(text):
                raise PortraitError(f"the model's {kind} is {text!r}; expected a text")
        if version is not None and version_label is not None:
            raise PortraitError(
                f"version {version} and label {version_label!r} were both given;"
                " expected at most one"
            )
        if version is not None:
            check_number("version", version, "0 or above", 0, 2**63 - 1, whole=True)
        self.target = target
        self.model_name = model_name
        self.version = version
        self.version_label = version_label
        self.timeout = check_timeout(timeout)
        check_number("max_pixels", max_pixels, "at least 1", 1, whole=True)
        self.max_pixels = max_pixels

    @property
    def wanted(self) -> str:
        """The model, version or label asked for, in words."""
        model = f"model {self.model_name!r}"
        if self.version_label is not None:
            return f"label {self.version_label!r} of {model}"
        return model if self.version is None else f"version {self.version} of {model}"

    # === Calls ===

    def complete(
        self,
        image: Picture,
        mask: Picture,
        *,
        signature: str | None = None,
        parsing: bool = True,
        timeout: float | None = None,
    ) -> Call[CompletionResult]:
        """Fills the hole of a photo, or of each photo of a batch.

        Args:
            image: `uint8` RGB `[H, W, 3]` or `[B, H, W, 3]`; or a path, or the bytes
                of an image file.
            mask: `uint8`, non-zero = hole: `[H, W]` or `[H, W, 1]`, for a batch
                `[B, H, W]` or `[B, H, W, 1]`; or a path, or the bytes of an image
                file of the photo's size.
            signature: `serving_default` or `encoded`; None for the first with an
                image array and the second with an image file, which is smaller on the
                wire.
            parsing: Whether the parsing map is sent, too; without it a quarter less
                is on the wire.
            timeout: Seconds, in place of the client's.

        Returns:
            Photo and parsing map of the size that was sent.

        Raises:
            PortraitError: When image and mask do not fit together or have no hole, or
                when a file is missing, cut off, no picture or too large; nothing is
                sent then.
            ServerError: When the server cannot be reached, refuses or fails.
        """
        chosen = signature or (
            "serving_default" if isinstance(image, np.ndarray) else "encoded"
        )
        if chosen not in COMPLETING:
            raise PortraitError(
                f"signature {signature!r} does not complete; expected one of"
                f" {', '.join(COMPLETING)}"
            )
        suffix = ""
        if chosen == "encoded":
            images, masks, shape, is_batch = self._files(image, mask)
            inputs, suffix = {"image_bytes": images, "mask_bytes": masks}, "_bytes"
        else:
            image, mask, is_batch = self._arrays(image, mask)
            inputs, shape = {"image": image, "mask": mask}, image.shape[:3]

        def read(outputs: Mapping) -> CompletionResult:
            get = self._decoded if suffix else self._picture
            found = {
                name: get(outputs, name + suffix, (*shape, channels), is_batch)
                for name, channels in _wanted(parsing).items()
            }
            return CompletionResult(**found)

        outputs = [] if parsing else [f"completed{suffix}"]
        return self._predict(chosen, inputs, read, timeout, outputs)

    def complete_encoded(
        self, image_bytes: bytes, mask_bytes: bytes, *, timeout: float | None = None
    ) -> Call[tuple[bytes, bytes]]:
        """Fills the hole of a photo given and returned as image files.

        The files are sent as they are: a photo's EXIF orientation is not looked at.

        Args:
            image_bytes: The content of a JPEG or PNG file.
            mask_bytes: The same of a mask of the same size, non-zero = hole.
            timeout: Seconds, in place of the client's.

        Returns:
            The completed photo and the parsing map (labels as gray values), as PNG.

        Raises:
            PortraitError: When either is not bytes, empty, cut off or too large.
            ServerError: As for `complete`; INVALID_ARGUMENT when the server cannot
                decode the files or their sizes differ.
        """
        for name, content in (("image", image_bytes), ("mask", mask_bytes)):
            if not isinstance(content, bytes):
                raise PortraitError(
                    f"the {name} is {describe(content)}; expected the bytes of an image"
                    " file, as the other one is"
                )
            pictures.open_file(content, name, self.max_pixels, known=False)
        names = ("completed_bytes", "parsing_bytes")
        return self._predict(
            "encoded",
            {"image_bytes": [image_bytes], "mask_bytes": [mask_bytes]},
            lambda outputs: tuple(
                self._tensor(outputs, name, "string", (1,))[0] for name in names
            ),
            timeout,
        )

    def complete_with_parsing(
        self,
        image: Picture,
        mask: Picture,
        parsing: Picture,
        *,
        timeout: float | None = None,
    ) -> Call[np.ndarray]:
        """Fills the hole as a parsing map of your own says: stage 2 alone.

        Args:
            image: As for `complete`.
            mask: As for `complete`.
            parsing: LIP labels 0 to 19 of the photo's size, as `parse` gives them:
                `uint8` `[H, W]` or `[H, W, 1]`, for a batch `[B, H, W]` or
                `[B, H, W, 1]`; any other value takes stage 1's prediction there. Or a
                path or the bytes of a PNG with such gray values.
            timeout: Seconds, in place of the client's.

        Returns:
            The photo, `uint8` RGB of the size that was sent.

        Raises:
            PortraitError: As for `complete`, and for the map.
            ServerError: As for `complete`; FAILED_PRECONDITION when the model was
                exported without this signature.
        """
        image, mask, is_batch = self._arrays(image, mask)
        parsing = self._parsing_map(parsing, mask.shape, is_batch)
        return self._predict(
            "complete_with_parsing",
            {"image": image, "mask": mask, "parsing": parsing},
            lambda outputs: self._picture(outputs, "completed", image.shape, is_batch),
            timeout,
        )

    def complete_with_joints(
        self,
        image: Picture,
        mask: Picture,
        joints: np.ndarray,
        *,
        timeout: float | None = None,
    ) -> Call[CompletionResult]:
        """Fills the hole with a body whose joints are where you say.

        Args:
            image: As for `complete`.
            mask: As for `complete`.
            joints: `[16, 3]`, or `[B, 16, 3]` for a batch, of LIP's joints: x and y in
                pixels of the photo (the center of the first is 0), and 1 where the
                joint is given or 0 where stage 1 is to find it.
            timeout: Seconds, in place of the client's.

        Returns:
            Photo, parsing map and joints, the given ones included.

        Raises:
            PortraitError: As for `complete`, and for the joints.
            ServerError: As for `complete`; FAILED_PRECONDITION when the model was
                exported without this signature, or takes no joints.
        """
        image, mask, is_batch = self._arrays(image, mask)

        def read(outputs: Mapping) -> CompletionResult:
            return CompletionResult(
                self._picture(outputs, "completed", image.shape, is_batch),
                self._picture(outputs, "parsing", mask.shape, is_batch),
                self._joints(outputs, len(image), is_batch),
            )

        inputs = {"image": image, "mask": mask}
        inputs["joints"] = _joints_of(joints, len(image), is_batch)
        return self._predict("complete_with_joints", inputs, read, timeout)

    def parse(
        self,
        image: Picture,
        mask: Picture,
        joints: np.ndarray | None = None,
        *,
        timeout: float | None = None,
    ) -> Call[ParsingResult]:
        """Predicts the body structure of a photo, hole included: stage 1 alone.

        Args:
            image: As for `complete`.
            mask: As for `complete`; it may be without a hole.
            joints: As for `complete_with_joints`, which is asked then, for its map and
                joints alone.
            timeout: Seconds, in place of the client's.

        Returns:
            Labels and joints.

        Raises:
            PortraitError: As for `complete`.
            ServerError: As for `complete_with_parsing`.
        """
        image, mask, is_batch = self._arrays(image, mask, needs_hole=False)

        def read(outputs: Mapping) -> ParsingResult:
            found = None
            if "joints" in outputs:
                found = self._joints(outputs, len(image), is_batch)
            labels = self._picture(outputs, "parsing", mask.shape, is_batch)
            return ParsingResult(labels, found)

        inputs = {"image": image, "mask": mask}
        if joints is None:
            return self._predict("parse", inputs, read, timeout)
        inputs["joints"] = _joints_of(joints, len(image), is_batch)
        # The server computes what is asked for: no photo is painted.
        wanted = ["parsing", "joints"]
        return self._predict("complete_with_joints", inputs, read, timeout, wanted)

    def extrapolate(
        self,
        image: Picture,
        top: float = 0.0,
        bottom: float = 0.0,
        left: float = 0.0,
        right: float = 0.0,
        *,
        unit: str = "fraction",
        signature: str | None = None,
        parsing: bool = True,
        timeout: float | None = None,
    ) -> Call[CompletionResult]:
        """Extends a photo, or each photo of a batch, past its border.

        Args:
            image: As for `complete`.
            top: What to add above; from 0 to 1 of the photo's height.
            bottom: The same below.
            left: To the left; from 0 to 1 of the photo's width.
            right: The same to the right.
            unit: `fraction`, or `pixels` for margins in whole pixels.
            signature: None or `extrapolate`, or `serving_default` or `encoded` to
                draw the larger canvas here, for a model that was exported without
                `extrapolate`.
            parsing: As for `complete`.
            timeout: Seconds, in place of the client's.

        Returns:
            Photo and parsing map of the extended size.

        Raises:
            PortraitError: As for `complete`, and for margins out of range or all 0.
            ServerError: As for `complete_with_parsing`.
        """
        image, is_batch = self._photo(image)
        size = image.shape[1:3]
        fractions = _margins_as_fractions((top, bottom, left, right), unit, size)
        pixels = self._margins_in_pixels(fractions, size)
        if signature in COMPLETING:
            canvas, mask = _extended(image, pixels[:2], pixels[2:])
            if not is_batch:
                canvas, mask = canvas[0], mask[0]
            return self.complete(
                canvas, mask, signature=signature, parsing=parsing, timeout=timeout
            )
        if signature not in (None, "extrapolate"):
            raise PortraitError(
                f"signature {signature!r} does not extrapolate; expected one of"
                f" extrapolate, {', '.join(COMPLETING)}"
            )
        margins = np.tile(np.array(fractions, np.float32), (len(image), 1))
        return self._predict(
            "extrapolate",
            {"image": image, "margins": margins},
            lambda outputs: self._canvas(outputs, image.shape[:3], is_batch, parsing),
            timeout,
            [] if parsing else ["completed", "size"],
        )

    def status(self, *, timeout: float | None = None) -> Call[list[VersionStatus]]:
        """The state of the versions the server knows, or of the one asked for.

        Raises:
            ServerError: As for `complete`; NOT_FOUND when there is no such model.
        """
        request = MESSAGES["GetModelStatusRequest"](model_spec=self._spec())

        def read(response: Any) -> list[VersionStatus]:
            return [
                VersionStatus(
                    entry.version,
                    STATES.get(entry.state, "UNKNOWN"),
                    entry.status.error_message,
                )
                for entry in response.model_version_status
            ]

        return Call(STATUS, request, read, self._seconds(timeout))

    def metadata(self, *, timeout: float | None = None) -> Call[ModelMetadata]:
        """The signatures of the model, and the version that has them.

        Raises:
            ServerError: As for `status`.
        """
        request = MESSAGES["GetModelMetadataRequest"](
            model_spec=self._spec(), metadata_field=["signature_def"]
        )

        def read(response: Any) -> ModelMetadata:
            packed = response.metadata["signature_def"].value
            try:
                found = MESSAGES["SignatureDefMap"].FromString(packed)
            except ValueError:  # Which protobuf's errors are.
                raise self._foreign("metadata that are no signatures") from None
            return ModelMetadata(
                response.model_spec.name,
                response.model_spec.version.value,
                {
                    name: SignatureDescription(
                        _describe(definition.inputs), _describe(definition.outputs)
                    )
                    for name, definition in found.signature_def.items()
                    # A SavedModel's initializer is listed too; nobody can call it.
                    if definition.inputs
                },
            )

        return Call(METADATA, request, read, self._seconds(timeout))

    # === Checks ===

    def _photo(self, image: Picture) -> tuple[np.ndarray, bool]:
        """The photo as a batch, and whether it came as one."""
        if not isinstance(image, np.ndarray):
            file = pictures.open_file(image, "image", self.max_pixels)
            image = pictures.decode_photo(file)
        _check_dtype(image, "image")
        if image.ndim not in (3, 4) or image.shape[-1] != 3 or 0 in image.shape:
            raise PortraitError(
                f"the image has shape {list(image.shape)}; expected RGB [H, W, 3] or"
                " [B, H, W, 3]"
            )
        pictures.check_pixels(image.shape[-3:-1], self.max_pixels, "the image")
        return (image, True) if image.ndim == 4 else (image[None], False)

    def _margins_in_pixels(
        self, fractions: list[float], size: tuple[int, int]
    ) -> np.ndarray:
        """Whole pixels, in the order of `_SIDES`."""
        pixels = np.rint(np.multiply(fractions, np.repeat(size, 2))).astype(int)
        if not pixels.any():
            raise PortraitError(
                "the margins are 0, or less than a pixel of a photo of"
                f" {size[0]}x{size[1]} (height x width); expected more"
            )
        extended = size[0] + pixels[:2].sum(), size[1] + pixels[2:].sum()
        pictures.check_pixels(extended, self.max_pixels, "the extended photo")
        return pixels

    def _arrays(
        self, image: Picture, mask: Picture, needs_hole: bool = True
    ) -> tuple[np.ndarray, np.ndarray, bool]:
        """Image and mask as batches, and whether they came as such."""
        image, is_batch = self._photo(image)
        if not isinstance(mask, np.ndarray):
            mask, _ = self._mask_of_file(mask)
        mask = _check_mask(mask, image.shape[:3], is_batch, needs_hole)
        return image, mask, is_batch

    def _files(
        self, image: Picture, mask: Picture
    ) -> tuple[list[bytes], list[bytes], tuple[int, int, int], bool]:
        """Image and mask as files, their `(B, H, W)`, and whether it is a batch."""
        if isinstance(image, np.ndarray):
            image, mask, is_batch = self._arrays(image, mask)
            images = [encode_png(one) for one in image]
            masks = [encode_png(one[..., 0]) for one in mask]
            return images, masks, image.shape[:3], is_batch
        file = pictures.open_file(image, "image", self.max_pixels)
        content = file.content
        if file.orientation != 1:
            # TensorFlow does not turn photos; a mask was drawn on the turned one.
            content = encode_png(pictures.decode_photo(file))
        mask_file = None
        if not isinstance(mask, np.ndarray):
            mask, mask_file = self._mask_of_file(mask)
        shape = (1, *file.size)
        mask = _check_mask(mask, shape, False)
        mask_content = mask_file.content if mask_file else encode_png(mask[0, ..., 0])
        return [content], [mask_content], shape, False

    def _mask_of_file(self, mask: Picture) -> tuple[np.ndarray, PictureFile | None]:
        """The mask, and its file if that can be sent as it is."""
        file = pictures.open_file(mask, "mask", self.max_pixels)
        array, is_exact = pictures.decode_mask(file)
        return array, file if is_exact else None

    def _parsing_map(
        self, parsing: Picture, expected: tuple[int, ...], is_batch: bool
    ) -> np.ndarray:
        if not isinstance(parsing, np.ndarray):
            file = pictures.open_file(parsing, "parsing map", self.max_pixels)
            parsing = pictures.decode_map(file)
        _check_dtype(parsing, "parsing map")
        return _check_shape(parsing, "parsing map", expected, is_batch)

    # === Requests ===

    def _predict(
        self,
        signature: str,
        inputs: Mapping[str, np.ndarray | list[bytes]],
        read: Callable[[Mapping], Result],
        timeout: float | None,
        output_filter: Sequence[str] = (),
    ) -> Call[Result]:
        request = MESSAGES["PredictRequest"](
            model_spec=self._spec(signature),
            inputs={name: encode_tensor(value) for name, value in inputs.items()},
            output_filter=output_filter,
        )
        size = request.ByteSize()
        if size > _MAX_MESSAGE:
            raise PortraitError(
                f"the request has {size} bytes; expected less than 2 GiB, gRPC's limit:"
                " send fewer photos at once"
            )
        return Call(
            PREDICT,
            request,
            lambda response: read(response.outputs),
            self._seconds(timeout),
        )

    def _spec(self, signature: str = "") -> Any:
        spec = MESSAGES["ModelSpec"](name=self.model_name, signature_name=signature)
        if self.version is not None:
            spec.version.value = self.version
        elif self.version_label is not None:
            spec.version_label = self.version_label
        return spec

    def _seconds(self, timeout: float | None) -> float:
        return self.timeout if timeout is None else check_timeout(timeout)

    # === Answers ===

    def _picture(
        self, outputs: Mapping, name: str, shape: tuple[int, ...], is_batch: bool
    ) -> np.ndarray:
        value = self._tensor(outputs, name, "uint8", shape)
        return value if is_batch else value[0]

    def _joints(self, outputs: Mapping, count: int, is_batch: bool) -> np.ndarray:
        value = self._tensor(outputs, "joints", "float32", (count, NUM_JOINTS, 3))
        return value if is_batch else value[0]

    def _decoded(
        self, outputs: Mapping, name: str, shape: tuple[int, ...], is_batch: bool
    ) -> np.ndarray:
        """As `_picture`, of PNGs."""
        found = [
            pictures.decode_answer(content, shape[1:3], shape[3])
            for content in self._tensor(outputs, name, "string", shape[:1])
        ]
        if any(picture is None for picture in found):
            size = f"{shape[1]}x{shape[2]}"
            raise self._foreign(f"output {name!r} that is no PNG of {size} pixels")
        return np.stack(found) if is_batch else found[0]

    def _canvas(
        self, outputs: Mapping, shape: tuple, is_batch: bool, parsing: bool
    ) -> CompletionResult:
        """What `extrapolate` answers: the size, which it rounds itself, on a canvas."""
        count, height, width = shape
        sizes = self._tensor(outputs, "size", "int32", (count, 2))
        sides = [range(1, 3 * side + 2) for side in (height, width)]
        found = {}
        for name, channels in _wanted(parsing).items():
            value = self._tensor(outputs, name, "uint8", (count, *sides, channels))
            rows, columns = sizes[0]
            fits = 1 <= rows <= value.shape[1] and 1 <= columns <= value.shape[2]
            if not fits or (sizes != sizes[0]).any():
                raise self._foreign(
                    f"output 'size' {sizes.tolist()} for {name!r} of shape"
                    f" {list(value.shape)}"
                )
            value = value[:, :rows, :columns]
            found[name] = value if is_batch else value[0]
        return CompletionResult(**found)

    def _tensor(
        self, outputs: Mapping, name: str, dtype: str, shape: Sequence[int | range]
    ) -> Any:
        """An output of the dtype and shape that it must have."""
        if name not in outputs:
            raise self._foreign(f"no output {name!r}, only {sorted(outputs)}")
        try:
            return decode_tensor(outputs[name], dtype, shape)
        except ValueError as error:
            raise self._foreign(f"{error} as output {name!r}") from None

    def _foreign(self, what: str) -> ServerError:
        return server_error(
            grpc.StatusCode.INTERNAL,
            f"the answer of the server at {self.target} has {what}; is"
            f" {self.model_name!r} a portrait-tf model?",
        )


def _wanted(parsing: bool) -> dict[str, int]:
    """The pictures of an answer, and their channels."""
    return {"completed": 3, "parsing": 1} if parsing else {"completed": 3}


def _describe(infos: Mapping[str, Any]) -> dict[str, TensorDescription]:
    return {
        name: TensorDescription(*describe_tensor(info)) for name, info in infos.items()
    }


def _check_dtype(array: np.ndarray, kind: str) -> None:
    if array.dtype != np.uint8:
        raise PortraitError(
            f"the {kind} is {describe(array)}; expected a numpy array of uint8, a path,"
            " or the bytes of an image file"
        )


def _check_shape(
    array: np.ndarray, kind: str, expected: tuple[int, ...], is_batch: bool
) -> np.ndarray:
    """The array as `expected`, `[B, H, W, 1]`; the channel may be left out."""
    wanted = list(expected if is_batch else expected[1:])
    if list(array.shape) not in (wanted, wanted[:-1]):
        image = [*wanted[:-1], 3]
        raise PortraitError(
            f"the {kind} has shape {list(array.shape)}; expected {wanted} or"
            f" {wanted[:-1]} for an image of shape {image}"
        )
    return array.reshape(expected)


def _joints_of(joints: np.ndarray, count: int, is_batch: bool) -> np.ndarray:
    """Joints as `float32` `[B, 16, 3]`."""
    joints = check_joints(joints)
    wanted = [count, NUM_JOINTS, 3] if is_batch else [NUM_JOINTS, 3]
    if list(joints.shape) != wanted:
        raise PortraitError(
            path="joints", expected=f"the shape {wanted}", received=list(joints.shape)
        )
    return joints.reshape(count, NUM_JOINTS, 3)


def _check_mask(
    mask: np.ndarray,
    size: tuple[int, int, int],
    is_batch: bool,
    needs_hole: bool = True,
) -> np.ndarray:
    _check_dtype(mask, "mask")
    mask = _check_shape(mask, "mask", (*size, 1), is_batch)
    if not needs_hole:
        return mask
    without_hole = np.flatnonzero(~mask.any(axis=(1, 2, 3)))
    if without_hole.size:
        which = f"mask {without_hole[0]} of the batch" if is_batch else "the mask"
        raise PortraitError(
            f"{which} has no hole: all its pixels are 0, or in a JPEG at most 127;"
            " expected others where the photo is to be filled"
        )
    return mask


def _extended(
    image: np.ndarray, rows: np.ndarray, columns: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Photos `[B, H, W, 3]` on a larger canvas, and its mask `[B, H2, W2, 1]`."""
    padding = ((0, 0), rows, columns, (0, 0))
    canvas = np.pad(image, padding, constant_values=128)
    known = np.zeros((*image.shape[:3], 1), np.uint8)
    return canvas, np.pad(known, padding, constant_values=255)


def _margins_as_fractions(
    margins: Sequence[float], unit: str, size: tuple[int, int]
) -> list[float]:
    """Of the photo's own size, in the order of `_SIDES`."""
    check_choice("unit", unit, "fraction", "pixels")
    found, whole = [], unit == "pixels"
    for side, margin, own in zip(_SIDES, margins, np.repeat(size, 2), strict=True):
        most, expected = 1, "0 to 1 of the photo"
        if whole:
            most = int(own)
            expected = f"whole pixels from 0 to the photo's own {most}"
            if isinstance(margin, float) and margin.is_integer():
                margin = int(margin)
        name = f"the margin {side!r}"
        found.append(check_number(name, margin, expected, 0, most, whole=whole) / most)
    return found
