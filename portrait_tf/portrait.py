"""Completion and extrapolation from Python, for arrays, Pillow's images and files.

What goes in comes out: an array gives arrays, an image images. A file gives images too,
and `save` writes them as the command line does, with all that the file had beside its
pixels. Known pixels keep their values, depth and channels: only the hole is painted.
"""

import dataclasses
import numbers
import os
import pathlib
from typing import Any, BinaryIO

import numpy as np
from PIL import Image

from portrait_tf.errors import PortraitError
from portrait_tf.inference.engines import Engine, open_engine
from portrait_tf.inference.extrapolation import (
    SIDES,
    Length,
    Margins,
    extrapolate_photo,
    margins_for_lengths,
    parse_length,
)
from portrait_tf.inference.large_photos import PhotoResult, complete_photo, parse_photo
from portrait_tf.labels import PALETTE
from portrait_tf.photos import (
    PhotoFile,
    compose,
    decode_photo,
    encode_photo,
    format_named,
    format_of,
    hole_from_alpha,
    hole_from_photo,
    open_photo,
    read_hole,
    write_photo,
)
from portrait_tf.photos.masks import HOLE, as_hole_mask
from portrait_tf.photos.parsing_maps import (
    check_lossless,
    check_parsing_map,
    labels_of_colors,
    read_parsing_map,
)
from portrait_tf.photos.photo_file import as_bytes

Picture = np.ndarray | Image.Image | str | os.PathLike | BinaryIO | PhotoFile
"""An array, an image, the path of a file, an open file, or what `photos.open_photo`
read of one."""


@dataclasses.dataclass(frozen=True)
class Completion:
    """A completed photo.

    Attributes:
        completed: Of the photo's kind: an array of its type and channels, or an image
            of its mode; outside the hole equal to the photo.
        parsing: LIP's labels 0 to 19: `uint8` `[H, W]`, or an image of mode P whose
            palette is LIP's.
        notes: What one ought to know, a sentence each.
    """

    completed: np.ndarray | Image.Image
    parsing: np.ndarray | Image.Image
    notes: list[str]
    _written: dict[str, Any] = dataclasses.field(repr=False, compare=False)

    def rgb(self) -> np.ndarray:
        """The photo as the networks see it: `uint8` `[H, W, 3]`, without alpha."""
        return self._written["completed"]

    def save(
        self,
        path: str | os.PathLike | BinaryIO,
        quality: int | None = None,
        format: str | None = None,
    ) -> list[str]:
        """Writes the photo as `portrait-tf complete -o` does.

        What the photo's file had beside its pixels (16 bits, EXIF, profile) is kept:
        docs/photos.md.

        Args:
            path: A file, which is written whole or not at all; or an open one with
                `write`, such as an `io.BytesIO`.
            quality: 1 to 100, for formats with loss.
            format: Such as `"png"`; None: that of the extension, or for an open file
                without a name the format of the photo's own file.

        Returns:
            Sentences on what the format could not keep.

        Raises:
            PortraitError: No such format, none that is known, or the file cannot be
                written.
        """
        is_open = hasattr(path, "write")
        if not (is_open or isinstance(path, (str, os.PathLike))):
            raise PortraitError(
                "expected the path of a file, or a file open for bytes, received "
                f"{type(path).__name__}"
            )
        if format is not None:
            format = format_named(format)
        elif not is_open:
            format = format_of(path)
        elif isinstance(name := getattr(path, "name", None), str):
            format = format_of(name)
        elif not self._written["photo"].format:
            raise PortraitError(
                "expected format=, such as 'png', as neither the open file nor the "
                "photo has a name whose extension says it, received none"
            )
        if not is_open:
            return write_photo(path, **self._written, format=format, quality=quality)
        content, notes = encode_photo(
            "the open file", **self._written, format=format, quality=quality
        )
        try:
            path.write(content)
        except (OSError, TypeError, ValueError) as error:
            raise PortraitError(
                f"expected a file open for bytes, cannot write: {error}"
            ) from None
        return notes


@dataclasses.dataclass(frozen=True)
class Structure:
    """What stage 1 sees.

    Attributes:
        parsing: As `Completion.parsing`.
        joints: `float32` `[16, 3]`: x and y in pixels of the photo (the centre of the
            first is 0), and confidence, in the order of `portrait_tf.labels.JOINTS`;
            None if the model has no pose.
        notes: What one ought to know, a sentence each.
    """

    parsing: np.ndarray | Image.Image
    joints: np.ndarray | None
    notes: list[str]


