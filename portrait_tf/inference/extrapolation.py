"""Photos past their borders: how much is added where, and how it is painted.

Margins are whole pixels of the photo. They come from the user's numbers, from an aspect
ratio or a size of the result, or from stage 1's estimate of the whole body
(`whole_body`). A margin that is larger than what the networks learned from is painted
in steps, each of which knows what the last one has painted; before each, the
label map of the whole result is made anew and leads it, so that a step does not take
its own border for the end of the person. How to choose: `docs/extrapolation.md`.
"""

import dataclasses
import math
from collections.abc import Mapping
from fractions import Fraction
from typing import NamedTuple

import numpy as np

from portrait_tf.errors import PortraitError
from portrait_tf.geometry import Box
from portrait_tf.inference.engines import Engine
from portrait_tf.inference.large_photos import (
    SOFT_FROM,
    PhotoResult,
    check_photo,
    complete_photo,
    frame_of,
    parse_photo,
)
from portrait_tf.inference.whole_body import cut_sides, estimate_body
from portrait_tf.labels import VOID_LABEL
from portrait_tf.photos.masks import HOLE
from portrait_tf.photos.parsing_maps import check_parsing_map

SIDES = ("top", "bottom", "left", "right")

SEEN_BORDER = 0.4
"""The largest border of a training photo, as a part of its side (`border_size`)."""

MOST_PIXELS = 178_956_970
"""Of a result; larger photos are not read either."""

MOST_PART = 4.0
"""A margin is at most so many times the photo's side."""

ANCHORS = {
    "auto": None,
    "center": (0.5, 0.5),
    "top": (0.0, 0.5),
    "bottom": (1.0, 0.5),
    "left": (0.5, 0.0),
    "right": (0.5, 1.0),
    "top-left": (0.0, 0.0),
    "top-right": (0.0, 1.0),
    "bottom-left": (1.0, 0.0),
    "bottom-right": (1.0, 1.0),
}
"""Where the photo stays: the parts of what is added that go above it and to its left.

`auto` is for stage 1 to say: see `find_anchor`.
"""

ROOM = 0.04
"""Left around a whole body, as a part of its height."""


class Margins(NamedTuple):
    """What is added on each side, in whole pixels of the photo."""

    top: int = 0
    bottom: int = 0
    left: int = 0
    right: int = 0

    @classmethod
    def from_fractions(
        cls,
        size: tuple[int, int],
        top: float = 0.0,
        bottom: float = 0.0,
        left: float = 0.0,
        right: float = 0.0,
    ) -> "Margins":
        """Margins as parts of the photo.

        Args:
            size: The photo's height and width.
            top: A part of the height, 0 to 4.
            bottom: A part of the height.
            left: A part of the width.
            right: A part of the width.

        Raises:
            PortraitError: A part is out of range.
        """
        parts = dict(zip(SIDES, (top, bottom, left, right), strict=True))
        return margins_for_lengths(
            size, {side: Length(part, "part") for side, part in parts.items()}
        )

    def result_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """Height and width of a photo of that size with these margins."""
        return size[0] + self.top + self.bottom, size[1] + self.left + self.right

    def box(self, size: tuple[int, int]) -> Box:
        """Where the photo is in the result."""
        return Box(self.top, self.left, self.top + size[0], self.left + size[1])

    def hole(self, size: tuple[int, int]) -> np.ndarray:
        """The mask of the result, `uint8` `[H2, W2]`, 255 = hole: all but the photo."""
        mask = np.full(self.result_size(size), HOLE, np.uint8)
        self.box(size).of(mask)[:] = 0
        return mask

    def plus(self, other: "Margins") -> "Margins":
        return Margins(*(a + b for a, b in zip(self, other, strict=True)))


class Length(NamedTuple):
    """A length as a user gives it: a part of the photo's side, or pixels."""

    value: float
    unit: str


