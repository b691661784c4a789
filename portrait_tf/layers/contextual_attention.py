"""Fills a hole with features from elsewhere in the same photo."""

import keras

from portrait_tf.compat import Tensor, ops
from portrait_tf.layers.layer import ConfigLayer


def _patches(x: Tensor, side: int, stride: int, count: tuple[int, int]) -> Tensor:
    """Windows of `side` pixels, the first of which begins one pixel outside.

    Zeros lie beyond the border.

    Args:
        x: `[B, H, W, C]`, static height and width.
        side: Height and width of a window.
        stride: Between windows.
        count: Rows and columns of windows.

    Returns:
        `[B, rows, columns, side * side * C]`.
    """
    padding = [
        (1, stride * (number - 1) + side - 1 - length)
        for number, length in zip(count, x.shape[1:3], strict=True)
    ]
    x = ops.pad(x, [(0, 0), *padding, (0, 0)])
    rows, columns = (stride * (number - 1) + 1 for number in count)
    return ops.concatenate(
        [
            x[:, top : top + rows : stride, left : left + columns : stride]
            for top in range(side)
            for left in range(side)
        ],
        axis=-1,
    )


def _paste(patches: Tensor, size: tuple[int, int]) -> Tensor:
    """Sums overlapping patches of 4x4 pixels and stride 2: `_patches` turned around.

    Args:
        patches: `[B, rows, columns, 16 * C]`.
        size: Height and width of the result.

    Returns:
        `[B, *size, C]`.
    """
    rows, columns, channels = *patches.shape[1:3], patches.shape[3] // 16
    patches = ops.reshape(patches, (-1, rows, columns, 4, 4, channels))
    total = 0.0
    # Squares of 2x2 pixels do not overlap; a patch is four of them.
    for down in (0, 1):
        for right in (0, 1):
            square = patches[
                :, :, :, 2 * down : 2 * down + 2, 2 * right : 2 * right + 2
            ]
            padding = [(down, 1 - down), (right, 1 - right)]
            total += ops.pad(square, [(0, 0), *padding, (0, 0), (0, 0), (0, 0)])
    total = ops.transpose(total, (0, 1, 3, 2, 4, 5))
    total = ops.reshape(total, (-1, 2 * rows + 2, 2 * columns + 2, channels))
    return total[:, 1 : size[0] + 1, 1 : size[1] + 1]


def _static_size(shape: tuple) -> tuple[int, int]:
    size = tuple(shape[1:3])
    if None in size:
        raise ValueError(f"height and width must be static, received {size}")
    return size


def _shift(x: Tensor, axes: tuple[int, int], step: int) -> Tensor:
    """Moves along two axes at once, towards the start by `step`; zeros come in."""
    for axis in axes:
        length = x.shape[axis]
        padding = [(0, 0)] * len(x.shape)
        padding[axis] = (max(-step, 0), max(step, 0))
        start = max(step, 0)
        window = [slice(None)] * len(x.shape)
        window[axis] = slice(start, start + length)
        x = ops.pad(x, padding)[tuple(window)]
    return x


