"""A kernel distance of what was painted into holes, over features of patches.

The distance is that of KID (Binkowski et al., arXiv 1801.01401, section 3) in other
features, and over patches of holes in place of photos: it is not KID. It asks whether
what was painted looks like what is in such holes, not whether it is the same.
"""

import numpy as np

from portrait_tf.evaluation.features import FeatureDistance

PATCH, STEP = 32, 16
"""Side of the patches, and the step of their grid, in pixels."""

PATCH_LAYERS = ("block3_conv3", "block4_conv3")
"""Of VGG-16: two of the layers that the perceptual distance is taken in."""

SUBSETS, SUBSET_PATCHES = 100, 500
MAX_PATCHES = 4000
"""About as many patches of a task are kept, evenly of all photos."""


def polynomial_kernel(one: np.ndarray, two: np.ndarray) -> np.ndarray:
    """KID's kernel `(x . y / C + 1)^3` of all pairs of rows: `[N, M]`.

    Args:
        one: `[N, C]`.
        two: `[M, C]`.
    """
    base = one @ two.T / one.shape[1] + 1
    return base * base * base


def kernel_distance(one: np.ndarray, two: np.ndarray) -> float:
    """Unbiased squared maximum mean discrepancy of two samples, by KID's kernel.

    The mean kernel of pairs within `one`, plus that of pairs within `two`, minus twice
    that of the pairs between them. It may be negative.

    Args:
        one: `[N, C]`, N at least 2.
        two: `[M, C]`, M at least 2.
    """

    def mean_within(rows: np.ndarray) -> float:
        kernel = polynomial_kernel(rows, rows)
        return (kernel.sum() - np.trace(kernel)) / (len(rows) * (len(rows) - 1))

    between = polynomial_kernel(one, two).mean()
    return float(mean_within(one) + mean_within(two) - 2 * between)


def subset_distances(
    one: np.ndarray, two: np.ndarray, seed: int = 0
) -> tuple[float, float | None]:
    """Mean and standard deviation of the distance over subsets, as KID is reported.

    Args:
        one: `[N, C]`, N at least 2.
        two: `[N, C]`.
        seed: Of the `SUBSETS` subsets of `SUBSET_PATCHES` rows, drawn from each without
            replacement.

    Returns:
        With no more rows than a subset has: the distance of all rows, and None.
    """
    count = len(one)
    if count <= SUBSET_PATCHES:
        return kernel_distance(one, two), None
    rng = np.random.default_rng(seed)
    ranks = rng.permuted(np.tile(np.arange(count), (2, SUBSETS, 1)), axis=-1)
    first, second = ranks < SUBSET_PATCHES
    found = [
        kernel_distance(one[a], two[b]) for a, b in zip(first, second, strict=True)
    ]
    return float(np.mean(found)), float(np.std(found, ddof=1))


class PatchDistances:
    """Collects features of patches in holes, and compares methods with the truth.

    Patches of `PATCH` pixels lie on a grid of `STEP` pixels; those with at least half
    hole count. The feature of a patch is the mean of each layer over the hole's part of
    the patch. Every layer is divided by the root mean square of the true patches: VGG's
    features reach hundreds, and the kernel's constant is 1.

    Args:
        features: The layers `patches` of these features are compared.
        photos: The number of photos.
        seed: Seed of the patches that are kept, and of the subsets.
    """

    def __init__(self, features: FeatureDistance, photos: int, seed: int = 0) -> None:
        self.layers, self.seed = features.patches, seed
        self._share = MAX_PATCHES / photos
        self._rng = np.random.default_rng(seed)
        # Of each task the true patches by hole, and of each method the painted ones.
        self._true: dict[str, list[np.ndarray]] = {}
        self._painted: dict[str, dict[str, dict[int, np.ndarray]]] = {}

    def add(self, task: str, mask: np.ndarray, true: dict, painted: dict) -> None:
        """Adds the patches of one hole.

        Args:
            task: The hole's task.
            mask: `uint8` `[H, W]`, non-zero = hole.
            true: `FeatureDistance.features` of the photo.
            painted: The features of every method's picture, by method.
        """
        places = hole_patches(mask)
        # Rounded at random, so that of many photos some have a patch.
        count = min(len(places), int(self._share + self._rng.random()))
        places = self._rng.permutation(places)[:count]
        holes = self._true.setdefault(task, [])
        weights = {
            name: _patch_weights(mask, places, true[name].shape[:2])
            for name in self.layers
        }

        def pool(found: dict) -> np.ndarray:
            parts = [
                weights[name] @ found[name].reshape(-1, found[name].shape[-1])
                for name in self.layers
            ]
            return np.concatenate(parts, axis=1)

        for name, found in painted.items():
            methods = self._painted.setdefault(task, {})
            methods.setdefault(name, {})[len(holes)] = pool(found)
        self._sizes = [true[name].shape[-1] for name in self.layers]
        holes.append(pool(true))

    def result(self) -> dict[str, dict[str, dict]]:
        """`mean`, `std` and `patches` by task and method.

        `mean` and `std` are those of `subset_distances`; None with fewer than two
        patches. A method is compared with the truth in the holes that it completed.
        """
        return {
            task: {
                name: self._compare(
                    np.concatenate([self._true[task][hole] for hole in found]),
                    np.concatenate(list(found.values())),
                )
                for name, found in methods.items()
            }
            for task, methods in self._painted.items()
        }

    def _compare(self, true: np.ndarray, painted: np.ndarray) -> dict:
        if len(true) < 2:
            return {"mean": None, "std": None, "patches": len(true)}
        true, painted = true.astype(np.float64), painted.astype(np.float64)
        ends = np.cumsum(self._sizes)
        for start, end in zip([0, *ends], ends, strict=False):
            scale = np.sqrt(np.mean(true[:, start:end] ** 2))
            for rows in (true, painted):
                rows[:, start:end] /= max(scale, 1e-10)
        mean, std = subset_distances(true, painted, self.seed)
        return {"mean": mean, "std": std, "patches": len(true)}


def hole_patches(mask: np.ndarray) -> np.ndarray:
    """Top and left of the patches with at least half hole, `[N, 2]`.

    Args:
        mask: `uint8` `[H, W]`, non-zero = hole.
    """
    height, width = mask.shape
    corners = [
        (top, left)
        for top in range(0, max(height - PATCH, 0) + 1, STEP)
        for left in range(0, max(width - PATCH, 0) + 1, STEP)
        if np.mean(mask[top : top + PATCH, left : left + PATCH] != 0) >= 0.5
    ]
    return np.array(corners, int).reshape(-1, 2)


def _patch_weights(
    mask: np.ndarray, places: np.ndarray, cells: tuple[int, int]
) -> np.ndarray:
    """The weights of a layer's cells in each patch, `[N, h * w]`; rows add up to 1."""
    height, width = cells
    # A power of two; what is left of a cell at the far borders has none.
    stride = 1 << ((mask.shape[0] // height).bit_length() - 1)
    hole = (mask[: height * stride, : width * stride] != 0).astype(np.float32)
    share = hole.reshape(height, stride, width, stride).mean((1, 3))
    weights = np.zeros((len(places), height, width), np.float32)
    for one, (top, left) in zip(weights, places // stride, strict=True):
        part = np.s_[top : top + PATCH // stride, left : left + PATCH // stride]
        one[part] = share[part]
    weights = weights.reshape(len(places), height * width)
    return weights / np.maximum(weights.sum(1, keepdims=True), 1e-10)
