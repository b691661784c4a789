"""Joints that people give: by name, as arrays, and in the file that `parse` writes."""

import contextlib
import json
import numbers
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np

from portrait_tf.errors import PortraitError, SizeError
from portrait_tf.files import read_file
from portrait_tf.geometry import inside
from portrait_tf.labels import JOINTS, NUM_JOINTS, check_joints

_INDICES = {name.lower(): index for index, name in enumerate(JOINTS)}
_INDICES |= {
    name.replace("r_", "right_", 1).replace("l_", "left_", 1): index
    for name, index in _INDICES.items()
    if name[1] == "_"
}
_INDICES |= {str(index): index for index in range(NUM_JOINTS)}


def joints_by_name(
    given: Mapping[str | int, Sequence[float]], name: str | pathlib.Path = "joints"
) -> np.ndarray:
    """The array of some joints.

    Args:
        given: x and y in pixels, by LIP's name (`L_Ankle`), that name in full
            (`left_ankle`), or LIP's index.
        name: What to call them in a message.

    Returns:
        `float32` `[16, 3]`, as of `check_joints`.

    Raises:
        PortraitError: No such joint, one that is given twice, or no x and y.
    """
    joints = np.zeros((NUM_JOINTS, 3))
    for key, place in given.items():
        index = _index_of(key)
        if index is None:
            raise PortraitError(
                path=name,
                expected=f"joints of {', '.join(JOINTS)}, or 0 to {NUM_JOINTS - 1}",
                received=repr(key),
            )
        if joints[index, 2]:
            raise PortraitError(
                path=name, expected=f"{JOINTS[index]} once", received="it twice"
            )
        try:
            x, y = (float(value) for value in place)
        except (TypeError, ValueError, OverflowError):
            received = "too large a number"
            with contextlib.suppress(ValueError):
                # Python writes out no integer of thousands of digits.
                received = repr(place)[:60]
            raise PortraitError(
                path=name, expected=f"x and y of {JOINTS[index]}", received=received
            ) from None
        joints[index] = x, y, 1
    return check_joints(joints, name)


def _index_of(key: str | int) -> int | None:
    if isinstance(key, str):
        return _INDICES.get(key.lower())
    if isinstance(key, numbers.Integral) and 0 <= key < NUM_JOINTS:
        return int(key)
    return None


def describe_joints(
    joints: np.ndarray | None, size: tuple[int, int], photo: str
) -> str:
    """The file of a photo's joints, JSON.

    An object with `photo`, `size` (height, width), and `joints`, by LIP's names: `x`
    and `y` in pixels of the upright photo, `confidence` (a heatmap's peak), and whether
    the joint is in the photo (`inside`).

    Args:
        joints: `[16, 3]`: x, y, confidence; None where stage 1 has no pose.
        size: Height and width of the photo.
        photo: Its name.
    """
    described = None
    if joints is not None:
        described = {
            name: {
                "x": round(float(x), 1),
                "y": round(float(y), 1),
                "confidence": round(float(confidence), 3),
                "inside": bool(is_inside),
            }
            for name, (x, y, confidence), is_inside in zip(
                JOINTS, joints, inside(joints[:, :2], size), strict=True
            )
        }
    content = {"photo": photo, "size": list(size), "joints": described}
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def read_joints(
    path: str | pathlib.Path, size: tuple[int, int] | None = None
) -> np.ndarray:
    """Reads a file of `describe_joints`, as it is or edited; see `decode_joints`.

    Raises:
        PortraitError: It cannot be read.
    """
    return decode_joints(read_file(path, "joints file"), path, size)


def decode_joints(
    content: bytes | str, name: str | pathlib.Path, size: tuple[int, int] | None = None
) -> np.ndarray:
    """The joints in a file's content.

    Args:
        content: JSON of `describe_joints`. A joint without an entry is for stage 1 to
            find. Of an entry only `x` and `y` are read.
        name: The file's, for messages.
        size: Height and width of the photo; compared with `size`, if that is there.

    Returns:
        `float32` `[16, 3]`, as of `check_joints`.

    Raises:
        PortraitError: It is no such JSON; the photo has another size; a joint is
            unknown or has no place.
    """
    try:
        found = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise PortraitError(f"expected JSON: {error}", path=name) from None
    entries = found.get("joints") if isinstance(found, dict) else None
    if not isinstance(entries, dict):
        raise PortraitError(
            path=name,
            expected="an object whose 'joints' has x and y by joint, as `portrait-tf "
            "parse` writes it",
            received=json.dumps(found)[:60],
        )
    if size is not None and "size" in found and found["size"] != list(size):
        raise SizeError(
            path=name,
            expected=f"joints of a photo of size {list(size)} (height, width)",
            received=f"joints of one of {found['size']}",
        )
    places = {}
    for joint, entry in entries.items():
        if not isinstance(entry, dict) or not {"x", "y"} <= entry.keys():
            raise PortraitError(
                path=name,
                expected=f"x and y of {joint}, or no entry where stage 1 is to find it",
                received=json.dumps(entry),
            )
        places[joint] = entry["x"], entry["y"]
    return joints_by_name(places, name)
