"""The one road from a photo to a whole person: prepare, paint, finish.

`prepare_completion` and `prepare_extrapolation` read and check a photo without
networks. `Portrait.paint` runs the networks, and `Completion` writes the result. The
command line, folders, batches and the page all go this way; `Portrait.complete` does it
in one call.

What goes in comes out: an array gives arrays, an image images. A file gives images too,
and `save` writes them with all that the file had beside its pixels. Known pixels keep
their values, depth and channels: only the hole is painted.
"""

import dataclasses
import functools
import math
import numbers
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import BinaryIO

import numpy as np
from PIL import Image

from portrait_tf.errors import PortraitError, SizeError
from portrait_tf.files import write_result
from portrait_tf.inference.engines import Engine, open_engine
from portrait_tf.inference.extrapolation import (
    SIDES,
    Length,
    Margins,
    Wish,
    extrapolate_photo,
    parse_length,
)
from portrait_tf.inference.joints import find_doubtful, joint_notes, sample_joints
from portrait_tf.inference.large_photos import PhotoResult, complete_photo, parse_photo
from portrait_tf.labels import PALETTE, check_joints
from portrait_tf.photos import (
    MaskOptions,
    PhotoFile,
    compose,
    decode_photo,
    encode_photo,
    format_named,
    format_of,
    hole_from_alpha,
    hole_from_photo,
    open_photo,
    photo_of_image,
)
from portrait_tf.photos.joints import joints_by_name, read_joints
from portrait_tf.photos.masks import as_hole_mask
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

Joints = Mapping[str | int, Sequence[float]] | np.ndarray | str | os.PathLike
"""Where joints of the body are, in pixels of the photo: x and y by LIP's name
(`L_Ankle`, or in full `left_ankle`) or index; `[16, 3]` with 1 where given; or a file
that `portrait-tf parse` wrote. What is left out is for stage 1 to find."""


@dataclasses.dataclass(frozen=True)
class Prepared:
    """A photo that is read and checked, for `Portrait.paint`.

    Attributes:
        photo: As its file has it.
        pixels: RGB `uint8` `[H, W, 3]`: what the networks see of it.
        hole: `uint8` `[H, W]`, 255 = hole; None where the photo is extended.
        notes: What the user should know.
        wish: How the photo is extended; None where a hole is filled.
        parsing: The user's own label map of the result, if there is one.
        joints: The user's own joints `[16, 3]` (`labels.check_joints`), in
            pixels of the photo, if there are any.
        kind: What the result is given as: `array`, `flat` (an array of two
            dimensions), `image` or `file`.
        parsing_name: What to call the label map in messages.
    """

    photo: PhotoFile
    pixels: np.ndarray
    hole: np.ndarray | None
    notes: list[str]
    wish: Wish | None = None
    parsing: np.ndarray | None = None
    joints: np.ndarray | None = None
    kind: str = "file"
    parsing_name: str = "parsing"


def prepare_completion(
    photo: Picture,
    mask: Picture | None = None,
    parsing: Picture | None = None,
    options: MaskOptions = MaskOptions(),
    joints: Joints | None = None,
) -> Prepared:
    """Reads what `Portrait.complete` is given; arguments as there.

    Raises:
        PortraitError: One of them cannot be used; the message names it.
    """
    source, kind = _open(photo)
    hole, notes = find_hole(source, mask, options)
    labels = None if parsing is None else _labels(parsing, source.size)
    notes = [*source.notes, *notes]
    places = _places(joints, source.size)
    return Prepared(source, source.rgb(), hole, notes, None, labels, places, kind)


def prepare_extrapolation(
    photo: Picture,
    wish: Wish,
    parsing: Picture | None = None,
    joints: Joints | None = None,
) -> Prepared:
    """Reads a photo, and checks all of a wish that needs no networks.

    Args:
        photo: As of `Portrait.complete`.
        wish: How it is extended.
        parsing: The user's own label map of the result.
        joints: As of `Portrait.extrapolate`.

    Raises:
        PortraitError: The photo cannot be used, or not be extended so; or the label map
            cannot be read, or is not of the result's size; or joints are wrong.
    """
    source, kind = _open(photo)
    margins = _margins(source, kind, wish)
    labels, name = None, "parsing"
    if parsing is not None:
        # With `whole_body`, the size is known when stage 1 has seen the photo.
        size = None if wish.whole_body else margins.result_size(source.size)
        labels = _labels(parsing, size)
        name = str(parsing) if isinstance(parsing, (str, os.PathLike)) else name
    notes, places = list(source.notes), _places(joints, source.size)
    return Prepared(source, source.rgb(), None, notes, wish, labels, places, kind, name)


