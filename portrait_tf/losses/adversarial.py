"""Adversarial losses.

A discriminator returns scores of any shape, high for real photos, or a list of such
maps, one a scale, which count equally. Penalties take gradients of a score by the
discriminator's photo.
"""

from collections.abc import Callable

import keras

from portrait_tf.compat import Tensor, map_structure, ops, replicas
from portrait_tf.losses.base import ConfigLoss

KINDS = ("hinge", "least_squares", "wgan_gp")


@keras.saving.register_keras_serializable("portrait_tf")
class AdversarialLoss(ConfigLoss):
    """Loss of discriminators and of the network they train against.

    Args:
        kind: `hinge` (Lim and Ye, arXiv 1705.02894; in inpainting arXiv 1806.03589):
            `mean(max(0, 1 - real)) + mean(max(0, 1 + fake))`, and `-mean(fake)` for
            the network. `least_squares` (Mao et al., arXiv 1611.04076): targets 1 and
            0, halved. `wgan_gp` (arXiv 1701.07875): `mean(fake) - mean(real)`, and
            `-mean(fake)`; it needs `gradient_penalty`.

    Means are weighted by `patch_weights` if a mask is given.
    """

    def __init__(self, kind: str = "hinge") -> None:
        if kind not in KINDS:
            raise ValueError(
                f"expected a loss of {', '.join(KINDS)}, received {kind!r}"
            )
        self.kind = kind

    def critic(self, real: Tensor, fake: Tensor, mask: Tensor | None = None) -> Tensor:
        """The discriminator's loss of its scores; `mask` is `[B, H, W, 1]`."""
        weights = None if mask is None else patch_weights(mask, real)
        return _mean(self._real, real, weights) + _mean(self._fake, fake, weights)

    def generator(self, fake: Tensor, mask: Tensor | None = None) -> Tensor:
        """The network's loss of the discriminator's scores."""
        weights = None if mask is None else patch_weights(mask, fake)
        return _mean(self._network, fake, weights)

    def _real(self, scores: Tensor) -> Tensor:
        if self.kind == "hinge":
            return ops.relu(1.0 - scores)
        return self._network(scores)

    def _fake(self, scores: Tensor) -> Tensor:
        if self.kind == "hinge":
            return ops.relu(1.0 + scores)
        return scores if self.kind == "wgan_gp" else 0.5 * scores**2

    def _network(self, scores: Tensor) -> Tensor:
        if self.kind == "least_squares":
            return 0.5 * (scores - 1.0) ** 2
        return -scores


@keras.saving.register_keras_serializable("portrait_tf")
def patch_weights(mask: Tensor, scores: Tensor | list[Tensor]) -> Tensor | list[Tensor]:
    """How much each patch of a discriminator says about a hole; our choice.

    `min(1, 4 * share)`, the share of the hole in the pixels under a score. Outside the
    hole, a completed photo is the real one: those patches cannot be told apart, and
    would only dilute the mean.

    Args:
        mask: `[B, H, W, 1]`, 1.0 = hole, as the discriminator sees it.
        scores: `[B, H', W', 1]`, or a list of such maps.

    Returns:
        The same structure, in [0, 1]; 0 where there is no hole.
    """

    def weigh(one: Tensor) -> Tensor:
        # Rounded up, like the strides of a convolution with padding.
        strides = tuple(-(-mask.shape[i] // one.shape[i]) for i in (1, 2))
        share = ops.average_pool(mask, strides, strides, padding="same")
        return ops.minimum(4.0 * share, 1.0)

    return map_structure(weigh, scores)


def _mean(
    term: Callable[[Tensor], Tensor], scores: Tensor | list, weights: object
) -> Tensor:
    """Mean of a term of each score, weighted over the whole batch."""
    if isinstance(scores, list):
        weights = [None] * len(scores) if weights is None else weights
        pairs = zip(scores, weights, strict=True)
        return sum(_mean(term, *pair) for pair in pairs) / len(scores)
    terms = term(scores)
    if weights is None:
        return ops.mean(terms)
    weights = weights * ops.ones_like(terms)
    return replicas.ratio(ops.sum(weights * terms), ops.sum(weights), 1e-6)


@keras.saving.register_keras_serializable("portrait_tf")
def gradient_penalty(gradients: Tensor, mask: Tensor) -> Tensor:
    """Keeps a discriminator's slope near 1 (WGAN-GP, arXiv 1704.00028).

    `mean((|gradient * mask|_2 - 1)^2)`, with each sample's norm: only pixels of the
    hole count, as in DeepFill v1 (arXiv 1801.07892, section 4.2), for real and fake
    differ nowhere else.

    Args:
        gradients: `[B, H, W, 3]`, of each sample's score by its photo, taken between
            real and fake.
        mask: `[B, H, W, 1]`, 1.0 = hole.
    """
    squared = ops.sum((gradients * mask) ** 2, axis=(1, 2, 3))
    # The root has no gradient at 0.
    return ops.mean((ops.sqrt(ops.maximum(squared, 1e-12)) - 1.0) ** 2)


@keras.saving.register_keras_serializable("portrait_tf")
def r1_penalty(gradients: Tensor) -> Tensor:
    """Flattens a discriminator at real photos (Mescheder et al., arXiv 1801.04406).

    `mean(|gradient|_2^2) / 2`, with each sample's norm.

    Args:
        gradients: `[B, H, W, 3]`, of each real sample's score by its photo.
    """
    return 0.5 * ops.mean(ops.sum(gradients**2, axis=(1, 2, 3)))


@keras.saving.register_keras_serializable("portrait_tf")
def feature_matching(y_true: list[Tensor], y_pred: list[Tensor]) -> Tensor:
    """Distance of a discriminator's features (pix2pixHD, arXiv 1711.11585, eq. 4).

    `sum_i mean(|D_i(real) - D_i(fake)|)` over its layers i. No gradient flows into the
    truth's features.

    Args:
        y_true: Features of the truth, from `Discriminator.features`.
        y_pred: Features of the network's answer.
    """
    return sum(
        ops.mean(ops.abs(ops.stop_gradient(one) - two))
        for one, two in zip(y_true, y_pred, strict=True)
    )