def parse_length(text: str, side: str) -> Length:
    """Reads `0.3`, `30%` or `200px`.

    Args:
        text: What the user gave.
        side: Its name, for messages.

    Raises:
        PortraitError: It is none of them, or out of range.
    """
    number = text.strip().lower()
    unit, times = "part", 1.0
    if number.endswith("px"):
        number, unit = number.removesuffix("px"), "pixels"
    elif number.endswith("%"):
        number, times = number.removesuffix("%"), 0.01
    try:
        value = float(number) * times
    except ValueError:
        value = math.nan
    most = math.inf if unit == "pixels" else MOST_PART
    whole = unit == "part" or value == value // 1
    if not (0 <= value <= most and whole and math.isfinite(value)):
        raise PortraitError(
            f"the margin '{side}': expected a part of the photo such as 0.3, from 0 to "
            f"{MOST_PART:g}, or such as 30%, or whole pixels such as 200px, received "
            f"{text!r}"
        )
    return Length(value, unit)


def parse_aspect(text: str) -> Fraction:
    """Reads width to height, such as `2:3`.

    Raises:
        PortraitError: It is no such thing, or more extreme than 1:10.
    """
    try:
        width, height = (Fraction(part.strip()) for part in text.split(":"))
        aspect = width / height if width > 0 else Fraction(0)
    except (ValueError, ZeroDivisionError):
        aspect = Fraction(0)
    if not Fraction(1, 10) <= aspect <= 10:
        raise PortraitError(
            "expected an aspect ratio of width to height such as 2:3, from 1:10 to "
            f"10:1, received {text!r}"
        )
    return aspect


def parse_size(text: str) -> tuple[int, int]:
    """Reads width x height in pixels, such as `1200x1800`; gives (height, width).

    Raises:
        PortraitError: It is no such thing.
    """
    parts = text.lower().removesuffix("px").split("x")
    if len(parts) != 2 or not all(part.strip().isdecimal() for part in parts):
        parts = ("0", "0")
    width, height = (int(part) for part in parts)
    if not width or not height:
        raise PortraitError(
            "expected a size in pixels, width x height, such as 1200x1800, received "
            f"{text!r}"
        )
    return height, width


def margins_for_lengths(
    size: tuple[int, int], lengths: Mapping[str, Length]
) -> Margins:
    """Margins from a length for each of some sides.

    Args:
        size: The photo's height and width.
        lengths: By `SIDES`.

    Raises:
        PortraitError: A part is not from 0 to `MOST_PART`; all of them are less than a
            pixel.
    """
    pixels = {}
    for side, (value, unit) in lengths.items():
        full = size[0] if side in ("top", "bottom") else size[1]
        part = value / full if unit == "pixels" else value
        if not 0 <= part <= MOST_PART:
            raise PortraitError(
                f"the margin '{side}' is {part:g} times the photo's side of {full} "
                f"pixels: expected 0 to {MOST_PART:g} times"
            )
        pixels[side] = round(value if unit == "pixels" else value * full)
    if not any(pixels.values()):
        if any(value for value, _ in lengths.values()):
            raise PortraitError(
                "expected margins of a pixel or more, received less than a pixel of a "
                f"photo of {size[0]}x{size[1]}"
            )
        raise PortraitError(
            f"expected at least one margin ({', '.join(SIDES)}) above 0, received none"
        )
    return Margins(**pixels)


def margins_for_aspect(size: tuple[int, int], aspect: Fraction | float) -> Margins:
    """The least that gives the result an aspect ratio; the photo is in the middle.

    Args:
        size: The photo's height and width.
        aspect: Width by height.

    Returns:
        Rows or columns; none if the photo has that aspect ratio to the next pixel.
    """
    height, width = size
    if Fraction(width, height) < Fraction(aspect):
        target = (height, round(height * aspect))
    else:
        target = (round(width / aspect), width)
    target = max(height, target[0]), max(width, target[1])
    return margins_for_size(size, target)


