"""What critics and network play for, by the names of `completion.discriminator.loss`.

A critic gives scores of any shape, high for real; or a list of such maps, one a scale,
whose means count alike. The penalties take gradients of a score by the critic's photo;
whoever has a tape makes them.
"""

from collections.abc import Callable

from portrait_tf.compat import map_structure, ops, replicas


def patch_weights(mask: object, scores: object) -> object:
    """How much each patch of a critic says of a hole; our choice.

    `min(1, 4 * share)`, the share of the hole in the pixels under a score. Outside the
    hole a completed photo is the real one: those patches cannot be told apart, and
    would only dilute the mean over all.

    Args:
        mask: `[B, H, W, 1]`, 1.0 = hole, as the critic sees it.
        scores: `[B, H', W', 1]`, or a list of such maps.

    Returns:
        Of the same structure, in [0, 1]; 0 where there is no hole.
    """

    def weigh(one: object) -> object:
        # Rounded up, as the strides of a convolution with padding are.
        strides = tuple(-(-mask.shape[i] // one.shape[i]) for i in (1, 2))
        share = ops.average_pool(mask, strides, strides, padding="same")
        return ops.minimum(4.0 * share, 1.0)

    return map_structure(weigh, scores)


def _mean(
    term: Callable[[object], object], scores: object, weights: object | None
) -> object:
    """Of a term of each score, weighted over the whole batch."""
    if isinstance(scores, list):
        weights = [None] * len(scores) if weights is None else weights
        pairs = zip(scores, weights, strict=True)
        return sum(_mean(term, *pair) for pair in pairs) / len(scores)
    terms = term(scores)
    if weights is None:
        return ops.mean(terms)
    weights = weights * ops.ones_like(terms)
    return replicas.ratio(ops.sum(weights * terms), ops.sum(weights), 1e-6)


class HingeLoss:
    """Hinge loss (Lim and Ye, arXiv 1705.02894; in inpainting arXiv 1806.03589).

    Critic: `mean(max(0, 1 - real)) + mean(max(0, 1 + fake))`. Network: `-mean(fake)`.
    With `weights`, which can be broadcast to the scores, each mean of x is
    `sum(weights * x) / max(sum(weights), 1e-6)`.
    """

    def critic(
        self, real: object, fake: object, weights: object | None = None
    ) -> object:
        return _mean(lambda x: ops.relu(1.0 - x), real, weights) + _mean(
            lambda x: ops.relu(1.0 + x), fake, weights
        )

    def generator(self, fake: object, weights: object | None = None) -> object:
        return _mean(lambda x: -x, fake, weights)


class LeastSquaresLoss:
    """LSGAN (Mao et al., arXiv 1611.04076), targets 1 for real and 0 for fake.

    Critic: `(mean((real - 1)^2) + mean(fake^2)) / 2`.
    Network: `mean((fake - 1)^2) / 2`. `weights` are as in `HingeLoss`.
    """

    def critic(
        self, real: object, fake: object, weights: object | None = None
    ) -> object:
        return 0.5 * (
            _mean(lambda x: (x - 1.0) ** 2, real, weights)
            + _mean(lambda x: x**2, fake, weights)
        )

    def generator(self, fake: object, weights: object | None = None) -> object:
        return 0.5 * _mean(lambda x: (x - 1.0) ** 2, fake, weights)


class WassersteinLoss:
    """Wasserstein loss (arXiv 1701.07875); it needs `GradientPenalty`.

    Critic: `mean(fake) - mean(real)`. Network: `-mean(fake)`. `weights` are as in
    `HingeLoss`.
    """

    def critic(
        self, real: object, fake: object, weights: object | None = None
    ) -> object:
        return _mean(lambda x: -x, real, weights) + _mean(lambda x: x, fake, weights)

    def generator(self, fake: object, weights: object | None = None) -> object:
        return _mean(lambda x: -x, fake, weights)


ADVERSARIAL_LOSSES = {
    "hinge": HingeLoss,
    "least_squares": LeastSquaresLoss,
    "wgan_gp": WassersteinLoss,
}
"""By `completion.discriminator.loss`."""


class GradientPenalty:
    """Keeps the slope of a critic near 1 (WGAN-GP, Gulrajani et al., arXiv 1704.00028).

    `mean((|gradient * mask|_2 - 1)^2)`, the norm taken of each sample: only pixels of
    the hole count, as in DeepFill v1 (arXiv 1801.07892, section 4.2), for real and fake
    differ nowhere else.

    Call with `gradients`: `[B, H, W, 3]`, of each sample's score by its photo, taken
    between real and fake; and `mask`: `[B, H, W, 1]`, 1.0 = hole.
    """

    def __call__(self, gradients: object, mask: object) -> object:
        squared = ops.sum((gradients * mask) ** 2, axis=(1, 2, 3))
        # The root has no gradient at 0.
        return ops.mean((ops.sqrt(ops.maximum(squared, 1e-12)) - 1.0) ** 2)


class R1Penalty:
    """Flattens a critic where photos are real (Mescheder et al., arXiv 1801.04406).

    `mean(|gradient|_2^2) / 2`, the norm taken of each sample.

    Call with `gradients`: `[B, H, W, 3]`, of each real sample's score by its photo.
    """

    def __call__(self, gradients: object) -> object:
        return 0.5 * ops.mean(ops.sum(gradients**2, axis=(1, 2, 3)))


class FeatureMatchingLoss:
    """Distance of what a critic sees in both (pix2pixHD, arXiv 1711.11585, equation 4).

    `sum_i mean(|D_i(real) - D_i(fake)|)` over the critic's layers i. The truth's
    features are a target: no gradient flows into them.

    Call with `real, fake`: lists of features, from `Discriminator.features`.
    """

    def __call__(self, real: list, fake: list) -> object:
        return sum(
            ops.mean(ops.abs(ops.stop_gradient(one) - two))
            for one, two in zip(real, fake, strict=True)
        )
