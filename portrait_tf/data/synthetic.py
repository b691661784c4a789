"""Synthetic portraits: articulated people whose label map and joints are known.

A seed decides everything: build, pose, clothes, hair, light, backdrop and camera.
The same seed and size give the same arrays, and another size the same person.

Conventions:
    * The scene is three-dimensional: x to the right of the photo, y up from the
      ground, z towards the camera; the unit is the person's head height.
    * Left and right are the person's, so the right arm of somebody who faces the
      camera is on the left of the photo.
    * The person is painted on a layer of twice the photo's size, back to front.
      Photo and label map are both reduced from that layer, so they agree.
    * Radii of a limb are given to either side of its centre line. "Plus" is the side
      of the normal `(ty, -tx)`: the right of the photo for a line that runs downwards.
    * Neck and neckline are labelled Face, and hands as their arm.

Source: our own; nothing here is taken from a photo or from another generator.
"""

import csv
import functools
import pathlib
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import cv2
import numpy as np

from portrait_tf.data.sample import Sample
from portrait_tf.errors import PortraitError
from portrait_tf.files import temporary_beside
from portrait_tf.labels import JOINTS, LABELS, NUM_JOINTS

VAL_OFFSET = 500_000
"""Validation seeds start this far after the training seeds."""

SEED_STRIDE = 1_000_000
"""Seeds that one `seed` of `write_synthetic` may use."""

_LABEL = {name: index for index, name in enumerate(LABELS)}
_JOINT = {name: index for index, name in enumerate(JOINTS)}
_RIGHT, _LEFT = -1, 1
_SIDES = {_RIGHT: "Right", _LEFT: "Left"}

# Which body part owns a pixel: says whether a joint is covered by another part.
_OWNER_TRUNK, _OWNER_HEAD = 1, 2
_OWNER_ARM = {_RIGHT: 3, _LEFT: 4}
_OWNER_LEG = {_RIGHT: 5, _LEFT: 6}

_TILE = 64
_SUPERSAMPLING = 2

_SKINS = (
    (246, 214, 192),
    (238, 196, 168),
    (228, 180, 146),
    (208, 156, 120),
    (182, 128, 92),
    (148, 98, 68),
    (112, 72, 50),
    (84, 54, 40),
)
_HAIRS = (
    (30, 24, 22),
    (46, 32, 26),
    (74, 48, 34),
    (104, 68, 44),
    (142, 98, 60),
    (188, 146, 92),
    (216, 184, 130),
    (128, 58, 34),
    (150, 146, 142),
)
_NEUTRALS = (
    (34, 34, 38),
    (62, 64, 70),
    (120, 122, 126),
    (184, 184, 182),
    (238, 236, 230),
    (34, 44, 76),
    (54, 78, 116),
    (98, 128, 164),
    (196, 176, 142),
    (160, 122, 82),
    (94, 66, 48),
    (86, 92, 62),
    (110, 36, 46),
    (222, 208, 184),
)


# --------------------------------------------------------------------------- vectors


def _unit(vector: np.ndarray) -> np.ndarray:
    return vector / max(float(np.linalg.norm(vector)), 1e-6)


def _smoothstep(low: float, high: float, value: np.ndarray) -> np.ndarray:
    ratio = np.clip((value - low) / (high - low), 0, 1)
    return ratio * ratio * (3 - 2 * ratio)


@functools.lru_cache(maxsize=256)
def _profile_table(
    anchors: tuple[tuple[float, float], ...],
) -> tuple[np.ndarray, np.ndarray]:
    """A cubic through the anchors, sampled eight times between two of them."""
    positions, values = np.array(anchors, np.float64).T
    slopes = np.gradient(values, positions)
    # Flat at a local extreme, so that the curve never overshoots its anchors.
    steps = np.diff(values)
    slopes[1:-1][steps[:-1] * steps[1:] <= 0] = 0
    s = np.arange(8) / 8
    width = np.diff(positions)[:, None]
    curve = (
        (2 * s**3 - 3 * s**2 + 1) * values[:-1, None]
        + (s**3 - 2 * s**2 + s) * width * slopes[:-1, None]
        + (3 * s**2 - 2 * s**3) * values[1:, None]
        + (s**3 - s**2) * width * slopes[1:, None]
    )
    at = positions[:-1, None] + s * width
    return np.append(at, positions[-1]), np.append(curve, values[-1])


def _profile(at: np.ndarray, *anchors: tuple[float, float]) -> np.ndarray:
    """Interpolates (position, value) anchors with a curve that is smooth at them."""
    return np.interp(at, *_profile_table(anchors))


def _smooth_closed(points: np.ndarray, samples: int = 6) -> np.ndarray:
    """A closed Catmull-Rom curve through `points` `[N, 2]`."""
    points = np.asarray(points, np.float64)
    a, b = np.roll(points, 1, 0), points
    c, d = np.roll(points, -1, 0), np.roll(points, -2, 0)
    s = (np.arange(samples) / samples)[None, :, None]
    a, b, c, d = (each[:, None] for each in (a, b, c, d))
    curve = b + 0.5 * s * (
        c - a + s * (2 * a - 5 * b + 4 * c - d + s * (3 * (b - c) + d - a))
    )
    return curve.reshape(-1, 2)


def _bend(
    upper: np.ndarray, middle: np.ndarray, lower: np.ndarray, at: np.ndarray
) -> np.ndarray:
    """Points of a limb; `at` is 0 at `upper`, 1 at the joint `middle`, 2 at `lower`."""
    at = np.asarray(at, np.float64)
    offsets = np.linspace(-0.13, 0.13, 5)

    def straight(where: np.ndarray) -> np.ndarray:
        first = upper + (middle - upper) * np.minimum(where, 1)[:, None]
        return first + (lower - middle) * np.maximum(where - 1, 0)[:, None]

    return np.mean([straight(at + offset) for offset in offsets], 0)


# ---------------------------------------------------------------------------- camera


@dataclass(frozen=True)
class _Camera:
    """A level pinhole camera.

    Attributes:
        unit: Layer pixels a head at z = 0.
        distance: Heads from the camera to z = 0.
        height: Heads from the ground to the camera.
        x, ground: Layer column of x = 0, row of the ground at z = 0.
    """

    unit: float
    distance: float
    height: float
    x: float
    ground: float

    @property
    def horizon(self) -> float:
        return self.ground - self.height * self.unit

    def project(self, points: np.ndarray) -> np.ndarray:
        points = np.asarray(points, np.float64)
        scale = self.unit * self.distance / (self.distance - points[..., 2])
        x = self.x + points[..., 0] * scale
        y = self.horizon + (self.height - points[..., 1]) * scale
        return np.stack([x, y], -1)

    def ground_row(self, z: float) -> float:
        return float(self.project(np.array([0.0, 0.0, z]))[1])