def margins_for_size(
    size: tuple[int, int],
    target: tuple[int, int],
    anchor: str | tuple[float, float] = "center",
) -> Margins:
    """What gives the result a size; nothing is scaled.

    Args:
        size: The photo's height and width.
        target: The result's.
        anchor: Where the photo stays, one of `ANCHORS` but `auto`; or the parts of what
            is added that go above and to the left.

    Raises:
        PortraitError: The target is smaller than the photo; no such anchor.
    """
    if target[0] < size[0] or target[1] < size[1]:
        raise PortraitError(
            f"expected a size of at least the photo's {size[1]}x{size[0]} (width x "
            f"height), since nothing is cut off or scaled, received "
            f"{target[1]}x{target[0]}"
        )
    if isinstance(anchor, str):
        if ANCHORS.get(anchor) is None:
            names = [name for name in ANCHORS if name != "auto"]
            raise PortraitError(
                f"expected an anchor of {', '.join(names)}, received {anchor!r}"
            )
        anchor = ANCHORS[anchor]
    rows, columns = (full - n for full, n in zip(target, size, strict=True))
    top, left = round(rows * anchor[0]), round(columns * anchor[1])
    return Margins(top, rows - top, left, columns - left)


def find_anchor(engine: Engine, photo: np.ndarray) -> tuple[float, float]:
    """Where a photo should stay by what it cuts off: the anchor `auto`.

    All that is added goes to the side that cuts a person off: below for feet, above for
    a head. Where both sides of a pair do, or none, it is shared evenly; so are columns
    in any case but that of a person cut off at one side alone.

    Returns:
        The parts of what is added that go above and to the left.
    """
    cut = cut_sides(engine, photo)

    def part(before: str, after: str) -> float:
        return 0.5 * (1 + (before in cut) - (after in cut))

    return part("top", "bottom"), part("left", "right")


def whole_body_margins(
    engine: Engine, photo: np.ndarray, joints: np.ndarray | None = None
) -> Margins:
    """What has to be added for the largest person to be whole.

    Args:
        engine: With `parse`, and a pose.
        photo: RGB `uint8` `[H, W, 3]`.
        joints: The user's own, as of `portrait_tf.inference.whole_body.estimate_body`:
            the frame grows to fit them.

    Returns:
        Margins; all 0 where the person is whole.

    Raises:
        PortraitError: As `portrait_tf.inference.whole_body.estimate_body`.
    """
    size = photo.shape[:2]
    body = estimate_body(engine, photo, joints)
    space = ROOM * (body.bottom - body.top)
    beyond = {
        "top": -body.top,
        "bottom": body.bottom - size[0],
        "left": -body.left,
        "right": body.right - size[1],
    }
    return Margins(
        **{
            side: max(0, math.ceil(beyond[side] + space)) if side in body.cut else 0
            for side in SIDES
        }
    )


