"""A photographer's files: pixels as they are stored, and all that is said of them.

The networks see 8-bit RGB, upright, in the photo's own colour space; what is stored
(16 bits, alpha, grey, profile, EXIF) stays beside it and is written back by
`portrait_tf.photos.writing`. docs/photos.md is the table of it.
"""

import dataclasses
import functools
import importlib.util
import io
import pathlib
import struct
import warnings
from typing import Any

import cv2
import numpy as np
from PIL import Image, ImageCms, JpegImagePlugin, UnidentifiedImageError

from portrait_tf.errors import PortraitError
from portrait_tf.photos import containers, tiff
from portrait_tf.photos.arrays import (
    check_image_bytes,
    decode_image,
    read_image_bytes,
)
from portrait_tf.photos.orientation import (
    EXIF_PREFIX,
    read_orientation,
    turn_upright,
)

FORMATS = {
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".png": "PNG",
    ".webp": "WEBP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".bmp": "BMP",
    ".heic": "HEIF",
    ".heif": "HEIF",
}
"""Pillow's name of the format that an extension stands for."""

_READ = ("JPEG", "PNG", "WEBP", "TIFF", "BMP")
_NAMES = "JPEG, PNG, WebP, TIFF, BMP or HEIC"
_DECODER_ERRORS = (
    *(OSError, SyntaxError, ValueError, TypeError, EOFError, struct.error),
    *(IndexError, KeyError, OverflowError, RuntimeError),
)
_DEEP = 16


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


def _is_heif(data: bytes) -> bool:
    brands = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
    return data[4:8] == b"ftyp" and data[8:12] in brands


def open_photo(path: str | pathlib.Path, kind: str = "photo") -> PhotoFile:
    """Reads a photo, and what has to be kept of its file.

    Args:
        path: JPEG, PNG, WebP, TIFF, BMP, or HEIC with the extra `heic`.
        kind: What to call it in a message.

    Raises:
        PortraitError: The file is missing, cut off or damaged; no picture of these
            formats; too large; or with numbers that are not of 8 or 16 bits.
    """
    path = pathlib.Path(path)
    return _decode(read_image_bytes(path, kind), path, kind)


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
    check_image_bytes(data, name, kind)
    return _decode(data, name, kind)


def _decode(data: bytes, path: str | pathlib.Path, kind: str) -> PhotoFile:
    formats = _READ
    if _is_heif(data):
        if not heif_is_installed():
            raise PortraitError(
                f"{path}: to read HEIC, install the extra: pip install "
                "'portrait-tf[heic]'"
            )
        formats = (*_READ, "HEIF")
    if data.startswith(b"\xff\xd8") and (damage := containers.jpeg_damage(data)):
        raise PortraitError(
            f"{path}: expected a whole {kind}, received a damaged file ({damage})"
        )
    try:
        with warnings.catch_warnings():
            # Of a photo above half the limit, and of odd metadata.
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(data), formats=formats) as image:
                return _take_apart(path, image, data, kind)
    except PortraitError:
        raise
    except UnidentifiedImageError:
        raise PortraitError(
            f"{path}: expected a {kind} ({_NAMES}), cannot decode it"
        ) from None
    except Image.DecompressionBombError:
        raise PortraitError(
            f"{path}: expected a {kind} of at most "
            f"{2 * Image.MAX_IMAGE_PIXELS / 1e6:.0f} megapixels, received more"
        ) from None
    except _DECODER_ERRORS as error:
        raise PortraitError(
            f"{path}: expected a whole {kind}, received a damaged file ({error})"
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
    photo.dpi = info.get("dpi")
    photo.exif = (info.get("exif") or b"").removeprefix(EXIF_PREFIX) or None
    if photo.format == "TIFF":
        photo.orientation = image.tag_v2.get(274, 1)
        photo.encoding = {
            "tags": tiff.read_tags(image),
            "compressed": image.info.get("compression", "raw") != "raw",
            # Pillow divides by alpha; OpenCV, for 16 bits, leaves all as it is.
            "premultiplied": image.tag_v2.get(258, (1,))[0] == _DEEP
            and image.tag_v2.get(338, (2,))[0] == 1,
        }
        photo.exif = tiff.exif_from_tags(photo.encoding["tags"]) or None
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
        if (bits := info.get("bit_depth") or 8) > 8:
            photo.notes.append(f"of {bits} bits a channel, 8 are kept")
    pixels = _deep_pixels(path, image, data, kind)
    if pixels is None:
        pixels = _pixels(image, photo)
    # Both decoders turn a TIFF when they load it.
    if photo.format != "TIFF":
        pixels = turn_upright(pixels, photo.orientation)
    photo.pixels = np.ascontiguousarray(pixels)
    if pictures > 1:
        photo.notes.append(f"of {pictures} pictures in the file, the first is kept")
    return photo


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
        deep = data[25] != 3
        grey_alpha = data[25] == 4
    elif image.format == "TIFF":
        bits = set(image.tag_v2.get(258, (1,)))
        kinds = set(image.tag_v2.get(339, (1,)))
        if max(bits) > _DEEP or (max(bits) == _DEEP and kinds != {1}):
            raise PortraitError(
                f"{path}: expected a {kind} with whole numbers of 8 or 16 bits, "
                f"received {max(bits)} bits"
                + ("" if kinds == {1} else ", signed or floating")
            )
        deep, grey_alpha = bits == {_DEEP}, False
        if deep and image.tag_v2.get(262) not in (1, 2):
            raise PortraitError(
                f"{path}: expected a {kind} with 16 bits in grey or RGB, received "
                "another colour model"
            )
    else:
        return None
    if not deep:
        return None
    # Pillow has read the header only, which says that the size is within bounds.
    pixels = decode_image(data, cv2.IMREAD_UNCHANGED)
    height, width = pixels.shape[:2] if pixels is not None else (0, 0)
    if pixels is None or pixels.dtype != np.uint16 or 0 in (height, width):
        raise PortraitError(
            f"{path}: expected a whole {kind}, received a file with 16 bits that "
            "cannot be decoded"
        )
    if pixels.ndim == 2:
        return pixels[..., None]
    if grey_alpha:
        return pixels[..., [0, -1]]
    order = [2, 1, 0, 3][: pixels.shape[2]]
    return pixels[..., order]


def _pixels(image: Image.Image, photo: PhotoFile) -> np.ndarray:
    """`uint8` `[H, W, C]`, stored; says in `photo` what became of odd colour models."""
    image.load()
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
    elif mode not in ("L", "LA", "RGB", "RGBA"):
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
