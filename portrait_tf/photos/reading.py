"""A photographer's files: pixels as they are stored, and all that is said of them.

The networks see 8-bit RGB, upright, in the photo's own colour space; what is stored
(16 bits, alpha, grey, profile, EXIF) stays beside it and is written back by
`portrait_tf.photos.writing`. docs/photos.md is the table of it.
"""

import dataclasses
import functools
import importlib.util
import io
import math
import pathlib
import struct
import threading
import warnings
from typing import Any

import cv2
import numpy as np
from PIL import Image, ImageCms, JpegImagePlugin, UnidentifiedImageError, features

from portrait_tf.errors import PortraitError
from portrait_tf.photos import containers, tiff
from portrait_tf.photos.arrays import check_image_bytes, read_file
from portrait_tf.photos.orientation import (
    EXIF_PREFIX,
    read_orientation,
    turn_back,
    turn_upright,
)

FORMATS = {
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".jpe": "JPEG",
    ".jfif": "JPEG",
    ".png": "PNG",
    ".webp": "WEBP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".bmp": "BMP",
    ".heic": "HEIF",
    ".heif": "HEIF",
    ".hif": "HEIF",
    ".avif": "AVIF",
    ".gif": "GIF",
    ".jp2": "JPEG2000",
}
"""Pillow's name of the format that an extension stands for, of all that are read."""

_ALWAYS = ("JPEG", "PNG", "WEBP", "BMP", "GIF")
_NAMES = "JPEG, PNG, WebP, TIFF, BMP, AVIF, HEIC, GIF or JPEG 2000"
_DECODER_ERRORS = (
    *(OSError, SyntaxError, ValueError, TypeError, EOFError, struct.error),
    *(IndexError, KeyError, OverflowError, RuntimeError),
)
_DEEP = 16

_warnings_lock = threading.Lock()


@dataclasses.dataclass
class PhotoFile:
    """A photo, and what its file says beside the pixels.

    Attributes:
        path: Where it was read; a string for what `decode_photo` was given.
        format: Pillow's name, as in `FORMATS`.
        pixels: `uint8` or `uint16` `[H, W, C]`, upright: grey, grey and alpha, RGB, or
            RGBA.
        orientation: EXIF's, 1 to 8: how the file stores them.
        exif: The block from its byte order on, or None.
        icc: Colour profile of `pixels`.
        xmp: XMP, or None.
        dpi: Pixels an inch, x and y, or None.
        encoding: What its format alone has; `portrait_tf.photos.writing` reads it.
        notes: Sentences on what cannot be kept.
    """

    path: str | pathlib.Path
    format: str
    pixels: np.ndarray
    orientation: int = 1
    exif: bytes | None = None
    icc: bytes | None = None
    xmp: bytes | None = None
    dpi: tuple[float, float] | None = None
    encoding: dict[str, Any] = dataclasses.field(default_factory=dict)
    notes: list[str] = dataclasses.field(default_factory=list)

    @property
    def alpha(self) -> np.ndarray | None:
        """`[H, W]`, of the type of `pixels`; None without an alpha channel."""
        return self.pixels[..., -1] if self.pixels.shape[2] in (2, 4) else None

    @property
    def is_grey(self) -> bool:
        return self.pixels.shape[2] <= 2

    @property
    def size(self) -> tuple[int, int]:
        """Height and width, upright."""
        return self.pixels.shape[:2]

    def rgb(self) -> np.ndarray:
        """What the networks see: `uint8` `[H, W, 3]`, transparent parts over white.

        Editors leave any colour in transparent pixels; what nobody sees should not
        lead the networks. The array is the caller's to change.
        """
        seen = over_white(self.pixels)
        return seen.copy() if np.may_share_memory(seen, self.pixels) else seen


def as_bytes(pixels: np.ndarray) -> np.ndarray:
    """`uint16` to the nearest `uint8`; `uint8` as it is."""
    if pixels.dtype == np.uint8:
        return pixels
    return _nearest_byte()[pixels]


