"""Photo files of every format, read with everything that is written back.

The networks see 8-bit RGB, upright, in the photo's own color space. What is stored (16
bits, alpha, gray, profile, EXIF) stays beside it, and `portrait_tf.photos.writing`
writes it back. docs/photos.md has the table.
"""

import importlib.util
import io
import math
import pathlib
import struct
import threading
import warnings

import imagecodecs
import numpy as np
from PIL import Image, JpegImagePlugin, UnidentifiedImageError, features

from portrait_tf.errors import PortraitError
from portrait_tf.files import read_file
from portrait_tf.photos import containers, tiff
from portrait_tf.photos.arrays import check_image_bytes
from portrait_tf.photos.orientation import (
    EXIF_PREFIX,
    read_orientation,
    turn_back,
    turn_upright,
)
from portrait_tf.photos.photo_file import PhotoFile, from_cmyk

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
"""Pillow's format names, by extension, of all formats that are read."""

_ALWAYS = ("JPEG", "PNG", "WEBP", "BMP", "GIF")
_NAMES = "JPEG, PNG, WebP, TIFF, BMP, AVIF, HEIC, GIF or JPEG 2000"
_DECODER_ERRORS = (
    *(OSError, SyntaxError, ValueError, TypeError, EOFError, struct.error),
    *(LookupError, ArithmeticError, AttributeError, RuntimeError),
)
"""What Pillow and tifffile raise of damaged files."""

_DEEP = 16
_NO_PIXELS = np.empty((0, 0, 3), np.uint8)

_warnings_lock = threading.Lock()


def check_installed(
    format: str, purpose: str, path: str | pathlib.Path | None = None
) -> None:
    """Raises PortraitError: HEIC or AVIF is wanted, and is not installed.

    Args:
        format: Pillow's name.
        purpose: What it is for, such as `to write`.
        path: The file, for the message.
    """
    if format == "HEIF":
        if importlib.util.find_spec("pillow_heif") is None:
            raise PortraitError(
                f"{purpose} HEIC, install the extra: pip install 'portrait-tf[heic]'",
                path=path,
            )
        import pillow_heif

        pillow_heif.register_heif_opener(thumbnails=False)
    if format == "AVIF" and not features.check("avif"):
        raise PortraitError(
            f"{purpose} AVIF, expected a Pillow that was built with it, such as its "
            "wheels of 11.3 and later",
            path=path,
        )


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
    """Pillow's formats to try."""
    if boxed := _boxed_format(data):
        check_installed(boxed, "to read", path)
        return (boxed,)
    # Only a file that begins like JPEG 2000, since not every Pillow has it.
    if data.startswith(containers.JPEG_2000):
        return ("JPEG2000",)
    return _ALWAYS


def open_photo(path: str | pathlib.Path, kind: str = "photo") -> PhotoFile:
    """Reads a photo and its metadata.

    Args:
        path: JPEG, PNG, WebP, TIFF, BMP, AVIF, GIF, JPEG 2000, or HEIC with the extra
            `heic`.
        kind: What to call the picture in messages.

    Raises:
        PortraitError: The file is missing, cut off or damaged, is not a picture in one
            of these formats, is too large, or has numbers that are not of 8 or 16 bits.
    """
    path = pathlib.Path(path)
    return decode_photo(read_file(path, kind), path, kind)


def decode_photo(
    data: bytes, name: str | pathlib.Path, kind: str = "photo"
) -> PhotoFile:
    """Decodes a file's content as `open_photo` does.

    Args:
        data: The file's bytes.
        name: What to call the file in messages; becomes `PhotoFile.path`.
        kind: What to call the picture in messages.

    Raises:
        PortraitError: See `open_photo`.
    """
    try:
        # The filters belong to the process: threads in turn would leave "ignore" there.
        with _warnings_lock, warnings.catch_warnings():
            # Of a photo above half the limit, and of odd metadata.
            warnings.simplefilter("ignore")
            photo = _decode(data, name, kind)
    except PortraitError:
        raise
    except UnidentifiedImageError:
        check_image_bytes(data, name, kind)
        raise PortraitError(
            f"expected a {kind} ({_NAMES}), cannot decode it", path=name
        ) from None
    except Image.DecompressionBombError:
        raise PortraitError(
            path=name,
            expected=(
                f"a {kind} of at most "
                f"{2 * Image.MAX_IMAGE_PIXELS / 1000000.0:.0f} megapixels"
            ),
            received="more",
        ) from None
    except _DECODER_ERRORS as error:
        check_image_bytes(data, name, kind)
        raise PortraitError(
            path=name, expected=f"a whole {kind}", received=f"a damaged file ({error})"
        ) from None
    # Pillow's plugin has turned HEIC already.
    if photo.format != "HEIF":
        photo.pixels = turn_upright(photo.pixels, photo.orientation)
    photo.pixels = np.ascontiguousarray(photo.pixels)
    return photo


