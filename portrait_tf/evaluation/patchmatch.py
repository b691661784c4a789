"""Inpainting with patches of the photo itself, in NumPy.

The field of nearest neighbors is found as in *PatchMatch* (Barnes et al., SIGGRAPH
2009, section 3): random starts, then propagation and random search in turn, here for
all patches at once. The picture follows from the field as in *Space-Time Completion of
Video* (Wexler et al., PAMI 2007, sections 3 and 4): every pixel of the hole is the
weighted mean of the patches over it. Field and picture are updated in turn, from a
coarse scale to the photo's own.

The distance is the sum of squared RGB differences. Patches lie wholly in the photo and
are neither rotated nor scaled.
"""

import cv2
import numpy as np

_ROUNDS = {"coarsest": 10, "finest": 2}
"""Updates of field and picture per scale."""

_PATCH = 7
"""Side of the patches, odd; smaller if no patch of this size is without hole."""

_SMALLEST = 20
"""The shorter side of the coarsest scale, in pixels."""

_FORGETTING = 1.3
"""The factor by which a patch's weight falls per pixel from the hole's edge."""


def inpaint_patches(photo: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Fills a hole with patches from outside of it.

    Args:
        photo: RGB `uint8` `[H, W, 3]`; the hole is not read.
        mask: `uint8` `[H, W]`, non-zero = hole.

    Returns:
        `uint8` `[H, W, 3]`. The result of Telea's method if no patch of 3x3 is without
        hole.
    """
    hole = mask != 0
    rough = cv2.inpaint(photo, hole.astype(np.uint8), 3, cv2.INPAINT_TELEA)
    if not hole.any():
        return rough
    levels, patch = [(rough.astype(np.float32), hole)], _PATCH
    while not _sources(hole, patch).any() or min(hole.shape) < patch:
        patch -= 2
        if patch < 3:
            return rough
    while True:
        smaller = _halve(*levels[-1])
        if min(smaller[1].shape) < _SMALLEST or not _sources(smaller[1], patch).any():
            break
        levels.append(smaller)
    rng = np.random.default_rng(0)
    field = None
    for number, (picture, hole) in enumerate(reversed(levels)):
        level = _Level(picture, hole, patch, rng)
        if field is None:
            level.field = level.random_sources(len(level.targets))
        else:
            level.start_from(field)
            level.vote()
        share = number / max(len(levels) - 1, 1)
        rounds = _ROUNDS["coarsest"] * (1 - share) + _ROUNDS["finest"] * share
        for _ in range(round(rounds)):
            level.search()
            level.vote()
        field = level.whole_field()
    filled = np.clip(np.rint(level.picture), 0, 255).astype(np.uint8)
    return np.where(levels[0][1][..., None], filled, photo)


def _sources(hole: np.ndarray, patch: int) -> np.ndarray:
    """The upper left corners of patches without hole, `bool`."""
    if min(hole.shape) < patch:
        return np.zeros((1, 1), bool)
    counts = cv2.integral(hole.astype(np.uint8))
    return (
        counts[patch:, patch:]
        - counts[:-patch, patch:]
        - counts[patch:, :-patch]
        + counts[:-patch, :-patch]
    ) == 0


def _halve(picture: np.ndarray, hole: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Half the size; a pixel is the mean of the known ones of its four."""
    size = tuple(-(-side // 2) for side in hole.shape)
    padding = [(0, 2 * new - old) for new, old in zip(size, hole.shape, strict=True)]
    picture = np.pad(picture, [*padding, (0, 0)], mode="edge")
    known = ~np.pad(hole, padding, mode="edge")
    blocks = (size[0], 2, size[1], 2)
    weight = known.reshape(blocks).sum((1, 3), dtype=np.float32)
    total = (picture * known[..., None]).reshape(*blocks, 3).sum((1, 3))
    plain = picture.reshape(*blocks, 3).mean((1, 3))
    mean = total / np.maximum(weight, 1)[..., None]
    # A pixel that is partly hole counts as hole.
    return np.where(weight[..., None] > 0, mean, plain).astype(np.float32), weight < 4


class _Level:
    """One scale: the picture, and the field of the patches over its hole.

    A patch is named by its upper left corner in the grid of all patches that lie wholly
    in the picture.
    """

    def __init__(
        self,
        picture: np.ndarray,
        hole: np.ndarray,
        patch: int,
        rng: np.random.Generator,
    ) -> None:
        self.picture, self.hole, self.patch, self.rng = picture.copy(), hole, patch, rng
        self.valid = _sources(hole, patch)
        self.grid = self.valid.shape
        self.targets = np.argwhere(~self.valid).astype(np.int32)
        self.sources = np.argwhere(self.valid).astype(np.int32)
        # The target's number at a position of the grid; -1 where there is none.
        self.place = np.full(self.grid, -1, np.int32)
        self.place[tuple(self.targets.T)] = np.arange(len(self.targets))
        depth = cv2.distanceTransform(
            np.pad(hole, 1, mode="edge").astype(np.uint8),
            cv2.DIST_L2,
            cv2.DIST_MASK_PRECISE,
        )[1:-1, 1:-1]
        middle = self.targets + patch // 2
        self.trust = _FORGETTING ** -np.minimum(depth[tuple(middle.T)], 40.0)
        self.known_patches = self._patches(self.sources)
        self.row = np.full(self.grid, -1, np.int32)
        self.row[tuple(self.sources.T)] = np.arange(len(self.sources))
        self.field = np.zeros_like(self.targets)
        self.distances = None

    def random_sources(self, count: int) -> np.ndarray:
        return self.sources[self.rng.integers(0, len(self.sources), count)]

    def start_from(self, field: np.ndarray) -> None:
        """Enlarges the field `[h, w, 2]` of the coarser scale to twice its size."""
        below = np.minimum(self.targets // 2, np.array(field.shape[:2]) - 1)
        found = 2 * field[tuple(below.T)] + self.targets % 2
        found = np.clip(found, 0, np.array(self.grid) - 1)
        bad = ~self.valid[tuple(found.T)]
        found[bad] = self.random_sources(np.count_nonzero(bad))
        self.field = found

    def whole_field(self) -> np.ndarray:
        """The field over the whole grid; a patch without hole is its own source."""
        field = np.stack(np.indices(self.grid), axis=-1).astype(np.int32)
        field[tuple(self.targets.T)] = self.field
        return field

    def _patches(self, corners: np.ndarray) -> np.ndarray:
        windows = np.lib.stride_tricks.sliding_window_view(
            self.picture, (self.patch, self.patch), axis=(0, 1)
        )
        return windows[tuple(corners.T)].reshape(len(corners), -1)

    def search(self, rounds: int = 2) -> None:
        """Propagation and random search, from the current field."""
        wanted = self._patches(self.targets)
        everyone = np.arange(len(self.targets))
        self.distances = self._distances(wanted, everyone, self.field)
        for _ in range(rounds):
            for step in ((-1, 0), (0, -1), (1, 0), (0, 1)):
                beside = self.targets + step
                inside = ((beside >= 0) & (beside < self.grid)).all(1)
                neighbor = np.full(len(beside), -1)
                neighbor[inside] = self.place[tuple(beside[inside].T)]
                has = neighbor >= 0
                self._try(
                    wanted, everyone[has], self.field[neighbor[has]] - np.array(step)
                )
            radius = max(self.grid)
            while radius >= 1:
                shift = self.rng.integers(-radius, radius + 1, self.field.shape)
                self._try(wanted, everyone, self.field + shift)
                radius //= 2

    def _try(self, wanted: np.ndarray, who: np.ndarray, found: np.ndarray) -> None:
        """Takes sources that are nearer than those in the field."""
        exists = ((found >= 0) & (found < self.grid)).all(1)
        exists[exists] = self.valid[tuple(found[exists].T)]
        who, found = who[exists], found[exists].astype(np.int32)
        distances = self._distances(wanted, who, found)
        nearer = distances < self.distances[who]
        self.field[who[nearer]] = found[nearer]
        self.distances[who[nearer]] = distances[nearer]

    def _distances(
        self, wanted: np.ndarray, who: np.ndarray, found: np.ndarray
    ) -> np.ndarray:
        difference = self.known_patches[self.row[tuple(found.T)]]
        difference -= wanted[who]
        return np.einsum("np,np->n", difference, difference)

    def vote(self) -> None:
        """Sets every pixel of the hole to the weighted mean of the patches over it."""
        say = self.trust
        if self.distances is not None:
            spread = max(float(np.percentile(self.distances, 75)), 1.0)
            say = say * np.exp(-self.distances / (2 * spread))
        say = np.maximum(say, 1e-12).astype(np.float32)[:, None]
        total = np.zeros((*self.hole.shape, 3), np.float32)
        weight = np.zeros((*self.hole.shape, 1), np.float32)
        for offset in np.ndindex(self.patch, self.patch):
            # No pixel occurs twice at one offset, so that += counts them all.
            pixels = tuple((self.targets + offset).T)
            total[pixels] += say * self.picture[tuple((self.field + offset).T)]
            weight[pixels] += say
        self.picture[self.hole] = (total / np.maximum(weight, 1e-20))[self.hole]