@dataclasses.dataclass(frozen=True)
class Wish:
    """What a user asks an extrapolation for, checked before any photo is read.

    Attributes:
        lengths: By side; empty for none.
        aspect: Width by height of the result.
        size: Height and width of the result.
        whole_body: Whether stage 1 says what is missing of the person; `aspect` is
            then that of the result about the whole person.
        anchor: One of `ANCHORS`; for `aspect` and `size` alone.

    Raises:
        PortraitError: Nothing is asked for, or what contradicts itself.
    """

    lengths: Mapping[str, Length] = dataclasses.field(default_factory=dict)
    aspect: Fraction | None = None
    size: tuple[int, int] | None = None
    whole_body: bool = False
    anchor: str | None = None

    def __post_init__(self) -> None:
        given = {
            " and ".join(f"--{side}" for side in self.lengths): self.lengths,
            "--to-aspect": self.aspect,
            "--to-size": self.size,
            "--whole-body": self.whole_body,
        }
        asked = [name for name, value in given.items() if value]
        if not asked:
            raise PortraitError(
                "expected --top, --bottom, --left or --right, --to-aspect, --to-size "
                "or --whole-body, received none of them"
            )
        if len(asked) > 1 and asked != ["--to-aspect", "--whole-body"]:
            raise PortraitError(
                f"{' and '.join(asked)} contradict each other: expected one of them, "
                "or --whole-body with --to-aspect"
            )
        if self.lengths and not any(value for value, _ in self.lengths.values()):
            raise PortraitError(
                f"expected at least one margin ({', '.join(SIDES)}) above 0, received "
                "none"
            )
        if self.anchor is not None:
            if self.anchor not in ANCHORS:
                raise PortraitError(
                    f"expected an anchor of {', '.join(ANCHORS)}, received "
                    f"{self.anchor!r}"
                )
            if not self.aspect and not self.size:
                raise PortraitError(
                    "--anchor goes with --to-aspect or --to-size: expected one of "
                    f"them, received {asked[0]}"
                )

    @classmethod
    def parse(cls, texts: Mapping[str, str], whole_body: bool = False) -> "Wish":
        """Reads a wish as the command line and manifests give it.

        Args:
            texts: What is given of `SIDES`, `to_aspect`, `to_size` and `anchor`.
            whole_body: As the attribute.

        Raises:
            PortraitError: A text cannot be read, or they contradict each other.
        """
        return cls(
            {side: parse_length(texts[side], side) for side in SIDES if side in texts},
            parse_aspect(texts["to_aspect"]) if "to_aspect" in texts else None,
            parse_size(texts["to_size"]) if "to_size" in texts else None,
            whole_body,
            texts.get("anchor"),
        )

    @property
    def asks_stage_1(self) -> bool:
        """Whether the margins depend on what is in the photo."""
        by_shape = bool(self.aspect or self.size)
        return self.whole_body or (by_shape and self.anchor in (None, "auto"))

    def margins(
        self,
        size: tuple[int, int],
        engine: Engine | None = None,
        photo: np.ndarray | None = None,
        joints: np.ndarray | None = None,
    ) -> Margins:
        """The margins of one photo.

        Args:
            size: Its height and width.
            engine: Where `asks_stage_1`; without it, this only checks.
            photo: RGB `uint8` `[H, W, 3]`, where `asks_stage_1`.
            joints: The user's own, `[16, 3]`, for `whole_body`.

        Raises:
            PortraitError: The photo cannot be extended so.
        """
        if self.lengths:
            margins = margins_for_lengths(size, self.lengths)
        else:
            margins = Margins()
            if self.whole_body and engine is not None:
                margins = whole_body_margins(engine, photo, joints)
            grown = margins.result_size(size)
            target = self.size
            if self.aspect:
                target = margins_for_aspect(grown, self.aspect).result_size(grown)
            if target:
                anchor = ANCHORS[self.anchor or "auto"]
                if anchor is None:
                    # A body that is made whole needs nothing more on any side.
                    asks = engine is not None and not any(margins)
                    anchor = find_anchor(engine, photo) if asks else (0.5, 0.5)
                margins = margins.plus(margins_for_size(grown, target, anchor))
        check_result_size(size, margins)
        return margins


def check_result_size(size: tuple[int, int], margins: Margins) -> None:
    """Raises PortraitError: the result would have more than `MOST_PIXELS`."""
    height, width = margins.result_size(size)
    if height * width > MOST_PIXELS:
        raise PortraitError(
            f"expected a result of at most {MOST_PIXELS / 1e6:.0f} megapixels, "
            f"received margins that make {width}x{height} (width x height)"
        )


def growth_steps(size: tuple[int, int], margins: Margins) -> list[Margins]:
    """The margins after each step of growing.

    Of each pair of sides, no step adds more than `SEEN_BORDER` of what it makes; all
    steps add the same part, shared by the two sides as the whole is.

    Args:
        size: The photo's height and width.
        margins: At the end.

    Returns:
        One for each step; the last is `margins`. None, if nothing is added.
    """
    pairs = [(size[0], *margins[:2]), (size[1], *margins[2:])]
    ratios = [(full + before + after) / full for full, before, after in pairs]
    # A hair more than a whole number of steps is that number.
    count = max(
        math.ceil(math.log(ratio) / -math.log1p(-SEEN_BORDER) - 1e-6)
        for ratio in ratios
    )
    steps = []
    for index in range(1, count + 1):
        grown = []
        for (_, before, after), ratio in zip(pairs, ratios, strict=True):
            part = (ratio ** (index / count) - 1) / max(ratio - 1, 1e-9)
            grown += [math.ceil(before * part - 1e-6), math.ceil(after * part - 1e-6)]
        steps.append(Margins(*grown))
    if steps:
        steps[-1] = margins
    return steps


