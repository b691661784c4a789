"""Distances of pictures in the features of a VGG.

A distance is named after its weights: it is neither LPIPS nor FID.
"""

from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

from portrait_tf.evaluation.compare_config import FeaturesConfig
from portrait_tf.losses.perceptual import build_vgg


def frechet_distance(one: np.ndarray, two: np.ndarray) -> float:
    """Fréchet distance of two Gaussians (Heusel et al., 2017), fitted to two samples.

    `|m1 - m2|² + tr(S1) + tr(S2) - 2 tr((S1 S2)^½)`. The last trace is computed from
    `S1^½ S2 S1^½`, which is symmetric and has the same eigenvalues.

    With few rows per column the distance is too large, by an amount that depends on the
    number of rows: compare samples of one size only.

    Args:
        one: `[N, C]`, a row per picture; N at least 2.
        two: `[M, C]`, M at least 2.
    """
    one, two = np.asarray(one, np.float64), np.asarray(two, np.float64)
    means = one.mean(0) - two.mean(0)
    first, second = (np.atleast_2d(np.cov(x, rowvar=False)) for x in (one, two))
    values, vectors = np.linalg.eigh(first)
    root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    product = np.linalg.eigvalsh(root @ second @ root)
    cross = np.sqrt(np.maximum(product, 0)).sum()
    distance = means @ means + np.trace(first) + np.trace(second) - 2 * cross
    return float(max(distance, 0.0))


class FeatureDistance:
    """Perceptual distance of two photos, and features for comparing sets.

    The perceptual distance is that of LPIPS (Zhang et al., CVPR 2018, equation 1)
    without its learned weights: the squared difference of features of unit length,
    summed over channels, and averaged over positions and layers.

    Args:
        network: `vgg16` or `vgg19`.
        weights: `imagenet`, `random`, or a file's path.
        layers: Keras' names of the layers of the perceptual distance.
        pooled: The layer whose mean over all positions is a photo's feature. With about
            a hundred photos it must be a shallow one, with few channels.
        patches: Layers of `PatchDistances`.

    Raises:
        PortraitError: An unknown layer, or weights that cannot be had.
    """

    def __init__(
        self,
        network: str,
        weights: str,
        layers: list[str],
        pooled: str,
        patches: Sequence[str] = (),
    ) -> None:
        self.layers, self.pooled, self.patches = list(layers), pooled, list(patches)
        names = list(dict.fromkeys([*layers, pooled, *patches]))
        vgg = build_vgg(network, weights, names)
        self._call = tf.function(
            # RGB in 0 to 255 to what both VGGs were trained on.
            lambda x: vgg(keras.applications.vgg16.preprocess_input(x)),
            input_signature=[tf.TensorSpec([None, None, None, 3], tf.float32)],
            autograph=False,
        )

    @classmethod
    def from_config(
        cls, config: FeaturesConfig, patches: Sequence[str] = ()
    ) -> "FeatureDistance":
        """Of a comparison's config, which has weights."""
        return cls(
            config.network, config.weights, config.layers, config.frechet_layer, patches
        )

    def features(self, photo: np.ndarray) -> dict[str, np.ndarray]:
        """All layers' outputs, `[h, w, C]` each, of RGB `uint8` `[H, W, 3]`."""
        found = self._call(tf.constant(photo[None], tf.float32))
        return {name: one[0].numpy() for name, one in found.items()}

    def distance(self, one: dict, two: dict) -> float:
        """Perceptual distance of two photos, given their `features`; 0 to 4."""
        parts = []
        for name in self.layers:
            first, second = (_unit_length(x[name]) for x in (one, two))
            parts.append(((first - second) ** 2).sum(-1).mean())
        return float(np.mean(parts))

    def pool(self, features: dict) -> np.ndarray:
        """A photo's feature vector `[C]`, given its `features`."""
        return features[self.pooled].mean((0, 1), dtype=np.float64)


def _unit_length(features: np.ndarray) -> np.ndarray:
    length = np.sqrt((features.astype(np.float32) ** 2).sum(-1, keepdims=True))
    return features / (length + 1e-10)