@keras.saving.register_keras_serializable("portrait_tf")
class ContextualAttention(ConfigLayer):
    """Rebuilds a feature map from its own patches that lie outside the hole.

    Every 3x3 patch of the map at half resolution is compared (cosine) with all of
    them; a softmax over those without any hole pixel says of which 4x4 patches, at full
    resolution and stride 2, the answer is put together. Patches that are compared with
    are normalized, those that look for a match are not.

    Source: *Generative Image Inpainting with Contextual Attention* (arXiv 1801.07892,
    section 4). What is ours: a mask a sample; patches that hold a hole pixel are out of
    the softmax, not scored 0 in it; attention is propagated (`fuse`) as the paper's
    equation says, so never from one border to the opposite one; overlapping patches
    are averaged over how many there are, which keeps the borders as bright as the rest.

    Args:
        scale: Of the scores in the softmax.
        fuse: Whether scores are summed with those of the neighbors to the left and
            right, then above and below, of both patches.
        block: Rows of patches that look for a match at a time. The largest thing in
            memory is `[B, (block + 2) * w, h * w]` with h and w half the map's size; in
            training, what the gradient needs comes on top. None: all rows at once.

    Call with `[features, mask]`: `[B, H, W, C]` and `[B, H, W, 1]`, 1.0 = hole; any
    batch, and any static height and width. Returns `[B, H, W, C]`; zeros for a sample
    that has no patch without a hole pixel.
    """

    def __init__(
        self,
        scale: float = 10.0,
        fuse: bool = True,
        block: int | None = 16,
        **kwargs: object,
    ) -> None:
        super().__init__(**kwargs)
        self.scale = scale
        self.fuse = fuse
        self.block = block

    def build(self, shapes: list) -> None:
        _static_size(shapes[0])
        self.built = True

    def call(self, inputs: list) -> Tensor:
        features, mask = inputs
        size = _static_size(features.shape)
        dtype = features.dtype
        # Sums of squares are too large for 16 bits.
        features = ops.cast(features, "float32")
        rows, columns = half = tuple(-(-side // 2) for side in size)
        wanted = _patches(features[:, ::2, ::2], 3, 1, half)
        keys = ops.reshape(wanted, (-1, rows * columns, wanted.shape[-1]))
        norm = ops.sqrt(ops.sum(ops.square(keys), axis=-1, keepdims=True) + 1e-12)
        keys = keys / ops.maximum(norm, 1e-4)
        values = _patches(features, 4, 2, half)
        values = ops.reshape(values, (-1, rows * columns, values.shape[-1]))
        # Also a hole of one pixel, which every second pixel could miss.
        holes = ops.max_pool(ops.cast(mask, "float32"), 2, 2, padding="same")
        holes = ops.max(_patches(holes, 3, 1, half), axis=-1)
        usable = ops.cast(ops.reshape(holes, (-1, 1, rows * columns)) == 0, "float32")

        answers = []
        block = self.block or rows
        for start in range(0, rows, block):
            stop = min(start + block, rows)
            if answers:
                # Adds 0, so that one block is done before the next one is begun: a
                # graph would else hold the scores of all of them at once.
                done = ops.abs(ops.stop_gradient(ops.sum(answers[-1])))
                wanted = wanted + ops.minimum(done, 0.0)
            scores = self._scores(wanted, keys, start, stop)
            scores = ops.where(usable > 0, self.scale * scores, -1e9)
            attention = ops.softmax(scores, axis=-1) * usable
            answer = ops.matmul(attention, values)
            answers.append(
                ops.reshape(answer, (-1, stop - start, columns, values.shape[-1]))
            )
        pasted = _paste(ops.concatenate(answers, axis=1), size)
        overlaps = _paste(ops.ones((1, *half, 16)), size)
        return ops.cast(pasted / overlaps, dtype)

    def _scores(self, wanted: Tensor, keys: Tensor, start: int, stop: int) -> Tensor:
        """Scores `[B, (stop - start) * w, h * w]` of some rows of patches."""
        rows, columns, depth = wanted.shape[1:]
        # A row more on each side, for the propagation from above and below.
        halo = 1 if self.fuse else 0
        first, last = max(start - halo, 0), min(stop + halo, rows)
        queries = ops.reshape(
            wanted[:, first:last], (-1, (last - first) * columns, depth)
        )
        scores = ops.matmul(queries, ops.transpose(keys, (0, 2, 1)))
        if self.fuse:
            shape = (-1, last - first, columns, rows, columns)
            scores = ops.reshape(scores, shape)
            for axes in ((2, 4), (1, 3)):
                scores = scores + _shift(scores, axes, 1) + _shift(scores, axes, -1)
            scores = scores[:, start - first : stop - first]
        shape = (-1, (stop - start) * columns, rows * columns)
        return ops.reshape(scores, shape)