def extend_photo(photo: np.ndarray, margins: Margins) -> tuple[np.ndarray, np.ndarray]:
    """Puts a photo on a larger canvas, whose new border is the hole.

    Args:
        photo: RGB `uint8` `[H, W, 3]`.
        margins: What is added.

    Returns:
        The canvas `[H2, W2, 3]`, gray in the border, and its mask, 255 = hole.
    """
    size = photo.shape[:2]
    canvas = np.full((*margins.result_size(size), 3), 128, np.uint8)
    margins.box(size).of(canvas)[:] = photo
    return canvas, margins.hole(size)


def extrapolate_photo(
    engine: Engine,
    photo: np.ndarray,
    margins: Margins,
    parsing: np.ndarray | None = None,
    joints: np.ndarray | None = None,
) -> PhotoResult:
    """Extends a photo of any size past its borders.

    Args:
        engine: Anything with `complete`, and `parse` for margins of several steps.
        photo: RGB `uint8` `[H, W, 3]`.
        margins: What is added. Without any, the photo is the result.
        parsing: The user's own map of the result, `uint8` `[H2, W2]`, as of
            `complete_photo`; it is read in the new border.
        joints: The user's own joints, `[16, 3]`, as of `complete_photo`, in pixels of
            the photo, which they may lie outside of.

    Returns:
        Photo, map, notes and crops of the result's size; the photo's own pixels are in
        it bit for bit.

    Raises:
        PortraitError: As `complete_photo`; negative margins, or a result that is
            too large.
    """
    photo = check_photo(photo)
    size = photo.shape[:2]
    if min(margins) < 0:
        raise PortraitError(f"expected margins of 0 and above, received {margins}")
    check_result_size(size, margins)
    full = margins.result_size(size)
    if parsing is not None:
        parsing = check_parsing_map(np.asarray(parsing), full)
    steps = growth_steps(size, margins)
    if not steps:
        labels, _ = parse_photo(engine, photo)
        return PhotoResult(photo.copy(), labels, ["nothing is missing: nothing added"])
    if joints is not None:
        joints = joints + np.array((margins.left, margins.top, 0), np.float32)
    return _grow(engine, photo, steps, parsing, joints)


def _grow(
    engine: Engine,
    photo: np.ndarray,
    steps: list[Margins],
    parsing: np.ndarray | None,
    joints: np.ndarray | None,
) -> PhotoResult:
    """Paints the margins of each step; joints are in pixels of the result."""
    size, margins = photo.shape[:2], steps[-1]
    inner = margins.box(size)
    canvas, unknown = extend_photo(photo, margins)
    labels = np.zeros(unknown.shape, np.uint8)
    crops, notes, led = [], [], parsing
    for step in steps:
        if len(steps) > 1:
            led, _ = parse_photo(engine, canvas, unknown, joints)
            if parsing is not None:
                np.copyto(led, parsing, where=parsing != VOID_LABEL)
        top, left = margins.top - step.top, margins.left - step.left
        height, width = step.result_size(size)
        box = Box(top, left, top + height, left + width)
        if not box.of(unknown).any():
            continue
        result = complete_photo(
            engine,
            box.of(canvas),
            box.of(unknown),
            None if led is None else box.of(led),
            # The map that leads several steps is drawn about the joints already.
            joints if len(steps) == 1 else None,
        )
        box.of(canvas)[:] = result.completed
        # The map that a part was painted by stays, whatever later looks say of it.
        np.copyto(box.of(labels), result.parsing, where=box.of(unknown) != 0)
        box.of(unknown)[:] = 0
        crops += [crop.moved(top, left) for crop in result.crops]
        notes = result.notes
    if len(steps) > 1:
        notes = [_note_on_steps(engine, len(steps), crops)]
    inner.of(labels)[:] = inner.of(result.parsing)
    return PhotoResult(canvas, labels, notes, crops)


def _note_on_steps(engine: Engine, count: int, crops: list[Box]) -> str:
    note = (
        f"the new border was painted in {count} steps, as the networks "
        f"learned from borders of at most {SEEN_BORDER:.0%} of the result"
    )
    frame = frame_of(engine)
    times = max(max(crop.height / frame[0], crop.width / frame[1]) for crop in crops)
    if times >= SOFT_FROM and not getattr(engine, "detail", False):
        note += f", up to {times:.1f} times smaller: its detail is soft"
    return note
