"""The place behind a person, drawn at the photo's size."""

from collections.abc import Sequence

import cv2
import numpy as np

from portrait_tf.data.synthetic.materials import pick, tint
from portrait_tf.data.synthetic.scene import Camera, spread


def _cloud(rng: np.random.Generator, height: int, width: int, cells: int) -> np.ndarray:
    """Smooth noise of unit variance; `cells` of them down the photo."""
    columns = max(2, round(cells * width / height))
    coarse = rng.standard_normal((max(2, cells), columns), dtype=np.float32)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


def _scatter(column: np.ndarray, row: np.ndarray) -> np.ndarray:
    """A value between 0 and 1 for every slab or brick, as if it were random."""
    value = np.sin(np.floor(column) * 12.9 + row * 78.2) * 43.7
    return value - np.floor(value)


_PLACES = {"street": 2.4, "brick": 1.2, "park": 3.4, "studio": 2.4, "plain": 1.6}


class Backdrop:
    """What stands behind the person.

    Attributes:
        camera: The camera, in pixels of the photo.
        picture: RGB `float32` `[H, W, 3]`, 0 to 255.
        wall: Row where the ground meets what stands behind.
    """

    def __init__(
        self, rng: np.random.Generator, height: int, width: int, camera: Camera
    ) -> None:
        self.rng, self.height, self.width, self.camera = rng, height, width, camera
        self.picture = np.zeros((height, width, 3), np.float32)
        far = self.rng.uniform(1.5, 9)
        row = self.camera.project(np.array([0.0, 0.0, -far]))[1]
        self.wall = int(np.clip(row, 1, self.height + 9))

    def render(self) -> np.ndarray:
        """Draws one of the places, blurs it and adds grain."""
        kind = pick(self.rng, _PLACES)
        getattr(self, f"_{kind}")()
        blur = self.rng.choice([0.0, 0.8, 1.6, 3.0]) * self.height / 480
        if blur > 0.3 and kind not in ("studio", "plain"):
            self._defocus(blur)
        grain = _cloud(self.rng, self.height, self.width, max(4, self.height // 6))
        self.picture += spread(1.1 * grain)
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

    def _color(self, low: float, high: float, chroma: float = 14) -> np.ndarray:
        gray = self.rng.uniform(low, high)
        return np.clip(gray + self.rng.normal(0, chroma, 3), 5, 250)

    def _between(self, *ranges: tuple[float, float]) -> np.ndarray:
        """A color with a range for each channel."""
        return np.array([self.rng.uniform(low, high) for low, high in ranges])

    def _size(self, heads: float) -> float:
        """Pixels of a length at the wall."""
        span = max(self.wall - self.camera.horizon, 1.0)
        return heads * span / self.camera.height

    def _upper(self, color: np.ndarray, variation: float = 6) -> None:
        top = self.picture[: self.wall]
        top[:] = color
        if top.size:
            coarse, fine = (_cloud(self.rng, *top.shape[:2], n) for n in (7, 40))
            top += spread(0.6 * variation * (coarse + 0.6 * fine))

    def _box(
        self, x0: float, y0: float, x1: float, y1: float, color: Sequence[float]
    ) -> None:
        corners = (round(x0), round(y0)), (round(x1), round(y1))
        cv2.rectangle(self.picture, *corners, [float(c) for c in color], -1)

    def _disc(self, x: float, y: float, size: float, color: Sequence[float]) -> None:
        where, size = (round(x), round(y)), max(1, round(size))
        color = [float(c) for c in color]
        cv2.circle(self.picture, where, size, color, -1, cv2.LINE_AA)

    def _floor(self, color: np.ndarray, kind: str, size: float) -> None:
        """Ground in true perspective: slabs or plain."""
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
        floor[:] = color
        slope = np.linspace(-6, 10, len(rows), dtype=np.float32)[:, None]
        tone = slope + 5 * _cloud(self.rng, *floor.shape[:2], 5)
        tone = tone + 4 * _cloud(self.rng, *floor.shape[:2], max(8, len(rows) // 2))
        if kind == "slabs":
            row = np.floor(z)
            moved = x + 0.5 * (row % 2)
            joint = np.abs(moved % 1 - 0.5) > 0.485
            seam = np.abs(z % 1 - 0.5) > 0.485
            tone = tone + 6 * _scatter(moved, row) - 22 * (joint | seam)
        floor += spread(tone)

    def _windows(self, wall: np.ndarray) -> None:
        rng = self.rng
        width = self._size(rng.uniform(1.6, 3.0))
        tall = self._size(rng.uniform(2.5, 4.5))
        gap = width * rng.uniform(1.5, 2.2)
        glass, frame = self._color(40, 110, 10), tint(wall, rng.uniform(-0.4, 0.6))
        x = rng.uniform(-gap, 0)
        base = self.wall - self._size(rng.uniform(1.0, 2.5))
        border = max(1.0, 0.07 * width)
        while x < self.width:
            for level in range(4):
                bottom = base - level * tall * 1.5
                top = bottom - tall
                if bottom < 0:
                    break
                right = x + width
                edges = x - border, top - border, right + border, bottom + border
                self._box(*edges, frame)
                self._box(x, top, right, bottom, glass)
                side, edge = (x, top + tall * 0.7), (x + width * 0.8, top)
                shine = np.int32([side, edge, (right, top), (x, bottom)])
                cv2.fillPoly(self.picture, [shine], tint(glass, 0.2).tolist())
                thin, column, row = border / 3, x + width / 2, top + tall / 2
                self._box(column - thin, top, column + thin, bottom, frame)
                self._box(x, row - thin, right, row + thin, frame)
            x += gap

    def _street(self) -> None:
        rng, wall = self.rng, self._color(90, 215, 16)
        self._upper(wall)
        self._windows(wall)
        if rng.random() < 0.6:
            width, tall = self._size(2.6), self._size(rng.uniform(6, 8))
            x = rng.uniform(0, self.width - width)
            door = self._color(40, 120, 30)
            edge, top = width * 0.08, self.wall - tall * 1.04
            self._box(x - edge, top, x + width * 1.08, self.wall, tint(wall, 0.4))
            self._box(x, self.wall - tall, x + width, self.wall, door)
            for column, row in ((0.12, 0.1), (0.12, 0.55), (0.56, 0.1), (0.56, 0.55)):
                start, end = x + width * column, x + width * (column + 0.32)
                high, low = (self.wall - tall * part for part in (1 - row, 0.65 - row))
                self._box(start, high, end, low, tint(door, -0.2))
        plinth = self._size(0.7)
        self._box(0, self.wall - plinth, self.width, self.wall, tint(wall, -0.25))
        self._floor(self._color(110, 190, 6), "slabs", rng.uniform(1.2, 3.0))

    def _brick(self) -> None:
        rng = self.rng
        base = self._between((120, 190), (70, 120), (55, 100))
        if rng.random() < 0.3:
            base = self._color(150, 225, 6)
        self._upper(base, 5)
        top = self.picture[: self.wall]
        tall = max(3.0, self._size(rng.uniform(0.3, 0.45)))
        y = (self.wall - np.arange(len(top), dtype=np.float32))[:, None] / tall
        x = np.arange(self.width, dtype=np.float32)[None] / (tall * 2.6)
        row = np.floor(y)
        moved = x + 0.5 * (row % 2)
        top += spread(26 * _scatter(moved, row) - 13)
        joint = (np.abs(moved % 1 - 0.5) > 0.465) | (np.abs(y % 1 - 0.5) > 0.42)
        top[joint] = 0.35 * top[joint] + 0.65 * tint(base, 0.45)
        kind = str(rng.choice(["slabs", "plain"]))
        self._floor(self._color(90, 170, 6), kind, rng.uniform(1.5, 3))

    def _park(self) -> None:
        rng = self.rng
        sky = self._between((170, 225), (195, 230), (215, 250))
        self._upper(sky, 3)
        horizon = int(np.clip(self.wall, 4, self.height))
        for depth in (0.55, 0.8, 1.0):
            green = self._between((50, 120), (90, 150), (35, 80))
            green = green * (0.55 + 0.45 * depth) + (1 - depth) * 0.4 * sky
            level = horizon * rng.uniform(0.25, 0.55) + (depth - 0.55) * 0.5 * horizon
            xs, ys = rng.uniform(0, self.width, 46), rng.uniform(level, horizon, 46)
            sizes = rng.uniform(0.02, 0.075, 46) * self.height
            tones = rng.normal(0, 0.13, 46)
            for x, y, size, tone in zip(xs, ys, sizes, tones, strict=True):
                self._disc(x, y, size, tint(green, float(np.clip(tone, -0.4, 0.35))))
            hedge = horizon - max(2, round(0.03 * self.height))
            self._box(0, hedge, self.width, horizon, green * 0.7)
        for _ in range(rng.integers(0, 4)):
            x = rng.uniform(0, self.width)
            size = rng.uniform(0.012, 0.035) * self.height
            self._box(x, 0, x + size, horizon, (74, 58, 46))
        top = self.picture[:horizon]
        top += spread(9 * _cloud(rng, *top.shape[:2], 45))
        grass = rng.random() < 0.6
        ranges = (90, 140), (125, 165), (60, 90)
        ground = self._between(*ranges) if grass else self._color(150, 200, 8)
        self._floor(ground, "plain", 1.0)

    def _sweep(self, color: np.ndarray, strength: float) -> None:
        rows = np.linspace(-1, 1, self.height, dtype=np.float32)[:, None]
        columns = np.linspace(-1, 1, self.width, dtype=np.float32)[None]
        x, y = self.rng.uniform(-0.4, 0.4), self.rng.uniform(-0.5, 0.1)
        glow = np.exp(-((columns - x) ** 2) / 1.2 - (rows - y) ** 2 / 1.1)
        self.picture[:] = color * (1 - strength + strength * 1.25 * glow[..., None])

    def _studio(self) -> None:
        self._sweep(self._color(110, 225, 14), self.rng.uniform(0.25, 0.5))
        start = min(self.wall, self.height - 1)
        ramp = np.linspace(0, 1, self.height - start, dtype=np.float32)
        self.picture[start:] *= (1 + 0.14 * ramp)[:, None, None]

    def _plain(self) -> None:
        self._sweep(self._color(150, 240, 10), self.rng.uniform(0.02, 0.15))
