"""Pictures for people: contact sheets of photos, masks, label maps and joints."""

import base64

import cv2
import numpy as np

from portrait_tf.labels import BONES, LABELS, PALETTE, color_parsing
from portrait_tf.photos.arrays import encode_png

_CAPTION = 18


def data_url(picture: np.ndarray, lossless: bool = False) -> str:
    """A `uint8` picture as a `data:` address: RGB as JPEG; RGB or gray as PNG."""
    if lossless:
        kind, data = "png", encode_png(picture)
    else:
        quality = [cv2.IMWRITE_JPEG_QUALITY, 90]
        kind, data = "jpeg", cv2.imencode(".jpg", picture[..., ::-1], quality)[1]
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def show_hole(photo: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The photo as the networks get it: its hole in a light, checked gray."""
    rows, columns = np.indices(photo.shape[:2])
    checks = np.where((rows // 8 + columns // 8) % 2, 225, 200).astype(np.uint8)
    return np.where((mask > 0)[..., None], checks[..., None], photo)


def draw_joints(photo: np.ndarray, joints: np.ndarray) -> np.ndarray:
    """Draws a pose: right limbs red, left limbs blue, the trunk yellow.

    Args:
        photo: RGB `uint8` `[H, W, 3]`.
        joints: `[16, 3]`: x and y in pixels, and above 0 where the joint is there.
    """
    picture = photo.copy()
    radius = max(1, photo.shape[0] // 100)

    def color(joint: int) -> tuple[int, int, int]:
        if joint in (6, 7, 8, 9):
            return (255, 220, 0)
        return (255, 60, 60) if joint in (0, 1, 2, 10, 11, 12) else (60, 120, 255)

    points = [tuple(int(round(v)) for v in joint[:2]) for joint in joints]
    for start, stop in BONES:
        if joints[start, 2] > 0 and joints[stop, 2] > 0:
            outer = start if start not in (6, 8) else stop
            cv2.line(picture, points[start], points[stop], color(outer), radius)
    for joint, point in enumerate(points):
        if joints[joint, 2] > 0:
            cv2.circle(picture, point, radius + 1, color(joint), -1, cv2.LINE_AA)
    return picture


def overlay_parsing(photo: np.ndarray, parsing: np.ndarray) -> np.ndarray:
    """Lays the colored label map over a photo, whose background stays as it is.

    Args:
        photo: RGB `uint8` `[H, W, 3]`.
        parsing: LIP's labels, `uint8` `[H, W]`; void is gray.
    """
    mixed = cv2.addWeighted(photo, 0.45, color_parsing(parsing), 0.55, 0)
    return np.where((parsing > 0)[..., None], mixed, photo)


def caption(picture: np.ndarray, text: str) -> np.ndarray:
    """Adds a white strip with a line of text below a picture `[H, W, 3]`."""
    strip = np.full((_CAPTION, picture.shape[1], 3), 255, np.uint8)
    _write(strip, text, (1, 13), 0.36)
    return np.vstack([picture, strip])


def label_legend(width: int) -> np.ndarray:
    """LIP's labels with their colors, in as many rows as a width needs.

    Returns:
        RGB `uint8` `[H, width, 3]`.
    """
    cell = 122
    columns = max(1, width // cell)
    rows = -(-len(LABELS) // columns)
    legend = np.full((rows * _CAPTION + 6, width, 3), 255, np.uint8)
    for index, (label, color) in enumerate(zip(LABELS, PALETTE, strict=True)):
        x, y = 6 + index % columns * cell, index // columns * _CAPTION
        legend[y + 3 : y + 15, x : x + 12] = color
        _write(legend, label, (x + 17, y + 13), 0.4)
    return legend


def contact_sheet(
    rows: list[list[np.ndarray]], titles: list[str], height: int = 192
) -> np.ndarray:
    """Lays pictures out in rows, each scaled to one height, with a title a column.

    Args:
        rows: RGB `uint8` `[H, W, 3]` or gray `[H, W]`.
        titles: One a column.
        height: Of every picture, in pixels.

    Returns:
        RGB `uint8`.
    """
    gap = 6
    scaled = [[_fit(picture, height) for picture in row[: len(titles)]] for row in rows]
    widths = [
        max(row[column].shape[1] for row in scaled) for column in range(len(titles))
    ]
    sheet = np.full(
        (
            _CAPTION + len(rows) * (height + gap) + gap,
            sum(widths) + gap * (len(widths) + 1),
            3,
        ),
        255,
        np.uint8,
    )
    x = gap
    for column, (title, width) in enumerate(zip(titles, widths, strict=True)):
        _write(sheet, title, (x, 14), 0.42)
        for index, row in enumerate(scaled):
            picture = row[column]
            y = _CAPTION + gap + index * (height + gap)
            left = x + (width - picture.shape[1]) // 2
            sheet[y : y + height, left : left + picture.shape[1]] = picture
        x += width + gap
    return sheet


def _write(picture: np.ndarray, text: str, place: tuple[int, int], size: float) -> None:
    font = cv2.FONT_HERSHEY_SIMPLEX
    cv2.putText(picture, text, place, font, size, (0, 0, 0), 1, cv2.LINE_AA)


def _fit(picture: np.ndarray, height: int) -> np.ndarray:
    if picture.ndim == 2:
        picture = np.repeat(picture[..., None], 3, axis=-1)
    if picture.shape[0] == height:
        return picture
    width = max(1, round(picture.shape[1] * height / picture.shape[0]))
    shrinks = picture.shape[0] > height
    method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return cv2.resize(picture, (width, height), interpolation=method)