class Portrait:
    """Completes and extends photos of people.

    Args:
        engine: Where the networks run (`inference.engines`); `load` opens one.

    Example:

    ```python
    from portrait_tf import Portrait

    portrait = Portrait.load()
    portrait.complete("photo.jpg", "mask.png").save("whole.jpg")
    ```
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    @classmethod
    def load(
        cls,
        model: str | os.PathLike | None = None,
        server: str | None = None,
        detail: bool | None = None,
    ) -> "Portrait":
        """Opens the bundled weights, an exported model, or a server.

        Args:
            model: A folder that `portrait-tf export` wrote.
            server: `HOST:PORT` of TensorFlow Serving's gRPC.
            detail: Whether holes of photos above the working size are given the photo's
                own texture; None: as the model was made.

        Raises:
            PortraitError: Both are given, or the one given cannot be used.
        """
        from portrait_tf.startup import load_tensorflow

        load_tensorflow()
        return cls(open_engine(server, model, detail))

    def complete(
        self,
        photo: Picture,
        mask: Picture | None = None,
        parsing: Picture | None = None,
    ) -> Completion:
        """Fills the hole of a photo.

        Args:
            photo: `uint8` or `uint16` `[H, W]` or `[H, W, C]`, C channels: grey, grey
                and alpha, RGB, RGBA; an image, whose pixels are taken as they lie; or
                a file, which is turned upright as its EXIF says.
            mask: As large. An array's hole is what is not zero, an image's or a file's
                what is lighter than 127. None: the photo's transparent parts.
            parsing: A map of one's own for the hole, as large: LIP's labels 0 to 19,
                any other value where stage 1 is to say. An image or a PNG file has
                labels as values or palette indices, or LIP's colours.

        Raises:
            PortraitError: One of them cannot be used; or the server refuses.
        """
        source, kind = _open(photo)
        notes = list(source.notes)
        if mask is None:
            hole, more = hole_from_alpha(source)
        else:
            hole, more = _hole(mask, source.size)
        labels = None if parsing is None else _labels(parsing, source.size)
        given = {} if labels is None else {"parsing": labels}
        result = complete_photo(self.engine, source.rgb(), hole, **given)
        return _completion(source, kind, result, hole, (0, 0), notes + more)

    def extrapolate(
        self,
        photo: Picture,
        top: float | str = 0.0,
        bottom: float | str = 0.0,
        left: float | str = 0.0,
        right: float | str = 0.0,
        *,
        margins: Margins | None = None,
    ) -> Completion:
        """Extends a photo past its border.

        Args:
            photo: As for `complete`.
            top: What to add above: a part of the height such as 0.3 or `"30%"`, or
                pixels such as `"200px"`.
            bottom: As `top`.
            left: As `top`, of the width.
            right: As `left`.
            margins: In place of these, pixels; `inference.extrapolation` has more
                ways to come by them.

        Raises:
            PortraitError: The photo or a margin cannot be used, or there is none.
        """
        source, kind = _open(photo)
        lengths = {
            side: _length(given, side)
            for side, given in zip(SIDES, (top, bottom, left, right), strict=True)
        }
        if margins is None:
            margins = margins_for_lengths(source.size, lengths)
        elif any(length.value for length in lengths.values()):
            raise PortraitError("expected margins, or parts of the photo, not both")
        if not any(margins):
            raise PortraitError(
                f"expected at least one margin ({', '.join(margins._fields)}) of a "
                "pixel or more, received none"
            )
        result = extrapolate_photo(self.engine, source.rgb(), margins)
        hole = np.full(result.completed.shape[:2], HOLE, np.uint8)
        height, width = source.size
        rows = slice(margins.top, margins.top + height)
        hole[rows, margins.left : margins.left + width] = 0
        origin = (margins.top, margins.left)
        return _completion(source, kind, result, hole, origin, list(source.notes))

    def parse(self, photo: Picture, mask: Picture | None = None) -> Structure:
        """The body structure, hole included: stage 1 alone.

        Args:
            photo: As for `complete`.
            mask: As for `complete`; None: nothing is missing.

        Raises:
            PortraitError: One of them cannot be used; or the server refuses.
        """
        source, kind = _open(photo)
        notes = list(source.notes)
        hole = None
        if mask is not None:
            hole, more = _hole(mask, source.size)
            notes += more
        labels, joints = parse_photo(self.engine, source.rgb(), hole)
        return Structure(_labels_as(labels, kind), joints, notes)


def _length(given: float | str, side: str) -> Length:
    if isinstance(given, str):
        return parse_length(given, side)
    if isinstance(given, numbers.Real):
        return Length(float(given), "part")
    raise PortraitError(
        f"the margin '{side}': expected a number such as 0.3, '30%' or '200px', "
        f"received {given!r}"
    )


def _open(picture: Picture, name: str = "photo") -> tuple[PhotoFile, str]:
    """Any picture as a file would be read, and its kind: `array`, `image`, `file`.

    Arrays of two dimensions are of kind `flat`.
    """
    if isinstance(picture, np.ndarray):
        return _open_array(picture, name)
    if isinstance(picture, Image.Image):
        return _open_image(picture, name), "image"
    if isinstance(picture, (str, os.PathLike)):
        return open_photo(picture, name), "file"
    if isinstance(picture, PhotoFile):
        return picture, "file"
    if hasattr(picture, "read"):
        data = picture.read()
        if isinstance(data, bytes):
            return decode_photo(data, name, name), "file"
    raise PortraitError(
        f"{name}: expected an array, an image of Pillow, a path or a file open for "
        f"bytes, received "
        f"{type(picture).__name__}"
    )


def _open_array(picture: np.ndarray, name: str) -> tuple[PhotoFile, str]:
    pixels = picture[..., None] if picture.ndim == 2 else picture
    if (
        picture.dtype not in (np.uint8, np.uint16)
        or pixels.ndim != 3
        or not 1 <= pixels.shape[2] <= 4
        or 0 in pixels.shape
    ):
        raise PortraitError(
            f"{name}: expected uint8 or uint16 and the shape [height, width] or "
            "[height, width, 1 to 4 channels], received "
            f"{picture.dtype} {list(picture.shape)}"
        )
    kind = "flat" if picture.ndim == 2 else "array"
    return PhotoFile(pathlib.Path(name), "", pixels), kind


def _open_image(image: Image.Image, name: str) -> PhotoFile:
    mode, transparent = image.mode, "transparency" in image.info
    icc = image.info.get("icc_profile")
    notes = []
    if mode == "1" or (mode == "L" and not transparent):
        image = image.convert("L")
    elif mode in ("L", "La"):
        image = image.convert("LA")
    elif mode in ("P", "PA", "RGBa") or (mode == "RGB" and transparent):
        alpha = transparent or mode != "P"
        image = image.convert("RGBA" if alpha else "RGB")
    elif mode in ("CMYK", "YCbCr", "LAB", "HSV", "RGBX"):
        image, icc = image.convert("RGB"), None
        notes.append(f"{mode} was converted to RGB")
    elif mode not in ("LA", "RGB", "RGBA") and not mode.startswith("I;16"):
        raise PortraitError(
            f"{name}: expected an image of 8 or 16 bits a channel, received mode {mode}"
        )
    try:
        pixels = np.asarray(image)
    except (OSError, SyntaxError, ValueError) as error:
        raise PortraitError(f"{name}: cannot decode the image: {error}") from None
    if mode.startswith("I;16"):
        pixels = pixels.astype(np.uint16)
    pixels = pixels[..., None] if pixels.ndim == 2 else pixels
    photo = PhotoFile(pathlib.Path(name), "", pixels, icc=icc, notes=notes)
    photo.dpi = image.info.get("dpi")
    return photo


def _hole(mask: Picture, size: tuple[int, int]) -> tuple[np.ndarray, list[str]]:
    if isinstance(mask, np.ndarray):
        return as_hole_mask(mask, size), []
    if isinstance(mask, (str, os.PathLike)):
        return read_hole(mask, size)
    return hole_from_photo(_open(mask, "mask")[0], size)


def _labels(parsing: Picture, size: tuple[int, int]) -> np.ndarray:
    """`uint8` `[H, W]`: 0 to 19, and 255 where stage 1 is to say."""
    if isinstance(parsing, (str, os.PathLike)):
        return read_parsing_map(parsing, size)
    name = "parsing"
    if isinstance(parsing, Image.Image):
        # None for an image that is of no file. Of WebP, Pillow does not tell.
        check_lossless(parsing.format or "", name)
        if parsing.mode not in ("P", "L"):
            parsing = labels_of_colors(np.asarray(parsing.convert("RGB")), name)
    return check_parsing_map(np.asarray(parsing), size, name)


def _labels_as(labels: np.ndarray, kind: str) -> np.ndarray | Image.Image:
    if kind in ("array", "flat"):
        return labels
    image = Image.fromarray(labels)
    image.putpalette(PALETTE.tobytes())
    return image


def _completion(
    source: PhotoFile,
    kind: str,
    result: PhotoResult,
    hole: np.ndarray,
    origin: tuple[int, int],
    notes: list[str],
) -> Completion:
    pixels = compose(source, result.completed, hole, origin)
    if kind in ("array", "flat"):
        completed = pixels[..., 0] if kind == "flat" else pixels
    else:
        channels = pixels.shape[2]
        if channels > 1:
            # Pillow has no colour images of 16 bits.
            pixels = as_bytes(pixels)
        completed = Image.fromarray(pixels[..., 0] if channels == 1 else pixels)
        kept = {"icc_profile": source.icc, "dpi": source.dpi}
        completed.info.update({key: value for key, value in kept.items() if value})
    written = {
        "photo": source,
        "completed": result.completed,
        "hole": hole,
        "origin": origin,
    }
    labels = _labels_as(result.parsing, kind)
    return Completion(completed, labels, notes + result.notes, written)
