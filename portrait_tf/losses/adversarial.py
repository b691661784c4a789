"""Hinge losses of the critics (arXiv 1705.02894, in inpainting arXiv 1806.03589)."""

from portrait_tf.compat import ops


def discriminator_hinge(real: object, fake: object) -> object:
    """`mean(max(0, 1 - real)) + mean(max(0, 1 + fake))` over scores of any shape."""
    return ops.mean(ops.relu(1.0 - real)) + ops.mean(ops.relu(1.0 + fake))


def generator_hinge(fake: object) -> object:
    """`-mean(fake)`."""
    return -ops.mean(fake)
