"""The layer a person is painted on, back to front.

Conventions:
    * The layer has twice the photo's size. Photo and label map are both reduced from
      it, so they agree.
    * Radii of a limb are given to either side of its center line. "Plus" is the side
      of the normal `(ty, -tx)`: the right of the photo for a line that runs downwards.
    * A normal's y is down. Shading is computed on a coarse grid, then enlarged.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import cv2
import numpy as np

from portrait_tf.data.synthetic.materials import TILE, Material
from portrait_tf.data.synthetic.scene import (
    Light,
    fixed,
    normalize,
    smoothstep,
    spread,
    tangents,
)
from portrait_tf.labels import LABELS

LABEL = {name: index for index, name in enumerate(LABELS)}


class _Window(NamedTuple):
    """A part of the layer; x1 and y1 are excluded."""

    x0: int
    y0: int
    x1: int
    y1: int

    @property
    def shape(self) -> tuple[int, int]:
        return self.y1 - self.y0, self.x1 - self.x0

    @property
    def corner(self) -> np.ndarray:
        return np.array(self[:2])

    def of(self, layer: np.ndarray) -> np.ndarray:
        """The window's view of an array of the layer's size."""
        return layer[self.y0 : self.y1, self.x0 : self.x1]


class Paint(NamedTuple):
    """What a part is made of, its LIP label, and the body part that owns it."""

    material: Material
    label: str
    owner: int


def _scalar(color: Sequence[float]) -> list[float]:
    """A color in the form OpenCV's drawing functions take."""
    return [float(channel) for channel in color]


@dataclass(frozen=True)
class Sweep:
    """How a part is swept along its center line.

    Attributes:
        roundness: 1 shades a cylinder, 0 a board.
        caps: Whether the two ends are round.
        hem: Height of the ellipse at the end, as a share of the radius.
        pleats: Strength of folds that run along the part.
        pleat_count: Number of these folds, about.
        bends: Positions of wrinkles across the part, as shares of its length.
        fade: Shares of the length over which the ends blend into the same garment.
        shadow: Strength of the shadow on what lies beneath.
        darker: A constant darkening, for the inside of a garment.
        opening: A polygon `[M, 2]` that stays unpainted.
    """

    roundness: float = 0.92
    caps: tuple[bool, bool] = (False, False)
    hem: float = 0.0
    pleats: float = 0.0
    pleat_count: float = 7.0
    bends: Sequence[float] = ()
    fade: tuple[float, float] = (0.0, 0.0)
    shadow: float = 0.0
    darker: float = 0.0
    opening: np.ndarray | None = None


@dataclass(frozen=True)
class Relief:
    """How an outline is shaded.

    Attributes:
        center, radii: The ellipsoid whose shading it gets. Without them the outline is
            puffed up like a cushion.
        puff: Heads over which a cushion's border is round.
        axis: Direction along which the pattern runs; down if not given.
        shadow: Strength of the shadow on what lies beneath.
        darker: A constant darkening.
        only_on: Paints only where this label is.
        roundness: 1 shades an ellipsoid, 0 a board.
    """

    center: np.ndarray | None = None
    radii: tuple[float, float] | None = None
    puff: float = 0.1
    axis: np.ndarray = field(default_factory=lambda: np.array([0.0, 1.0]))
    shadow: float = 0.0
    darker: float = 0.0
    only_on: str | None = None
    roundness: float = 0.95


@dataclass(frozen=True)
class _Surface:
    """Coarse fields of a part, `[h, w]`: what its shading follows from.

    Attributes:
        normal: x and y.
        along, across: Position on the cloth, in heads.
        dark: Darkening, 0 to 1.
        alpha: Opacity over the same garment, or None.
    """

    normal: tuple[np.ndarray, np.ndarray]
    along: np.ndarray
    across: np.ndarray
    dark: np.ndarray
    alpha: np.ndarray | None = None


