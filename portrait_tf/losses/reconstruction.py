"""L1 inside and outside the hole."""

from portrait_tf.compat import ops


def masked_l1(truth: object, painted: object, region: object) -> object:
    """Mean absolute difference over a region.

    `sum(region * |truth - painted|) / (3 * sum(region))`, over the whole batch, so that
    every pixel of every hole counts alike.

    Args:
        truth: `[B, H, W, 3]`.
        painted: `[B, H, W, 3]`.
        region: `[B, H, W, 1]`, 1.0 where it counts.
    """
    total = ops.sum(region * ops.abs(truth - painted))
    return total / ops.maximum(ops.sum(region) * truth.shape[-1], 1e-6)