@dataclass(frozen=True)
class _Light:
    """One distant lamp and the sky; `direction` points at the lamp, y down."""

    direction: np.ndarray
    lamp: np.ndarray
    sky: np.ndarray

    def shade(self, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
        towards = x * self.direction[0] + y * self.direction[1] + z * self.direction[2]
        # Half-Lambert: soft terminators suit skin and cloth alike.
        towards = np.square(np.clip(0.5 + 0.5 * towards, 0, 1))
        return self.sky + towards[..., None] * self.lamp


def _random_light(rng: np.random.Generator) -> _Light:
    side = rng.choice([-1, 1]) * rng.uniform(0.3, 0.95)
    direction = _unit(np.array([side, -rng.uniform(0.35, 0.8), rng.uniform(0.4, 0.8)]))
    warmth = rng.uniform(-0.05, 0.07)
    power = rng.uniform(0.62, 0.86)
    facing = (0.5 + 0.5 * direction[2]) ** 2
    sky = 1.0 - power * facing
    return _Light(
        direction.astype(np.float32),
        (power * np.array([1 + warmth, 1, 1 - warmth])).astype(np.float32),
        (sky * np.array([1 - warmth, 1, 1 + warmth])).astype(np.float32),
    )


# ------------------------------------------------------------------------- materials


@dataclass(frozen=True)
class _Material:
    """What a surface looks like.

    Attributes:
        tile: RGB `uint8` `[64, 64, 3]`, repeated along and across the part.
        repeat: Heads that one tile covers.
        folds: Strength of the folds, 0 for skin.
        gloss: Strength of the highlight.
    """

    tile: np.ndarray
    repeat: float = 1.0
    folds: float = 0.0
    gloss: float = 0.0

    @functools.cached_property
    def colour(self) -> np.ndarray:
        return self.tile.reshape(-1, 3).mean(0)

    @functools.cached_property
    def is_plain(self) -> bool:
        return bool((self.tile == self.tile[0, 0]).all())


def _plain_tile(colour: Sequence[float]) -> np.ndarray:
    tile = np.empty((_TILE, _TILE, 3), np.uint8)
    tile[:] = np.clip(colour, 0, 255).astype(np.uint8)
    return tile


def _solid(colour: Sequence[float], gloss: float = 0.0) -> _Material:
    return _Material(_plain_tile(colour), gloss=gloss)


def _tint(colour: np.ndarray, amount: float) -> np.ndarray:
    """Lighter for a positive `amount`, darker for a negative one."""
    colour = np.asarray(colour, np.float64)
    target = 255.0 if amount > 0 else 0.0
    return colour + (target - colour) * abs(amount)


def _random_colour(rng: np.random.Generator, neutral: float = 0.55) -> np.ndarray:
    if rng.random() < neutral:
        colour = np.array(_NEUTRALS[rng.integers(len(_NEUTRALS))], np.float64)
        return np.clip(colour + rng.normal(0, 6, 3), 14, 246)
    hue, saturation = rng.integers(0, 180), rng.integers(60, 170)
    pixel = np.uint8([[[hue, saturation, rng.integers(80, 216)]]])
    return cv2.cvtColor(pixel, cv2.COLOR_HSV2RGB)[0, 0].astype(np.float64)


def _pattern(
    rng: np.random.Generator, kind: str, base: np.ndarray, other: np.ndarray
) -> np.ndarray:
    """A tile whose rows run along the part; it wraps at all four borders."""
    rows, columns = np.mgrid[0:_TILE, 0:_TILE].astype(np.float64) / _TILE
    count = int(rng.integers(3, 8))
    share = rng.uniform(0.25, 0.5)
    if kind == "rings":
        weight = (rows * count % 1) < share
    elif kind == "stripes":
        weight = (columns * count % 1) < share * 0.6
    elif kind == "checks":
        weight = 0.5 * ((rows * 4 % 1) < 0.45) + 0.5 * ((columns * 4 % 1) < 0.45)
    elif kind == "plaid":
        wide = 0.3 * ((rows * 2 % 1) < 0.4) + 0.3 * ((columns * 2 % 1) < 0.4)
        thin = ((rows * 2 + 0.3) % 1 < 0.06) | ((columns * 2 + 0.3) % 1 < 0.06)
        weight = np.maximum(wide, 0.8 * thin)
    elif kind == "dots":
        shifted = columns * 6 + 0.5 * (np.floor(rows * 6) % 2)
        weight = np.hypot(rows * 6 % 1 - 0.5, shifted % 1 - 0.5) < 0.24
    elif kind == "print":
        weight = np.zeros_like(rows)
        for _ in range(14):
            angles = np.linspace(0, 2 * np.pi, 9)[:-1] + rng.uniform(0, 6)
            petals = 2.6 + 2.6 * (np.arange(8) % 2)
            flower = np.stack([np.cos(angles), np.sin(angles)], 1) * petals[:, None]
            centre = rng.uniform(0, _TILE, 2)
            for shift in np.ndindex(3, 3):
                moved = flower + centre + (np.array(shift) - 1) * _TILE
                cv2.fillPoly(weight, [_fixed(_smooth_closed(moved, 3))], 1, shift=4)
    else:
        weight = np.zeros_like(rows)
    tile = base + (other - base) * np.asarray(weight, np.float64)[..., None]
    return tile


def _weave(rng: np.random.Generator, tile: np.ndarray, kind: str) -> np.ndarray:
    """Adds the grain of the cloth."""
    if kind == "knit":
        rows, columns = np.mgrid[0:_TILE, 0:_TILE]
        grain = 7 * np.cos(columns * 2 * np.pi / 8) * np.cos(rows * 2 * np.pi / 4)
    elif kind == "denim":
        grain = rng.normal(0, 1.5, (_TILE, 1)) + rng.normal(0, 4, (1, _TILE))
    else:
        grain = rng.normal(0, 2.2, (_TILE, _TILE))
    return np.clip(tile + np.asarray(grain)[..., None], 0, 255).astype(np.uint8)


def _random_cloth(
    rng: np.random.Generator,
    kinds: dict[str, float],
    colour: np.ndarray | None = None,
    weave: str = "cotton",
    folds: float = 1.0,
) -> _Material:
    """A cloth with a pattern from `kinds`, pattern name to weight."""
    names = list(kinds)
    weights = np.array([kinds[name] for name in names], np.float64)
    kind = names[rng.choice(len(names), p=weights / weights.sum())]
    base = _random_colour(rng) if colour is None else np.asarray(colour, np.float64)
    other = _random_colour(rng, 0.6)
    if np.abs(base - other).sum() < 130:
        other = _tint(base, 0.65 if base.mean() < 130 else -0.55)
    if kind == "plain" and weave == "cotton":
        tile = _plain_tile(base)
    else:
        tile = _weave(rng, _pattern(rng, kind, base, other), weave)
    return _Material(
        tile,
        repeat=rng.uniform(0.7, 1.2),
        folds=folds * rng.uniform(0.7, 1.2),
        gloss=rng.choice([0.0, 0.0, 0.05, 0.12]),
    )


_TOP_KINDS = {
    "plain": 6, "rings": 1.6, "stripes": 0.8, "checks": 0.7, "plaid": 1.0,
    "dots": 0.7, "print": 0.9,
}  # fmt: skip
_DRESS_KINDS = {
    "plain": 4, "rings": 0.7, "dots": 1.2, "print": 2, "checks": 0.6, "stripes": 0.6,
}  # fmt: skip
_BOTTOM_KINDS = {"plain": 9, "stripes": 0.5, "checks": 0.4, "plaid": 0.5}


# --------------------------------------------------------------------------- painter


def _fixed(points: np.ndarray) -> np.ndarray:
    """Pixel coordinates as OpenCV's fixed point with four fractional bits."""
    return np.round(np.asarray(points) * 16).astype(np.int32).reshape(-1, 1, 2)


@dataclass
class _Painter:
    """The layer the person is painted on, back to front.

    Attributes:
        colour: RGB `uint8`; black where nobody is.
        label, owner: LIP labels and body parts, `uint8`.
    """

    height: int
    width: int
    unit: float
    light: _Light
    noise: np.ndarray
    colour: np.ndarray = field(init=False)
    label: np.ndarray = field(init=False)
    owner: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        self.colour = np.zeros((self.height, self.width, 3), np.uint8)
        self.label = np.zeros((self.height, self.width), np.uint8)
        self.owner = np.zeros((self.height, self.width), np.uint8)
        # Shading is smooth, so a coarse grid of it is enough.
        self.step = int(np.clip(round(self.unit / 20), 1, 8))

    def _window(self, low: np.ndarray, high: np.ndarray) -> tuple | None:
        x0, y0 = (int(max(0, np.floor(each) - 2)) for each in low)
        x1 = int(min(self.width, np.ceil(high[0]) + 3))
        y1 = int(min(self.height, np.ceil(high[1]) + 3))
        return (x0, y0, x1, y1) if x1 > x0 and y1 > y0 else None

    def _grid(self, window: tuple) -> tuple[np.ndarray, np.ndarray]:
        x0, y0, x1, y1 = window
        columns = -(-(x1 - x0) // self.step)
        rows = -(-(y1 - y0) // self.step)
        offset = (self.step - 1) / 2
        x = (x0 + offset + np.arange(columns) * self.step).astype(np.float32)
        y = (y0 + offset + np.arange(rows) * self.step).astype(np.float32)
        return x, y

    def _enlarge(self, coarse: np.ndarray, window: tuple) -> np.ndarray:
        x0, y0, x1, y1 = window
        if self.step > 1:
            size = (coarse.shape[1] * self.step, coarse.shape[0] * self.step)
            coarse = cv2.resize(coarse, size, interpolation=cv2.INTER_LINEAR)
        return coarse[: y1 - y0, : x1 - x0]

    def _wrinkle(self, along: np.ndarray, across: np.ndarray) -> np.ndarray:
        size = self.noise.shape[0]
        rows = np.int32(along * 40) % size
        columns = np.int32(across * 40) % size
        return self.noise[rows, columns]

    def _finish(
        self,
        window: tuple,
        mask: np.ndarray,
        normal: tuple[np.ndarray, np.ndarray],
        along: np.ndarray,
        across: np.ndarray,
        dark: np.ndarray | float,
        material: _Material,
        label: int,
        owner: int,
        alpha: np.ndarray | None = None,
    ) -> None:
        """Shades `material` by the coarse fields and lays it down where `mask` is."""
        x0, y0, x1, y1 = window
        nx, ny = normal
        nz = np.sqrt(np.clip(1 - nx * nx - ny * ny, 0.02, 1))
        shade = self.light.shade(nx, ny, nz) * np.asarray(1 - dark)[..., None]
        if material.gloss:
            lit = nx * self.light.direction[0] + ny * self.light.direction[1]
            lit = np.clip(lit + nz * (self.light.direction[2] + 1), 0, None) / np.sqrt(
                2 + 2 * self.light.direction[2]
            )
            shade = shade + material.gloss * 2 * (lit**24)[..., None]
        shade = self._enlarge(np.float32(shade), window)
        if material.is_plain:
            paint = shade * np.float32(material.tile[0, 0])
        else:
            scale = np.float32(_TILE / material.repeat)
            texture = cv2.remap(
                material.tile,
                self._enlarge(np.float32(across * scale), window),
                self._enlarge(np.float32(along * scale), window),
                cv2.INTER_LINEAR,
                borderMode=cv2.BORDER_WRAP,
            )
            paint = cv2.multiply(texture, shade, dtype=cv2.CV_32F)
        target = self.colour[y0:y1, x0:x1]
        labels = self.label[y0:y1, x0:x1]
        if alpha is not None:
            # Blend only over the same garment: elsewhere the part must be opaque.
            opaque = self._enlarge(np.float32(alpha), window)
            opaque = np.where(labels == label, opaque, 1)[..., None]
            paint = target + (paint - target) * opaque
        # Nothing is negative here, and the conversion saturates at 255.
        cv2.copyTo(cv2.convertScaleAbs(paint), mask, target)
        inside = mask.astype(bool)
        np.copyto(labels, label, where=inside)
        np.copyto(self.owner[y0:y1, x0:x1], owner, where=inside)

    def shadow(self, mask: np.ndarray, window: tuple, strength: float) -> None:
        """Darkens what is already painted beside a part that is about to cover it."""
        reach = 0.09 * self.unit
        dx = -self.light.direction[0] * reach
        dy = -self.light.direction[1] * reach
        x0, y0, x1, y1 = window
        pad = int(0.22 * self.unit) + 1
        wide = self._window(
            np.array([x0 - pad, y0 - pad]), np.array([x1 + pad, y1 + pad])
        )
        shrink = max(1, self.step)
        size = (
            -(-(wide[2] - wide[0]) // shrink),
            -(-(wide[3] - wide[1]) // shrink),
        )
        matrix = np.array(
            [
                [1 / shrink, 0, (x0 - wide[0] + dx) / shrink],
                [0, 1 / shrink, (y0 - wide[1] + dy) / shrink],
            ]
        )
        small = cv2.warpAffine(mask, matrix, size, flags=cv2.INTER_LINEAR)
        small = cv2.GaussianBlur(small, (0, 0), max(0.6, 0.05 * self.unit / shrink))
        factor = self._enlarge(1 - strength / 255 * np.float32(small), wide)
        target = self.colour[wide[1] : wide[3], wide[0] : wide[2]]
        target[:] = cv2.multiply(target, cv2.merge([factor] * 3), dtype=cv2.CV_8U)

    def tube(
        self,
        points: np.ndarray,
        plus: np.ndarray,
        minus: np.ndarray,
        material: _Material,
        label: str,
        owner: int,
        *,
        roundness: float = 0.92,
        caps: tuple[bool, bool] = (True, True),
        hem: float = 0.0,
        pleats: float = 0.0,
        pleat_count: float = 7.0,
        bends: Sequence[float] = (),
        fade: tuple[float, float] = (0.0, 0.0),
        shadow: float = 0.0,
        darker: float = 0.0,
        opening: np.ndarray | None = None,
    ) -> None:
        """Sweeps a cross-section of varying width along a centre line.

        Args:
            points: Centre line `[N, 2]`, layer pixels.
            plus, minus: Radii to either side, `[N]`, layer pixels.
            roundness: 1 shades a cylinder, 0 a board.
            caps: Whether the two ends are round.
            hem: Height of the ellipse at the end, as a share of the radius.
            pleats: Strength of folds that run along the part.
            bends: Positions of wrinkles across the part, as shares of its length.
            fade: Shares of the length over which the ends blend into the same garment.
            shadow: Strength of the shadow on what lies beneath.
            darker: A constant darkening, for the inside of a garment.
            opening: A polygon `[M, 2]` that stays unpainted.
        """
        points = np.asarray(points, np.float64)
        tangent = np.gradient(points, axis=0)
        tangent /= np.maximum(np.linalg.norm(tangent, axis=1, keepdims=True), 1e-6)
        normal = np.stack([tangent[:, 1], -tangent[:, 0]], 1)
        plus = np.maximum(np.broadcast_to(plus, len(points)), 0.6)
        minus = np.maximum(np.broadcast_to(minus, len(points)), 0.6)
        one, two = points + normal * plus[:, None], points - normal * minus[:, None]
        both = np.concatenate([one, two])
        reach = 0.5 * float(max(plus[0] + minus[0], plus[-1] + minus[-1]))
        reach = reach if any(caps) or hem else 0.0
        window = self._window(both.min(0) - reach, both.max(0) + reach)
        if window is None:
            return
        corner = np.array(window[:2])
        mask = np.zeros((window[3] - window[1], window[2] - window[0]), np.uint8)
        quads = np.stack([one[:-1], one[1:], two[1:], two[:-1]], 1) - corner
        for quad in np.round(quads * 16).astype(np.int32):
            cv2.fillConvexPoly(mask, quad, 255, shift=4)
        length = np.concatenate(
            [[0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))]
        )
        middle = (one + two) / 2
        radius = (plus + minus) / 2
        # A circle must not reach over an end that is flat.
        ends = np.full(len(points), np.inf)
        if not caps[0]:
            ends = np.minimum(ends, length)
        if not caps[1]:
            ends = np.minimum(ends, length[-1] - length)
        wheres = np.round((middle - corner) * 16).astype(int).tolist()
        sizes = np.round(radius * 0.995 * 16).astype(int).tolist()
        for where, size, fits in zip(wheres, sizes, ends >= radius, strict=True):
            if fits:
                cv2.circle(mask, where, size, 255, -1, shift=4)
        if hem:
            self._ellipse(mask, middle[-1] - corner, radius[-1], hem, tangent[-1])
        if opening is not None:
            cv2.fillPoly(mask, [_fixed(opening - corner)], 0, shift=4)
        if shadow:
            self.shadow(mask, window, shadow)

        x, y = self._grid(window)
        near = np.square(x[:, None] - np.float32(points[:, 0]))[None]
        near = near + np.square(y[:, None] - np.float32(points[:, 1]))[:, None]
        index = near.argmin(2)
        frame = np.float32(
            np.column_stack([points, tangent, normal, plus, minus, length])
        )[index]
        right, down = x[None] - frame[..., 0], y[:, None] - frame[..., 1]
        along = frame[..., 8] + right * frame[..., 2] + down * frame[..., 3]
        across = right * frame[..., 4] + down * frame[..., 5]
        ratio = across / np.where(across > 0, frame[..., 6], frame[..., 7])
        tilt = np.clip(ratio * roundness, -0.985, 0.985)
        share = along / max(length[-1], 1e-6)
        unit = np.float32(1 / self.unit)
        rise = np.zeros_like(tilt)
        if material.folds:
            wrinkle = self._wrinkle(along * unit, across * unit + length[-1])
            tilt = tilt + 0.16 * material.folds * wrinkle
            for bend in bends:
                weight = np.exp(-np.square((share - bend) * length[-1] * unit / 0.24))
                wave = np.sin((along + 0.35 * across) * unit * 34 + 5 * wrinkle)
                rise = rise + 0.2 * material.folds * weight * wave
        if pleats:
            fan = np.clip(ratio, -1.2, 1.2) * pleat_count
            wave = np.sin(fan * np.pi + 1.7 * np.sin(fan))
            tilt = tilt + pleats * wave * _smoothstep(0, 0.55, share)
        tilt = np.clip(tilt, -0.97, 0.97)
        rise = np.clip(rise, -0.4, 0.4)
        nx = frame[..., 4] * tilt + frame[..., 2] * rise
        ny = frame[..., 5] * tilt + frame[..., 3] * rise
        dark = darker + 0.2 * np.clip(np.abs(ratio), 0, 1) ** 5
        alpha = None
        if fade[0] or fade[1]:
            alpha = np.ones_like(share)
            if fade[0]:
                alpha = alpha * _smoothstep(0, fade[0], share)
            if fade[1]:
                alpha = alpha * (1 - _smoothstep(1 - fade[1], 1, share))
        self._finish(
            window, mask, (nx, ny), along * unit, across * unit, dark, material,
            _LABEL[label], owner, alpha,
        )  # fmt: skip

    @staticmethod
    def _ellipse(
        mask: np.ndarray,
        centre: np.ndarray,
        radius: float,
        hem: float,
        tangent: np.ndarray,
    ) -> None:
        angle = float(np.degrees(np.arctan2(tangent[0], -tangent[1]))) + 180
        axes = (round(radius * 16), round(abs(hem) * radius * 16))
        where = _fixed(centre)[0, 0].tolist()
        colour = 255 if hem > 0 else 0
        cv2.ellipse(mask, where, axes, angle, 0, 360, colour, -1, shift=4)

    def shape(
        self,
        outline: np.ndarray | Sequence[np.ndarray],
        material: _Material,
        label: str,
        owner: int,
        *,
        centre: np.ndarray | None = None,
        radii: tuple[float, float] | None = None,
        puff: float = 0.1,
        axis: np.ndarray | None = None,
        shadow: float = 0.0,
        darker: float = 0.0,
        only_on: str | None = None,
        roundness: float = 0.95,
    ) -> None:
        """Fills one outline, or the union of several.

        Args:
            outline: `[N, 2]`, layer pixels, or a sequence of such.
            centre, radii: Shades the ellipsoid they describe. Without them the
                outline is puffed up like a cushion.
            puff: Heads over which a cushion's border is round.
            axis: Direction along which the pattern runs; down if not given.
            only_on: Paints only where this label is.
        """
        outlines = [outline] if isinstance(outline, np.ndarray) else list(outline)
        points = np.concatenate(outlines)
        window = self._window(points.min(0), points.max(0))
        if window is None:
            return
        x0, y0, x1, y1 = window
        mask = np.zeros((y1 - y0, x1 - x0), np.uint8)
        for each in outlines:
            cv2.fillPoly(mask, [_fixed(each - np.array([x0, y0]))], 255, shift=4)
        if only_on is not None:
            mask[self.label[y0:y1, x0:x1] != _LABEL[only_on]] = 0
        if shadow:
            self.shadow(mask, window, shadow)
        x, y = self._grid(window)
        pivot = points.mean(0) if centre is None else np.asarray(centre)
        axis = np.array([0.0, 1.0]) if axis is None else _unit(np.asarray(axis))
        right = np.float32(x[None] - pivot[0]) + 0 * y[:, None]
        down = np.float32(y[:, None] - pivot[1]) + 0 * x[None]
        along = right * np.float32(axis[0]) + down * np.float32(axis[1])
        across = right * np.float32(axis[1]) - down * np.float32(axis[0])
        if radii is not None:
            nx = roundness * across / np.float32(radii[0])
            ny = roundness * along / np.float32(radii[1])
            nx, ny = nx * axis[1] + ny * axis[0], ny * axis[1] - nx * axis[0]
            size = np.sqrt(nx * nx + ny * ny)
            limit = np.maximum(size / 0.97, 1)
            nx, ny = nx / limit, ny / limit
            dark = darker + 0.15 * np.clip(size, 0, 1) ** 5
        else:
            nx, ny = self._cushion(mask, x.size, y.size, puff * self.unit)
            dark = darker
        unit = np.float32(1 / self.unit)
        if material.folds:
            wrinkle = self._wrinkle(along * unit, across * unit + pivot[0])
            nx = np.clip(nx + 0.15 * material.folds * wrinkle, -0.68, 0.68)
            ny = np.clip(ny, -0.68, 0.68)
        self._finish(
            window, mask, (nx, ny), along * unit, across * unit,
            dark + 0 * nx, material, _LABEL[label], owner,
        )  # fmt: skip

    def _cushion(
        self, mask: np.ndarray, columns: int, rows: int, radius: float
    ) -> tuple[np.ndarray, np.ndarray]:
        pad = ((0, rows * self.step - mask.shape[0]),)
        pad += ((0, columns * self.step - mask.shape[1]),)
        small = np.pad(mask, pad) if any(each[1] for each in pad) else mask
        if self.step > 1:
            small = cv2.resize(small, (columns, rows), interpolation=cv2.INTER_AREA)
        small = cv2.copyMakeBorder(small, 2, 2, 2, 2, cv2.BORDER_CONSTANT, value=0)
        sigma = max(0.7, radius / self.step)
        soft = cv2.GaussianBlur(np.float32(small) / 255, (0, 0), sigma)
        nx = -cv2.Sobel(soft, cv2.CV_32F, 1, 0)[2:-2, 2:-2] * sigma * 0.32
        ny = -cv2.Sobel(soft, cv2.CV_32F, 0, 1)[2:-2, 2:-2] * sigma * 0.32
        size = np.maximum(np.sqrt(nx * nx + ny * ny) / 0.95, 1)
        return nx / size, ny / size

    def line(
        self,
        points: np.ndarray,
        colour: Sequence[float],
        thickness: float,
        closed: bool = False,
    ) -> None:
        """Draws a seam or a lash; labels stay as they are."""
        width = max(1, round(thickness * self.unit))
        cv2.polylines(
            self.colour, [_fixed(points)], closed, [float(c) for c in colour],
            width, cv2.LINE_AA, 4,
        )  # fmt: skip

    def fill(self, points: np.ndarray, colour: Sequence[float]) -> None:
        """Fills a detail; labels stay as they are."""
        colour = [float(c) for c in colour]
        cv2.fillPoly(self.colour, [_fixed(points)], colour, cv2.LINE_AA, 4)

    def dot(self, centre: np.ndarray, radius: float, colour: Sequence[float]) -> None:
        where = _fixed(centre)[0, 0].tolist()
        size = max(8, round(radius * self.unit * 16))
        colour = [float(c) for c in colour]
        cv2.circle(self.colour, where, size, colour, -1, cv2.LINE_AA, 4)

    def tone(
        self, centre: np.ndarray, radii: tuple[float, float], change: Sequence[float]
    ) -> None:
        """Adds `change` to the colours of a soft ellipse; radii in heads."""
        size = np.maximum(np.array(radii) * self.unit, 1.0)
        window = self._window(centre - 2 * size, centre + 2 * size)
        if window is None:
            return
        x0, y0, x1, y1 = window
        x = np.exp(-np.square((np.arange(x0, x1) - centre[0]) / size[0]))
        y = np.exp(-np.square((np.arange(y0, y1) - centre[1]) / size[1]))
        weight = (y[:, None] * x[None]).astype(np.float32)[..., None]
        target = self.colour[y0:y1, x0:x1]
        target[:] = np.clip(target + weight * np.float32(change), 0, 255)


# -------------------------------------------------------------------- body and pose


@dataclass
class _Body:
    """A posed person: points of the scene and the shape of the flesh.

    Attributes:
        feminine, build: Whether the proportions are feminine; girth, 1 is average.
        yaw, head_yaw: Where trunk and head face, radians; 0 is the camera.
        hips, knees, ankles, shoulders, elbows, wrists: By side, `[3]` each.
        hands, feet: Headings of each hand and foot.
        pitch: By how much each heel is up, radians.
        pocketed: Sides whose hand is in a pocket.
    """

    feminine: bool
    build: float
    yaw: float
    head_yaw: float
    head_roll: float
    pelvis: np.ndarray
    neck: np.ndarray
    head: np.ndarray
    hips: dict[int, np.ndarray]
    knees: dict[int, np.ndarray]
    ankles: dict[int, np.ndarray]
    shoulders: dict[int, np.ndarray]
    elbows: dict[int, np.ndarray]
    wrists: dict[int, np.ndarray]
    hands: dict[int, np.ndarray]
    feet: dict[int, np.ndarray]
    pitch: dict[int, float]
    pocketed: set[int]
    half_shoulder: float

    @property
    def left(self) -> np.ndarray:
        return np.array([np.cos(self.yaw), 0.0, -np.sin(self.yaw)])

    @property
    def forward(self) -> np.ndarray:
        return np.array([np.sin(self.yaw), 0.0, np.cos(self.yaw)])

    @property
    def faces_camera(self) -> bool:
        return bool(np.cos(self.yaw) > 0.05)


_ANKLE_HEIGHT = 0.3
_ANKLE_TO_BALL = 0.5


def _reach(
    start: np.ndarray, end: np.ndarray, upper: float, lower: float, pole: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Two bones from `start` towards `end`; the joint points to `pole`.

    Returns:
        The joint, and the end that the bones can reach.
    """
    span = end - start
    distance = float(np.clip(np.linalg.norm(span), 0.35, (upper + lower) * 0.998))
    axis = _unit(span)
    along = (upper**2 - lower**2 + distance**2) / (2 * distance)
    off = np.sqrt(max(upper**2 - along**2, 0.0))
    side = _unit(pole - axis * float(pole @ axis))
    return start + axis * along + side * off, start + axis * distance


def _random_yaw(rng: np.random.Generator) -> float:
    kind = rng.random()
    if kind < 0.7:
        return float(np.clip(rng.normal(0, 0.28), -0.7, 0.7))
    if kind < 0.86:
        return float(rng.choice([-1, 1]) * rng.uniform(0.5, 1.0))
    if kind < 0.92:
        return float(rng.choice([-1, 1]) * rng.uniform(1.1, 1.6))
    return float(np.pi + np.clip(rng.normal(0, 0.3), -0.7, 0.7))


def _random_stance(
    rng: np.random.Generator, side: float, stance: str, heel: float
) -> dict[int, tuple[float, float, float]]:
    """Each ankle's place to the left and ahead, and its foot's pitch."""
    spread = rng.uniform(0.2, 0.36)
    places = {s: (s * spread, rng.uniform(-0.1, 0.1), heel) for s in (_RIGHT, _LEFT)}
    other = -int(side)
    if stance == "contrapposto":
        places[other] = (other * rng.uniform(0.4, 0.65), rng.uniform(0.1, 0.4), heel)
    elif stance == "walk":
        stride = rng.uniform(0.35, 0.8)
        lift = heel + 0.35 + 0.4 * stride
        places[int(side)] = (side * rng.uniform(0.02, 0.16), stride, heel)
        places[other] = (other * rng.uniform(0.02, 0.16), -stride, lift)
    elif stance == "cross":
        places[int(side)] = (side * rng.uniform(0.05, 0.15), -0.05, heel)
        places[other] = (side * rng.uniform(0.2, 0.35), rng.uniform(0.35, 0.5), heel)
    elif stance == "wide":
        spread = rng.uniform(0.5, 0.8)
        places = {s: (s * spread, rng.uniform(-0.1, 0.1), heel) for s in places}
    return places


def _random_wrist(
    rng: np.random.Generator,
    pose: str,
    side: int,
    shoulder: np.ndarray,
    pelvis: np.ndarray,
    neck: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Wrist target and elbow pole in the body's frame: (left, up, ahead)."""
    uniform = rng.uniform
    if pose == "hip":
        where = pelvis + [side * 0.72, uniform(0.28, 0.5), uniform(0.0, 0.2)]
        return where, np.array([side, 0.1, -0.45])
    if pose == "pocket":
        where = pelvis + [side * 0.62, uniform(0.0, 0.15), 0.22]
        return where, np.array([side, 0.0, -0.8])
    if pose == "front":
        where = pelvis + [-side * uniform(0.0, 0.25), uniform(0.5, 1.0), 0.62]
        return where, np.array([side, -0.4, -0.3])
    if pose == "chest":
        where = neck + [side * uniform(0.0, 0.3), -uniform(0.7, 1.0), 0.72]
        return where, np.array([side * 0.8, -1.0, -0.2])
    if pose == "hair":
        where = neck + [side * uniform(0.56, 0.7), uniform(0.7, 1.0), 0.0]
        return where, np.array([side, 0.4, 0.2])
    if pose == "behind":
        where = pelvis + [side * uniform(0.0, 0.25), uniform(0.1, 0.4), -0.55]
        return where, np.array([side, 0.0, -0.8])
    if pose == "out":
        where = shoulder + [side * uniform(0.9, 1.5), -uniform(1.2, 1.8), 0.3]
        return where, np.array([side * 0.2, 0.0, -1.0])
    if pose == "swing":
        where = shoulder + [side * uniform(0.1, 0.3), -2.15, uniform(0.3, 0.8)]
        return where, np.array([side * 0.4, 0.0, -1.0])
    if pose == "back_swing":
        where = shoulder + [side * uniform(0.15, 0.35), -2.15, -uniform(0.3, 0.7)]
        return where, np.array([side * 0.3, 0.0, -1.0])
    where = shoulder + [side * uniform(0.08, 0.4), -uniform(2.2, 2.4), uniform(0, 0.3)]
    return where, np.array([side * 0.5, 0.0, -1.0])


_ARM_POSES = {
    "hang": 5, "hip": 2.2, "pocket": 1.6, "front": 1.0, "chest": 0.7, "hair": 0.5,
    "behind": 0.5, "out": 0.7, "swing": 0.5,
}  # fmt: skip

# How a hand turns from the forearm's heading: (outwards, up, ahead).
_HAND_TURNS = {
    "hip": np.array([-0.3, -0.7, 0.9]),
    "front": np.array([-0.5, -0.3, 0.0]),
    "hair": np.array([-0.6, 0.3, 0.0]),
    "hang": np.array([-0.1, -0.3, 0.1]),
}


def _random_body(rng: np.random.Generator) -> _Body:
    feminine = bool(rng.random() < 0.58)
    build = float(np.clip(rng.normal(0.95 if feminine else 1.03, 0.09), 0.8, 1.25))
    yaw = _random_yaw(rng)
    left = np.array([np.cos(yaw), 0.0, -np.sin(yaw)])
    forward = np.array([np.sin(yaw), 0.0, np.cos(yaw)])
    up = np.array([0.0, 1.0, 0.0])

    def world(local: np.ndarray) -> np.ndarray:
        return local[0] * left + local[1] * up + local[2] * forward

    scale = rng.uniform(0.95, 1.06)
    thigh, shin = 1.72 * scale, 1.62 * scale
    half_hip = 0.37 if feminine else 0.35
    heel = float(rng.choice([0.0, 0.0, 0.45, 0.6])) if feminine else 0.0
    side = int(rng.choice([_RIGHT, _LEFT]))
    stances = ["stand", "contrapposto", "walk", "cross", "wide"]
    stance = str(rng.choice(stances, p=[0.27, 0.33, 0.24, 0.08, 0.08]))
    places = _random_stance(rng, side, stance, heel)

    ankles_local = {}
    for s, (a, ahead, pitch) in places.items():
        lift = _ANKLE_HEIGHT * np.cos(pitch) + _ANKLE_TO_BALL * np.sin(pitch)
        ankles_local[s] = np.array([a, lift, ahead])
    sway = side * {"contrapposto": 0.16, "cross": 0.1}.get(stance, 0.0)
    drop = {"contrapposto": rng.uniform(0.04, 0.1)}.get(stance, 0.0)
    hips_local = {}
    for s in (_RIGHT, _LEFT):
        hips_local[s] = np.array([sway + s * half_hip, 0.0 if s == side else -drop, 0])
    pelvis_height = min(
        ankles_local[s][1]
        - hips_local[s][1]
        + np.sqrt(
            ((thigh + shin) * 0.995) ** 2
            - np.square((ankles_local[s] - hips_local[s])[[0, 2]]).sum()
        )
        for s in (_RIGHT, _LEFT)
    )
    for s in (_RIGHT, _LEFT):
        hips_local[s][1] += pelvis_height
    pelvis = (hips_local[_RIGHT] + hips_local[_LEFT]) / 2

    trunk = 2.28 * rng.uniform(0.96, 1.03)
    lean = np.array([-0.6 * sway + rng.normal(0, 0.05), 1.0, rng.normal(0.0, 0.05)])
    neck = pelvis + trunk * _unit(lean)
    half_shoulder = (0.70 if feminine else 0.82) * (0.6 + 0.4 * build)
    twist = rng.normal(0, 0.12)
    slope = 0.5 * drop + rng.normal(0, 0.02)
    shoulders_local = {
        s: neck
        + [
            s * half_shoulder * np.cos(twist),
            -0.17 - s * side * slope,
            s * half_shoulder * np.sin(twist),
        ]
        for s in (_RIGHT, _LEFT)
    }
    head_local = neck + [rng.normal(0, 0.03), 0.755, 0.1 + rng.normal(0, 0.03)]

    names = list(_ARM_POSES)
    weights = np.array(list(_ARM_POSES.values()))
    poses = {
        s: names[rng.choice(len(names), p=weights / weights.sum())]
        for s in (_RIGHT, _LEFT)
    }
    if stance == "walk" and rng.random() < 0.7:
        poses = {side: "back_swing", -side: "swing"}
    elif rng.random() < 0.3:
        poses[_LEFT] = poses[_RIGHT]
    arm, fore = 1.32 * scale, 1.1 * scale
    elbows, wrists, hands = {}, {}, {}
    for s in (_RIGHT, _LEFT):
        target, pole = _random_wrist(rng, poses[s], s, shoulders_local[s], pelvis, neck)
        elbow, wrist = _reach(shoulders_local[s], target, arm, fore, pole)
        elbows[s], wrists[s] = world(elbow), world(wrist)
        heading = _unit(wrist - elbow) + _HAND_TURNS.get(poses[s], np.zeros(3)) * [
            s, 1, 1
        ]  # fmt: skip
        hands[s] = world(_unit(heading))

    knees, feet = {}, {}
    for s in (_RIGHT, _LEFT):
        turn = s * rng.uniform(0.08, 0.5) * (0.4 if stance == "walk" else 1)
        pole = np.array([0.5 * np.sin(turn), 0.0, 1.0])
        knee, _ = _reach(hips_local[s], ankles_local[s], thigh, shin, pole)
        knees[s] = world(knee)
        feet[s] = world(np.array([np.sin(turn), 0.0, np.cos(turn)]))

    look = 0.7 * yaw if abs(yaw) < 1.2 and rng.random() < 0.5 else yaw
    return _Body(
        feminine=feminine,
        build=build,
        yaw=yaw,
        head_yaw=float(look + rng.normal(0, 0.2)),
        head_roll=float(rng.normal(0, 0.06)),
        pelvis=world(pelvis),
        neck=world(neck),
        head=world(head_local),
        hips={s: world(p) for s, p in hips_local.items()},
        knees=knees,
        ankles={s: world(p) for s, p in ankles_local.items()},
        shoulders={s: world(p) for s, p in shoulders_local.items()},
        elbows=elbows,
        wrists=wrists,
        hands=hands,
        feet=feet,
        pitch={s: place[2] for s, place in places.items()},
        pocketed={s for s, pose in poses.items() if pose == "pocket"},
        half_shoulder=half_shoulder,
    )


# -------------------------------------------------------------------------- wardrobe


@dataclass(frozen=True)
class _Shoes:
    """One design, worn on both feet."""

    kind: str
    upper: _Material
    sole: _Material
    detail: np.ndarray
    sole_height: float
    shaft: float


@dataclass(frozen=True)
class _Outfit:
    """What a person looks like apart from build and pose.

    Lengths of sleeves and trousers count limb segments: 1 is elbow or knee, 2 is
    wrist or ankle. Lengths on the trunk are shares of neck to pelvis.
    """

    skin: _Material
    hair: _Material
    hair_style: str
    hair_length: float
    parting: float
    beard: bool
    lips: np.ndarray
    iris: np.ndarray
    kind: str
    top: _Material
    neckline: str
    sleeve: float
    sleeve_ease: float
    hem: float
    top_ease: float
    tucked: bool
    buttons: bool
    badge: np.ndarray | None
    coat: _Material | None
    coat_length: float
    coat_opening: float
    bottom: _Material
    bottom_kind: str
    leg_end: float
    leg_ease: tuple[float, float, float]
    skirt_length: float
    flare: float
    pleats: float
    belt: np.ndarray | None
    shoes: _Shoes
    socks: _Material | None
    sock_height: float
    gloves: _Material | None
    scarf: _Material | None
    hat: _Material | None
    hat_kind: str
    hat_band: np.ndarray
    sunglasses: np.ndarray | None


def _hair_tile(rng: np.random.Generator, colour: np.ndarray, curly: bool) -> np.ndarray:
    noise = rng.normal(0, 1, (_TILE, _TILE)).astype(np.float32)
    sigma = (2.2, 2.2) if curly else (0.7, 11)
    wrapped = np.tile(noise, (3, 3))
    noise = cv2.GaussianBlur(wrapped, (0, 0), sigmaX=sigma[0], sigmaY=sigma[1])
    noise = noise[_TILE : 2 * _TILE, _TILE : 2 * _TILE]
    noise /= noise.std()
    strands = colour * (1 + 0.1 * noise[..., None]) + 2 * noise[..., None]
    return np.clip(strands, 0, 255).astype(np.uint8)


def _random_shoes(
    rng: np.random.Generator, feminine: bool, heel: bool, winter: bool
) -> _Shoes:
    if heel:
        kind = str(rng.choice(["heel", "heel", "boot"]))
    elif feminine:
        kind = str(rng.choice(["sneaker", "flat", "boot", "boot"]))
    else:
        kind = str(rng.choice(["sneaker", "sneaker", "oxford", "boot"]))
    if winter and kind == "flat":
        kind = "boot"
    colour = _random_colour(rng, 0.75)
    gloss = {"sneaker": 0.05, "oxford": 0.3, "heel": 0.3}.get(kind, 0.15)
    dark_sole = _tint(colour, -0.6)
    sole = (235, 232, 226) if kind == "sneaker" and rng.random() < 0.75 else dark_sole
    shaft = float(rng.uniform(0.25, 0.8)) if kind == "boot" else 0.0
    return _Shoes(
        kind=kind,
        upper=_solid(colour, gloss),
        sole=_solid(sole),
        detail=_tint(colour, 0.7 if colour.mean() < 140 else -0.5),
        sole_height={"sneaker": 0.085, "boot": 0.07}.get(kind, 0.035),
        shaft=shaft,
    )


def _random_outfit(rng: np.random.Generator, body: _Body) -> _Outfit:
    feminine = body.feminine
    winter = bool(rng.random() < 0.35)
    skin = np.array(_SKINS[rng.integers(len(_SKINS))], np.float64) + rng.normal(0, 4, 3)
    skin = np.clip(skin, 30, 250)
    hair = np.array(_HAIRS[rng.integers(len(_HAIRS))], np.float64)
    if skin.mean() < 130:
        hair = np.array(_HAIRS[rng.integers(3)], np.float64)
    elif rng.random() < 0.04:
        hair = _random_colour(rng, 0.0)
    if feminine:
        styles = ["long", "wavy", "bob", "bun", "ponytail", "short", "curly", "fringe"]
        weights = [0.25, 0.18, 0.14, 0.12, 0.1, 0.05, 0.08, 0.08]
    else:
        styles = ["short", "quiff", "curly", "buzz", "bob", "bun"]
        weights = [0.42, 0.26, 0.12, 0.1, 0.06, 0.04]
    style = str(rng.choice(styles, p=weights))

    roll = rng.random()
    kind = "top"
    if feminine and roll < 0.24:
        kind = "dress"
    elif roll > (0.9 if feminine else 0.95):
        kind = "jumpsuit"
    skirt = kind == "top" and feminine and rng.random() < 0.4
    shorts = kind == "top" and not skirt and not winter and rng.random() < 0.22
    bottom_kind = "skirt" if skirt or kind == "dress" else "pants"
    denim = bottom_kind == "pants" and kind == "top" and rng.random() < 0.4
    top = _random_cloth(
        rng,
        _DRESS_KINDS if kind != "top" else _TOP_KINDS,
        weave="knit" if winter and kind == "top" else "cotton",
    )
    blues = [(38, 50, 80), (60, 86, 126), (110, 140, 174), (44, 46, 52)]
    bottom = top
    if kind == "top":
        colour = blues[rng.integers(4)] if denim else _random_colour(rng, 0.8)
        if np.abs(np.asarray(colour) - top.colour).sum() < 60:
            colour = _tint(top.colour, 0.5 if top.colour.mean() < 120 else -0.55)
        kinds = {"plain": 1.0} if denim else _BOTTOM_KINDS
        kinds = _DRESS_KINDS if skirt else kinds
        weave = "denim" if denim else "cotton"
        bottom = _random_cloth(rng, kinds, np.asarray(colour), weave)

    necklines = ["crew", "crew", "v", "scoop", "collar", "turtle", "boat"]
    weights = [3, 1, 2, 2 * feminine, 2.2, 1.5 * winter + 0.2, 1.0 * feminine]
    neckline = str(rng.choice(necklines, p=np.array(weights) / sum(weights)))
    if kind == "dress" and neckline == "turtle":
        neckline = "scoop"
    if winter:
        sleeve = float(rng.choice([1.93, 1.9, 1.5]))
    else:
        sleeve = float(
            rng.choice([1.92, 1.3, 0.62, 0.5, 0.0], p=[0.3, 0.1, 0.25, 0.2, 0.15])
        )
    if sleeve == 0.0 and not feminine and rng.random() < 0.7:
        sleeve = 0.6

    fit = str(
        rng.choice(
            ["skinny", "straight", "wide", "tapered"], p=[0.35, 0.35, 0.12, 0.18]
        )
    )
    leg_ease = {
        "skinny": (0.02, 0.03, 0.03),
        "straight": (0.05, 0.09, 0.12),
        "wide": (0.1, 0.2, 0.33),
        "tapered": (0.1, 0.1, 0.06),
    }[fit]  # fmt: skip
    leg_end = float(rng.choice([1.96, 1.93, 1.75], p=[0.5, 0.3, 0.2]))
    if shorts:
        leg_end, leg_ease = float(rng.uniform(0.45, 0.95)), (0.08, 0.1, 0.1)

    coat = None
    if rng.random() < (0.62 if winter else 0.2):
        colour = _random_colour(rng, 0.85)
        if np.abs(colour - top.colour).sum() < 90:
            colour = _tint(top.colour, 0.45 if top.colour.mean() < 110 else -0.5)
        coat = _random_cloth(rng, {"plain": 6, "plaid": 1, "stripes": 0.3}, colour)
    bare = bottom_kind == "skirt" or leg_end < 1.85
    socks = None
    if rng.random() < (0.4 if bare else 0.6):
        socks = _random_cloth(
            rng, {"plain": 3, "rings": 2}, _random_colour(rng), folds=0.3
        )
    heel = (
        any(pitch > 0.3 for pitch in body.pitch.values())
        and min(body.pitch.values()) > 0.3
    )
    badge = None
    if kind == "top" and top.is_plain and rng.random() < 0.25:
        badge = _tint(top.colour, 0.75 if top.colour.mean() < 130 else -0.6)
    sunglasses = None
    if rng.random() < 0.2:
        sunglasses = np.array(
            [(24, 22, 24), (66, 44, 30), (30, 42, 56)][rng.integers(3)]
        )
    return _Outfit(
        skin=_solid(skin, 0.05),
        hair=_Material(_hair_tile(rng, hair, style == "curly"), 0.9, gloss=0.1),
        hair_style=style,
        hair_length=float(rng.uniform(0.75, 1.5)),
        parting=float(rng.choice([0.0, -0.14, 0.14]) + rng.normal(0, 0.02)),
        beard=bool(not feminine and rng.random() < 0.35),
        lips=skin * (0.86, 0.6, 0.6) if feminine else skin * (0.88, 0.72, 0.7),
        iris=np.array([(70, 46, 30), (86, 60, 36), (84, 110, 130), (82, 96, 62)])[
            rng.integers(4)
        ],
        kind=kind,
        top=top,
        neckline=neckline,
        sleeve=sleeve,
        sleeve_ease=float(rng.uniform(0.03, 0.1)),
        hem=float(rng.uniform(1.02, 1.2)),
        top_ease=float(rng.uniform(0.02, 0.12)),
        tucked=bool(skirt or rng.random() < 0.35),
        buttons=bool(neckline == "collar" or rng.random() < 0.1),
        badge=badge,
        coat=coat,
        coat_length=float(rng.choice([0.15, 0.75, 1.0, 1.35]) + rng.uniform(-0.1, 0.1)),
        coat_opening=float(rng.uniform(0.14, 0.3)),
        bottom=bottom,
        bottom_kind=bottom_kind,
        leg_end=leg_end,
        leg_ease=leg_ease,
        skirt_length=float(
            rng.choice([0.6, 0.75, 0.95, 1.3, 1.75], p=[0.2, 0.25, 0.25, 0.15, 0.15])
            + rng.uniform(-0.06, 0.06)
        ),
        flare=float(rng.choice([0.02, 0.12, 0.3]) * rng.uniform(0.8, 1.2)),
        pleats=float(rng.choice([0.08, 0.22, 0.36])),
        belt=_random_colour(rng, 0.9) if rng.random() < 0.4 else None,
        shoes=_random_shoes(rng, feminine, heel, winter),
        socks=socks,
        sock_height=float(rng.choice([1.72, 1.6, 1.12], p=[0.5, 0.3, 0.2])),
        gloves=_solid(_random_colour(rng, 0.8), 0.08)
        if rng.random() < (0.25 if winter else 0.04)
        else None,
        scarf=_random_cloth(rng, {"plain": 2, "plaid": 2, "rings": 1}, weave="knit")
        if rng.random() < (0.4 if winter else 0.06)
        else None,
        hat=_random_cloth(rng, {"plain": 5, "rings": 0.6}, folds=0.3)
        if rng.random() < 0.26
        else None,
        hat_kind=str(rng.choice(["beanie", "brim", "cap", "bucket"])),
        hat_band=_random_colour(rng, 0.9),
        sunglasses=sunglasses,
    )


# ---------------------------------------------------------------------------- figure


def _capsule(start: np.ndarray, end: np.ndarray, radius: float) -> np.ndarray:
    heading = np.arctan2(*(end - start)[::-1])
    angles = np.linspace(-np.pi / 2, np.pi / 2, 7)
    front = end + radius * np.column_stack(
        [np.cos(heading + angles), np.sin(heading + angles)]
    )
    back = start - radius * np.column_stack(
        [np.cos(heading + angles), np.sin(heading + angles)]
    )
    return np.concatenate([front, back])


class _Figure:
    """Paints one dressed body, back to front."""

    def __init__(
        self,
        painter: _Painter,
        camera: _Camera,
        body: _Body,
        outfit: _Outfit,
        rng: np.random.Generator,
    ) -> None:
        self.painter = painter
        self.camera = camera
        self.body = body
        self.outfit = outfit
        self.rng = rng
        self.sin, self.cos = float(np.sin(body.yaw)), float(np.cos(body.yaw))

    def paint(self) -> None:
        body, outfit = self.body, self.outfit
        arms = sorted((_RIGHT, _LEFT), key=self._arm_depth)
        behind = [side for side in arms if self._arm_depth(side) < -0.3]
        if body.faces_camera:
            self._long_hair()
        if outfit.coat is not None and outfit.coat_length > 0.4:
            self._coat_back()
        for side in behind:
            self._arm(side)
        for side in sorted((_RIGHT, _LEFT), key=self._leg_depth):
            self._leg(side)
        self._neck()
        if outfit.kind == "dress":
            self._skirt(outfit.top, "Dress", from_neck=True)
        elif outfit.kind == "jumpsuit":
            self._hips(outfit.top, "Jumpsuits")
            self._top("Jumpsuits", 1.0, fade=0.25)
        else:
            if outfit.tucked:
                self._top("UpperClothes", 0.95)
            if outfit.bottom_kind == "skirt":
                self._skirt(outfit.bottom, "Skirt", from_neck=False)
            else:
                self._hips(outfit.bottom, "Pants")
            if not outfit.tucked:
                self._top("UpperClothes", outfit.hem)
        self._belt()
        self._neckline()
        if outfit.coat is not None:
            self._coat()
        for side in arms:
            if side not in behind and self._arm_depth(side) < 0.0:
                self._arm(side)
        if outfit.scarf is not None:
            self._scarf()
        _Head(self).paint()
        if not body.faces_camera:
            self._long_hair()
        for side in arms:
            if side not in behind and self._arm_depth(side) >= 0.0:
                self._arm(side)

    # Geometry that several parts share.

    def _scale(self, point: np.ndarray) -> float:
        camera = self.camera
        return camera.unit * camera.distance / (camera.distance - float(point[2]))

    def _arm_depth(self, side: int) -> float:
        body = self.body
        middle = (body.elbows[side] + body.wrists[side] + body.shoulders[side]) / 3
        trunk = (body.neck + body.pelvis) / 2
        # A hand before the trunk must be painted after it, however the elbow points.
        front = 0.5 * max(0.0, float(body.wrists[side][2] - trunk[2]) - 0.3)
        return float(middle[2] - trunk[2]) + front + 0.1

    def _leg_depth(self, side: int) -> float:
        return float(self.body.knees[side][2] + self.body.ankles[side][2])

    def _half_width(self, at: np.ndarray) -> np.ndarray:
        """Heads from the trunk's middle to its side, seen from the front."""
        body = self.body
        chest, waist, hip = (0.60, 0.46, 0.63) if body.feminine else (0.71, 0.58, 0.58)
        girth = body.build
        shoulder = body.half_shoulder
        return _profile(
            at,
            (-0.04, 0.2),
            (0.0, 0.27),
            (0.022, 0.55 * shoulder),
            (0.05, 0.88 * shoulder),
            (0.1, shoulder),
            (0.33, chest * girth),
            (0.64, waist * girth),
            (0.97, hip * girth),
            (1.2, hip * girth * 0.98),
        )

    def _depth(self, at: np.ndarray) -> np.ndarray:
        girth = self.body.build
        return girth * _profile(
            at, (-0.04, 0.18), (0.05, 0.24), (0.33, 0.4), (0.64, 0.35), (0.97, 0.42),
            (1.2, 0.4),
        )  # fmt: skip

    def _trunk(
        self, at: np.ndarray, ease: float | np.ndarray = 0.0
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Centre line and radii at shares of the way from neck to pelvis."""
        body, at = self.body, np.asarray(at, np.float64)
        crotch = body.pelvis - [0, 0.5, 0]
        points = body.neck + (body.pelvis - body.neck) * np.minimum(at, 1)[:, None]
        points = points + (crotch - body.pelvis) * (np.maximum(at - 1, 0) * 4)[:, None]
        radius = np.hypot(self._half_width(at) * self.cos, self._depth(at) * self.sin)
        bust = 0.13 if body.feminine else 0.05
        front = _profile(
            at, (-0.04, 0), (0.15, 0.02), (0.36, bust), (0.6, 0.03), (1.2, 0)
        )
        back = _profile(
            at,
            (-0.04, 0),
            (0.2, 0.06),
            (0.6, -0.03),
            (0.8, 0.04),
            (1.0, 0.14),
            (1.2, 0.08),
        )
        ahead, behind = max(self.sin, 0), max(-self.sin, 0)
        unit = self.camera.unit
        plus = (radius + ahead * front + behind * back + ease) * unit
        minus = (radius + behind * front + ahead * back + ease) * unit
        return self.camera.project(points), plus, minus

    def _front(self, at: Sequence[float], width: Sequence[float]) -> np.ndarray:
        """Points on the chest: share down the trunk, heads to the photo's right."""
        at = np.asarray(at, np.float64)
        points, _, _ = self._trunk(at)
        down = self.camera.project(np.stack([self.body.neck, self.body.pelvis]))
        down = _unit(down[1] - down[0])
        turn = abs(self.cos) * np.asarray(width) + self.sin * 0.95 * self._depth(at)
        across = np.array([down[1], -down[0]])
        return points + across * (turn * self.camera.unit)[:, None]

    def _leg_line(self, side: int, at: np.ndarray) -> np.ndarray:
        body = self.body
        hip = body.hips[side] + [0, 0.12, 0]
        project = self.camera.project
        return _bend(
            project(hip), project(body.knees[side]), project(body.ankles[side]), at
        )

    def _leg_radius(self, at: np.ndarray) -> np.ndarray:
        girth = self.body.build * self.camera.unit
        return girth * _profile(
            at,
            (0, 0.26),
            (0.25, 0.315),
            (0.45, 0.32),
            (0.95, 0.215),
            (1.1, 0.2),
            (1.35, 0.235),
            (1.8, 0.125),
            (2.0, 0.12),
        )

    # Legs.

    def _leg(self, side: int) -> None:
        body, outfit, painter = self.body, self.outfit, self.painter
        owner, prefix = _OWNER_LEG[side], _SIDES[side]
        at = np.linspace(0, 2, 26)
        line, radius = self._leg_line(side, at), self._leg_radius(at)
        calf = 0.14 * np.exp(-np.square((at - 1.35) / 0.25)) * radius
        outer = side * np.sign(self.cos)
        plus, minus = radius + calf * (outer > 0), radius + calf * (outer < 0)
        painter.tube(line, plus, minus, outfit.skin, f"{prefix}Leg", owner, shadow=0.45)
        if np.cos(body.yaw) > 0.3:
            painter.tone(line[13], (0.11, 0.1), -0.07 * np.array(outfit.skin.colour))
        if outfit.socks is not None:
            part = at >= outfit.sock_height
            painter.tube(
                line[part], radius[part] * 1.06, radius[part] * 1.06, outfit.socks,
                "Socks", owner, caps=(False, True), bends=(0.9,),
            )  # fmt: skip
        tall = outfit.shoes.shaft > 0
        over = outfit.leg_ease[2] > 0.05 and outfit.leg_end > 1.0
        label = "Jumpsuits" if outfit.kind == "jumpsuit" else "Pants"
        if tall and not over and outfit.bottom_kind == "pants":
            self._trouser(side, label)
        self._shoe(side)
        if tall:
            self._shaft(side)
        if (over or not tall) and outfit.bottom_kind == "pants":
            self._trouser(side, label)

    def _trouser(self, side: int, label: str) -> None:
        outfit = self.outfit
        at = np.linspace(0.0, outfit.leg_end, 26)
        line, radius = self._leg_line(side, at), self._leg_radius(at)
        thigh, knee, hem = outfit.leg_ease
        ease = _profile(at, (0.0, 0.02), (0.5, thigh), (1.0, knee), (1.95, hem))
        radius = radius + ease * self.camera.unit
        bends = [1.0 / outfit.leg_end] if outfit.leg_end > 1.1 else []
        if outfit.leg_end > 1.8:
            bends.append(0.97)
        self.painter.tube(
            line, radius, radius, outfit.bottom, label, _OWNER_LEG[side], hem=0.16,
            caps=(False, False), bends=bends, shadow=0.4,
        )  # fmt: skip
        colour = _tint(outfit.bottom.colour, -0.3)
        if outfit.kind == "top":
            edge = line[-2]
            across = np.array([radius[-2] * 0.92, 0])
            self.painter.line(np.stack([edge - across, edge + across]), colour, 0.012)

    def _shaft(self, side: int) -> None:
        shoes = self.outfit.shoes
        at = np.linspace(2 - shoes.shaft, 2.02, 14)
        line = self._leg_line(side, at)
        radius = self._leg_radius(at) + 0.035 * self.camera.unit
        self.painter.tube(
            line, radius, radius, replace(shoes.upper, folds=0.3),
            f"{_SIDES[side]}Shoe", _OWNER_LEG[side], caps=(False, True),
            bends=(0.8,), fade=(0, 0.2),
        )  # fmt: skip
        top = np.stack([line[0] - [radius[0], 0], line[0] + [radius[0], 0]])
        self.painter.line(top, _tint(shoes.upper.colour, -0.35), 0.02)

    def _shoe(self, side: int) -> None:
        body, shoes, painter = self.body, self.outfit.shoes, self.painter
        owner, label = _OWNER_LEG[side], f"{_SIDES[side]}Shoe"
        heading, pitch = body.feet[side], body.pitch[side]
        up = np.array([0.0, 1.0, 0.0])
        fore = np.cos(pitch) * heading - np.sin(pitch) * up
        above = np.cos(pitch) * up + np.sin(pitch) * heading
        across = np.cross(up, heading)
        sole_centre = body.ankles[side] - _ANKLE_HEIGHT * above

        def place(station: tuple, height: float, width: float) -> np.ndarray:
            point = sole_centre + station[0] * fore + height * above + width * across
            # The toes stay on the ground while the heel is up.
            flat = sole_centre + _ANKLE_TO_BALL * fore
            beyond = max(0.0, station[0] - _ANKLE_TO_BALL)
            if beyond and pitch:
                point = flat + beyond * heading + height * up + width * across
            return point

        narrow = 0.85 if shoes.kind in ("heel", "flat") else 1.0
        low = shoes.kind in ("heel", "flat")
        stations = (
            (-0.24, 0.09, 0.24 if low else 0.33),
            (-0.16, 0.14, 0.26 if low else 0.37),
            (0.05, 0.155, 0.2 if low else 0.37),
            (0.25, 0.165, 0.17 if low else 0.28),
            (0.5, 0.19, 0.16 if low else 0.19),
            (0.66, 0.16, 0.13 if low else 0.15),
            (0.76, 0.09, 0.09 if low else 0.1),
        )
        soles, uppers = [], []
        for station in stations:
            for sign in (-1, 1):
                width = sign * station[1] * narrow
                soles.append(place(station, 0.0, width * 1.06))
                soles.append(place(station, shoes.sole_height, width * 1.06))
                uppers.append(place(station, shoes.sole_height, width))
                uppers.append(place(station, station[2], width * 0.62))

        def hull(points: list[np.ndarray]) -> np.ndarray:
            flat = self.camera.project(np.stack(points)).astype(np.float32)
            return cv2.convexHull(flat)[:, 0].astype(np.float64)

        if pitch > 0.3 and shoes.kind in ("heel", "boot"):
            drop = np.array(place((-0.15,), 0.0, 0.0))
            tip = drop.copy()
            tip[1] = 0.0 if drop[1] < 0.45 else drop[1] - 0.3
            top, bottom = self.camera.project(np.stack([drop, tip]))
            thick = (0.05 if shoes.kind == "heel" else 0.11) * self.camera.unit
            painter.shape(
                np.array([
                    top + [-1.8 * thick, 0], top + [1.8 * thick, 0],
                    bottom + [thick * 0.8, 0], bottom - [thick * 0.8, 0],
                ]),
                shoes.upper, label, owner, puff=0.03, darker=0.1,
            )  # fmt: skip
        painter.shape(hull(soles), shoes.sole, label, owner, puff=0.03)
        outline = hull(uppers)
        painter.shape(_smooth_closed(outline, 3), shoes.upper, label, owner, puff=0.09)
        self._shoe_details(side, place, low)

    def _shoe_details(self, side: int, place: Callable, low: bool) -> None:
        shoes, painter = self.outfit.shoes, self.painter
        project = self.camera.project
        if low:
            # The foot shows in the opening.
            rim = [
                (-0.16, 0.0, 0.27), (-0.1, 0.1, 0.24), (0.15, 0.12, 0.19),
                (0.4, 0.09, 0.175), (0.48, 0.0, 0.17), (0.4, -0.09, 0.175),
                (0.15, -0.12, 0.19), (-0.1, -0.1, 0.24),
            ]  # fmt: skip
            opening = np.stack([place((x,), h, w * 0.85) for x, w, h in rim])
            has_sock = self.outfit.socks is not None
            painter.shape(
                _smooth_closed(project(opening), 3),
                self.outfit.socks if has_sock else self.outfit.skin,
                "Socks" if has_sock else f"{_SIDES[side]}Leg",
                _OWNER_LEG[side],
                only_on=f"{_SIDES[side]}Shoe",
                puff=0.08,
            )
            at = np.linspace(1.8, 2.0, 6)
            radius = self._leg_radius(at)
            painter.tube(
                self._leg_line(side, at), radius, radius,
                self.outfit.socks if has_sock else self.outfit.skin,
                "Socks" if has_sock else f"{_SIDES[side]}Leg", _OWNER_LEG[side],
                fade=(0.5, 0),
            )  # fmt: skip
            return
        if np.cross(self.body.feet[side], [0, 1, 0])[0] > 0.2:
            return
        if shoes.kind in ("sneaker", "boot", "oxford"):
            for x, height in ((0.22, 0.31), (0.3, 0.275), (0.38, 0.245), (0.46, 0.215)):
                ends = [place((x,), height, w) for w in (-0.07, 0.07)]
                painter.line(project(np.stack(ends)), shoes.detail, 0.022)
        if shoes.kind in ("sneaker", "oxford"):
            cap = [
                place((0.55,), 0.19 - 0.5 * abs(w), w)
                for w in np.linspace(-0.14, 0.14, 5)
            ]
            painter.line(project(np.stack(cap)), _tint(shoes.upper.colour, -0.3), 0.014)

    # Trunk.

    def _hips(self, material: _Material, label: str) -> None:
        at = np.linspace(0.72, 1.24, 16)
        line, plus, minus = self._trunk(at, 0.03)
        # The block narrows to the crotch, where the two legs part.
        narrow = 1 - 0.5 * _smoothstep(1.08, 1.24, at)
        self.painter.tube(
            line, plus * narrow, minus * narrow, material, label, _OWNER_TRUNK,
            caps=(False, False), fade=(0.0, 0.55), roundness=0.85,
        )  # fmt: skip
        if label == "Pants" and self.body.faces_camera:
            dark = _tint(material.colour, -0.35)
            self.painter.line(self._front([0.8, 0.95, 1.1], [0, 0, 0]), dark, 0.014)
            for sign in (-1, 1):
                pocket = self._front(
                    [0.79, 0.87, 0.93], [sign * 0.3, sign * 0.38, sign * 0.5]
                )
                self.painter.line(pocket, dark, 0.014)
        elif label == "Pants":
            dark = _tint(material.colour, -0.3)
            for sign in (-1, 1):
                corners = self._front(
                    [0.93, 0.93, 1.06, 1.1, 1.06],
                    [sign * 0.14, sign * 0.42, sign * 0.42, sign * 0.28, sign * 0.14],
                )
                self.painter.line(corners, dark, 0.014, closed=True)

    def _top(self, label: str, hem: float, fade: float = 0.0) -> None:
        outfit = self.outfit
        at = np.linspace(0.0, hem, 26)
        loose = outfit.top_ease * (not outfit.tucked) * (label == "UpperClothes")
        ease = 0.02 + loose * _smoothstep(0.2, 0.7, at)
        line, plus, minus = self._trunk(at, ease)
        self.painter.tube(
            line, plus, minus, outfit.top, label, _OWNER_TRUNK, roundness=0.8,
            caps=(False, False), hem=0.0 if fade else 0.12, fade=(0, fade),
            bends=() if fade else (0.62, 0.75), pleats=0.1, pleat_count=2.5,
            shadow=0.35 if not outfit.tucked else 0.0,
        )  # fmt: skip
        self._top_details()

    def _top_details(self) -> None:
        outfit, painter = self.outfit, self.painter
        if not self.body.faces_camera:
            return
        dark = _tint(outfit.top.colour, -0.3)
        if self.body.feminine and self.cos > 0.6:
            for sign in (-1, 1):
                under = self._front([0.42], [sign * 0.27])[0]
                painter.tone(under, (0.2, 0.07), -0.14 * outfit.top.colour)
        if outfit.buttons and outfit.kind != "dress":
            end = 0.95 if outfit.tucked else outfit.hem - 0.03
            painter.line(self._front([0.1, 0.5, end], [0.03] * 3), dark, 0.014)
            light = _tint(
                outfit.top.colour, 0.6 if outfit.top.colour.mean() < 140 else -0.5
            )
            for at in np.linspace(0.16, end - 0.06, 6):
                painter.dot(self._front([at], [0.0])[0], 0.02, light)
        elif outfit.badge is not None and self.cos > 0.5:
            self._badge()

    def _badge(self) -> None:
        outfit, painter = self.outfit, self.painter
        kind = self.rng.integers(3)
        angles = np.linspace(0, 2 * np.pi, 25)[:-1]
        if kind == 0:
            rings = self._front(0.38 + 0.09 * np.sin(angles), 0.21 * np.cos(angles))
            painter.fill(rings, outfit.badge)
            inner = self._front(0.38 + 0.05 * np.sin(angles), 0.12 * np.cos(angles))
            painter.fill(inner, outfit.top.colour)
        elif kind == 1:
            size = np.where(np.arange(10) % 2, 0.1, 0.24)
            turn = np.arange(10) * np.pi / 5 - np.pi / 2
            star = self._front(0.38 + 0.44 * size * np.sin(turn), size * np.cos(turn))
            painter.fill(star, outfit.badge)
        else:
            for at, half in ((0.31, 0.3), (0.39, 0.22), (0.47, 0.27)):
                bar = self._front(
                    [at - 0.02, at - 0.02, at + 0.02, at + 0.02],
                    [-half, half, half, -half],
                )
                painter.fill(bar, outfit.badge)

    def _skirt(self, material: _Material, label: str, from_neck: bool) -> None:
        """A skirt, or a dress in one piece, around whatever the legs do."""
        outfit, unit = self.outfit, self.camera.unit
        top = 0.0 if from_neck else 0.68
        upper = np.linspace(top, 1.0, 18 if from_neck else 8)
        waisted = 0.03 if from_neck else 0.02
        line, plus, minus = self._trunk(upper, waisted)
        length = min(outfit.skirt_length, 1.85)
        start = float(line[-1, 1])
        at = np.linspace(0, 2, 40)
        end = min(
            float(np.interp(length, at, self._leg_line(side, at)[:, 1]))
            for side in (_RIGHT, _LEFT)
        )
        rows = np.linspace(start, max(end, start + 0.5 * unit), 18)[1:]
        lefts, rights = [], []
        for side in (_RIGHT, _LEFT):
            leg, radius = self._leg_line(side, at), self._leg_radius(at)
            order = np.maximum.accumulate(leg[:, 1] + np.arange(40) * 1e-6)
            x = np.interp(rows, order, leg[:, 0])
            size = np.interp(rows, order, radius)
            lefts.append(x - size)
            rights.append(x + size)
        down = (rows - start) / unit
        ease = (0.05 + outfit.flare * down) * unit
        left, right = np.min(lefts, 0) - ease, np.max(rights, 0) + ease
        # A skirt hangs from the hips: it does not follow the legs inwards at once.
        hip_left, hip_right = line[-1, 0] - minus[-1], line[-1, 0] + plus[-1]
        taper = np.exp(-down / 1.1) * 0.85
        left = np.minimum(left, left * (1 - taper) + (hip_left - 0.02 * unit) * taper)
        right = np.maximum(
            right, right * (1 - taper) + (hip_right + 0.02 * unit) * taper
        )
        middle, half = (left + right) / 2, (right - left) / 2
        points = np.concatenate([line, np.column_stack([middle, rows])])
        kernel = np.array([1, 2, 3, 2, 1]) / 9
        both = []
        for side_radius in (plus, minus):
            joined = np.concatenate([side_radius, half])
            padded = np.pad(joined, 2, mode="edge")
            smooth = np.convolve(padded, kernel, "valid")
            keep = np.arange(len(joined)) < len(upper) - 4
            both.append(np.where(keep, joined, smooth))
        x = np.pad(points[:, 0], 2, mode="edge")
        points[4:, 0] = np.convolve(x, kernel, "valid")[4:]
        self.painter.tube(
            points, both[0], both[1], material, label, _OWNER_TRUNK, roundness=0.8,
            caps=(False, False), hem=0.1, pleats=outfit.pleats,
            pleat_count=3 + 6 * outfit.flare + 8 * outfit.pleats,
            bends=(0.35,) if from_neck else (0.05,), shadow=0.45,
        )  # fmt: skip
        if from_neck:
            self._top_details()

    def _belt(self) -> None:
        outfit = self.outfit
        if outfit.belt is None or not (outfit.tucked or outfit.kind != "top"):
            return
        at = np.linspace(0.66, 0.71, 3)
        if outfit.kind == "top":
            at = at + (0.05 if outfit.bottom_kind == "pants" else 0.01)
        line, plus, minus = self._trunk(at, 0.045)
        label = {"dress": "Dress", "jumpsuit": "Jumpsuits"}.get(
            outfit.kind, "Skirt" if outfit.bottom_kind == "skirt" else "Pants"
        )
        self.painter.tube(
            line, plus, minus, _solid(outfit.belt, 0.1), label, _OWNER_TRUNK,
            caps=(False, False), hem=0.1, roundness=0.85,
        )  # fmt: skip
        if self.body.faces_camera:
            low, high = float(at[0]), float(at[-1]) + 0.015
            buckle = self._front([low, low, high, high], [-0.08, 0.08, 0.08, -0.08])
            self.painter.line(buckle, (206, 180, 110), 0.024, closed=True)

    def _neck(self) -> None:
        body, unit = self.body, self.camera.unit
        base, head = self.camera.project(np.stack([body.neck, body.head]))
        tops = base + (head - base) * 0.78
        at = np.linspace(-0.25, 1, 9)
        points = base + (tops - base) * at[:, None]
        size = 0.185 if body.feminine else 0.225
        radius = _profile(at, (-0.25, 0.36), (0.1, size * 1.15), (1, size)) * unit
        self.painter.tube(
            points, radius, radius, self.outfit.skin, "Face", _OWNER_HEAD,
            caps=(False, True),
        )  # fmt: skip

    def _neckline(self) -> None:
        outfit, painter = self.outfit, self.painter
        label = {"dress": "Dress", "jumpsuit": "Jumpsuits"}.get(
            outfit.kind, "UpperClothes"
        )
        kind = outfit.neckline
        if kind == "turtle":
            self._collar_band(0.34, label)
            return
        front = self.body.faces_camera
        size = 0.03 if self.body.feminine else 0.06
        shapes = {
            "crew": ([-0.07, 0.0, 0.05, 0.075, 0.05, 0.0, -0.07],
                     [-0.21, -0.23, -0.16, 0, 0.16, 0.23, 0.21]),
            "v": ([-0.07, 0.0, 0.12, 0.24, 0.12, 0.0, -0.07],
                  [-0.21, -0.24, -0.13, 0, 0.13, 0.24, 0.21]),
            "scoop": ([-0.07, 0.01, 0.11, 0.16, 0.11, 0.01, -0.07],
                      [-0.22, -0.34, -0.24, 0, 0.24, 0.34, 0.22]),
            "boat": ([-0.07, 0.015, 0.055, 0.07, 0.055, 0.015, -0.07],
                     [-0.22, -0.46, -0.3, 0, 0.3, 0.46, 0.22]),
            "collar": ([-0.07, 0.0, 0.06, 0.13, 0.06, 0.0, -0.07],
                       [-0.19, -0.2, -0.1, 0, 0.1, 0.2, 0.19]),
        }  # fmt: skip
        at, width = shapes[kind]
        if not front:
            at = [min(each, 0.015) for each in at]
        outline = self._front(at, [w * (1 + size) for w in width])
        dense = outline if kind in ("v", "collar") else _smooth_closed(outline, 4)
        painter.shape(dense, outfit.skin, "Face", _OWNER_TRUNK, puff=0.25, darker=0.03)
        if kind in ("crew", "scoop", "boat"):
            edge = dense[4 : 4 * 6] if front else dense[4:24]
            painter.line(edge, _tint(outfit.top.colour, -0.25), 0.03)
        if front and kind in ("scoop", "v", "boat") and self.cos > 0.5:
            shade = -0.13 * outfit.skin.colour
            for sign in (-1, 1):
                bone = self._front([0.035], [sign * 0.2])[0]
                painter.tone(bone, (0.13, 0.03), shade)
        if kind == "collar":
            self._shirt_collar(label, front)

    def _collar_band(self, height: float, label: str) -> None:
        body, unit = self.body, self.camera.unit
        base, head = self.camera.project(np.stack([body.neck, body.head]))
        up = _unit(head - base)
        at = np.linspace(height, -0.06, 7)
        radius = (0.235 if body.feminine else 0.275) * unit
        wide = radius * (1 + 0.3 * np.clip(-at * 12, 0, 1))
        self.painter.tube(
            base + up * (at * unit)[:, None], wide, wide, self.outfit.top, label,
            _OWNER_TRUNK, caps=(False, False), hem=0.22, bends=(0.3, 0.7),
        )  # fmt: skip

    def _shirt_collar(self, label: str, front: bool) -> None:
        light = replace(self.outfit.top, folds=0.0)
        if not front:
            points = self._front([-0.07, -0.07, 0.03, 0.03], [-0.23, 0.23, 0.27, -0.27])
            self.painter.shape(points, light, label, _OWNER_TRUNK, puff=0.05)
            return
        for sign in (-1, 1):
            at, width = [-0.09, -0.02, 0.1, 0.125, 0.02], [0.2, 0.29, 0.2, 0.05, 0.14]
            points = self._front(at, [sign * w for w in width])
            self.painter.shape(
                points, light, label, _OWNER_TRUNK, puff=0.05, shadow=0.3
            )

    # Coat.

    def _coat_rows(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
        """Centre line and radii of the coat, and the share where the trunk ends."""
        outfit, unit = self.outfit, self.camera.unit
        upper = np.linspace(0.0, 1.0, 16)
        ease = 0.05 + 0.06 * _smoothstep(0.1, 0.6, upper)
        line, plus, minus = self._trunk(upper, ease)
        length = outfit.coat_length
        below = np.linspace(0, max(length, 0.12), 12)[1:]
        legs = [self._leg_line(side, below) for side in (_RIGHT, _LEFT)]
        centre = (legs[0] + legs[1]) / 2
        centre[:, 1] = np.maximum(centre[:, 1], line[-1, 1] + below * 0.3 * unit)
        spread = np.abs(legs[0][:, 0] - legs[1][:, 0]) / 2
        legs_half = spread + self._leg_radius(below) + 0.06 * unit
        half = np.maximum(legs_half, 0.5 * (plus[-1] + minus[-1]) * (1 + 0.12 * below))
        share = len(line) / (len(line) + len(centre))
        points = np.concatenate([line, centre])
        for column in (0, 1):
            padded = np.pad(points[:, column], 2, mode="edge")
            smooth = np.convolve(padded, np.ones(5) / 5, "valid")
            points[3:-3, column] = smooth[3:-3]
        return (
            points, np.concatenate([plus, half]), np.concatenate([minus, half]), share,
        )  # fmt: skip

    def _coat_back(self) -> None:
        points, plus, minus, _ = self._coat_rows()
        keep = slice(12, None)
        self.painter.tube(
            points[keep], plus[keep] * 0.9, minus[keep] * 0.9, self.outfit.coat, "Coat",
            _OWNER_TRUNK, caps=(False, False), darker=0.45, roundness=0.5,
        )  # fmt: skip

    def _coat(self) -> None:
        outfit, unit, painter = self.outfit, self.camera.unit, self.painter
        points, plus, minus, _ = self._coat_rows()
        opening, edges = None, []
        if self.cos > 0.25:
            tangent = np.gradient(points, axis=0)
            tangent /= np.linalg.norm(tangent, axis=1, keepdims=True)
            normal = np.stack([tangent[:, 1], -tangent[:, 0]], 1)
            rows = np.linspace(0, 1, len(points))
            at = np.linspace(0.0, 1.2, len(points))
            middle = self.sin * 0.8 * np.where(rows < 0.6, self._depth(at), 0.4) * unit
            half = (
                unit
                * outfit.coat_opening
                * abs(self.cos)
                * _profile(rows, (0, 0.75), (0.3, 0.85), (0.6, 1.0), (1.0, 1.5))
            )
            edges = [points + normal * (middle + s * half)[:, None] for s in (-1, 1)]
            tail = tangent[-1] * unit
            opening = np.concatenate(
                [[edges[0][0] - tail * 0.4], edges[0], [edges[0][-1] + tail],
                 [edges[1][-1] + tail], edges[1][::-1], [edges[1][0] - tail * 0.4]]
            )  # fmt: skip
        painter.tube(
            points, plus, minus, outfit.coat, "Coat", _OWNER_TRUNK, roundness=0.78,
            caps=(False, False), hem=0.06, pleats=0.12, pleat_count=3,
            opening=opening, shadow=0.4,
        )  # fmt: skip
        if opening is None:
            collar = self._front([-0.06, -0.06, 0.05, 0.05], [-0.24, 0.24, 0.36, -0.36])
            painter.shape(collar, outfit.coat, "Coat", _OWNER_TRUNK, puff=0.06)
            return
        dark = _tint(outfit.coat.colour, -0.35)
        count = len(points)
        for sign, edge in zip((-1, 1), edges, strict=True):
            out = np.array([sign * unit * abs(self.cos), 0])
            painter.line(edge[3:], dark, 0.016)
            lapel = np.array([
                edge[0] + out * 0.02 - [0, 0.16 * unit], edge[0] + out * 0.24,
                edge[3] + out * 0.26, edge[4] + out * 0.19, edge[4] + out * 0.27,
                edge[int(count * 0.3)] + out * 0.02, edge[3],
            ])  # fmt: skip
            if self.cos > 0.35:
                painter.shape(
                    lapel, outfit.coat, "Coat", _OWNER_TRUNK, puff=0.04, shadow=0.25
                )
                painter.line(lapel[3:6], dark, 0.012)
                where = int(count * 0.56)
                pocket = np.stack(
                    [edge[where] + out * 0.14, edge[where + 1] + out * 0.4]
                )
                painter.line(pocket, dark, 0.022)
                for at in (0.34, 0.43, 0.52):
                    centre = edge[int(count * at)] + out * 0.06
                    if sign > 0:
                        painter.dot(centre, 0.024, dark)

    def _scarf(self) -> None:
        outfit, unit, painter = self.outfit, self.camera.unit, self.painter
        if self.body.faces_camera:
            for sign, length in ((-1, 0.62), (1, 0.8)):
                end = self._front([length * 0.7], [sign * 0.2])[0]
                start = self._front([0.06], [sign * 0.12])[0]
                line = start + (end - start) * np.linspace(0, 1, 8)[:, None]
                width = np.linspace(0.11, 0.16, 8) * unit
                painter.tube(
                    line, width, width, outfit.scarf, "Scarf", _OWNER_TRUNK,
                    caps=(True, False), roundness=0.7, shadow=0.35, pleats=0.2,
                    pleat_count=2,
                )  # fmt: skip
                for x in np.linspace(-0.12, 0.12, 6):
                    tip = end + [x * unit, 0]
                    painter.line(
                        np.stack([tip - [0, 0.1 * unit], tip - [0, 0.01 * unit]]),
                        _tint(outfit.scarf.colour, -0.2), 0.014,
                    )  # fmt: skip
        base, head = self.camera.project(np.stack([self.body.neck, self.body.head]))
        middle = base + (head - base) * 0.2
        angles = np.linspace(-2.9, 2.9, 15)
        for drop, size in ((0.12, 0.4), (0.0, 0.36)):
            ring = middle + np.column_stack(
                [np.sin(angles) * size, np.cos(angles) * 0.11 + drop]
            ) * unit  # fmt: skip
            width = np.full(len(ring), 0.12 * unit)
            painter.tube(
                ring[::-1], width, width, outfit.scarf, "Scarf", _OWNER_TRUNK,
                shadow=0.3, roundness=0.85, pleats=0.15, pleat_count=2,
            )  # fmt: skip

    # Arms.

    def _arm(self, side: int) -> None:
        body, outfit, painter = self.body, self.outfit, self.painter
        owner, label = _OWNER_ARM[side], f"{_SIDES[side]}Arm"
        unit = self._scale(body.elbows[side])
        project = self.camera.project
        shoulder, elbow, wrist = (
            project(joints[side])
            for joints in (body.shoulders, body.elbows, body.wrists)
        )

        # The upper arm hangs inside the shoulder's curve, not on top of it.
        trunk = project((body.neck + body.pelvis) / 2)
        inwards = np.clip((trunk[0] - shoulder[0]) / unit, -0.09, 0.09)
        shoulder = shoulder + unit * np.array([inwards, 0.1])

        def line(at: np.ndarray) -> np.ndarray:
            return _bend(shoulder, elbow, wrist, at)

        def radius(at: np.ndarray) -> np.ndarray:
            size = (0.93 if body.feminine else 1.08) * body.build * unit
            return size * _profile(
                at, (0, 0.14), (0.12, 0.17), (0.3, 0.178), (0.55, 0.163), (0.95, 0.125),
                (1.25, 0.135), (1.9, 0.08), (2.05, 0.08),
            )  # fmt: skip

        at = np.linspace(0, 2, 24)
        if min(outfit.sleeve, 2 if outfit.coat is None else 0) < 1.9:
            painter.tube(
                line(at), radius(at), radius(at), outfit.skin, label, owner, shadow=0.45
            )
        if side not in body.pocketed:
            self._hand(side, wrist, unit)
        sleeves = []
        if outfit.coat is not None:
            sleeves.append((outfit.coat, "Coat", 1.93, 0.09))
        elif outfit.sleeve > 0:
            name = {"dress": "Dress", "jumpsuit": "Jumpsuits"}.get(
                outfit.kind, "UpperClothes"
            )
            sleeves.append((outfit.top, name, outfit.sleeve, outfit.sleeve_ease))
        for material, name, end, ease in sleeves:
            part = np.linspace(0, end, 24)
            wide = radius(part) + unit * ease * _profile(
                part / end, (0, 0.15), (0.4, 0.9), (1.0, 0.8)
            )
            bends = [1.0 / end] if end > 1.2 else []
            painter.tube(
                line(part), wide, wide, material, name, owner, bends=bends, hem=0.14,
                caps=(True, False), fade=(0.3, 0.0), shadow=0.3 if end > 1 else 0.15,
            )  # fmt: skip
            cuff, size = line(part[-3:])[1], wide[-2]
            heading = _unit(line(part[-3:])[2] - line(part[-3:])[0])
            across = np.array([heading[1], -heading[0]]) * size
            painter.line(
                np.stack([cuff - across, cuff + across]),
                _tint(material.colour, -0.25), 0.014,
            )  # fmt: skip

    def _hand(self, side: int, wrist: np.ndarray, unit: float) -> None:
        body, outfit, painter, rng = self.body, self.outfit, self.painter, self.rng
        tip = self.camera.project(body.wrists[side] + 0.7 * body.hands[side])
        heading = tip - wrist
        length = float(np.clip(np.linalg.norm(heading) / unit / 0.7, 0.6, 1.0))
        heading = _unit(heading)
        across = np.array([heading[1], -heading[0]])
        centre = self.camera.project((body.neck + body.pelvis) / 2)
        inwards = float(np.sign(across @ (centre - wrist)) or 1)
        thumb = inwards if body.faces_camera else -inwards
        gloved = outfit.gloves is not None
        material = outfit.gloves if gloved else outfit.skin
        label = "Glove" if gloved else f"{_SIDES[side]}Arm"
        size = (0.88 if body.feminine else 1.0) * unit

        def at(along: float, aside: float) -> np.ndarray:
            return wrist + size * (heading * along * length + across * aside * thumb)

        curl = rng.uniform(0.75, 1.0)
        palm = np.stack([
            at(-0.08, -0.085), at(0.1, -0.12), at(0.36, -0.14), at(0.4, 0.13),
            at(0.2, 0.15), at(0.05, 0.1), at(-0.08, 0.085),
        ])  # fmt: skip
        parts = [_smooth_closed(palm, 4)]
        spread = rng.uniform(0.9, 1.1)
        fingers = ((-0.11, 0.24), (-0.035, 0.3), (0.04, 0.31), (0.11, 0.27))
        for aside, reach in fingers:
            end = at(0.36 + reach * curl, aside * spread * 0.9 + 0.03 * (1 - curl))
            parts.append(_capsule(at(0.33, aside), end, 0.042 * size))
        parts.append(_capsule(at(0.1, 0.11), at(0.34, 0.21 * spread), 0.047 * size))
        painter.shape(
            parts, material, label, _OWNER_ARM[side], puff=0.07, axis=heading,
            shadow=0.35,
        )  # fmt: skip
        dark = material.colour * 0.72
        for aside in (-0.075, 0.0, 0.075):
            ends = np.stack([at(0.38, aside), at(0.36 + 0.22 * curl, aside)])
            painter.line(ends, dark, 0.012)

    def _long_hair(self) -> None:
        outfit = self.outfit
        if outfit.hair_style not in ("long", "wavy", "fringe", "ponytail"):
            return
        _Head(self).paint_length()


# ------------------------------------------------------------------------------ head


class _Head:
    """Paints a head. Its frame: x to the photo's right, y down, in head heights."""

    def __init__(self, figure: _Figure) -> None:
        self.painter, self.outfit = figure.painter, figure.outfit
        body = figure.body
        self.body = body
        self.unit = figure._scale(body.head)
        self.centre = figure.camera.project(body.head)
        self.sin, self.cos = float(np.sin(body.head_yaw)), float(np.cos(body.head_yaw))
        roll = body.head_roll
        self.down = np.array([-np.sin(roll), np.cos(roll)])
        self.right = np.array([np.cos(roll), np.sin(roll)])
        self.jaw = 0.94 if body.feminine else 1.06
        self.volume = {
            "curly": 0.08,
            "wavy": 0.04,
            "buzz": -0.045,
            "bun": -0.02,
            "ponytail": -0.02,
            "short": -0.015,
            "quiff": -0.03,
        }.get(self.outfit.hair_style, 0.025)

    def at(self, points: Sequence) -> np.ndarray:
        points = np.asarray(points, np.float64)
        offset = points[..., :1] * self.right + points[..., 1:2] * self.down
        return self.centre + self.unit * offset

    def turned(self, x: Sequence, y: Sequence) -> np.ndarray:
        """Frame points of places on the skull's front, given as seen from ahead."""
        x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
        z = 0.38 * np.sqrt(np.clip(1 - (x / 0.4) ** 2 - (y / 0.56) ** 2, 0, 1))
        side = x * self.cos + z * self.sin
        hidden = z * self.cos - x * self.sin < -0.02
        rim = np.copysign(0.4 * np.sqrt(np.clip(1 - (y / 0.56) ** 2, 0, 1)), side)
        return np.stack([np.where(hidden, rim, side), y], -1)

    def facing(self, x: float, z: float) -> tuple[float, float]:
        """Where a feature at (x, z) lands, and how much it faces the camera."""
        turned = x * self.cos + z * self.sin
        return turned, z * self.cos - x * self.sin

    @property
    def skin(self) -> _Material:
        return self.outfit.skin

    def paint(self) -> None:
        painter, outfit = self.painter, self.outfit
        self._mass()
        if self.cos > -0.45:
            self._face()
            if outfit.beard and self.cos > 0.0:
                self._beard()
            if self.cos > -0.2:
                self._features()
            self._ears()
            self._hairline()
        if outfit.hair_style == "bun" and outfit.hat is None:
            centre = self.at([-0.22 * self.sin, -0.56])
            angles = np.linspace(0, 2 * np.pi, 13)[:-1]
            size = 0.16 * self.unit
            outline = centre + size * np.column_stack([np.cos(angles), np.sin(angles)])
            painter.shape(
                outline, outfit.hair, "Hair", _OWNER_HEAD, centre=centre,
                radii=(size, size),
            )  # fmt: skip
        if outfit.sunglasses is not None and self.cos > 0.05:
            self._sunglasses()
        if outfit.hat is not None:
            self._hat()

    def _blob(
        self, outline: Sequence, material: _Material, label: str, smooth: int = 4,
        **options: object,
    ) -> None:  # fmt: skip
        """A part of the head, shaded as the ball that the head is."""
        points = self.at(outline)
        points = _smooth_closed(points, smooth) if smooth > 1 else points
        options.setdefault("centre", self.at([0.0, 0.0]))
        options.setdefault("radii", (0.47 * self.unit, 0.62 * self.unit))
        self.painter.shape(
            points, material, label, _OWNER_HEAD, axis=self.down, **options
        )

    def _mass(self) -> None:
        """The hair behind the face; all there is of a head seen from the back."""
        style, grow = self.outfit.hair_style, self.volume
        nape = 0.42 if style in ("bob", "curly") else 0.2
        if style in ("long", "wavy", "fringe", "ponytail"):
            nape = 0.34
        shift = -0.09 * self.sin
        wide = 0.37 + 0.045 * abs(self.sin) + grow
        bottom = wide * (0.98 if style in ("bob", "curly", "long", "wavy") else 0.7)
        outline = [
            (shift, -0.5 - grow), (shift + 0.62 * wide, -0.42 - grow),
            (shift + 0.97 * wide, -0.17), (shift + wide, 0.08),
            (shift + bottom, nape), (shift + 0.4 * bottom, nape + 0.06),
            (shift - 0.4 * bottom, nape + 0.06), (shift - bottom, nape),
            (shift - wide, 0.08), (shift - 0.97 * wide, -0.17),
            (shift - 0.62 * wide, -0.42 - grow),
        ]  # fmt: skip
        self._blob(outline, self._hair, "Hair", shadow=0.35, darker=0.08)

    @property
    def _hair(self) -> _Material:
        return self.outfit.hair

    def _outline(self) -> np.ndarray:
        jaw = self.jaw
        half = np.array([
            (0.0, -0.37), (0.19, -0.34), (0.29, -0.2), (0.315, 0.0),
            (0.3, 0.17), (0.235 * jaw, 0.335), (0.11 * jaw, 0.455),
        ])  # fmt: skip
        outline = np.concatenate([half, [(0, 0.485)], half[:0:-1] * (-1, 1)])
        y = outline[:, 1]
        shift = np.interp(y, [-0.4, 0.0, 0.5], [0.06, 0.09, 0.15]) * self.sin
        outline[:, 0] = outline[:, 0] * (1 - 0.1 * abs(self.sin)) + shift
        return outline

    def _face(self) -> None:
        outlines = [_smooth_closed(self.at(self._outline()), 5)]
        if abs(self.sin) > 0.8 and self.cos > -0.3:
            s = np.sign(self.sin)
            profile = [
                (0.2, -0.3), (0.345, -0.16), (0.36, -0.06), (0.35, -0.01), (0.45, 0.13),
                (0.43, 0.165), (0.36, 0.18), (0.385, 0.235), (0.365, 0.265),
                (0.38, 0.3), (0.34, 0.34), (0.36, 0.41), (0.3, 0.475), (0.1, 0.44),
            ]  # fmt: skip
            outlines.append(self.at([(s * x, y) for x, y in profile]))
        x, y = 0.08 * self.sin, 0.0
        self.painter.shape(
            outlines, self.skin, "Face", _OWNER_HEAD, axis=self.down, shadow=0.5,
            centre=self.at([x, y]), radii=(0.4 * self.unit, 0.58 * self.unit),
            roundness=0.85,
        )  # fmt: skip

    def _ears(self) -> None:
        covered = self.outfit.hair_style in ("long", "wavy", "bob", "curly", "fringe")
        if covered:
            return
        for sign in (-1, 1):
            x, z = self.facing(sign * 0.335, -0.05)
            if z < -0.16:
                continue
            ear = [
                (x, -0.07), (x + sign * 0.05, -0.08), (x + sign * 0.06, 0.0),
                (x + sign * 0.02, 0.11), (x - sign * 0.03, 0.1), (x - sign * 0.04, 0.0),
            ]  # fmt: skip
            self._blob(ear, self.skin, "Face", centre=None, radii=None, puff=0.04)
            inner = self.at([(x + sign * 0.015, -0.04), (x + sign * 0.01, 0.05)])
            self.painter.line(inner, self.skin.colour * 0.72, 0.02)

    def _features(self) -> None:
        painter, skin, outfit = self.painter, self.skin.colour, self.outfit
        dark = skin * (0.66, 0.58, 0.56)
        light = painter.light.direction
        for sign in (-1, 1):
            x, z = self.facing(sign * 0.15, 0.3)
            if z < 0.08:
                continue
            wide = float(np.clip(z / 0.3, 0.35, 1.0))
            painter.tone(self.at([x, -0.01]), (0.1 * wide, 0.07), -0.12 * skin)
            cheek = self.facing(sign * 0.2, 0.22)[0]
            blush = (14, -4, -2) if self.body.feminine else (5, -3, -3)
            painter.tone(self.at([cheek, 0.17]), (0.09 * wide, 0.08), blush)
            self._eye(x, sign, wide)
            brow = outfit.hair.colour * 0.8
            bend = 0.025 if self.body.feminine else 0.012
            line = [
                (x - 0.1 * wide, -0.105 + (0.02 if sign < 0 else 0)),
                (x, -0.12 - bend),
                (x + 0.1 * wide, -0.105 + (0.02 if sign > 0 else 0)),
            ]  # fmt: skip
            painter.line(
                self._curve(line), brow, 0.022 if self.body.feminine else 0.032
            )
        self._nose(dark, light)
        self._mouth()

    def _curve(self, points: Sequence) -> np.ndarray:
        """A quadratic through three frame points, in layer pixels."""
        a, b, c = np.asarray(points, np.float64)
        s = np.linspace(0, 1, 9)[:, None]
        b = 2 * b - (a + c) / 2
        return self.at((1 - s) ** 2 * a + 2 * s * (1 - s) * b + s**2 * c)

    def _eye(self, x: float, sign: int, wide: float) -> None:
        painter, outfit = self.painter, self.outfit
        size, tall, y = 0.084 * wide, 0.04, 0.01
        up = np.linspace(np.pi, 2 * np.pi, 7)
        lid = np.column_stack([x + size * np.cos(up), y + tall * np.sin(up)])
        low = np.linspace(0, np.pi, 7)[1:-1]
        rest = np.column_stack([x + size * np.cos(low), y + 0.75 * tall * np.sin(low)])
        white = np.clip(
            0.72 * np.array([236, 232, 228]) + 0.25 * self.skin.colour, 0, 240
        )
        painter.fill(self.at(np.concatenate([lid, rest])), white)
        look = x + 0.02 * self.sin
        painter.dot(self.at([look, y - 0.003]), 0.038, outfit.iris)
        painter.dot(self.at([look, y - 0.003]), 0.016, (16, 14, 14))
        painter.dot(self.at([look - 0.012, y - 0.015]), 0.008, (244, 244, 244))
        lash = (30, 22, 20) if self.body.feminine else self.skin.colour * 0.4
        painter.line(self.at(lid), lash, 0.024 if self.body.feminine else 0.016)
        painter.line(self.at(lid - [0, 0.028]), self.skin.colour * 0.74, 0.01)
        if self.body.feminine:
            corner = np.array(
                [(x + sign * size, y), (x + sign * (size + 0.025), y - 0.02)]
            )
            painter.line(self.at(corner), lash, 0.018)
        painter.line(self.at(rest), self.skin.colour * 0.72, 0.008)

    def _nose(self, dark: np.ndarray, light: np.ndarray) -> None:
        painter, skin = self.painter, self.skin.colour
        bridge, _ = self.facing(0.0, 0.34)
        tip, z = self.facing(0.0, 0.42)
        if z < 0.1:
            return
        base, _ = self.facing(0.0, 0.36)
        shaded = -1 if light[0] > 0 else 1
        painter.tone(
            self.at([bridge + shaded * 0.055, 0.06]), (0.035, 0.1), -0.17 * skin
        )
        painter.tone(self.at([tip, 0.1]), (0.035, 0.06), 0.1 * (255 - skin) + 6)
        painter.tone(self.at([base, 0.185]), (0.075, 0.025), -0.24 * skin)
        for sign in (-1, 1):
            hole, facing = self.facing(sign * 0.042, 0.36)
            if facing > 0.1:
                points = [(hole - 0.018, 0.158), (hole, 0.151), (hole + 0.018, 0.158)]
                painter.line(self._curve(points), dark * 0.62, 0.018)
            wing, facing = self.facing(sign * 0.072, 0.32)
            if facing > 0.1:
                points = [
                    (wing - sign * 0.01, 0.105),
                    (wing + sign * 0.004, 0.13),
                    (wing - sign * 0.012, 0.158),
                ]
                painter.line(self._curve(points), skin * 0.78, 0.012)

    def _mouth(self) -> None:
        painter, lips = self.painter, self.outfit.lips
        left, _ = self.facing(-0.105, 0.27)
        right, _ = self.facing(0.105, 0.27)
        middle, z = self.facing(0.0, 0.34)
        if z < 0.06:
            left = min(left, middle - 0.02) if self.sin < 0 else left
        left, right = min(left, middle - 0.02), max(right, middle + 0.02)
        y, full = 0.275, 1.0 if self.body.feminine else 0.72
        bow = [
            (left, y), ((left + middle) / 2, y - 0.026 * full),
            (middle - 0.01, y - 0.034 * full), (middle, y - 0.026 * full),
            (middle + 0.01, y - 0.034 * full), ((right + middle) / 2, y - 0.026 * full),
            (right, y), (middle, y + 0.006),
        ]  # fmt: skip
        low = [
            (left, y), (middle, y + 0.004), (right, y),
            ((right + middle) / 2, y + 0.036 * full), (middle, y + 0.05 * full),
            ((left + middle) / 2, y + 0.036 * full),
        ]  # fmt: skip
        painter.tone(
            self.at([middle, y + 0.085]), (0.08, 0.025), -0.13 * self.skin.colour
        )
        painter.fill(self.at(bow), lips * 0.9)
        painter.fill(self.at(low), np.minimum(lips * 1.06, 255))
        painter.line(
            self._curve(
                [
                    (left - 0.01, y - 0.012),
                    (middle, y + 0.006),
                    (right + 0.01, y - 0.012),
                ]
            ),
            lips * 0.5,
            0.013,
        )

    def _beard(self) -> None:
        outline = self._outline()
        middle = 0.34 * self.sin
        low = [tuple(point) for point in outline[4:11]]
        upper = [
            (low[-1][0], 0.1),
            (middle - 0.17, 0.2),
            (middle - 0.1, 0.215),
            (middle, 0.205),
            (middle + 0.1, 0.215),
            (middle + 0.17, 0.2),
            (low[0][0], 0.1),
        ]
        material = self._hair
        colour = 0.6 * material.tile + 0.4 * self.skin.colour
        beard = replace(
            material, tile=np.clip(colour, 0, 255).astype(np.uint8), gloss=0
        )
        self._blob(low + upper, beard, "Face", smooth=1, only_on="Face")

    def _hairline(self) -> None:
        """Hair that lies over the forehead and down the sides of the face."""
        style, grow, part = self.outfit.hair_style, self.volume, self.outfit.parting
        lines = {
            "fringe": [
                (-0.36, 0.02),
                (-0.29, -0.13),
                (-0.1, -0.15),
                (0.1, -0.15),
                (0.29, -0.13),
                (0.36, 0.02),
            ],
            "quiff": [
                (-0.35, -0.02),
                (-0.29, -0.22),
                (-0.16, -0.31),
                (0.1, -0.33),
                (0.29, -0.24),
                (0.35, -0.02),
            ],
            "buzz": [
                (-0.35, -0.05),
                (-0.28, -0.23),
                (-0.16, -0.3),
                (0.16, -0.3),
                (0.28, -0.23),
                (0.35, -0.05),
            ],
            "short": [
                (-0.35, 0.0),
                (-0.29, -0.2),
                (part - 0.12, -0.27),
                (part + 0.06, -0.3),
                (0.29, -0.17),
                (0.35, 0.0),
            ],
            "curly": [
                (-0.37, 0.05),
                (-0.28, -0.16),
                (-0.1, -0.24),
                (0.1, -0.23),
                (0.28, -0.16),
                (0.37, 0.05),
            ],
            "bun": [
                (-0.35, -0.02),
                (-0.29, -0.2),
                (-0.13, -0.31),
                (0.13, -0.31),
                (0.29, -0.2),
                (0.35, -0.02),
            ],
        }
        lines["ponytail"] = lines["bun"]
        parted = [
            (-0.37, 0.12), (-0.28, -0.08), (part - 0.09, -0.27), (part, -0.37),
            (part + 0.09, -0.27), (0.28, -0.08), (0.37, 0.12),
        ]  # fmt: skip
        line = np.array(lines.get(style, parted))
        line = self.turned(line[:, 0], line[:, 1])
        shift = -0.09 * self.sin
        wide = 0.37 + 0.045 * abs(self.sin) + grow
        angles = np.linspace(0.02, np.pi - 0.02, 13)
        raised = 0.07 if style == "quiff" else 0.0
        top = np.column_stack([
            shift + wide * np.cos(angles),
            0.02 - (0.52 + grow + raised * np.sin(angles) ** 4) * np.sin(angles),
        ])  # fmt: skip
        dense = _smooth_closed(line, 4)[: 4 * (len(line) - 1) + 1]
        outline = np.concatenate([top, dense])
        self._blob(outline, self._hair, "Hair", smooth=1, shadow=0.3)
        self._sides(style, line)
        if (
            self.outfit.hat is None
            and style in ("long", "wavy", "bob", "short")
            and self.cos > 0.3
        ):
            start, end = (
                self.turned([part], [-0.37])[0],
                self.turned([part * 0.8], [-0.5])[0],
            )
            self.painter.line(self.at([start, end]), self._hair.colour * 0.62, 0.014)

    def _sides(self, style: str, line: np.ndarray) -> None:
        """What hides the sides of the head: behind the ear, or over it."""
        shift = -0.09 * self.sin
        wide = 0.37 + 0.045 * abs(self.sin) + self.volume
        over = style in ("long", "wavy", "bob", "curly", "fringe")
        length = 0.42 if style in ("bob", "curly") else 0.5
        for sign in (-1, 1):
            away = -sign * self.sin
            # The side the head is turned away from shows more hair.
            if away < -0.75:
                continue
            outer = shift + sign * wide
            ear, _ = self.facing(sign * 0.335, -0.05)
            if over:
                inner, _ = self.facing(sign * (0.3 if style != "curly" else 0.33), 0.1)
                inner = max(inner * sign, 0.14) * sign if abs(self.sin) < 0.5 else inner
                outline = [
                    (outer * 0.98, -0.15), (outer + sign * 0.015, 0.1),
                    (outer + sign * 0.03, length - 0.08), (outer - sign * 0.06, length),
                    (inner + sign * 0.03, length - 0.06), (inner - sign * 0.005, 0.2),
                    (inner, 0.0), (line[0 if sign < 0 else -1][0] - sign * 0.05, -0.16),
                ]  # fmt: skip
            elif away > 0.25:
                inner = ear + sign * 0.03
                outline = [
                    (inner - sign * 0.1, -0.25), (outer * 0.98, -0.2), (outer, 0.05),
                    (outer * 0.8, 0.22), (inner + sign * 0.04, 0.2), (inner, 0.08),
                    (inner - sign * 0.02, -0.08), (inner - sign * 0.1, -0.04),
                ]  # fmt: skip
            else:
                continue
            self._blob(outline, self._hair, "Hair")

    def paint_length(self) -> None:
        """Hair that falls down the back or onto the shoulders."""
        style = self.outfit.hair_style
        long = self.outfit.hair_length
        shift = -0.12 * self.sin
        if style == "ponytail":
            x = -0.4 * self.sin
            if self.cos > 0.75:
                return
            start, end = self.at([x, -0.2]), self.at([x * 1.3, 0.35 + 0.5 * long])
            at = np.linspace(0, 1, 12)
            points = start + (end - start) * at[:, None]
            points = (
                points + self.right * (np.sin(at * 3) * x * 0.4 * self.unit)[:, None]
            )
            radius = _profile(at, (0, 0.06), (0.3, 0.15), (1, 0.05)) * self.unit
            self.painter.tube(
                points, radius, radius, self._hair, "Hair", _OWNER_HEAD, pleats=0.2,
                shadow=0.3,
            )  # fmt: skip
            return
        at = np.linspace(0, 1, 16)
        points = self.at(
            np.column_stack([np.full(16, shift), -0.1 + (0.4 + long) * at])
        )
        wave = 0.035 * np.sin(at * 17) if style == "wavy" else 0 * at
        wide = 0.38 + self.volume
        radius = _profile(
            at, (0, wide), (0.3, wide + 0.03), (0.75, wide + 0.05), (1, 0.3)
        )
        self.painter.tube(
            points, (radius + wave) * self.unit, (radius - wave) * self.unit,
            self._hair, "Hair", _OWNER_HEAD, pleats=0.22, pleat_count=6, hem=0.2,
            caps=(False, False), roundness=0.8, shadow=0.35,
            darker=0.12 if self.cos > 0 else 0.0,
        )  # fmt: skip

    def _sunglasses(self) -> None:
        painter, colour = self.painter, self.outfit.sunglasses
        lens = _solid(colour, 0.35)
        places = []
        for sign in (-1, 1):
            x, z = self.facing(sign * 0.155, 0.33)
            if z < 0.06:
                continue
            wide = float(np.clip(z / 0.32, 0.35, 1.0))
            outline = [
                (x - 0.125 * wide, -0.07), (x, -0.085), (x + 0.125 * wide, -0.07),
                (x + 0.12 * wide, 0.03), (x + 0.03 * wide, 0.085),
                (x - 0.03 * wide, 0.085), (x - 0.12 * wide, 0.03),
            ]  # fmt: skip
            self._blob(outline, lens, "Sunglasses", centre=None, radii=None, puff=0.05)
            glare = self.at(
                [
                    (x - 0.05 * wide, -0.045),
                    (x + 0.03 * wide, -0.05),
                    (x - 0.05 * wide, 0.02),
                ]
            )
            painter.fill(glare, _tint(colour, 0.25))
            places.append((x, wide))
            temple, _ = self.facing(sign * 0.335, -0.02)
            if sign * (temple - x) > 0.05:
                edge = x + sign * 0.115 * wide
                self._blob(
                    [(edge, -0.06), (temple, -0.05), (temple, -0.02), (edge, -0.03)],
                    lens, "Sunglasses", smooth=1, centre=None, radii=None,
                )  # fmt: skip
        if len(places) == 2:
            (a, wide_a), (b, wide_b) = places
            a, b = a + 0.1 * wide_a, b - 0.1 * wide_b
            self._blob(
                [(a, -0.055), (b, -0.055), (b, -0.025), (a, -0.025)], lens,
                "Sunglasses", smooth=1, centre=None, radii=None,
            )  # fmt: skip

    def _hat(self) -> None:
        outfit, kind = self.outfit, self.outfit.hat_kind
        shift = -0.05 * self.sin
        wide = 0.4 + 0.04 * abs(self.sin) + max(self.volume, 0) * 0.6
        band = -0.24
        radii = (0.5 * self.unit, 0.5 * self.unit)
        ball = {"centre": self.at([shift, -0.2]), "radii": radii}
        if kind == "beanie":
            outline = [
                (shift - wide, band + 0.02), (shift - wide * 0.98, -0.42),
                (shift - 0.25, -0.62), (shift, -0.67), (shift + 0.25, -0.62),
                (shift + wide * 0.98, -0.42), (shift + wide, band + 0.02),
                (shift, band + 0.05),
            ]  # fmt: skip
            self._blob(outline, outfit.hat, "Hat", shadow=0.4, **ball)
            rim = [
                (shift - wide - 0.02, band - 0.12), (shift, band - 0.08),
                (shift + wide + 0.02, band - 0.12), (shift + wide + 0.02, band + 0.06),
                (shift, band + 0.1), (shift - wide - 0.02, band + 0.06),
            ]  # fmt: skip
            darker = replace(outfit.hat, tile=(outfit.hat.tile * 0.85).astype(np.uint8))
            self._blob(rim, darker, "Hat", smooth=3, **ball)
            return
        tall = {"brim": 0.7, "cap": 0.6, "bucket": 0.64}[kind]
        crown = [
            (shift - wide, band + 0.03), (shift - wide * 0.94, -0.45),
            (shift - wide * 0.72, -tall), (shift, -tall - 0.03 * (kind != "brim")),
            (shift + wide * 0.72, -tall), (shift + wide * 0.94, -0.45),
            (shift + wide, band + 0.03), (shift, band + 0.08),
        ]  # fmt: skip
        angles = np.linspace(0, 2 * np.pi, 25)[:-1]
        if kind == "cap":
            self._blob(crown, outfit.hat, "Hat", shadow=0.35, **ball)
            if self.cos > -0.3:
                reach = 0.14 + 0.3 * abs(self.sin)
                half = 0.36 - 0.06 * abs(self.sin)
                x = shift + 0.42 * self.sin
                brim = np.column_stack(
                    [
                        x + (half + reach * 0.2) * np.cos(angles),
                        band + 0.05 + (0.04 + 0.07 * max(self.cos, 0)) * np.sin(angles),
                    ]
                )
                self._blob(
                    brim,
                    outfit.hat,
                    "Hat",
                    smooth=1,
                    centre=None,
                    radii=None,
                    puff=0.06,
                    shadow=0.5,
                    darker=0.12,
                )
                button = self.at([shift, -tall - 0.03])
                self.painter.dot(button, 0.02, outfit.hat.colour * 0.7)
            return
        reach = 0.68 if kind == "brim" else 0.53
        tilt = 0.13 if kind == "brim" else 0.16
        brim = np.column_stack(
            [shift + reach * np.cos(angles), band + 0.02 + tilt * np.sin(angles)]
        )
        self._blob(
            brim, outfit.hat, "Hat", smooth=1, centre=None, radii=None, puff=0.08,
            shadow=0.55, darker=0.1,
        )  # fmt: skip
        self._blob(crown, outfit.hat, "Hat", **ball)
        if kind == "brim":
            strip = [
                (shift - wide, band - 0.07),
                (shift, band - 0.025),
                (shift + wide, band - 0.07),
                (shift + wide, band + 0.03),
                (shift, band + 0.085),
                (shift - wide, band + 0.03),
            ]
            self._blob(strip, _solid(outfit.hat_band), "Hat", smooth=3, **ball)


# -------------------------------------------------------------------------- backdrop


def _cloud(rng: np.random.Generator, height: int, width: int, cells: int) -> np.ndarray:
    """Smooth noise of unit variance; `cells` of them down the photo."""
    columns = max(2, round(cells * width / height))
    coarse = rng.standard_normal((max(2, cells), columns), dtype=np.float32)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


@dataclass
class _Backdrop:
    """What stands behind the person; at the photo's size, `float32` RGB.

    Attributes:
        camera: The camera, in pixels of the photo.
        wall: Row where the ground meets what stands behind.
    """

    rng: np.random.Generator
    height: int
    width: int
    camera: _Camera
    picture: np.ndarray = field(init=False)
    wall: int = field(init=False)

    def __post_init__(self) -> None:
        self.picture = np.zeros((self.height, self.width, 3), np.float32)
        far = self.rng.uniform(1.5, 9)
        self.wall = int(np.clip(self.camera.ground_row(-far), 1, self.height + 9))

    def render(self) -> np.ndarray:
        kinds = {
            "street": 2.4, "brick": 1.2, "park": 1.6, "avenue": 1.8, "studio": 1.2,
            "room": 1.2, "bokeh": 0.8, "plain": 0.8,
        }  # fmt: skip
        names = list(kinds)
        weights = np.array(list(kinds.values()))
        kind = names[self.rng.choice(len(names), p=weights / weights.sum())]
        getattr(self, f"_{kind}")()
        blur = self.rng.choice([0.0, 0.8, 1.6, 3.0]) * self.height / 480
        if blur > 0.3 and kind not in ("studio", "plain"):
            self._defocus(blur)
        grain = _cloud(self.rng, self.height, self.width, max(4, self.height // 6))
        self.picture += 1.1 * grain[..., None]
        return self.picture

    def _defocus(self, sigma: float) -> None:
        """Blurs what is far more than the ground at the person's feet."""
        soft = cv2.GaussianBlur(self.picture, (0, 0), sigma)
        start = min(self.wall, self.height)
        self.picture[:start] = soft[:start]
        ramp = np.linspace(1, 0.2, max(1, self.height - start), dtype=np.float32)
        ramp = ramp[: self.height - start, None, None]
        floor = self.picture[start:]
        floor += (soft[start:] - floor) * ramp

    def _colour(self, low: float, high: float, chroma: float = 14) -> np.ndarray:
        grey = self.rng.uniform(low, high)
        return np.clip(grey + self.rng.normal(0, chroma, 3), 5, 250)

    def _size(self, heads: float) -> float:
        """Pixels of a length at the wall."""
        span = max(self.wall - self.camera.horizon, 1.0)
        return heads * span / self.camera.height

    def _upper(self, colour: np.ndarray, variation: float = 6) -> None:
        top = self.picture[: self.wall]
        top[:] = colour
        if top.size:
            noise = _cloud(self.rng, *top.shape[:2], 7) + 0.6 * _cloud(
                self.rng, *top.shape[:2], 40
            )
            top += 0.6 * variation * noise[..., None]

    def _box(
        self, x0: float, y0: float, x1: float, y1: float, colour: Sequence[float]
    ) -> None:
        corners = (round(x0), round(y0)), (round(x1), round(y1))
        cv2.rectangle(self.picture, *corners, [float(c) for c in colour], -1)

    def _floor(self, colour: np.ndarray, kind: str, size: float) -> None:
        """Ground in true perspective: slabs, boards or plain."""
        camera, start = self.camera, min(self.wall, self.height)
        if start >= self.height:
            return
        rows = np.arange(start, self.height, dtype=np.float32)
        depth = camera.height * camera.unit * camera.distance
        depth = depth / np.maximum(rows - camera.horizon, 1.0)
        x = (np.arange(self.width, dtype=np.float32) - camera.x)[None]
        x = x * depth[:, None] / (camera.unit * camera.distance) / size
        z = ((camera.distance - depth) / size)[:, None] + 0 * x
        floor = self.picture[start:]
        floor[:] = colour
        slope = np.linspace(-6, 10, len(rows), dtype=np.float32)[:, None]
        tone = slope + 5 * _cloud(self.rng, *floor.shape[:2], 5)
        tone = tone + 4 * _cloud(self.rng, *floor.shape[:2], max(8, len(rows) // 2))
        if kind == "boards":
            cell = np.floor(x * 2)
            joint = np.abs((x * 2) % 1 - 0.5) > 0.47
            seam = np.abs((z * 0.3 + 0.37 * cell) % 1 - 0.5) > 0.492
            tone = tone + 7 * np.sin(cell * 12.9) - 26 * (joint | seam)
        elif kind == "slabs":
            row = np.floor(z)
            moved = x + 0.5 * (row % 2)
            joint = np.abs(moved % 1 - 0.5) > 0.485
            seam = np.abs(z % 1 - 0.5) > 0.485
            value = np.sin(np.floor(moved) * 12.9 + row * 78.2) * 43.7
            tone = tone + 6 * (value - np.floor(value)) - 22 * (joint | seam)
        floor += tone[..., None]

    def _windows(self, wall: np.ndarray) -> None:
        rng = self.rng
        width, tall = (
            self._size(rng.uniform(1.6, 3.0)),
            self._size(rng.uniform(2.5, 4.5)),
        )
        gap = width * rng.uniform(1.5, 2.2)
        glass, frame = self._colour(40, 110, 10), _tint(wall, rng.uniform(-0.4, 0.6))
        x = rng.uniform(-gap, 0)
        base = self.wall - self._size(rng.uniform(1.0, 2.5))
        border = max(1.0, 0.07 * width)
        while x < self.width:
            for level in range(4):
                bottom = base - level * tall * 1.5
                top = bottom - tall
                if bottom < 0:
                    break
                self._box(
                    x - border, top - border, x + width + border, bottom + border, frame
                )
                self._box(x, top, x + width, bottom, glass)
                shine = np.array(
                    [
                        (x, top + tall * 0.7),
                        (x + width * 0.8, top),
                        (x + width, top),
                        (x, bottom),
                    ]
                )
                cv2.fillPoly(
                    self.picture, [np.int32(shine)], _tint(glass, 0.2).tolist()
                )
                self._box(
                    x + width / 2 - border / 3,
                    top,
                    x + width / 2 + border / 3,
                    bottom,
                    frame,
                )
                self._box(
                    x,
                    top + tall / 2 - border / 3,
                    x + width,
                    top + tall / 2 + border / 3,
                    frame,
                )
            x += gap

    def _street(self) -> None:
        rng, wall = self.rng, self._colour(90, 215, 16)
        self._upper(wall)
        self._windows(wall)
        if rng.random() < 0.6:
            width, tall = self._size(2.6), self._size(rng.uniform(6, 8))
            x = rng.uniform(0, self.width - width)
            door = self._colour(40, 120, 30)
            self._box(
                x - width * 0.08,
                self.wall - tall * 1.04,
                x + width * 1.08,
                self.wall,
                _tint(wall, 0.4),
            )
            self._box(x, self.wall - tall, x + width, self.wall, door)
            for column in (0.12, 0.56):
                for row in (0.1, 0.55):
                    self._box(
                        x + width * column, self.wall - tall * (1 - row),
                        x + width * (column + 0.32), self.wall - tall * (0.65 - row),
                        _tint(door, -0.2),
                    )  # fmt: skip
        plinth = self._size(0.7)
        self._box(0, self.wall - plinth, self.width, self.wall, _tint(wall, -0.25))
        self._floor(self._colour(110, 190, 6), "slabs", rng.uniform(1.2, 3.0))

    def _brick(self) -> None:
        rng = self.rng
        base = np.array(
            [rng.uniform(120, 190), rng.uniform(70, 120), rng.uniform(55, 100)]
        )
        if rng.random() < 0.3:
            base = self._colour(150, 225, 6)
        self._upper(base, 5)
        top = self.picture[: self.wall]
        tall = max(3.0, self._size(rng.uniform(0.3, 0.45)))
        y = (self.wall - np.arange(len(top), dtype=np.float32))[:, None] / tall
        x = np.arange(self.width, dtype=np.float32)[None] / (tall * 2.6)
        row = np.floor(y)
        moved = x + 0.5 * (row % 2)
        value = np.sin(np.floor(moved) * 12.9 + row * 78.2) * 43.7
        top += (26 * (value - np.floor(value)) - 13)[..., None]
        joint = (np.abs(moved % 1 - 0.5) > 0.465) | (np.abs(y % 1 - 0.5) > 0.42)
        top[joint] = 0.35 * top[joint] + 0.65 * _tint(base, 0.45)
        kind = str(rng.choice(["slabs", "plain"]))
        self._floor(self._colour(90, 170, 6), kind, rng.uniform(1.5, 3))

    def _park(self) -> None:
        rng = self.rng
        sky = np.array(
            [rng.uniform(170, 225), rng.uniform(195, 230), rng.uniform(215, 250)]
        )
        self._upper(sky, 3)
        horizon = int(np.clip(self.wall, 4, self.height))
        for depth in (0.55, 0.8, 1.0):
            green = np.array(
                [rng.uniform(50, 120), rng.uniform(90, 150), rng.uniform(35, 80)]
            )
            green = green * (0.55 + 0.45 * depth) + (1 - depth) * 0.4 * sky
            level = horizon * rng.uniform(0.25, 0.55) + (depth - 0.55) * 0.5 * horizon
            count = 46
            xs = rng.uniform(0, self.width, count)
            ys = rng.uniform(level, horizon, count)
            sizes = rng.uniform(0.02, 0.075, count) * self.height
            tones = rng.normal(0, 0.13, count)
            for x, y, size, tone in zip(xs, ys, sizes, tones, strict=True):
                colour = _tint(green, float(np.clip(tone, -0.4, 0.35)))
                cv2.circle(
                    self.picture, (round(x), round(y)), max(1, round(size)),
                    colour.tolist(), -1, cv2.LINE_AA,
                )  # fmt: skip
            cv2.rectangle(
                self.picture,
                (0, horizon - max(2, round(0.03 * self.height))),
                (self.width, horizon),
                (green * 0.7).tolist(),
                -1,
            )
        for _ in range(rng.integers(0, 4)):
            x, size = (
                rng.uniform(0, self.width),
                rng.uniform(0.012, 0.035) * self.height,
            )
            self._box(x, 0, x + size, horizon, (74, 58, 46))
        top = self.picture[:horizon]
        top += (9 * _cloud(rng, *top.shape[:2], 45))[..., None]
        if rng.random() < 0.6:
            grass = np.array(
                [rng.uniform(90, 140), rng.uniform(125, 165), rng.uniform(60, 90)]
            )
            self._floor(grass, "plain", 1.0)
        else:
            self._floor(self._colour(150, 200, 8), "plain", 1.0)

    def _avenue(self) -> None:
        """A street seen along its length: all lines meet at the horizon."""
        rng, camera = self.rng, self.camera
        horizon = int(np.clip(camera.horizon, 1, self.height - 2))
        sky = self._colour(195, 240, 8)
        self.wall = horizon + 1
        self._upper(sky, 3)
        self._floor(
            self._colour(95, 160, 5),
            str(rng.choice(["slabs", "plain"])),
            rng.uniform(2, 4),
        )
        vanish = self.width * rng.uniform(0.25, 0.75)
        for sign in (-1, 1):
            side = rng.uniform(3.2, 6.5)
            wall = self._colour(90, 200, 18)
            depths = [1.5]
            while depths[-1] > -90:
                depths.append(depths[-1] - rng.uniform(4, 9) * (1 - 0.06 * depths[-1]))
            for near, far in list(zip(depths[:-1], depths[1:], strict=True))[::-1]:
                colour = _tint(wall, float(rng.uniform(-0.25, 0.25)))
                haze = min(0.6, -far / 160)
                colour = colour * (1 - haze) + sky * haze
                tall = rng.uniform(10, 22)
                box = np.array(
                    [
                        (sign * side, 0, near),
                        (sign * side, tall, near),
                        (sign * side, tall, far),
                        (sign * side, 0, far),
                    ]
                )
                corners = camera.project(box)
                corners[:, 0] += vanish - camera.x
                cv2.fillPoly(
                    self.picture, [_fixed(corners)], colour.tolist(), cv2.LINE_AA, 4
                )
                glass = _tint(colour, -0.35)
                for a in np.arange(0.12, 0.9, 0.26):
                    for low in np.arange(2.5, tall - 2, 4.2):
                        z0, z1 = (
                            near + (far - near) * a,
                            near + (far - near) * (a + 0.14),
                        )
                        pane = np.array(
                            [
                                (sign * side, low, z0),
                                (sign * side, low + 2.4, z0),
                                (sign * side, low + 2.4, z1),
                                (sign * side, low, z1),
                            ]
                        )
                        pane = camera.project(pane)
                        pane[:, 0] += vanish - camera.x
                        cv2.fillPoly(
                            self.picture, [_fixed(pane)], glass.tolist(), cv2.LINE_AA, 4
                        )
        for _ in range(rng.integers(0, 3)):
            self._car(vanish)
        self.wall = horizon

    def _car(self, vanish: float) -> None:
        rng = self.rng
        z = -rng.uniform(5, 16)
        x = rng.choice([-1, 1]) * rng.uniform(2.2, 4)
        colour = _random_colour(rng, 0.6)
        base, top = self.camera.project(np.array([(x, 0.3, z), (x, 6.0, z)]))
        size = (base[1] - top[1]) / 6.0
        cx, y = base[0] + vanish - self.camera.x, base[1]
        half = 3.2 * size
        for wheel in (-0.6, 0.6):
            cv2.circle(
                self.picture,
                (round(cx + wheel * half), round(y)),
                max(1, round(0.55 * size)),
                (24, 24, 26),
                -1,
                cv2.LINE_AA,
            )
        shell = [
            (-1, -0.1),
            (-1, -1.0),
            (-0.62, -1.2),
            (-0.4, -2.1),
            (0.4, -2.1),
            (0.66, -1.2),
            (1, -1.0),
            (1, -0.1),
        ]
        glass = [(-0.54, -1.25), (-0.36, -1.95), (0.36, -1.95), (0.56, -1.25)]
        for outline, paint in ((shell, colour), (glass, (60, 70, 82))):
            points = np.array([(cx + a * half, y + b * size) for a, b in outline])
            cv2.fillPoly(
                self.picture,
                [_fixed(points)],
                [float(c) for c in paint],
                cv2.LINE_AA,
                4,
            )

    def _sweep(self, colour: np.ndarray, strength: float) -> None:
        rows = np.linspace(-1, 1, self.height, dtype=np.float32)[:, None]
        columns = np.linspace(-1, 1, self.width, dtype=np.float32)[None]
        x, y = self.rng.uniform(-0.4, 0.4), self.rng.uniform(-0.5, 0.1)
        glow = np.exp(-((columns - x) ** 2) / 1.2 - (rows - y) ** 2 / 1.1)
        self.picture[:] = colour * (1 - strength + strength * 1.25 * glow[..., None])

    def _studio(self) -> None:
        self._sweep(self._colour(110, 225, 14), self.rng.uniform(0.25, 0.5))
        start = min(self.wall, self.height - 1)
        ramp = np.linspace(0, 1, self.height - start, dtype=np.float32)
        self.picture[start:] *= (1 + 0.14 * ramp)[:, None, None]

    def _plain(self) -> None:
        self._sweep(self._colour(150, 240, 10), self.rng.uniform(0.02, 0.15))

    def _room(self) -> None:
        rng, wall = self.rng, self._colour(150, 230, 14)
        self._upper(wall, 3)
        skirting = self._size(0.5)
        floor = np.array(
            [rng.uniform(120, 185), rng.uniform(90, 140), rng.uniform(65, 105)]
        )
        for _ in range(rng.integers(1, 3)):
            x, y = rng.uniform(0, self.width), rng.uniform(0, 0.4) * self.wall
            w, h = self._size(rng.uniform(1.5, 3)), self._size(rng.uniform(2, 3.5))
            self._box(x - 4, y - 4, x + w + 4, y + h + 4, self._colour(30, 90))
            self._box(x, y, x + w, y + h, self._colour(200, 245))
            self._box(
                x + w * 0.2,
                y + h * 0.2,
                x + w * 0.8,
                y + h * 0.8,
                self._colour(70, 200, 40),
            )
        self._box(0, self.wall - skirting, self.width, self.wall, _tint(wall, 0.5))
        self._floor(floor, "boards", rng.uniform(1.0, 1.8))
        for _ in range(rng.integers(1, 3)):
            side = rng.choice([-1, 1])
            x = self.width * (0.5 + side * rng.uniform(0.2, 0.55))
            piece, w = rng.integers(3), self._size(rng.uniform(3.5, 6))
            colour = self._colour(50, 190, 30)
            base = self.wall + self._size(0.5)
            if piece == 0:
                self._box(
                    x - w / 2,
                    base - self._size(3),
                    x + w / 2,
                    base,
                    _tint(colour, -0.15),
                )
                self._box(
                    x - w * 0.42,
                    base - self._size(1.5),
                    x + w * 0.42,
                    base - self._size(0.3),
                    colour,
                )
                for arm in (-1, 1):
                    self._box(
                        x + arm * w * 0.5 - w * 0.07,
                        base - self._size(2),
                        x + arm * w * 0.5 + w * 0.07,
                        base,
                        _tint(colour, 0.12),
                    )
            elif piece == 1:
                self._box(x - w * 0.3, base - self._size(7), x + w * 0.3, base, colour)
                for level in range(5):
                    y = base - self._size(0.4 + 1.35 * level)
                    self._box(
                        x - w * 0.27,
                        y - self._size(1.1),
                        x + w * 0.27,
                        y,
                        _tint(colour, -0.45),
                    )
                    for book in range(7):
                        if rng.random() < 0.75:
                            left = x - w * 0.26 + book * w * 0.073
                            self._box(
                                left,
                                y - self._size(rng.uniform(0.6, 1.0)),
                                left + w * 0.06,
                                y,
                                self._colour(60, 200, 45),
                            )
            else:
                self._box(
                    x - w * 0.12, base - self._size(1.1), x + w * 0.12, base, colour
                )
                for _ in range(16):
                    tip = np.array(
                        [
                            x + rng.normal(0, w * 0.17),
                            base - self._size(rng.uniform(1.6, 4.5)),
                        ]
                    )
                    stem = np.array([x, base - self._size(1.1)])
                    bow = (tip + stem) / 2 + [self._size(0.25), 0]
                    leaf = np.stack(
                        [stem, bow, tip, (tip + stem) / 2 - [self._size(0.1), 0]]
                    )
                    green = (
                        rng.uniform(40, 90),
                        rng.uniform(95, 150),
                        rng.uniform(45, 80),
                    )
                    cv2.fillPoly(self.picture, [_fixed(leaf)], green, cv2.LINE_AA, 4)

    def _bokeh(self) -> None:
        rng = self.rng
        base = self._colour(25, 70, 10)
        self._upper(base, 6)
        self._floor(_tint(base, 0.12), "plain", 1.0)
        start = min(self.wall, self.height)
        for _ in range(40):
            x, y = rng.uniform(0, self.width), rng.uniform(0, max(start, 2))
            size = max(1, round(rng.uniform(0.01, 0.04) * self.height))
            hue = [(255, 190, 110), (255, 226, 180), (150, 190, 255), (255, 120, 110)]
            light = np.array(hue[rng.integers(4)]) * rng.uniform(0.25, 0.75)
            x0, x1 = max(0, round(x) - size), min(self.width, round(x) + size)
            y0, y1 = max(0, round(y) - size), min(self.height, round(y) + size)
            if x0 >= x1 or y0 >= y1:
                continue
            disc = np.hypot(np.arange(x0, x1)[None] - x, np.arange(y0, y1)[:, None] - y)
            disc = np.clip(size - disc, 0, 1) * (0.75 + 0.25 * disc / size)
            self.picture[y0:y1, x0:x1] += disc[..., None] * light
        np.clip(self.picture, 0, 255, out=self.picture)


# ----------------------------------------------------------------------- composition


def _majority(labels: np.ndarray) -> np.ndarray:
    """Halves a label map: the most frequent of each four, the first among equals."""
    a, b = labels[0::2, 0::2], labels[0::2, 1::2]
    c, d = labels[1::2, 0::2], labels[1::2, 1::2]
    rest = np.where((b == c) | (b == d), b, np.where(c == d, c, a))
    return np.where((a == b) | (a == c) | (a == d), a, rest)


def _cast_shadow(
    picture: np.ndarray, cover: np.ndarray, camera: _Camera, light: _Light,
    body: _Body, strength: float,
) -> None:  # fmt: skip
    """Darkens the ground where the person keeps the light from it."""
    height, width = cover.shape
    lean = -light.direction[0] / max(-light.direction[1], 0.2)
    flat = light.direction[2] / max(-light.direction[1], 0.2)
    flat = float(np.clip(flat * camera.height / camera.distance, 0.08, 0.6))
    matrix = np.array(
        [[1, -lean, lean * camera.ground], [0, flat, camera.ground * (1 - flat)]]
    )
    cast = cv2.warpAffine(cover, matrix, (width, height))
    cast = cv2.GaussianBlur(cast, (0, 0), max(0.8, 0.12 * camera.unit))
    rows = np.arange(height, dtype=np.float32)
    reach = (camera.ground - rows) / (camera.unit * 3.5)
    cast *= np.clip(1 - reach, 0, 1)[:, None]
    contact = np.zeros_like(cover)
    for side in (_RIGHT, _LEFT):
        foot = body.ankles[side] + 0.25 * body.feet[side]
        lift = max(0.0, float(body.ankles[side][1]) - 0.5)
        centre = camera.project(foot * [1, 0, 1])
        axes = (round(0.5 * camera.unit * 16), round(0.16 * camera.unit * 16))
        where = _fixed(centre)[0, 0].tolist()
        cv2.ellipse(contact, where, axes, 0, 0, 360, 1 - lift, -1, shift=4)
    contact = cv2.GaussianBlur(contact, (0, 0), max(0.8, 0.1 * camera.unit))
    dark = 1 - strength * cast
    dark *= 1 - 0.5 * contact
    picture *= dark[..., None]


def _develop(rng: np.random.Generator, picture: np.ndarray) -> np.ndarray:
    """What a camera adds: softness, gamma, white balance, vignette and noise."""
    height, width = picture.shape[:2]
    sigma = rng.choice([0.0, 0.0, 0.45, 0.7]) * height / 480
    if sigma > 0.2:
        picture = cv2.GaussianBlur(picture, (0, 0), sigma)
    balance = 1 + rng.normal(0, 0.025, 3)
    gamma = rng.uniform(0.85, 1.15)
    gain = rng.uniform(0.96, 1.06)
    rows = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    columns = np.linspace(-1, 1, width, dtype=np.float32)[None]
    fall = 1 - rng.uniform(0, 0.14) * (rows**2 + columns**2) / 2
    picture = picture * fall[..., None]
    # Noise of the brightness: chroma noise would not survive a camera's JPEG.
    noise = rng.standard_normal((height, width), dtype=np.float32)
    picture += rng.uniform(1.0, 3.0) * noise[..., None]
    ramp = (np.arange(256) / 255)[:, None] ** gamma * gain * balance * 255
    table = np.clip(ramp, 0, 255).round().astype(np.uint8)[None]
    quantised = np.clip(picture + 0.5, 0, 255).astype(np.uint8)
    return cv2.LUT(quantised, table)


def _random_camera(
    rng: np.random.Generator, height: int, width: int, body: _Body
) -> _Camera:
    """Frames the body, in layer pixels: mostly whole, sometimes cut at an end."""
    top = float(body.head[1]) + 0.6
    share = rng.uniform(0.8, 0.93)
    middle = 0.5 + rng.normal(0, 0.008)
    roll = rng.random()
    if roll < 0.12:
        share, middle = rng.uniform(0.95, 1.12), 0.5 + rng.uniform(0.02, 0.07)
    elif roll < 0.16:
        share, middle = rng.uniform(0.95, 1.05), 0.5 - rng.uniform(0.02, 0.05)
    elif roll < 0.3:
        share, middle = rng.uniform(0.62, 0.8), 0.53 + rng.normal(0, 0.02)
    unit = share * height / top
    unit = min(unit, width / 3.4)
    return _Camera(
        unit=unit,
        distance=float(rng.uniform(13, 26)),
        height=float(rng.uniform(3.2, 6.2)),
        x=width * (0.5 + float(np.clip(rng.normal(0, 0.05), -0.12, 0.12))),
        ground=middle * height + 0.5 * unit * top - 0.12 * unit,
    )


def _joint_points(body: _Body) -> np.ndarray:
    """The 16 joints in the scene, `[16, 3]`."""
    up = _unit(body.head - body.neck)
    points = {
        "Pelvis": body.pelvis,
        "Spine": (body.shoulders[_RIGHT] + body.shoulders[_LEFT]) / 2,
        "Neck": body.neck + 0.14 * up,
        "Head": body.head + 0.5 * up,
    }
    for side, letter in ((_RIGHT, "R"), (_LEFT, "L")):
        points[f"{letter}_Ankle"] = body.ankles[side]
        points[f"{letter}_Knee"] = body.knees[side]
        points[f"{letter}_Hip"] = body.hips[side]
        points[f"{letter}_Wrist"] = body.wrists[side]
        points[f"{letter}_Elbow"] = body.elbows[side]
        points[f"{letter}_Shoulder"] = body.shoulders[side]
    return np.stack([points[name] for name in JOINTS])


def _joints(
    body: _Body, camera: _Camera, owner: np.ndarray, size: tuple[int, int]
) -> np.ndarray:
    """Joints in the photo; those another limb covers are hidden."""
    flat = camera.project(_joint_points(body))
    joints = np.zeros((NUM_JOINTS, 3), np.float32)
    joints[:, :2] = (flat + 0.5) / _SUPERSAMPLING - 0.5
    limbs = {"Wrist": _OWNER_ARM, "Elbow": _OWNER_ARM, "Shoulder": _OWNER_ARM}
    limbs |= {"Ankle": _OWNER_LEG, "Knee": _OWNER_LEG, "Hip": _OWNER_LEG}
    arms = set(_OWNER_ARM.values())
    for name, index in _JOINT.items():
        x, y = joints[index, :2]
        if not (0 <= x <= size[1] - 1 and 0 <= y <= size[0] - 1):
            joints[index] = np.nan
            continue
        column, row = (int(each) for each in flat[index].round())
        above = int(
            owner[min(row, owner.shape[0] - 1), min(column, owner.shape[1] - 1)]
        )
        side = {"R": _RIGHT, "L": _LEFT}.get(name[0] if name[1] == "_" else "")
        if side is None:
            joints[index, 2] = above in arms
            continue
        group = limbs[name[2:]]
        own = {group[side], _OWNER_TRUNK, _OWNER_HEAD, 0}
        if name[2:] in ("Elbow", "Wrist"):
            own.discard(_OWNER_TRUNK)
            if side in body.pocketed:
                own.add(_OWNER_TRUNK)
        if name[2:] == "Shoulder" or name[2:] == "Hip":
            # Both thighs meet at the crotch: the neighbour's cloth hides nothing.
            own |= set(group.values())
        joints[index, 2] = above not in own
    return joints


def synthetic_portrait(seed: int, size: tuple[int, int] = (480, 320)) -> Sample:
    """Draws the person, the place and the camera that `seed` stands for.

    Args:
        seed: Not negative. Equal seeds give equal samples.
        size: Height and width of the photo, pixels, at least 16 each.

    Returns:
        A sample with an RGB `uint8` photo, LIP's labels 0 to 19 and 16 joints in
        pixels of the photo. A joint that another limb covers is hidden (v = 1), one
        outside the photo is three times NaN.

    Raises:
        PortraitError: If the seed is negative or the size too small.
    """
    height, width = size
    if seed < 0:
        raise PortraitError(f"A seed must not be negative; received {seed}.")
    if height < 16 or width < 16:
        raise PortraitError(
            f"A synthetic portrait needs at least 16 x 16 pixels; received {size}."
        )
    person, scene, lens = (np.random.default_rng([seed, part]) for part in range(3))
    body = _random_body(person)
    outfit = _random_outfit(person, body)
    light = _random_light(scene)
    layer_size = height * _SUPERSAMPLING, width * _SUPERSAMPLING
    camera = _random_camera(scene, *layer_size, body)
    noise = scene.standard_normal((128, 128), dtype=np.float32)
    noise = cv2.GaussianBlur(np.pad(noise, 36, "wrap"), (0, 0), sigmaX=4, sigmaY=9)
    noise = noise[36:-36, 36:-36]
    painter = _Painter(*layer_size, camera.unit, light, noise / noise.std())
    _Figure(painter, camera, body, outfit, person).paint()

    # Details may stray past the person by a pixel; the layer must be black there.
    cover = (painter.label > 0).astype(np.uint8)
    cv2.multiply(painter.colour, cv2.merge([cover] * 3), dst=painter.colour)
    joints = _joints(body, camera, painter.owner, (height, width))
    layer = cv2.resize(
        painter.colour, (width, height), interpolation=cv2.INTER_AREA
    ).astype(np.float32)
    cover = cv2.resize(
        cover * np.float32(1), (width, height), interpolation=cv2.INTER_AREA
    )
    reduced = replace(
        camera,
        unit=camera.unit / _SUPERSAMPLING,
        x=camera.x / _SUPERSAMPLING,
        ground=camera.ground / _SUPERSAMPLING,
    )
    picture = _Backdrop(scene, height, width, reduced).render()
    strength = scene.uniform(0.15, 0.45)
    _cast_shadow(picture, cover, reduced, light, body, strength)
    picture = picture * (1 - cover[..., None]) + layer
    return Sample(
        name=f"synthetic_{seed:06d}",
        photo=_develop(lens, picture),
        parsing=_majority(painter.label),
        joints=joints,
    )


# ----------------------------------------------------------------------------- files


def _pose_row(sample: Sample) -> list[str]:
    row = [f"{sample.name}.jpg"]
    for joint in sample.joints:
        known = not np.isnan(joint).any()
        row += [str(round(float(value))) if known else "nan" for value in joint]
    return row


def _write_split(
    folder: pathlib.Path, split: str, seeds: range, size: tuple[int, int],
    tick: Callable[[], None],
) -> None:  # fmt: skip
    photos = folder / "TrainVal_images" / f"{split}_images"
    parsings = folder / "TrainVal_parsing_annotations" / f"{split}_segmentations"
    poses = folder / "TrainVal_pose_annotations"
    for each in (photos, parsings, poses):
        each.mkdir(parents=True, exist_ok=True)
    names, rows = [], []
    for seed in seeds:
        sample = synthetic_portrait(seed, size)
        bgr = np.ascontiguousarray(sample.photo[..., ::-1])
        _, jpeg = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, 95])
        (photos / f"{sample.name}.jpg").write_bytes(jpeg.tobytes())
        _, png = cv2.imencode(".png", sample.parsing)
        (parsings / f"{sample.name}.png").write_bytes(png.tobytes())
        names.append(sample.name)
        rows.append(_pose_row(sample))
        tick()
    listing = folder / "TrainVal_images" / f"{split}_id.txt"
    listing.write_text("".join(f"{name}\n" for name in names), encoding="utf-8")
    with open(
        poses / f"lip_{split}_set.csv", "w", newline="", encoding="utf-8"
    ) as file:
        csv.writer(file, lineterminator="\n").writerows(rows)


def write_synthetic(
    directory: str | pathlib.Path,
    train: int,
    val: int,
    seed: int = 0,
    size: tuple[int, int] = (480, 320),
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Writes synthetic portraits in the layout of LIP.

    The folder is written under a temporary name beside `directory` and renamed when
    it is complete.

    Args:
        directory: A folder that is absent or empty.
        train, val: Numbers of portraits; the two never share a seed.
        seed: Different seeds give different people.
        size: Height and width, pixels.
        progress: Called as `progress(done, total)` after every portrait.

    Raises:
        PortraitError: If `directory` holds something, or a number is out of range.
    """
    directory = pathlib.Path(directory)
    if (directory / "TrainVal_images").exists():
        raise PortraitError(
            f"{directory} already holds TrainVal_images; name another folder."
        )
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise PortraitError(
            f"{directory} is not an empty folder; name a new or an empty one."
        )
    if not 0 <= train <= VAL_OFFSET or not 0 <= val <= SEED_STRIDE - VAL_OFFSET:
        raise PortraitError(
            f"train and val must be 0 to {VAL_OFFSET}; received {train} and {val}."
        )
    if seed < 0:
        raise PortraitError(f"seed must not be negative; received {seed}.")
    first, done = seed * SEED_STRIDE, 0

    def tick() -> None:
        nonlocal done
        done += 1
        if progress is not None:
            progress(done, train + val)

    directory.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_beside(directory)
    try:
        train_seeds = range(first, first + train)
        _write_split(temporary, "train", train_seeds, size, tick)
        first += VAL_OFFSET
        _write_split(temporary, "val", range(first, first + val), size, tick)
        # Replaces an empty folder; fails if somebody has filled it meanwhile.
        temporary.rename(directory)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
