"""Colors and cloth.

Conventions:
    * Colors are RGB, 0 to 255; tiles are `uint8` `[TILE, TILE, 3]`.
    * The rows of a tile run along a part of the body, its columns across.
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from portrait_tf.data.synthetic.scene import circle, fixed, smooth_closed

TILE = 64

_NEUTRALS = (
    (34, 34, 38), (62, 64, 70), (120, 122, 126), (184, 184, 182), (238, 236, 230),
    (34, 44, 76), (54, 78, 116), (98, 128, 164), (196, 176, 142), (160, 122, 82),
    (94, 66, 48), (86, 92, 62), (110, 36, 46), (222, 208, 184),
)  # fmt: skip

TOP_KINDS = {
    "plain": 6, "rings": 1.6, "stripes": 0.8, "checks": 0.7, "plaid": 1.0,
    "dots": 0.7, "print": 0.9,
}  # fmt: skip

DRESS_KINDS = {
    "plain": 4, "rings": 0.7, "dots": 1.2, "print": 2, "checks": 0.6, "stripes": 0.6,
}  # fmt: skip

BOTTOM_KINDS = {"plain": 9, "stripes": 0.5, "checks": 0.4, "plaid": 0.5}


@dataclass(frozen=True)
class Material:
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
    def color(self) -> np.ndarray:
        return self.tile.reshape(-1, 3).mean(0)

    @functools.cached_property
    def is_plain(self) -> bool:
        return bool((self.tile == self.tile[0, 0]).all())


def _plain_tile(color: Sequence[float]) -> np.ndarray:
    """A tile of one color."""
    return np.full((TILE, TILE, 3), np.clip(color, 0, 255).astype(np.uint8))


def solid(color: Sequence[float], gloss: float = 0.0) -> Material:
    """A smooth surface of one color."""
    return Material(_plain_tile(color), gloss=gloss)


def tint(color: np.ndarray, amount: float) -> np.ndarray:
    """Lighter for a positive `amount`, darker for a negative one."""
    color, target = np.asarray(color, np.float64), 255.0 if amount > 0 else 0.0
    return color + (target - color) * abs(amount)


def contrast(
    color: np.ndarray, lighter: float, darker: float, below: float
) -> np.ndarray:
    """Lighter by `lighter` if the color is darker than `below`, else darker."""
    return tint(color, lighter if color.mean() < below else -darker)


def pick(rng: np.random.Generator, weights: dict[str, float]) -> str:
    """One of the names, each as likely as its weight."""
    names, values = list(weights), np.array(list(weights.values()), np.float64)
    return names[rng.choice(len(names), p=values / values.sum())]


def random_color(rng: np.random.Generator, neutral: float = 0.55) -> np.ndarray:
    """A neutral with the probability `neutral`, else any hue."""
    if rng.random() < neutral:
        color = np.array(_NEUTRALS[rng.integers(len(_NEUTRALS))], np.float64)
        return np.clip(color + rng.normal(0, 6, 3), 14, 246)
    hue, saturation = rng.integers(0, 180), rng.integers(60, 170)
    pixel = np.uint8([[[hue, saturation, rng.integers(80, 216)]]])
    return cv2.cvtColor(pixel, cv2.COLOR_HSV2RGB)[0, 0].astype(np.float64)


def _pattern(
    rng: np.random.Generator, kind: str, base: np.ndarray, other: np.ndarray
) -> np.ndarray:
    """A tile whose rows run along the part; it wraps at all four borders."""
    rows, columns = np.mgrid[0:TILE, 0:TILE].astype(np.float64) / TILE
    count = int(rng.integers(3, 8))
    share = rng.uniform(0.25, 0.5)
    weight = np.zeros_like(rows)
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
        for _ in range(14):
            angles = circle(8) + rng.uniform(0, 6)
            petals = 2.6 + 2.6 * (np.arange(8) % 2)
            flower = np.stack([np.cos(angles), np.sin(angles)], 1) * petals[:, None]
            center = rng.uniform(0, TILE, 2)
            for shift in np.ndindex(3, 3):
                moved = flower + center + (np.array(shift) - 1) * TILE
                cv2.fillPoly(weight, [fixed(smooth_closed(moved, 3))], 1, shift=4)
    return base + (other - base) * np.asarray(weight, np.float64)[..., None]


def _weave(rng: np.random.Generator, tile: np.ndarray, kind: str) -> np.ndarray:
    """Adds the grain of the cloth."""
    if kind == "knit":
        rows, columns = np.mgrid[0:TILE, 0:TILE]
        grain = 7 * np.cos(columns * 2 * np.pi / 8) * np.cos(rows * 2 * np.pi / 4)
    elif kind == "denim":
        grain = rng.normal(0, 1.5, (TILE, 1)) + rng.normal(0, 4, (1, TILE))
    else:
        grain = rng.normal(0, 2.2, (TILE, TILE))
    return np.clip(tile + grain[..., None], 0, 255).astype(np.uint8)


def random_cloth(
    rng: np.random.Generator,
    kinds: dict[str, float],
    color: np.ndarray | None = None,
    weave: str = "cotton",
    folds: float = 1.0,
) -> Material:
    """A cloth with a pattern from `kinds`, pattern name to weight."""
    kind = pick(rng, kinds)
    base = random_color(rng) if color is None else np.asarray(color, np.float64)
    other = random_color(rng, 0.6)
    if np.abs(base - other).sum() < 130:
        other = contrast(base, 0.65, 0.55, 130)
    if kind == "plain" and weave == "cotton":
        tile = _plain_tile(base)
    else:
        tile = _weave(rng, _pattern(rng, kind, base, other), weave)
    return Material(
        tile,
        repeat=rng.uniform(0.7, 1.2),
        folds=folds * rng.uniform(0.7, 1.2),
        gloss=rng.choice([0.0, 0.0, 0.05, 0.12]),
    )


def hair_tile(rng: np.random.Generator, color: np.ndarray, curly: bool) -> np.ndarray:
    """Strands that run along the part, or curls."""
    noise = rng.normal(0, 1, (TILE, TILE)).astype(np.float32)
    sigma = (2.2, 2.2) if curly else (0.7, 11)
    wrapped = np.tile(noise, (3, 3))
    noise = cv2.GaussianBlur(wrapped, (0, 0), sigmaX=sigma[0], sigmaY=sigma[1])
    noise = noise[TILE : 2 * TILE, TILE : 2 * TILE]
    noise /= noise.std()
    strands = color * (1 + 0.1 * noise[..., None]) + 2 * noise[..., None]
    return np.clip(strands, 0, 255).astype(np.uint8)