def _decode(data: bytes, name: str | pathlib.Path, kind: str) -> PhotoFile:
    """The photo, its pixels as stored."""
    if tiff.is_tiff(data):
        return tiff.decode_tiff(data, name, kind)
    with Image.open(io.BytesIO(data), formats=_formats(data, name)) as image:
        # Pillow has read the header only, and the size is within bounds.
        check_image_bytes(data, name, kind)
        info = image.info
        photo = PhotoFile(
            name,
            "JPEG" if image.format == "MPO" else image.format,
            _NO_PIXELS,
            exif=(info.get("exif") or b"").removeprefix(EXIF_PREFIX) or None,
            icc=info.get("icc_profile") or None,
            xmp=_xmp(info),
            dpi=_dpi(info),
        )
        if photo.format != "HEIF":
            photo.orientation = read_orientation(photo.exif)
        photo.encoding = _encoding(photo, image, data)
        transparent = "transparency" in info and image.mode in ("1", "L", "RGB")
        if photo.format == "PNG" and (data[24] == _DEEP or transparent):
            # Pillow has 16 bits in gray alone, and a transparent color of 8 bits alone.
            pixels = imagecodecs.png_decode(containers.png_pixels(data, (b"tRNS",)))
            photo.pixels = pixels[..., None] if pixels.ndim == 2 else pixels
        else:
            photo.pixels = _pixels(image, photo)
        pictures = getattr(image, "n_frames", 1)
        if pictures > 1:
            photo.notes.append(f"of {pictures} pictures in the file, the first is kept")
    return photo


def _dpi(info: dict) -> tuple[float, float] | None:
    """A resolution such as 0/0 is none."""
    dpi = info.get("dpi")
    if not dpi or not all(0 < dots < math.inf for dots in dpi):
        return None
    return tuple(map(float, dpi))


def _xmp(info: dict) -> bytes | None:
    xmp = info.get("xmp") or info.get("XML:com.adobe.xmp")
    return (xmp.encode() if isinstance(xmp, str) else xmp) or None


# === What each format has beside pixels and EXIF ===


def _encoding(photo: PhotoFile, image: Image.Image, data: bytes) -> dict[str, object]:
    """What `PhotoFile.encoding` holds; adds a note on bits that are not kept."""
    info, bits = image.info, 8
    match photo.format:
        case "JPEG":
            # Tables of luma and chroma, and Photoshop's block, where IPTC is.
            tables = [layer[3] for layer in image.layer[:2]]
            return {
                "tables": [
                    np.array(image.quantization[index], int).reshape(8, 8)
                    for index in tables
                    if index in image.quantization
                ],
                "subsampling": JpegImagePlugin.get_sampling(image),
                "progressive": bool(info.get("progressive")),
                "comment": info.get("comment"),
                "density": (info.get("jfif_unit"), info.get("jfif_density")),
                "segments": [
                    (marker, content)
                    for marker, content in containers.jpeg_segments(data)
                    if marker == 0xED
                ],
            }
        case "PNG":
            return {"chunks": containers.kept_png_chunks(data)}
        case "WEBP":
            return {"lossless": containers.webp_is_lossless(data)}
        case "HEIF":
            bits = info.get("bit_depth") or 8
        case "AVIF":
            bits = containers.avif_bits(data)
        case "JPEG2000" if image.mode != "I;16":
            bits = containers.jpeg2000_bits(data)
    if bits > 8:
        photo.notes.append(f"of {bits} bits a channel, 8 are kept")
    return {"chroma": info.get("chroma")} if photo.format == "HEIF" else {}


# === Pixels ===


def _pixels(image: Image.Image, photo: PhotoFile) -> np.ndarray:
    """`uint8` or `uint16` `[H, W, C]` as stored; adds notes on conversions."""
    image.load()
    transparent = "transparency" in image.info
    mode = image.mode
    if mode == "CMYK":
        pixels, photo.icc = from_cmyk(np.asarray(image), photo.icc)
        photo.notes.append("CMYK was converted to RGB, and the output is RGB")
        return pixels
    if mode in ("P", "PA"):
        image = image.convert("RGBA" if transparent or mode == "PA" else "RGB")
        if photo.format not in ("", "BMP"):
            photo.notes.append("the palette was replaced by full colors")
    elif mode == "1":
        image = image.convert("L")
    elif mode in ("La", "RGBa") or (mode in ("L", "RGB") and transparent):
        image = image.convert(f"{mode.rstrip('a')}A")
    elif mode.startswith(("I", "F")) and not mode.startswith("I;16"):
        raise PortraitError(
            path=photo.path,
            expected="whole numbers of 8 or 16 bits",
            received=f"Pillow's mode {mode}",
        )
    elif mode not in ("L", "LA", "RGB", "RGBA") and not mode.startswith("I;16"):
        image = image.convert("RGB")
        if mode != "RGBX":
            photo.notes.append(f"{mode} was converted to RGB, and the output is RGB")
        if mode in ("LAB", "HSV"):
            photo.icc = None
    pixels = np.asarray(image)
    if pixels.dtype != np.uint8:
        # In this machine's byte order.
        pixels = pixels.astype(np.uint16)
    return pixels[..., None] if pixels.ndim == 2 else pixels


def photo_of_image(image: Image.Image, name: str) -> PhotoFile:
    """An image in memory as if it had been read; its pixels are taken as they lie.

    Args:
        image: Of any mode of 8 or 16 bits a channel.
        name: What to call it in messages.

    Raises:
        PortraitError: It has another mode, or cannot be decoded.
    """
    info = image.info
    photo = PhotoFile(pathlib.Path(name), "", _NO_PIXELS, dpi=info.get("dpi"))
    photo.icc = info.get("icc_profile")
    try:
        photo.pixels = _pixels(image, photo)
    except PortraitError:
        raise
    except (OSError, SyntaxError, ValueError) as error:
        raise PortraitError(f"cannot decode the image: {error}", path=name) from None
    return photo


def read_photo(path: str | pathlib.Path, oriented: bool = True) -> np.ndarray:
    """Reads the pixels of a photo alone.

    Args:
        path: A file that `open_photo` reads.
        oriented: Whether the photo is turned upright by its EXIF orientation.

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
