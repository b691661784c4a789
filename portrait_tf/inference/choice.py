"""Chooses, for each hole, between two answers by what the photo shows around it.

No truth is needed. An answer is better the more its differences of neighboring pixels
are like those of the known photo, label by label. Differences across the hole's border
are left out: the soft answer was fitted to its border, and would win. TensorFlow
operations of a fixed cost, so that the choice is the same in Python and in an exported
graph. Everything that is summed is a whole number, so the same photo gives the same
choice on every machine.
"""

import tensorflow as tf

from portrait_tf.labels import NUM_LABELS

_PIXELS = 1_000_000
"""What the answers are compared at, at most."""
_GRID = 96
"""Cells of a side in which connected holes are told apart."""
_ROUNDS = 12
"""Of spreading a hole's name over its cells; the longest serpentine takes 8."""
_FEWEST = 25
"""Known pixels of a label that tell how it looks."""


def prefers(
    one: tf.Tensor, other: tf.Tensor, hole: tf.Tensor, labels: tf.Tensor
) -> tf.Tensor:
    """Where the first of two answers fits the photo around its hole at least as well.

    Args:
        one: `uint8` `[H, W, 3]`.
        other: The same, equal outside the hole.
        hole: `bool` `[H, W]`.
        labels: `int32` `[H, W]`, 0 to 19.

    Returns:
        `bool` `[H, W]`, the same for all pixels of a connected hole. Holes nearer than
        a 96th of the photo's sides count as connected.
    """
    pixels = tf.cast(tf.size(hole), tf.float32)
    factor = tf.cast(tf.math.ceil(tf.sqrt(pixels / _PIXELS)), tf.int32)
    numbers = _connected(hole)
    count = tf.reduce_max(numbers) + 1
    pairs = _Pairs(numbers, labels, factor)
    misfits = [pairs.misfits(picture, count) for picture in (one, other)]
    return tf.gather(misfits[0] <= misfits[1], numbers) & hole


class _Pairs:
    """Pairs of neighboring pixels, of the photo or of a hole.

    Args:
        numbers: `int32` `[H, W]`, 0 outside the holes.
        labels: `int32` `[H, W]`.
        factor: Of that many pixels in a row or column, one is looked at.
    """

    def __init__(
        self, numbers: tf.Tensor, labels: tf.Tensor, factor: tf.Tensor
    ) -> None:
        self._factor = factor
        own, *others = self._neighbors(numbers)
        segments = NUM_LABELS * own + self._neighbors(labels)[0]
        # A negative segment is left out: a pair across the hole's border.
        self._segments = tf.stack(
            [tf.where(own == other, segments, -1) for other in others]
        )

    def _neighbors(self, values: tf.Tensor) -> list[tf.Tensor]:
        """Values, those to the right, and those below."""
        rows, columns = tf.unstack(tf.shape(values)[:2])
        edges = [[0, 1], [0, 1], [0, 0]][: values.shape.rank]
        padded = tf.pad(values, edges, "SYMMETRIC")
        step = self._factor
        return [
            padded[down : rows + down : step, right : columns + right : step]
            for down, right in ((0, 0), (0, 1), (1, 0))
        ]

    def misfits(self, picture: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
        """How unlike the known photo each of so many holes is: `float64` `[count]`."""
        own, *others = (
            tf.reduce_sum(tf.cast(x, tf.int32), -1) for x in self._neighbors(picture)
        )
        differences = tf.stack([tf.abs(own - other) for other in others])
        number = count * NUM_LABELS
        sums, counts = (
            tf.reshape(
                tf.cast(
                    tf.math.unsorted_segment_sum(x, self._segments, number), tf.float64
                ),
                [count, NUM_LABELS],
            )
            for x in (differences, tf.ones_like(differences))
        )
        means = sums / tf.maximum(counts, 1.0)
        known = counts[0]
        whole = tf.reduce_sum(sums[0]) / tf.maximum(tf.reduce_sum(known), 1.0)
        expected = tf.where(known >= _FEWEST, means[0], whole)
        off = tf.reduce_sum(tf.abs(means - expected) * counts, -1)
        return off / tf.maximum(tf.reduce_sum(counts, -1), 1.0)


def _connected(hole: tf.Tensor) -> tf.Tensor:
    """Numbers connected holes from 1: `int32` `[H, W]`, 0 outside."""
    size = tf.shape(hole)
    grid = tf.minimum(size, _GRID)
    rows, columns = (tf.range(size[i]) * grid[i] // size[i] for i in (0, 1))
    cells = rows[:, None] * grid[1] + columns[None]
    count = grid[0] * grid[1]
    taken = tf.math.unsorted_segment_max(tf.cast(hole, tf.int32), cells, count) > 0
    taken = tf.reshape(taken, grid)
    # Each cell names the highest cell that it is known to be connected to.
    own = tf.reshape(tf.range(1, count + 1), grid)

    def spread(round: tf.Tensor, names: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        picture = tf.cast(names, tf.float32)[None, ..., None]
        near = tf.cast(tf.nn.max_pool2d(picture, 3, 1, "SAME")[0, ..., 0], tf.int32)
        near = tf.reshape(tf.where(taken, near, 0), [-1])
        # All that have one name learn the highest that any of them touches; then the
        # cell of that name may know a higher one.
        known = tf.math.unsorted_segment_max(near, tf.reshape(names, [-1]), count + 1)
        names = tf.gather(known, names)
        named = tf.concat([[0], tf.reshape(names, [-1])], 0)
        names = tf.gather(named, names)
        return round + 1, tf.ensure_shape(names, [None, None])

    _, names = tf.while_loop(
        lambda round, _: round < _ROUNDS,
        spread,
        (0, tf.ensure_shape(tf.where(taken, own, 0), [None, None])),
        parallel_iterations=1,
    )
    first = tf.cast(tf.reshape((names == own) & taken, [-1]), tf.int32)
    numbers = tf.concat([[0], tf.cumsum(first)], 0)
    return tf.where(
        hole, tf.gather(numbers, tf.gather(tf.reshape(names, [-1]), cells)), 0
    )
