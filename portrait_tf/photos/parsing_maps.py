"""Label maps that people look at and edit: PNG files in LIP's colors, and back."""

import io
import pathlib

import numpy as np

from portrait_tf.errors import PortraitError, SizeError
from portrait_tf.files import write_result
from portrait_tf.labels import NUM_LABELS, PALETTE, VOID_LABEL, color_parsing

_LABELS_TEXT = f"labels 0 to {NUM_LABELS - 1}, or {VOID_LABEL} where stage 1 is to say"
_VOID_COLOR = (128, 128, 128)
_LOSSY = ("JPEG", "MPO", "HEIF", "AVIF", "JPEG2000")


def check_parsing_map(
    parsing: np.ndarray, size: tuple[int, int], name: str = "the label map"
) -> np.ndarray:
    """Checks a user's map and gives it our shape.

    Args:
        parsing: `[H, W]` or `[H, W, 1]` of `uint8`; LIP's labels 0 to 19, or 255.
        size: Height and width of the photo that it belongs to.
        name: What to call the map in a message.

    Returns:
        `[H, W]`.

    Raises:
        PortraitError: The type, shape, size or a value is another one.
    """
    if parsing.dtype != np.uint8:
        raise PortraitError(
            path=name, expected="values of type uint8", received=parsing.dtype
        )
    if parsing.ndim == 3 and parsing.shape[2] == 1:
        parsing = parsing[..., 0]
    if parsing.ndim != 2:
        raise PortraitError(
            path=name,
            expected="the shape [height, width]",
            received=list(parsing.shape),
        )
    if parsing.shape != tuple(size):
        raise SizeError(
            path=name,
            expected=f"the result's size of {size[0]}x{size[1]} (height x width)",
            received=f"{parsing.shape[0]}x{parsing.shape[1]}",
        )
    wrong = (parsing >= NUM_LABELS) & (parsing != VOID_LABEL)
    if wrong.any():
        row, column = np.argwhere(wrong)[0]
        raise PortraitError(
            path=name,
            expected=_LABELS_TEXT,
            received=f"{parsing[row, column]} in row {row}, column {column}",
        )
    return parsing


def check_lossless(format: str, name: str, lossless: bool = True) -> None:
    """Checks that labels survive in a file's format.

    Args:
        format: Pillow's name of it.
        name: What to call the map in a message.
        lossless: Of a WebP, whether it was written without loss.

    Raises:
        PortraitError: Its compression changes values.
    """
    if format in _LOSSY or (format == "WEBP" and not lossless):
        raise PortraitError(
            path=name,
            expected="a label map in a format without loss, such as PNG",
            received=(
                f"{'lossy WebP' if format == 'WEBP' else format}, which changes labels"
            ),
        )


def read_parsing_map(
    path: str | pathlib.Path, size: tuple[int, int] | None = None
) -> np.ndarray:
    """Reads a map that a user made.

    Args:
        path: A file without loss, such as PNG, whatever its name. Colors are LIP's,
            whatever a palette calls them, since editors reorder palettes; mid-gray is
            for stage 1 to say. Else gray values, palette indices or three equal
            channels are labels 0 to 19, or 255. What is transparent is for stage 1 to
            say, too.
        size: Height and width that it has to have; None: any.

    Returns:
        `uint8` `[H, W]`: LIP's labels 0 to 19, and 255 for "as stage 1 says".

    Raises:
        PortraitError: The file cannot be read, has loss, or has another size, color
            or value.
    """
    from portrait_tf.photos import open_photo

    path = pathlib.Path(path)
    photo = open_photo(path, "label map")
    check_lossless(photo.format, str(path), photo.encoding.get("lossless", False))
    if photo.pixels.dtype != np.uint8:
        raise PortraitError(
            path=path, expected="a label map of 8 bits", received=photo.pixels.dtype
        )
    if photo.is_gray:
        labels = photo.pixels[..., 0].copy()
    else:
        try:
            labels = labels_of_colors(photo.pixels[..., :3], str(path))
        except PortraitError:
            # A palette of other colors, whose indices are labels all the same.
            labels = _stored_values(path)
            if labels is None:
                raise
    if photo.alpha is not None:
        labels[photo.alpha < 128] = VOID_LABEL
    return check_parsing_map(labels, size or labels.shape, str(path))


def write_parsing_map(path: str | pathlib.Path, parsing: np.ndarray) -> None:
    """Writes labels as a PNG with LIP's palette: a picture whose indices are labels.

    Args:
        path: Its folder is made if it is not there.
        parsing: `uint8` `[H, W]`; values above 19 are mid-gray.

    Raises:
        PortraitError: The folder cannot be written to.
    """
    from PIL import Image

    picture = Image.fromarray(np.ascontiguousarray(parsing))
    picture.putpalette(color_parsing(np.arange(256)[None])[0].tobytes())
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", optimize=True)
    write_result(path, buffer.getvalue())


def labels_of_colors(colors: np.ndarray, name: str) -> np.ndarray:
    """Labels from LIP's colors; mid-gray is 255.

    Args:
        colors: RGB `uint8` `[H, W, 3]`.
        name: What to call the map in a message.

    Returns:
        `uint8` `[H, W]`.

    Raises:
        PortraitError: There is another color.
    """
    place = np.array([65536, 256, 1])
    codes = colors.astype(np.uint32) @ place.astype(np.uint32)
    found, index = np.unique(codes, return_inverse=True)
    table = {int(color @ place): n for n, color in enumerate(PALETTE.astype(int))}
    table[int(np.array(_VOID_COLOR) @ place)] = VOID_LABEL
    labels = [table.get(int(code), -1) for code in found]
    if -1 in labels:
        wrong = int(found[labels.index(-1)])
        row, column = np.argwhere(codes == wrong)[0]
        color = (wrong >> 16, wrong >> 8 & 255, wrong & 255)
        raise PortraitError(
            path=name,
            expected=f"LIP's colors or {_LABELS_TEXT}",
            received=f"the color {color} in row {row}, column {column}",
        )
    return np.array(labels, np.uint8)[index.reshape(codes.shape)]


def _stored_values(path: pathlib.Path) -> np.ndarray | None:
    """Palette indices or three equal channels, if all of them are labels."""
    from portrait_tf.photos.label_maps import read_values

    if path.suffix.lower() != ".png":
        return None
    try:
        values = read_values(path)
    except PortraitError:
        return None
    if ((values >= NUM_LABELS) & (values != VOID_LABEL)).any():
        return None
    return values.astype(np.uint8)
