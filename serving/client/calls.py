"""Each call as a request and a function that reads its answer; nothing is sent here.

The clients, which only differ in how they wait, share all of this: what is checked,
which signature is chosen, how a request is built and an answer is read.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import grpc
import numpy as np

from portrait_tf.errors import PortraitError
from serving.client import pictures
from serving.client.errors import ServerError, server_error
from serving.client.pictures import Picture, PictureFile, describe
from serving.client.protocol import import_protocol
from serving.client.results import (
    CompletionResult,
    ModelMetadata,
    ParsingResult,
    SignatureDescription,
    TensorDescription,
    VersionStatus,
)

NUM_LABELS = 20
PREDICT = 255
"""In a parsing map that is sent: take what stage 1 predicts for this pixel."""

_MAX_MESSAGE = 2**31 - 2**16
_SIDES = ("top", "bottom", "left", "right")
_COMPLETING = ("serving_default", "encoded")


@dataclasses.dataclass(frozen=True)
class Call:
    """One request, ready to be sent.

    Attributes:
        method: `Predict`, `GetModelMetadata` or `GetModelStatus`.
        request: Its message.
        read: Makes the result of the answer; raises ServerError for an answer that is
            no portrait-tf model's.
    """

    method: str
    request: Any
    read: Callable[[Any], Any]


class Calls:
    """Builds the calls of one client.

    Args:
        target: The server's address, for messages.
        model_name: The name that the model is served under.
        version: The version to ask for; None for the newest, or the label's.
        version_label: Such as `stable`; None for none.
        max_pixels: A photo, or what an extrapolation makes of it, may not have more.

    Raises:
        PortraitError: No name, a version and a label at once, or a negative number.
    """

    def __init__(
        self,
        target: str,
        model_name: str,
        version: int | None,
        version_label: str | None,
        max_pixels: int,
    ):
        if not model_name:
            raise PortraitError("the model's name is empty; expected one")
        if version is not None and version_label is not None:
            raise PortraitError(
                f"version {version} and label {version_label!r} were both given;"
                " expected at most one"
            )
        if version is not None and not 0 <= version < 2**63:
            raise PortraitError(f"version is {version}; expected 0 or above")
        if max_pixels < 1:
            raise PortraitError(f"max_pixels is {max_pixels}; expected at least 1")
        self.target = target
        self.model_name = model_name
        self.version = version
        self.version_label = version_label
        self.max_pixels = max_pixels
        self.protocol = import_protocol()

    @property
    def wanted(self) -> str:
        """The model, version or label asked for, in words."""
        model = f"model {self.model_name!r}"
        if self.version_label is not None:
            return f"label {self.version_label!r} of {model}"
        return model if self.version is None else f"version {self.version} of {model}"

    # === Calls ===

    def complete(self, image: Picture, mask: Picture, signature: str | None) -> Call:
        """Arrays go to `serving_default`, files to `encoded`, unless one is forced."""
        chosen = signature or (
            "serving_default" if isinstance(image, np.ndarray) else "encoded"
        )
        if chosen not in _COMPLETING:
            raise PortraitError(
                f"signature {signature!r} does not complete; expected one of"
                f" {', '.join(_COMPLETING)}"
            )
        if chosen == "encoded" and not isinstance(image, np.ndarray):
            return self._complete_file(image, mask)
        image, mask, is_batch = self._arrays(image, mask)
        if chosen == "encoded":
            from portrait_tf.photos import encode_png

            return self._complete_contents(
                [encode_png(one) for one in image],
                [encode_png(one[..., 0]) for one in mask],
                image.shape[1:3],
                is_batch,
            )
        return self._predict(
            chosen,
            {"image": image, "mask": mask},
            lambda outputs: CompletionResult(
                self._picture(outputs, "completed", image.shape, is_batch),
                self._picture(outputs, "parsing", mask.shape, is_batch),
            ),
        )

    def complete_encoded(self, image_bytes: bytes, mask_bytes: bytes) -> Call:
        """Files as they are; what is no picture, the server says."""
        for name, content in (("image", image_bytes), ("mask", mask_bytes)):
            if not isinstance(content, bytes):
                raise PortraitError(
                    f"the {name} is {describe(content)}; expected the bytes of an image"
                    " file, as the other one is"
                )
            pictures.open_file(content, name, self.max_pixels, known=False)
        return self._predict(
            "encoded",
            {"image_bytes": [image_bytes], "mask_bytes": [mask_bytes]},
            lambda outputs: (
                self._strings(outputs, "completed_bytes", 1)[0],
                self._strings(outputs, "parsing_bytes", 1)[0],
            ),
        )

    def complete_with_parsing(
        self, image: Picture, mask: Picture, parsing: Picture
    ) -> Call:
        """Stage 2 alone, on the map that is given."""
        image, mask, is_batch = self._arrays(image, mask)
        parsing = self._parsing_map(parsing, mask.shape, is_batch)
        return self._predict(
            "complete_with_parsing",
            {"image": image, "mask": mask, "parsing": parsing},
            lambda outputs: self._picture(outputs, "completed", image.shape, is_batch),
        )

    def parse(self, image: Picture, mask: Picture) -> Call:
        """Stage 1 alone, of a photo that may be whole."""
        image, mask, is_batch = self._arrays(image, mask, needs_hole=False)

        def read(outputs: Mapping) -> ParsingResult:
            joints = None
            if "joints" in outputs:
                shape = (len(image), 16, 3)
                joints = self._tensor(outputs, "joints", np.float32, shape)
                joints = joints if is_batch else joints[0]
            labels = self._picture(outputs, "parsing", mask.shape, is_batch)
            return ParsingResult(labels, joints)

        return self._predict("parse", {"image": image, "mask": mask}, read)

    def extrapolate(
        self,
        image: Picture,
        margins: Mapping[str, float],
        unit: str,
        signature: str | None,
    ) -> Call:
        """Margins go to the server, unless a signature that takes a mask is forced."""
        image, is_batch = self._photo(image)
        height, width = image.shape[1:3]
        fractions = _margins_as_fractions(margins, unit, (height, width))
        rows = [round(fractions[side] * height) for side in ("top", "bottom")]
        columns = [round(fractions[side] * width) for side in ("left", "right")]
        if not any(rows + columns):
            raise PortraitError(
                f"the margins are less than a pixel of a photo of {height}x{width}"
                " (height x width); expected more"
            )
        size = height + sum(rows), width + sum(columns)
        pictures.check_pixels(size, self.max_pixels, "the extended photo")
        if signature in _COMPLETING:
            padding = ((0, 0), rows, columns, (0, 0))
            canvas = np.pad(image, padding, constant_values=128)
            known = np.zeros((*image.shape[:3], 1), np.uint8)
            mask = np.pad(known, padding, constant_values=255)
            if not is_batch:
                canvas, mask = canvas[0], mask[0]
            return self.complete(canvas, mask, signature)
        if signature not in (None, "extrapolate"):
            raise PortraitError(
                f"signature {signature!r} does not extrapolate; expected one of"
                f" extrapolate, {', '.join(_COMPLETING)}"
            )

        def read(outputs: Mapping) -> CompletionResult:
            sizes = self._tensor(outputs, "size", np.int32, (len(image), 2))
            sample = tuple(sizes[0])
            canvas = (len(image), None, None)
            found = []
            for name, channels in (("completed", 3), ("parsing", 1)):
                value = self._tensor(outputs, name, np.uint8, (*canvas, channels))
                fits = (
                    1 <= sample[0] <= value.shape[1],
                    1 <= sample[1] <= value.shape[2],
                )
                if not all(fits) or (sizes != sizes[0]).any():
                    raise self._foreign(
                        f"output 'size' {sizes.tolist()} for {name!r} of shape"
                        f" {list(value.shape)}"
                    )
                value = value[:, : sample[0], : sample[1]]
                found.append(value if is_batch else value[0])
            return CompletionResult(*found)

        parts = np.array([[fractions[side] for side in _SIDES]], np.float32)
        parts = np.repeat(parts, len(image), axis=0)
        return self._predict("extrapolate", {"image": image, "margins": parts}, read)

    def status(self) -> Call:
        """The versions' states."""
        request = self.protocol.GetModelStatusRequest(model_spec=self._spec())

        def read(response: Any) -> list[VersionStatus]:
            name = self.protocol.ModelVersionStatus.State.Name
            return [
                VersionStatus(
                    entry.version, name(entry.state), entry.status.error_message
                )
                for entry in response.model_version_status
            ]

        return Call("GetModelStatus", request, read)

    def metadata(self) -> Call:
        """The signatures."""
        request = self.protocol.GetModelMetadataRequest(
            model_spec=self._spec(), metadata_field=["signature_def"]
        )

        def read(response: Any) -> ModelMetadata:
            found = self.protocol.SignatureDefMap()
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
                    # A SavedModel's initialiser is listed too; nobody can call it.
                    if definition.inputs
                },
            )

        return Call("GetModelMetadata", request, read)

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

    def _arrays(
        self, image: Picture, mask: Picture, needs_hole: bool = True
    ) -> tuple[np.ndarray, np.ndarray, bool]:
        """Image and mask as batches, and whether they came as such."""
        image, is_batch = self._photo(image)
        if not isinstance(mask, np.ndarray):
            mask, _ = self._mask_of_file(mask)
        mask = _check_mask(mask, image.shape[:3], is_batch, needs_hole)
        return image, mask, is_batch

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

    def _complete_file(self, image: Picture, mask: Picture) -> Call:
        from portrait_tf.photos import encode_png

        file = pictures.open_file(image, "image", self.max_pixels)
        size = pictures.shown_size(file.header)
        content = file.content
        if file.header.orientation != 1:
            # TensorFlow does not turn photos; a mask was drawn on the turned one.
            content = encode_png(pictures.decode_photo(file))
        mask_file = None
        if not isinstance(mask, np.ndarray):
            mask, mask_file = self._mask_of_file(mask)
        mask = _check_mask(mask, (1, *size), False)
        mask_content = mask_file.content if mask_file else encode_png(mask[0, ..., 0])
        return self._complete_contents([content], [mask_content], size, False)

    def _complete_contents(
        self,
        images: list[bytes],
        masks: list[bytes],
        size: tuple[int, int],
        is_batch: bool,
    ) -> Call:
        def read(outputs: Mapping) -> CompletionResult:
            found = []
            for name, channels in (("completed_bytes", 3), ("parsing_bytes", 1)):
                decoded = []
                for content in self._strings(outputs, name, len(images)):
                    picture = pictures.decode_answer(content, channels)
                    if picture is None or picture.shape[:2] != tuple(size):
                        raise self._foreign(
                            f"output {name!r} is no PNG of {size[0]}x{size[1]} pixels"
                        )
                    decoded.append(picture)
                found.append(np.stack(decoded) if is_batch else decoded[0])
            return CompletionResult(*found)

        return self._predict(
            "encoded", {"image_bytes": images, "mask_bytes": masks}, read
        )

    def _predict(
        self,
        signature: str,
        inputs: Mapping[str, np.ndarray | list[bytes]],
        read: Callable[[Mapping], Any],
    ) -> Call:
        request = self.protocol.PredictRequest(
            model_spec=self._spec(signature),
            inputs={
                name: self._strings_proto(value)
                if isinstance(value, list)
                else self._array_proto(value)
                for name, value in inputs.items()
            },
        )
        size = request.ByteSize()
        if size > _MAX_MESSAGE:
            raise PortraitError(
                f"the request has {size} bytes; expected less than 2 GiB, gRPC's limit:"
                " send fewer photos at once"
            )
        return Call("Predict", request, lambda response: read(response.outputs))

    def _spec(self, signature: str = "") -> Any:
        spec = self.protocol.ModelSpec(name=self.model_name, signature_name=signature)
        if self.version is not None:
            spec.version.value = self.version
        elif self.version_label is not None:
            spec.version_label = self.version_label
        return spec

    def _array_proto(self, array: np.ndarray) -> Any:
        dtypes = {"uint8": self.protocol.DT_UINT8, "float32": self.protocol.DT_FLOAT}
        proto = self.protocol.TensorProto(
            dtype=dtypes[array.dtype.name], tensor_content=array.tobytes()
        )
        for size in array.shape:
            proto.tensor_shape.dim.add(size=size)
        return proto

    def _strings_proto(self, contents: list[bytes]) -> Any:
        proto = self.protocol.TensorProto(
            dtype=self.protocol.DT_STRING, string_val=contents
        )
        proto.tensor_shape.dim.add(size=len(contents))
        return proto

    # === Answers ===

    def _picture(
        self, outputs: Mapping, name: str, shape: tuple[int, ...], is_batch: bool
    ) -> np.ndarray:
        value = self._tensor(outputs, name, np.uint8, shape)
        return value if is_batch else value[0]

    def _strings(self, outputs: Mapping, name: str, count: int) -> np.ndarray:
        return self._tensor(outputs, name, np.object_, (count,))

    def _tensor(
        self,
        outputs: Mapping,
        name: str,
        dtype: type,
        shape: tuple[int | None, ...],
    ) -> np.ndarray:
        """An output of the dtype and shape (None: any) that it must have."""
        if name not in outputs:
            raise self._foreign(f"no output {name!r}, only {sorted(outputs)}")
        value = self.protocol.make_ndarray(outputs[name])
        fits = value.dtype == dtype and value.ndim == len(shape)
        if not fits or any(
            wanted not in (None, size)
            for wanted, size in zip(shape, value.shape, strict=True)
        ):
            raise self._foreign(f"{describe(value)} as output {name!r}")
        return value

    def _foreign(self, what: str) -> ServerError:
        return server_error(
            grpc.StatusCode.INTERNAL,
            f"the answer of the server at {self.target} has {what}; is"
            f" {self.model_name!r} a portrait-tf model?",
        )

    def _describe(self, infos: Mapping[str, Any]) -> dict[str, TensorDescription]:
        described = {}
        for name, info in infos.items():
            shape = None
            if not info.tensor_shape.unknown_rank:
                shape = tuple(
                    None if dim.size < 0 else dim.size for dim in info.tensor_shape.dim
                )
            dtype = self.protocol.as_dtype(info.dtype).name
            described[name] = TensorDescription(dtype, shape)
        return described


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


def _margins_as_fractions(
    margins: Mapping[str, float], unit: str, size: tuple[int, int]
) -> dict[str, float]:
    from portrait_tf.photos import check_margins

    if unit == "pixels":
        sides = {"top": size[0], "bottom": size[0], "left": size[1], "right": size[1]}
        for name, value in margins.items():
            if not 0 <= value <= sides[name] or value != int(value):
                raise PortraitError(
                    f"the margin {name!r} is {value} pixels; expected a whole number"
                    f" from 0 to the photo's own {sides[name]}"
                )
        margins = {name: value / sides[name] for name, value in margins.items()}
    elif unit != "fraction":
        raise PortraitError(f"unit is {unit!r}; expected 'fraction' or 'pixels'")
    check_margins(dict(margins))
    return dict(margins)