@functools.cache
def _nearest_byte() -> np.ndarray:
    return ((np.arange(1 << 16) + 128) // 257).astype(np.uint8)


def over_white(pixels: np.ndarray) -> np.ndarray:
    """RGB `uint8` `[H, W, 3]` of any pixels of a `PhotoFile`."""
    pixels = as_bytes(pixels)
    channels = pixels.shape[2]
    colours = pixels[..., : 1 if channels <= 2 else 3]
    if channels in (2, 4):
        see_through = pixels[..., -1] < 255
        colours = colours.copy()
        alpha = pixels[see_through, -1:].astype(np.uint32)
        laid = colours[see_through] * alpha + 255 * (255 - alpha)
        colours[see_through] = (laid + 127) // 255
    if channels <= 2:
        colours = np.repeat(colours, 3, axis=2)
    return np.ascontiguousarray(colours)


def heif_is_installed() -> bool:
    """Whether the extra `heic` is there; Pillow reads HEIC from then on."""
    if importlib.util.find_spec("pillow_heif") is None:
        return False
    import pillow_heif

    pillow_heif.register_heif_opener(thumbnails=False)
    return True


def avif_is_supported() -> bool:
    """Whether this Pillow was built with AVIF, as its wheels are."""
    return features.check("avif")


def _boxed_format(data: bytes) -> str | None:
    """AVIF or HEIF, by the brands of an ISO file; None of another file."""
    if data[4:8] != b"ftyp":
        return None
    brands = {data[start : start + 4] for start in range(8, min(data[3], 256), 4)}
    if brands & {b"avif", b"avis"}:
        return "AVIF"
    heif = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
    return "HEIF" if brands.intersection(heif) else None


def _formats(data: bytes, path: str | pathlib.Path) -> tuple[str, ...]:
    """Pillow's formats to try.

    Raises:
        PortraitError: The file has one that is not installed.
    """
    boxed = _boxed_format(data)
    if boxed == "HEIF":
        if not heif_is_installed():
            raise PortraitError(
                f"{path}: to read HEIC, install the extra: pip install "
                "'portrait-tf[heic]'"
            )
        return ("HEIF",)
    if boxed == "AVIF":
        if not avif_is_supported():
            raise PortraitError(
                f"{path}: to read AVIF, expected a Pillow that was built with it, such "
                "as its wheels of 11.3 and later"
            )
        return ("AVIF",)
    # Only a file that begins like JPEG 2000, since not every Pillow has it.
    if data.startswith(containers.JPEG_2000):
        return ("JPEG2000",)
    return _ALWAYS


def open_photo(path: str | pathlib.Path, kind: str = "photo") -> PhotoFile:
    """Reads a photo, and what has to be kept of its file.

    Args:
        path: JPEG, PNG, WebP, TIFF, BMP, AVIF, GIF, JPEG 2000, or HEIC with the extra
            `heic`.
        kind: What to call it in a message.

    Raises:
        PortraitError: The file is missing, cut off or damaged; no picture of these
            formats; too large; or with numbers that are not of 8 or 16 bits.
    """
    path = pathlib.Path(path)
    return decode_photo(read_file(path, kind), path, kind)


def decode_photo(
    data: bytes, name: str | pathlib.Path, kind: str = "photo"
) -> PhotoFile:
    """As `open_photo`, of a file's content; for files that are not on this machine.

    Args:
        data: The file's bytes.
        name: What to call the file in messages; becomes `PhotoFile.path`.
        kind: As of `open_photo`.

    Raises:
        PortraitError: As `open_photo`.
    """
    try:
        # The filters belong to the process: threads in turn would leave "ignore" there.
        with _warnings_lock, warnings.catch_warnings():
            # Of a photo above half the limit, and of odd metadata.
            warnings.simplefilter("ignore")
            formats = _formats(data, name)
            opened = tiff.open_tiff(data)
            with opened or Image.open(io.BytesIO(data), formats=formats) as image:
                # Pillow has read the header only, and the size is within bounds.
                check_image_bytes(data, name, kind)
                return _take_apart(name, image, data, kind)
    except PortraitError:
        raise
    except UnidentifiedImageError:
        check_image_bytes(data, name, kind)
        raise PortraitError(
            f"{name}: expected a {kind} ({_NAMES}), cannot decode it"
        ) from None
    except Image.DecompressionBombError:
        raise PortraitError(
            f"{name}: expected a {kind} of at most "
            f"{2 * Image.MAX_IMAGE_PIXELS / 1e6:.0f} megapixels, received more"
        ) from None
    except _DECODER_ERRORS as error:
        check_image_bytes(data, name, kind)
        raise PortraitError(
            f"{name}: expected a whole {kind}, received a damaged file ({error})"
        ) from None


def _take_apart(
    path: str | pathlib.Path, image: Image.Image, data: bytes, kind: str
) -> PhotoFile:
    pictures = getattr(image, "n_frames", 1)
    photo = PhotoFile(
        path, "JPEG" if image.format == "MPO" else image.format, np.empty((0, 0, 3))
    )
    info = image.info
    photo.icc = info.get("icc_profile") or None
    photo.xmp = _xmp(info)
    photo.dpi = _dpi(info)
    photo.exif = (info.get("exif") or b"").removeprefix(EXIF_PREFIX) or None
    if photo.format == "TIFF":
        photo.orientation = image.tag_v2.get(274, 1)
        photo.encoding = {
            "tags": tiff.read_tags(image),
            "compressed": image.info.get("compression", "raw") != "raw",
            # Otherwise Pillow divides by alpha.
            "premultiplied": image.tag_v2.get(338, (2,))[0] == 1
            and (image.tag_v2.get(258, (1,))[0] == _DEEP or _is_planar_grey(image)),
        }
        exif, left_out = tiff.exif_from_tags(photo.encoding["tags"])
        photo.exif, photo.encoding["not_in_exif"] = exif or None, left_out
    elif photo.format == "PNG":
        photo.encoding = {"chunks": containers.kept_png_chunks(data)}
        photo.orientation = read_orientation(photo.exif)
    elif photo.format != "HEIF":  # Which Pillow's plugin turns by itself.
        photo.orientation = read_orientation(photo.exif)
    if photo.format == "JPEG":
        photo.encoding = _jpeg_encoding(image, data)
    elif photo.format == "WEBP":
        photo.encoding = {"lossless": containers.webp_is_lossless(data)}
    elif photo.format == "HEIF":
        photo.encoding = {"chroma": info.get("chroma")}
        _note_depth(photo, info.get("bit_depth") or 8)
    elif photo.format == "AVIF":
        _note_depth(photo, containers.avif_bits(data))
    elif photo.format == "JPEG2000" and image.mode != "I;16":
        _note_depth(photo, containers.jpeg2000_bits(data))
    pixels, turned = _deep_pixels(path, image, data, kind), False
    if pixels is None:
        pixels, turned = _pixels(image, photo, data), photo.format == "TIFF"
    # Which Pillow turns when it loads it.
    if not turned:
        pixels = turn_upright(pixels, photo.orientation)
    photo.pixels = np.ascontiguousarray(pixels)
    if pictures > 1:
        photo.notes.append(f"of {pictures} pictures in the file, the first is kept")
    return photo


def _dpi(info: dict) -> tuple[float, float] | None:
    """A resolution such as 0/0 is none."""
    dpi = info.get("dpi")
    if not dpi or not all(0 < dots < math.inf for dots in dpi):
        return None
    return tuple(map(float, dpi))


def _note_depth(photo: PhotoFile, bits: int) -> None:
    if bits > 8:
        photo.notes.append(f"of {bits} bits a channel, 8 are kept")


def _xmp(info: dict) -> bytes | None:
    xmp = info.get("xmp") or info.get("XML:com.adobe.xmp")
    return (xmp.encode() if isinstance(xmp, str) else xmp) or None


def _jpeg_encoding(image: Image.Image, data: bytes) -> dict[str, Any]:
    """Tables of luma and chroma `[8, 8]`, subsampling, and segments to copy."""
    tables = {
        index: np.array(table, int).reshape(8, 8)
        for index, table in image.quantization.items()
    }
    used = [tables[layer[3]] for layer in image.layer[:2] if layer[3] in tables]
    return {
        "tables": used,
        "subsampling": JpegImagePlugin.get_sampling(image),
        "progressive": bool(image.info.get("progressive")),
        "comment": image.info.get("comment"),
        "density": (image.info.get("jfif_unit"), image.info.get("jfif_density")),
        # Photoshop's block, where IPTC is: title, author, rights.
        "segments": [
            (marker, content)
            for marker, content in containers.jpeg_segments(data)
            if marker == 0xED
        ],
    }


def _deep_pixels(
    path: str | pathlib.Path, image: Image.Image, data: bytes, kind: str
) -> np.ndarray | None:
    """`uint16` `[H, W, C]` as stored, which Pillow has for grey alone; else None."""
    if image.format == "PNG" and data[24] == _DEEP:
        return _deep_png_pixels(path, data, kind)
    if image.format != "TIFF":
        return None
    try:
        tiff.check_tiff(image, data)
    except PortraitError as error:
        raise PortraitError(f"{path}: {error}") from None
    bits = set(image.tag_v2.get(258, (1,)))
    kinds = set(image.tag_v2.get(339, (1,)))
    if max(bits) > _DEEP or (max(bits) == _DEEP and kinds != {1}):
        raise PortraitError(
            f"{path}: expected a {kind} with whole numbers of 8 or 16 bits, "
            f"received {max(bits)} bits"
            + ("" if kinds == {1} else ", signed or floating")
        )
    model, samples = image.tag_v2.get(262), image.tag_v2.get(277, 1)
    plain = (model, samples) in ((1, 1), (1, 2), (2, 3), (2, 4))
    if bits == {_DEEP} and not plain:
        raise PortraitError(
            f"{path}: expected a {kind} with 16 bits in grey or RGB, received "
            f"{samples} channels of another colour model"
        )
    if bits == {_DEEP} or _is_planar_grey(image):
        return tiff.plain_pixels(image, data)
    return None


def _is_planar_grey(image: Image.Image) -> bool:
    """Whether a TIFF has 8 bits in planes of grey and alpha, unknown to Pillow."""
    tags = image.tag_v2
    return (tags.get(262), tags.get(258), tags.get(284)) == (1, (8, 8), 2)


def _deep_png_pixels(
    path: str | pathlib.Path, data: bytes, kind: str
) -> np.ndarray | None:
    pixels = cv2.imdecode(
        np.frombuffer(containers.png_pixels(data), np.uint8), cv2.IMREAD_UNCHANGED
    )
    if pixels is None or pixels.dtype != np.uint16:
        raise PortraitError(
            f"{path}: expected a whole {kind}, received a file with 16 bits that "
            "cannot be decoded"
        )
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    elif data[25] == 4:
        pixels = pixels[..., [0, -1]]
    else:
        pixels = pixels[..., [2, 1, 0, 3][: pixels.shape[2]]]
    return _with_transparent_colour(pixels, data)


def _with_transparent_colour(pixels: np.ndarray, data: bytes) -> np.ndarray:
    """Adds an alpha channel to a PNG that declares one colour transparent."""
    colour = containers.transparent_colour(data)
    if colour is None:
        return pixels
    opaque = (pixels != colour).any(axis=-1, keepdims=True)
    alpha = opaque * np.array(np.iinfo(pixels.dtype).max, pixels.dtype)
    return np.concatenate([pixels, alpha], axis=-1)


def _pixels(image: Image.Image, photo: PhotoFile, data: bytes) -> np.ndarray:
    """`uint8` `[H, W, C]`, stored; says in `photo` what became of odd colour models."""
    _load(image)
    if photo.format == "PNG" and containers.transparent_colour(data) is not None:
        # Pillow does not scale it to 8 bits.
        pixels = np.asarray(image.convert("L") if image.mode == "1" else image)
        pixels = pixels[..., None] if pixels.ndim == 2 else pixels
        return _with_transparent_colour(pixels, data)
    transparent = "transparency" in image.info
    mode = image.mode
    if mode == "CMYK":
        image, photo.icc = _from_cmyk(image)
        photo.notes.append("CMYK was converted to RGB, and the output is RGB")
    elif mode in ("P", "PA"):
        image = image.convert("RGBA" if transparent or mode == "PA" else "RGB")
        if photo.format != "BMP":
            photo.notes.append("the palette was replaced by full colours")
    elif mode == "1":
        image = image.convert("L")
    elif mode in ("L", "RGB") and transparent:
        image = image.convert("LA" if mode == "L" else "RGBA")
    elif mode in ("RGBa", "La"):
        image = image.convert(mode.upper())
    elif mode not in ("L", "LA", "RGB", "RGBA", "I;16"):
        if mode.startswith(("I", "F")):
            raise PortraitError(
                f"{photo.path}: expected whole numbers of 8 or 16 bits, received "
                f"Pillow's mode {mode}"
            )
        image = image.convert("RGB")
        if mode != "RGBX":
            photo.notes.append(f"{mode} was converted to RGB, and the output is RGB")
    pixels = np.asarray(image)
    return pixels[..., None] if pixels.ndim == 2 else pixels


def _load(image: Image.Image) -> None:
    if image.format == "TIFF" and image.info.get("compression", "raw") != "raw":
        with tiff.libtiff_errors():
            image.load()
    else:
        image.load()


def _from_cmyk(image: Image.Image) -> tuple[Image.Image, bytes | None]:
    """sRGB and its profile; without a profile of the inks Pillow's plain rule."""
    profile = image.info.get("icc_profile")
    if profile:
        target = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
        try:
            converted = ImageCms.profileToProfile(
                image,
                ImageCms.ImageCmsProfile(io.BytesIO(profile)),
                target,
                renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
                outputMode="RGB",
                flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
            )
            return converted, target.tobytes()
        except (ImageCms.PyCMSError, OSError):
            pass
    return image.convert("RGB"), None


def read_photo(path: str | pathlib.Path, oriented: bool = True) -> np.ndarray:
    """Reads the pixels of a photo alone.

    Args:
        path: As of `open_photo`.
        oriented: Whether it is turned as its EXIF orientation says, as a viewer does.

    Returns:
        RGB `uint8` `[H, W, 3]`.

    Raises:
        PortraitError: As `open_photo`.
    """
    path = pathlib.Path(path)
    data = read_file(path, "photo")
    if not oriented:  # Data sets have thousands of these.
        pixels = containers.decode_sound_jpeg(data, Image.MAX_IMAGE_PIXELS)
        if pixels is not None:
            return pixels
    photo = decode_photo(data, path)
    pixels = photo.rgb()
    if not oriented:
        pixels = np.ascontiguousarray(turn_back(pixels, photo.orientation))
    return pixels
