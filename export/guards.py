"""Refusals in the graph: a bad request becomes INVALID_ARGUMENT, never an abort.

A convolution that meets another rank ends the process, and a photo of a few bytes can
ask for tens of gigabytes. So `tf.ensure_shape` is the first operation of every graph,
then come these checks, and nothing is allocated before they have passed.
"""

import tensorflow as tf

from export.contract import MAX_BATCH_PIXELS, MAX_PIXELS, MAX_SIDE
from portrait_tf.labels import NUM_JOINTS


def guarded(tensors: list[tf.Tensor], checks: list[tuple]) -> list[tf.Tensor]:
    """The tensors, which can be read only after all checks have passed.

    A check is a bool tensor, a message, and a tensor to show beside it. Reading a
    tensor gives INVALID_ARGUMENT with the first failed check's message.
    """
    passed = []
    for condition, message, received in checks:
        # One after the other: a later check may presume an earlier one.
        with tf.control_dependencies(passed[-1:]):
            condition = tf.reduce_all(tf.identity(condition))
            passed.append(
                tf.debugging.Assert(
                    condition, [message, "received", received], summarize=8
                )
            )
    with tf.control_dependencies(passed):
        return [tf.identity(tensor) for tensor in tensors]


def same_sizes(image: tf.Tensor, **others: tf.Tensor) -> list[tuple]:
    """Checks that maps have the batch, height and width of the photos."""
    wanted = tf.shape(image)[:3]
    return [
        (
            tf.equal(wanted, tf.shape(other)[:3]),
            f"image and {name} must have one batch, height and width",
            tf.stack([wanted, tf.shape(other)[:3]]),
        )
        for name, other in others.items()
    ]


def batch_limits(count: tf.Tensor, most: int) -> list[tuple]:
    """Checks that there is a photo, and that there are not too many."""
    return [
        ((count >= 1) & (count <= most), f"a batch has 1 to {most} photos", count),
    ]


def pixel_limits(sizes: tf.Tensor, count: tf.Tensor, what: str = "photo") -> list:
    """Checks heights and widths `[N, 2]` of `count` pictures each, called `what`."""
    pixels = tf.reduce_prod(tf.cast(sizes, tf.int64), axis=-1)
    total = tf.reduce_sum(pixels) * tf.cast(count, tf.int64)
    return [
        (
            (sizes >= 1) & (sizes <= MAX_SIDE),
            f"height and width of a {what} must be 1 to {MAX_SIDE}",
            sizes,
        ),
        (pixels <= MAX_PIXELS, f"a {what} has at most {MAX_PIXELS} pixels", sizes),
        (
            total <= MAX_BATCH_PIXELS,
            f"all {what}s of a batch have at most {MAX_BATCH_PIXELS} pixels",
            total,
        ),
    ]


def check_photos(
    image: tf.Tensor, most: int, **maps: tf.Tensor
) -> tuple[tf.Tensor, ...]:
    """Photos `[B, H, W, 3]`, at most `most`, and their maps `[B, H, W, 1]`, checked."""
    image = tf.ensure_shape(image, [None, None, None, 3])
    maps = {
        name: tf.ensure_shape(one, [None, None, None, 1]) for name, one in maps.items()
    }
    shape = tf.shape(image)
    checks = [
        *same_sizes(image, **maps),
        *batch_limits(shape[0], most),
        *pixel_limits(shape[None, 1:3], shape[0]),
    ]
    return tuple(guarded([image, *maps.values()], checks))


def check_joints(image: tf.Tensor, joints: tf.Tensor) -> tuple[tf.Tensor, ...]:
    """Photos, and joints `[B, 16, 3]` that are given (1) or not (0), checked."""
    joints = tf.ensure_shape(joints, [None, NUM_JOINTS, 3])
    given = joints[..., 2]
    checks = [
        (
            tf.shape(image)[0] == tf.shape(joints)[0],
            "image and joints must have one batch",
            tf.stack([tf.shape(image)[0], tf.shape(joints)[0]]),
        ),
        # Of a NaN, neither is true.
        (
            (given == 0) | (given == 1),
            "the third number of a joint is 1 where it is given, else 0",
            given,
        ),
        (
            tf.math.is_finite(joints[..., :2]) | (given == 0)[..., None],
            "x and y of a joint that is given are finite",
            joints,
        ),
    ]
    return tuple(guarded([image, joints], checks))
