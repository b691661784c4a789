"""Pictures for people: contact sheets of photos, masks, label maps and joints."""

import cv2
import numpy as np

from portrait_tf.labels import BONES

_CAPTION = 18


def show_hole(photo: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The photo as the networks get it: its hole in a light, checked grey."""
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

    def colour(joint: int) -> tuple[int, int, int]:
        if joint in (6, 7, 8, 9):
            return (255, 220, 0)
        return (255, 60, 60) if joint in (0, 1, 2, 10, 11, 12) else (60, 120, 255)

    points = [tuple(int(round(v)) for v in joint[:2]) for joint in joints]
    for start, stop in BONES:
        if joints[start, 2] > 0 and joints[stop, 2] > 0:
            outer = start if start not in (6, 8) else stop
            cv2.line(picture, points[start], points[stop], colour(outer), radius)
    for joint, point in enumerate(points):
        if joints[joint, 2] > 0:
            cv2.circle(picture, point, radius + 1, colour(joint), -1, cv2.LINE_AA)
    return picture


def contact_sheet(
    rows: list[list[np.ndarray]], titles: list[str], height: int = 192
) -> np.ndarray:
    """Lays pictures out in rows, each scaled to one height, with a title a column.

    Args:
        rows: RGB `uint8` `[H, W, 3]` or grey `[H, W]`.
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
        cv2.putText(
            sheet, title, (x, 14), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (0, 0, 0), 1,
            cv2.LINE_AA,
        )  # fmt: skip
        for index, row in enumerate(scaled):
            picture = row[column]
            y = _CAPTION + gap + index * (height + gap)
            left = x + (width - picture.shape[1]) // 2
            sheet[y : y + height, left : left + picture.shape[1]] = picture
        x += width + gap
    return sheet


def _fit(picture: np.ndarray, height: int) -> np.ndarray:
    if picture.ndim == 2:
        picture = np.repeat(picture[..., None], 3, axis=-1)
    if picture.shape[0] == height:
        return picture
    width = max(1, round(picture.shape[1] * height / picture.shape[0]))
    shrinks = picture.shape[0] > height
    method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return cv2.resize(picture, (width, height), interpolation=method)
