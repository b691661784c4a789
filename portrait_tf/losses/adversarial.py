"""What critics and network play for, by the names of `completion.discriminator.loss`.

A critic gives scores of any shape, high for real. The penalties take gradients of a
score by the critic's photo; whoever has a tape makes them.
"""

from portrait_tf.compat import ops


class HingeLoss:
    """Hinge loss (Lim and Ye, arXiv 1705.02894; in inpainting arXiv 1806.03589).

    Critic: `mean(max(0, 1 - real)) + mean(max(0, 1 + fake))`. Network: `-mean(fake)`.
    """

    def critic(self, real: object, fake: object) -> object:
        return ops.mean(ops.relu(1.0 - real)) + ops.mean(ops.relu(1.0 + fake))

    def generator(self, fake: object) -> object:
        return -ops.mean(fake)


class LeastSquaresLoss:
    """LSGAN (Mao et al., arXiv 1611.04076), targets 1 for real and 0 for fake.

    Critic: `(mean((real - 1)^2) + mean(fake^2)) / 2`.
    Network: `mean((fake - 1)^2) / 2`.
    """

    def critic(self, real: object, fake: object) -> object:
        return 0.5 * (ops.mean((real - 1.0) ** 2) + ops.mean(fake**2))

    def generator(self, fake: object) -> object:
        return 0.5 * ops.mean((fake - 1.0) ** 2)


class WassersteinLoss:
    """Wasserstein loss (arXiv 1701.07875); it needs `GradientPenalty`.

    Critic: `mean(fake) - mean(real)`. Network: `-mean(fake)`.
    """

    def critic(self, real: object, fake: object) -> object:
        return ops.mean(fake) - ops.mean(real)

    def generator(self, fake: object) -> object:
        return -ops.mean(fake)


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