def find_hole(
    photo: PhotoFile, mask: Picture | None, options: MaskOptions = MaskOptions()
) -> tuple[np.ndarray, list[str]]:
    """The hole of a photo, `uint8` `[H, W]`, 255 = hole, and what to know of it.

    Args:
        photo: As it was read.
        mask: None: the photo's own transparent parts.
        options: How the mask is meant.

    Raises:
        PortraitError: The mask cannot be used.
    """
    if mask is None:
        return hole_from_alpha(photo, options)
    if isinstance(mask, np.ndarray):
        return as_hole_mask(mask, photo.size), []
    mask, _ = _open(mask, "mask")
    try:
        return hole_from_photo(mask, photo.size, options)
    except SizeError as error:
        if photo.orientation < 5:
            raise
        raise SizeError(
            f"{error}; the photo counts as upright, after its EXIF orientation"
        ) from None


def _margins(
    photo: PhotoFile,
    kind: str,
    wish: Wish,
    engine: Engine | None = None,
    pixels: np.ndarray | None = None,
    joints: np.ndarray | None = None,
) -> Margins:
    """The margins of a photo, without an engine as far as they are known then."""
    try:
        return wish.margins(photo.size, engine, pixels, joints)
    except PortraitError as error:
        # A server's error keeps its class and its code.
        if kind != "file" or type(error) is not PortraitError:
            raise
        raise PortraitError(f"{error}", path=photo.path) from None


