"""Previews and paintings, between arrays and what a browser sends."""

import base64
import dataclasses
import json
from typing import Any

import cv2
import numpy as np

from portrait_tf.errors import PortraitError
from portrait_tf.geometry import shrunk_size
from portrait_tf.labels import NUM_LABELS, VOID_LABEL
from portrait_tf.photos import check_image_bytes, decode_image
from portrait_tf.photos.joints import joints_by_name
from portrait_tf.photos.masks import HOLE

PREVIEW_SIDE = 1024
"""The longest side of what the browser gets, in pixels."""

SIDES = ("top", "bottom", "left", "right")

_PNG = "data:image/png;base64,"


@dataclasses.dataclass(frozen=True)
class Painting:
    """What a visitor has done to a photo, at the preview's size.

    Attributes:
        scene: Which photo it was painted on.
        extends: Whether the borders are to be extended, or the hole to be filled.
        hole: `uint8` `[h, w]`, 255 = hole.
        own: `uint8` `[h, w]`, labels, 255 where there is none; or None.
        margins: Parts of height and width to add, by side.
        joints: `[16, 3]`, as of `labels.check_joints`, those that are placed.
    """

    scene: str
    extends: bool
    hole: np.ndarray
    own: np.ndarray | None
    margins: dict[str, float]
    joints: np.ndarray


def preview_size(size: tuple[int, int]) -> tuple[int, int]:
    """Height and width of a photo's preview."""
    return shrunk_size(size, (PREVIEW_SIDE, PREVIEW_SIDE))


def shrink(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """RGB `uint8` at a preview's size."""
    if picture.shape[:2] == tuple(size):
        return picture
    return cv2.resize(picture, size[::-1], interpolation=cv2.INTER_AREA)


def shrink_labels(labels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Labels at another size; the nearest ones."""
    near = cv2.INTER_NEAREST_EXACT
    return cv2.resize(labels, size[::-1], interpolation=near)


def enlarge_hole(hole: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A hole at the photo's size, `uint8` `[H, W]`, with smooth borders."""
    if hole.shape != tuple(size):
        hole = cv2.resize(hole, size[::-1], interpolation=cv2.INTER_LINEAR)
    return np.where(hole > 127, np.uint8(HOLE), np.uint8(0))


def read_painting(text: str | None, scene: str, size: tuple[int, int]) -> Painting:
    """Reads what the browser sent.

    Args:
        text: JSON of `static/editor.js`.
        scene: The photo that is open.
        size: Height and width of its preview.

    Raises:
        PortraitError: It is of another photo, or no painting.
    """
    try:
        sent = json.loads(text or "{}")
        if sent.get("id") != scene:
            raise PortraitError(
                "this painting belongs to another photo; please open the photo again"
            )
        margins = {side: float(sent["margins"][side]) for side in SIDES}
        own = None
        if sent["own"]:
            own = _values(sent["own"], size)
            own = np.where(own < NUM_LABELS, own, np.uint8(VOID_LABEL))
        placed = {int(index): xy for index, xy in sent["joints"].items()}
        joints = joints_by_name(placed, "the joints")
        extends = sent["mode"] == "borders"
        hole = _values(sent["hole"], size)
    except PortraitError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise PortraitError(f"the browser sent no painting: {error!r}") from None
    return Painting(scene, extends, hole, own, margins, joints)


def _values(url: Any, size: tuple[int, int]) -> np.ndarray:
    if not isinstance(url, str) or not url.startswith(_PNG):
        raise PortraitError("expected a painting as PNG, received something else")
    content = base64.b64decode(url.removeprefix(_PNG), validate=True)
    # The header says how large it is, before anything is decoded.
    stated = [int.from_bytes(content[start : start + 4], "big") for start in (20, 16)]
    picture = None
    if stated == [*size]:
        check_image_bytes(content, "the painting", "PNG")
        picture = decode_image(content, cv2.IMREAD_COLOR)
    if picture is None or picture.shape[:2] != tuple(size):
        raise PortraitError(
            f"expected a painting of {size[0]}x{size[1]} (height x width), received "
            f"{stated[0]}x{stated[1]}"
        )
    return np.ascontiguousarray(picture[..., 0])