class Painter:
    """The layer the person is painted on.

    Args:
        height, width: Of the layer.
        unit: Layer pixels a head.
        light: What shades it.
        noise: `float32`, square: the wrinkles of cloth, repeated.

    Attributes:
        color: RGB `uint8`; black where nobody is.
        label, owner: LIP labels and body parts, `uint8`.
    """

    def __init__(
        self, height: int, width: int, unit: float, light: Light, noise: np.ndarray
    ) -> None:
        self.height, self.width, self.unit = height, width, unit
        self.light, self.noise = light, noise
        self.color = np.zeros((height, width, 3), np.uint8)
        self.label = np.zeros((height, width), np.uint8)
        self.owner = np.zeros((height, width), np.uint8)
        # Shading is smooth, so a coarse grid of it is enough.
        self.step = int(np.clip(round(unit / 20), 1, 8))

    def _window(self, low: np.ndarray, high: np.ndarray) -> _Window | None:
        x0, y0 = (int(max(0, np.floor(each) - 2)) for each in low)
        x1 = int(min(self.width, np.ceil(high[0]) + 3))
        y1 = int(min(self.height, np.ceil(high[1]) + 3))
        return _Window(x0, y0, x1, y1) if x1 > x0 and y1 > y0 else None

    def _grid(self, window: _Window) -> tuple[np.ndarray, np.ndarray]:
        """Columns and rows of the coarse grid, `float32`."""
        height, width = window.shape
        offset = (self.step - 1) / 2
        columns = np.arange(-(-width // self.step)) * self.step
        rows = np.arange(-(-height // self.step)) * self.step
        x, y = window.x0 + offset + columns, window.y0 + offset + rows
        return x.astype(np.float32), y.astype(np.float32)

    def _enlarge(self, coarse: np.ndarray, window: _Window) -> np.ndarray:
        if self.step > 1:
            size = (coarse.shape[1] * self.step, coarse.shape[0] * self.step)
            coarse = cv2.resize(coarse, size, interpolation=cv2.INTER_LINEAR)
        return coarse[: window.shape[0], : window.shape[1]]

    def _wrinkle(self, along: np.ndarray, across: np.ndarray) -> np.ndarray:
        size = self.noise.shape[0]
        return self.noise[np.int32(along * 40) % size, np.int32(across * 40) % size]

    def _finish(
        self, window: _Window, mask: np.ndarray, surface: _Surface, paint: Paint
    ) -> None:
        """Lays the shaded material down where `mask` is."""
        shaded = self._shaded(window, surface, paint.material)
        target, labels = window.of(self.color), window.of(self.label)
        label = LABEL[paint.label]
        if surface.alpha is not None:
            # Blend only over the same garment: elsewhere the part must be opaque.
            opaque = self._enlarge(np.float32(surface.alpha), window)
            opaque = spread(np.where(labels == label, opaque, np.float32(1)))
            change = cv2.subtract(shaded, target, dtype=cv2.CV_32F)
            shaded = cv2.add(target, cv2.multiply(change, opaque), dtype=cv2.CV_32F)
        # Nothing is negative here, and the conversion saturates at 255.
        cv2.copyTo(cv2.convertScaleAbs(shaded), mask, target)
        inside = mask.astype(bool)
        np.copyto(labels, label, where=inside)
        np.copyto(window.of(self.owner), paint.owner, where=inside)

    def _shaded(
        self, window: _Window, surface: _Surface, material: Material
    ) -> np.ndarray:
        """The shaded material, `float32` `[H, W, 3]` of the window's size."""
        nx, ny = surface.normal
        nz = np.sqrt(np.clip(1 - nx * nx - ny * ny, 0.02, 1))
        shade = self.light.shade(nx, ny, nz) * np.asarray(1 - surface.dark)[..., None]
        if material.gloss:
            lit = nx * self.light.direction[0] + ny * self.light.direction[1]
            lit = np.clip(lit + nz * (self.light.direction[2] + 1), 0, None) / np.sqrt(
                2 + 2 * self.light.direction[2]
            )
            shade = shade + material.gloss * 2 * (lit**24)[..., None]
        shade = self._enlarge(np.float32(shade), window)
        if material.is_plain:
            return cv2.multiply(shade, (*_scalar(material.tile[0, 0]), 0.0), dst=shade)
        scale = np.float32(TILE / material.repeat)
        texture = cv2.remap(
            material.tile,
            self._enlarge(np.float32(surface.across * scale), window),
            self._enlarge(np.float32(surface.along * scale), window),
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_WRAP,
        )
        return cv2.multiply(texture, shade, dtype=cv2.CV_32F)

    def _shadow(self, mask: np.ndarray, window: _Window, strength: float) -> None:
        """Darkens what is already painted beside a part that is about to cover it."""
        dx, dy = -self.light.direction[:2] * (0.09 * self.unit)
        pad = int(0.22 * self.unit) + 1
        wide = self._window(window.corner - pad, np.array(window[2:]) + pad)
        shrink = max(1, self.step)
        size = tuple(-(-length // shrink) for length in reversed(wide.shape))
        matrix = np.array([
            [1 / shrink, 0, (window.x0 - wide.x0 + dx) / shrink],
            [0, 1 / shrink, (window.y0 - wide.y0 + dy) / shrink],
        ])  # fmt: skip
        small = cv2.warpAffine(mask, matrix, size, flags=cv2.INTER_LINEAR)
        small = cv2.GaussianBlur(small, (0, 0), max(0.6, 0.05 * self.unit / shrink))
        factor = self._enlarge(1 - strength / 255 * np.float32(small), wide)
        target = wide.of(self.color)
        cv2.multiply(target, spread(factor), dst=target, dtype=cv2.CV_8U)

    def tube(
        self,
        points: np.ndarray,
        radii: np.ndarray | tuple[np.ndarray, np.ndarray],
        paint: Paint,
        **sweep: object,
    ) -> None:
        """Sweeps a cross-section of varying width along a center line.

        Args:
            points: Center line `[N, 2]`, layer pixels.
            radii: Radii `[N]`, layer pixels, or those to the plus and the minus side.
            paint: What is painted.
            sweep: Fields of `Sweep`.
        """
        sweep = Sweep(**sweep)
        points = np.asarray(points, np.float64)
        tangent, normal = tangents(points)
        plus, minus = radii if isinstance(radii, tuple) else (radii, radii)
        plus, minus = np.maximum(plus, 0.6), np.maximum(minus, 0.6)
        one, two = points + normal * plus[:, None], points - normal * minus[:, None]
        both = np.concatenate([one, two])
        reach = 0.5 * float(max(plus[0] + minus[0], plus[-1] + minus[-1]))
        reach = reach if any(sweep.caps) or sweep.hem else 0.0
        window = self._window(both.min(0) - reach, both.max(0) + reach)
        if window is None:
            return
        steps = np.linalg.norm(np.diff(points, axis=0), axis=1)
        length = np.concatenate([[0], np.cumsum(steps)])
        frames = np.column_stack([points, tangent, normal, plus, minus, length])
        mask = self._tube_mask(window, one, two, frames, sweep)
        if sweep.shadow:
            self._shadow(mask, window, sweep.shadow)
        surface = self._tube_surface(window, frames, paint.material.folds, sweep)
        self._finish(window, mask, surface, paint)

    @staticmethod
    def _tube_mask(
        window: _Window,
        one: np.ndarray,
        two: np.ndarray,
        frames: np.ndarray,
        sweep: Sweep,
    ) -> np.ndarray:
        """Where a tube with the borders `one` and `two` is, `uint8`."""
        mask = np.zeros(window.shape, np.uint8)
        length, radius = frames[:, 8], (frames[:, 6] + frames[:, 7]) / 2
        quads = np.stack([one[:-1], one[1:], two[1:], two[:-1]], 1) - window.corner
        for quad in np.round(quads * 16).astype(np.int32):
            cv2.fillConvexPoly(mask, quad, 255, shift=4)
        middle = (one + two) / 2 - window.corner
        # A circle must not reach over an end that is flat.
        ends = np.full(len(length), np.inf)
        if not sweep.caps[0]:
            ends = np.minimum(ends, length)
        if not sweep.caps[1]:
            ends = np.minimum(ends, length[-1] - length)
        wheres = np.round(middle * 16).astype(int).tolist()
        sizes = np.round(radius * 0.995 * 16).astype(int).tolist()
        for where, size, fits in zip(wheres, sizes, ends >= radius, strict=True):
            if fits:
                cv2.circle(mask, where, size, 255, -1, shift=4)
        if sweep.hem:
            across, down = frames[-1, 2:4]
            angle = float(np.degrees(np.arctan2(across, -down))) + 180
            axes = (round(radius[-1] * 16), round(sweep.hem * radius[-1] * 16))
            where = fixed(middle[-1])[0, 0].tolist()
            cv2.ellipse(mask, where, axes, angle, 0, 360, 255, -1, shift=4)
        if sweep.opening is not None:
            cv2.fillPoly(mask, [fixed(sweep.opening - window.corner)], 0, shift=4)
        return mask

    def _tube_surface(
        self, window: _Window, frames: np.ndarray, folds: float, sweep: Sweep
    ) -> _Surface:
        """The surface of a tube.

        Args:
            window: Where it is.
            frames: `[N, 9]`: points, tangents, normals, both radii, and lengths.
            folds: The material's.
            sweep: Its shape.
        """
        x, y = self._grid(window)
        near = np.square(x[:, None] - np.float32(frames[:, 0]))[None]
        near = near + np.square(y[:, None] - np.float32(frames[:, 1]))[:, None]
        frame, whole = np.float32(frames)[near.argmin(2)], frames[-1, 8]
        right, down = x[None] - frame[..., 0], y[:, None] - frame[..., 1]
        along = frame[..., 8] + right * frame[..., 2] + down * frame[..., 3]
        across = right * frame[..., 4] + down * frame[..., 5]
        ratio = across / np.where(across > 0, frame[..., 6], frame[..., 7])
        tilt = np.clip(ratio * sweep.roundness, -0.985, 0.985)
        share = along / max(whole, 1e-6)
        unit = np.float32(1 / self.unit)
        rise = np.zeros_like(tilt)
        if folds:
            wrinkle = self._wrinkle(along * unit, across * unit + whole)
            tilt = tilt + 0.16 * folds * wrinkle
            for bend in sweep.bends:
                weight = np.exp(-np.square((share - bend) * whole * unit / 0.24))
                wave = np.sin((along + 0.35 * across) * unit * 34 + 5 * wrinkle)
                rise = rise + 0.2 * folds * weight * wave
        if sweep.pleats:
            fan = np.clip(ratio, -1.2, 1.2) * sweep.pleat_count
            wave = np.sin(fan * np.pi + 1.7 * np.sin(fan))
            tilt = tilt + sweep.pleats * wave * smoothstep(0, 0.55, share)
        tilt = np.clip(tilt, -0.97, 0.97)
        rise = np.clip(rise, -0.4, 0.4)
        nx = frame[..., 4] * tilt + frame[..., 2] * rise
        ny = frame[..., 5] * tilt + frame[..., 3] * rise
        dark = sweep.darker + 0.2 * np.clip(np.abs(ratio), 0, 1) ** 5
        alpha, (start, end) = None, sweep.fade
        if start:
            alpha = smoothstep(0, start, share)
        elif end:
            alpha = 1 - smoothstep(1 - end, 1, share)
        return _Surface((nx, ny), along * unit, across * unit, dark, alpha)

    def shape(
        self,
        outline: np.ndarray | Sequence[np.ndarray],
        paint: Paint,
        **relief: object,
    ) -> None:
        """Fills one outline, or the union of several.

        Args:
            outline: `[N, 2]`, layer pixels, or a sequence of such.
            paint: What is painted.
            relief: Fields of `Relief`.
        """
        relief = Relief(**relief)
        outlines = [outline] if isinstance(outline, np.ndarray) else list(outline)
        points = np.concatenate(outlines)
        window = self._window(points.min(0), points.max(0))
        if window is None:
            return
        mask = np.zeros(window.shape, np.uint8)
        for each in outlines:
            cv2.fillPoly(mask, [fixed(each - window.corner)], 255, shift=4)
        if relief.only_on is not None:
            mask[window.of(self.label) != LABEL[relief.only_on]] = 0
        if relief.shadow:
            self._shadow(mask, window, relief.shadow)
        pivot = points.mean(0) if relief.center is None else np.asarray(relief.center)
        surface = self._shape_surface(window, mask, pivot, paint.material.folds, relief)
        self._finish(window, mask, surface, paint)

    def _shape_surface(
        self,
        window: _Window,
        mask: np.ndarray,
        pivot: np.ndarray,
        folds: float,
        relief: Relief,
    ) -> _Surface:
        x, y = self._grid(window)
        axis = normalize(relief.axis)
        right = np.float32(x[None] - pivot[0]) + 0 * y[:, None]
        down = np.float32(y[:, None] - pivot[1]) + 0 * x[None]
        along = right * np.float32(axis[0]) + down * np.float32(axis[1])
        across = right * np.float32(axis[1]) - down * np.float32(axis[0])
        dark = relief.darker
        if relief.radii is not None:
            nx = relief.roundness * across / np.float32(relief.radii[0])
            ny = relief.roundness * along / np.float32(relief.radii[1])
            nx, ny = nx * axis[1] + ny * axis[0], ny * axis[1] - nx * axis[0]
            size = np.sqrt(nx * nx + ny * ny)
            limit = np.maximum(size / 0.97, 1)
            nx, ny = nx / limit, ny / limit
            dark = dark + 0.15 * np.clip(size, 0, 1) ** 5
        else:
            nx, ny = self._cushion(mask, x.size, y.size, relief.puff * self.unit)
        unit = np.float32(1 / self.unit)
        if folds:
            wrinkle = self._wrinkle(along * unit, across * unit + pivot[0])
            nx = np.clip(nx + 0.15 * folds * wrinkle, -0.68, 0.68)
            ny = np.clip(ny, -0.68, 0.68)
        return _Surface((nx, ny), along * unit, across * unit, dark + 0 * nx)

    def _cushion(
        self, mask: np.ndarray, columns: int, rows: int, radius: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """Normals `[rows, columns]` of an outline that is puffed up."""
        below, beside = rows * self.step - len(mask), columns * self.step - len(mask[0])
        small = np.pad(mask, ((0, below), (0, beside)))
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
        color: Sequence[float],
        thickness: float,
        closed: bool = False,
    ) -> None:
        """Draws a seam or a lash; labels stay as they are."""
        width, color = max(1, round(thickness * self.unit)), _scalar(color)
        cv2.polylines(self.color, [fixed(points)], closed, color, width, cv2.LINE_AA, 4)

    def fill(self, points: np.ndarray, color: Sequence[float]) -> None:
        """Fills a detail; labels stay as they are."""
        cv2.fillPoly(self.color, [fixed(points)], _scalar(color), cv2.LINE_AA, 4)

    def dot(self, center: np.ndarray, radius: float, color: Sequence[float]) -> None:
        """Draws a disc; labels stay as they are."""
        where = fixed(center)[0, 0].tolist()
        size = max(8, round(radius * self.unit * 16))
        cv2.circle(self.color, where, size, _scalar(color), -1, cv2.LINE_AA, 4)

    def tone(
        self, center: np.ndarray, radii: tuple[float, float], change: Sequence[float]
    ) -> None:
        """Adds `change` to the colors of a soft ellipse; radii in heads."""
        size = np.maximum(np.array(radii) * self.unit, 1.0)
        window = self._window(center - 2 * size, center + 2 * size)
        if window is None:
            return
        x = np.exp(-np.square((np.arange(window.x0, window.x1) - center[0]) / size[0]))
        y = np.exp(-np.square((np.arange(window.y0, window.y1) - center[1]) / size[1]))
        weight = (y[:, None] * x[None]).astype(np.float32)[..., None]
        target = window.of(self.color)
        target[:] = np.clip(target + weight * np.float32(change), 0, 255)