class Completion:
    """A completed photo.

    Attributes:
        hole: `uint8` `[H, W]` of the result's size, 255 = what was painted.
        notes: What one ought to know, a sentence each.
    """

    def __init__(
        self,
        prepared: Prepared,
        result: PhotoResult,
        hole: np.ndarray,
        origin: tuple[int, int],
    ) -> None:
        self.hole = hole
        self.notes = [*prepared.notes, *result.notes]
        self._source, self._kind = prepared.photo, prepared.kind
        self._result, self._origin = result, origin

    @functools.cached_property
    def completed(self) -> np.ndarray | Image.Image:
        """Of the photo's kind: an array of its type and channels, or an image of its
        mode; outside the hole equal to the photo."""
        pixels = compose(self._source, self.rgb(), self.hole, self._origin)
        if self._kind in ("array", "flat"):
            return pixels[..., 0] if self._kind == "flat" else pixels
        channels = pixels.shape[2]
        if channels > 1:
            # Pillow has no color images of 16 bits.
            pixels = as_bytes(pixels)
        completed = Image.fromarray(pixels[..., 0] if channels == 1 else pixels)
        kept = {"icc_profile": self._source.icc, "dpi": self._source.dpi}
        completed.info.update({key: value for key, value in kept.items() if value})
        return completed

    @functools.cached_property
    def parsing(self) -> np.ndarray | Image.Image:
        """LIP's labels 0 to 19: `uint8` `[H, W]`, or an image of mode P whose palette
        is LIP's."""
        return _labels_as(self.labels, self._kind)

    @property
    def labels(self) -> np.ndarray:
        """`parsing` as an array, whatever the photo is."""
        return self._result.parsing

    def rgb(self) -> np.ndarray:
        """The photo as the networks see it: `uint8` `[H, W, 3]`, without alpha."""
        return self._result.completed

    def encode(
        self,
        name: str | os.PathLike,
        format: str | None = None,
        quality: int | None = None,
    ) -> tuple[bytes, list[str]]:
        """The content of a file, and sentences on what the format could not keep.

        Args:
            name: What to call the file in messages.
            format: Pillow's name; None for the photo's own.
            quality: 1 to 100, for formats with loss.

        Raises:
            PortraitError: The format cannot hold the photo.
        """
        return encode_photo(
            name, self._source, self.rgb(), self.hole, self._origin, format, quality
        )

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
        elif not self._source.format:
            raise PortraitError(
                "expected format=, such as 'png', as neither the open file nor the "
                "photo has a name whose extension says it, received none"
            )
        if not is_open:
            content, notes = self.encode(path, format, quality)
            write_result(path, content)
            return notes
        content, notes = self.encode("the open file", format, quality)
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
        joints: `float32` `[16, 3]`: x and y in pixels of the photo (the center of the
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
        return cls(open_engine(server, model, detail))

    def complete(
        self,
        photo: Picture,
        mask: Picture | None = None,
        parsing: Picture | None = None,
        joints: Joints | None = None,
    ) -> Completion:
        """Fills the hole of a photo.

        Args:
            photo: `uint8` or `uint16` `[H, W]` or `[H, W, C]`, C channels: gray, gray
                and alpha, RGB, RGBA; an image, whose pixels are taken as they lie; or
                a file, which is turned upright as its EXIF says.
            mask: As large. An array's hole is what is not zero, an image's or a file's
                what is lighter than 127. None: the photo's transparent parts.
            parsing: A map of one's own for the hole, as large: LIP's labels 0 to 19,
                any other value where stage 1 is to say. An image or a PNG file has
                labels as values or palette indices, or LIP's colors.
            joints: Where joints of the body are, in pixels of the photo, such as
                `{"left_ankle": (210, 590)}`; stage 1 draws the body about them. A
                `parsing` is painted by as it is: joints count where it is open.

        Raises:
            PortraitError: One of them cannot be used; or the server refuses, or the
                model takes no joints.
        """
        return self.paint(prepare_completion(photo, mask, parsing, joints=joints))

    def extrapolate(
        self,
        photo: Picture,
        top: float | str = 0.0,
        bottom: float | str = 0.0,
        left: float | str = 0.0,
        right: float | str = 0.0,
        *,
        margins: Margins | None = None,
        parsing: Picture | None = None,
        joints: Joints | None = None,
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
            parsing: A map of one's own for the new border, of the result's size; as
                for `complete`.
            joints: As for `complete`. They may lie outside the photo, whose first pixel
                is (0, 0) whatever is added.

        Raises:
            PortraitError: The photo or a margin cannot be used, or there is none.
        """
        lengths = {
            side: _length(given, side)
            for side, given in zip(SIDES, (top, bottom, left, right), strict=True)
        }
        if margins is not None:
            if any(length.value for length in lengths.values()):
                raise PortraitError("expected margins, or parts of the photo, not both")
            if not isinstance(margins, Margins) or not all(
                isinstance(pixels, numbers.Integral) for pixels in margins
            ):
                raise PortraitError(
                    expected="whole pixels such as Margins(bottom=200)",
                    received=repr(margins),
                )
            lengths = {
                side: Length(_as_float(pixels), "pixels")
                for side, pixels in margins._asdict().items()
            }
        return self.paint(prepare_extrapolation(photo, Wish(lengths), parsing, joints))

    def paint(self, prepared: Prepared) -> Completion:
        """Completes or extends a photo that is prepared.

        Raises:
            PortraitError: The engine refuses; or what stage 1 says of the photo does
                not go with the wish or the user's label map.
        """
        return self._paint(prepared, self._margins_of(prepared))

    def _paint(self, prepared: Prepared, margins: Margins) -> Completion:
        completion = self._answer(prepared, margins)
        if prepared.joints is not None:
            completion.notes += joint_notes(
                self.engine, prepared.pixels, completion.hole, prepared.joints,
                margins[::2],
            )  # fmt: skip
        return completion

    def candidates(
        self,
        photo: Picture | Prepared,
        mask: Picture | None = None,
        count: int = 4,
        seed: int = 0,
    ) -> list[Completion]:
        """Several answers with different poses, for somebody to choose from.

        Stage 1 says how sure it is of each joint that it cannot see; poses are drawn
        from its doubts (`inference.joints.sample_joints`).

        Args:
            photo: As for `complete`; or what `prepare_completion` or
                `prepare_extrapolation` returned.
            mask: As for `complete`.
            count: Number of answers.
            seed: The same seed draws the same poses.

        Returns:
            The answer of `complete` first, then the others.

        Raises:
            PortraitError: As `complete`; the count is below 1; stage 1 finds nobody, or
                takes no joints.
        """
        for name, value, least in (
            ("number of candidates", count, 1),
            ("seed", seed, 0),
        ):
            if not isinstance(value, numbers.Integral) or value < least:
                raise PortraitError(
                    f"expected a {name} of {least} or more, received {value!r}"
                )
        prepared = photo
        if not isinstance(photo, Prepared):
            prepared = prepare_completion(photo, mask)
        margins, rng = self._margins_of(prepared), np.random.default_rng(seed)
        answers = [self._paint(prepared, margins)]
        if count == 1:
            return answers
        origin = margins.top, margins.left
        found, free, height = find_doubtful(
            self.engine, prepared.pixels, answers[0].hole, prepared.joints, origin
        )
        for _ in range(count - 1):
            joints = sample_joints(found, free, height, rng)
            if prepared.joints is not None:
                joints += prepared.joints
            one = dataclasses.replace(prepared, joints=joints)
            answers.append(self._answer(one, margins))
        return answers

    def _margins_of(self, prepared: Prepared) -> Margins:
        """What is added; nothing where a hole is filled."""
        if prepared.wish is None:
            return Margins()
        return _margins(
            prepared.photo, prepared.kind, prepared.wish,
            self.engine, prepared.pixels, prepared.joints,
        )  # fmt: skip

    def _answer(self, prepared: Prepared, margins: Margins) -> Completion:
        size, joints, labels = prepared.photo.size, prepared.joints, prepared.parsing
        if prepared.wish is None:
            result = complete_photo(
                self.engine, prepared.pixels, prepared.hole, labels, joints
            )
            return Completion(prepared, result, prepared.hole, (0, 0))
        full = margins.result_size(size)
        if labels is not None:
            labels = check_parsing_map(labels, full, prepared.parsing_name)
        result = extrapolate_photo(
            self.engine, prepared.pixels, margins, labels, joints
        )
        hole = margins.hole(size)
        return Completion(prepared, result, hole, (margins.top, margins.left))

    def parse(
        self,
        photo: Picture,
        mask: Picture | None = None,
        joints: Joints | None = None,
    ) -> Structure:
        """The body structure, hole included: stage 1 alone.

        Args:
            photo: As for `complete`.
            mask: As for `complete`; None: nothing is missing.
            joints: As for `complete`.

        Raises:
            PortraitError: One of them cannot be used; or the server refuses.
        """
        source, kind = _open(photo)
        notes, hole = list(source.notes), None
        if mask is not None:
            hole, more = find_hole(source, mask)
            notes += more
        places = _places(joints, source.size)
        labels, found = parse_photo(self.engine, source.rgb(), hole, places)
        return Structure(_labels_as(labels, kind), found, notes)


def _length(given: float | str, side: str) -> Length:
    if isinstance(given, str):
        return parse_length(given, side)
    if isinstance(given, numbers.Real):
        return Length(_as_float(given), "part")
    raise PortraitError(
        f"the margin '{side}': expected a number such as 0.3, '30%' or '200px', "
        f"received {given!r}"
    )


def _as_float(number: numbers.Real) -> float:
    """A number, or what is larger than any."""
    try:
        return float(number)
    except OverflowError:
        return math.inf if number > 0 else -math.inf


def _open(picture: Picture, name: str = "photo") -> tuple[PhotoFile, str]:
    """Any picture as a file would be read, and its kind: `array`, `image`, `file`.

    Arrays of two dimensions are of kind `flat`.
    """
    if isinstance(picture, np.ndarray):
        return _open_array(picture, name)
    if isinstance(picture, Image.Image):
        return photo_of_image(picture, name), "image"
    if isinstance(picture, (str, os.PathLike)):
        return open_photo(picture, name), "file"
    if isinstance(picture, PhotoFile):
        return picture, "file"
    if hasattr(picture, "read"):
        try:
            data = picture.read()
        except (OSError, ValueError) as error:
            raise PortraitError(
                f"cannot read the open file: {error}", path=name
            ) from None
        if data == b"":
            raise PortraitError(
                path=name,
                expected="an open file at its beginning",
                received="one at its end",
            )
        if isinstance(data, bytes):
            return decode_photo(data, name, name), "file"
    raise PortraitError(
        f"expected an array, an image of Pillow, a path or a file open for "
        f"bytes, received "
        f"{type(picture).__name__}",
        path=name,
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
            f"expected uint8 or uint16 and the shape [height, width] or "
            "[height, width, 1 to 4 channels], received "
            f"{picture.dtype} {list(picture.shape)}",
            path=name,
        )
    kind = "flat" if picture.ndim == 2 else "array"
    return PhotoFile(pathlib.Path(name), "", pixels), kind


def _labels(parsing: Picture, size: tuple[int, int] | None) -> np.ndarray:
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


def _places(joints: Joints | None, size: tuple[int, int]) -> np.ndarray | None:
    """`float32` `[16, 3]`, as of `check_joints`; None where none is given."""
    if joints is None:
        return None
    if isinstance(joints, (str, os.PathLike)):
        joints = read_joints(joints, size)
    elif isinstance(joints, Mapping):
        joints = joints_by_name(joints)
    else:
        joints = check_joints(joints)
        if joints.ndim != 2:
            raise PortraitError(
                path="joints", expected="the shape [16, 3]", received=list(joints.shape)
            )
    return joints if joints.any() else None


def _labels_as(labels: np.ndarray, kind: str) -> np.ndarray | Image.Image:
    if kind in ("array", "flat"):
        return labels
    image = Image.fromarray(labels)
    image.putpalette(PALETTE.tobytes())
    return image
