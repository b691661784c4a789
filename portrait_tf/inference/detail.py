"""Gives a painted hole the texture of the photo around it.

The networks paint at their working size, so in a larger photo the hole is soft. Here
what they painted says *what* is there, and the known part of the photo how it *looks*:
every small patch of the hole is put together from patches of the same photo, which have
the same label and, blurred, the same colors. What the networks painted keeps its low
frequencies; only what is finer is taken from the patches.

Sources: patch synthesis from coarse to fine is that of Wexler et al. (*Space-Time
Completion of Video*, PAMI 2007); the search among neighbors' answers and random
offsets that of *PatchMatch* (Barnes et al., SIGGRAPH 2009). That a network's small
answer guides it is the idea of *Guided PatchMatch* (Zhang et al., ECCV 2022) and, with
residuals, of HiFill (arXiv 2005.09704). Ours: the label map as part of the distance,
mirrored patches, so that one shoe or sleeve lends to the other, and an exhaustive
search at the coarsest scale in place of a random start.

TensorFlow operations alone, so that the same function runs in Python and inside an
exported graph. Distances are sums of whole numbers below 2**24, which float32 holds
exactly: the same photo gives the same patches on every machine.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from portrait_tf.inference.choice import prefers
from portrait_tf.labels import FLIPPED_LABELS, NUM_LABELS

DETAILED_FROM = 1.25
"""A photo enlarged less than so many times from the working size stays as it is."""

_SIDE = 5
"""Pixels of a patch's side."""
_RADIUS = _SIDE // 2
_COARSEST = 16_384
"""Pixels of the coarsest scale at most, where every patch is compared with every."""
_FINEST = 8_000_000
"""Pixels of the finest scale at most; a larger surrounding is worked on shrunk."""
_BLOCK = 32_768
"""Patches that are compared at a time, which bounds the memory."""
_APART = 2
"""Pixels between those of a patch in that first comparison."""
_ROWS = 1024
"""Targets that are compared with every source at a time."""
_KEPT = 2.0
"""What is finer than so many of the networks' pixels is taken from patches."""
_GUIDE = 3.0
"""Weight of the guide's low frequencies at a patch's center, beside its 25 pixels."""
_OTHER_LABEL = 141.0
"""A patch of another label pays twice its square: 25 pixels that are 23 levels off."""
_NO_PERSON = 212.0
"""The same, where one shows a person and the other none."""
_FEWEST = 25
"""Patches of a label that must be known; what has less stays as it was painted."""
_MOST_GAIN = 2.0
"""Of the detail, which is a mean of several patches' and so too soft."""
_COLORS_APART = 12.0
"""Levels between a source's low frequencies and the guide's, where it fits by 0.6."""
_MOST_OVER_MEAN = 2.0
"""Of the detail's strength, over the mean where label and tone are the same: an edge is
no texture, and white ground has none."""
_TONES = 8
"""Of equal width, from black to white."""
_LEAST_AROUND = 32.0
"""Pixels of the working size that are looked at around the smallest hole."""
_SHORTEST = 8
"""Pixels of the shorter side at the coarsest scale, at least."""
_COARSEST_ROUNDS = 3
_SWEEPS = 2
_STEPS = ((0, 1), (1, 0), (0, -1), (-1, 0))
"""To the neighbors whose sources a patch tries in each sweep."""
_REACHES = (8, 3, 1)
"""Of the random search, in pixels."""
_FAR = 1e9
_FIELD_SHAPES = tuple(map(tf.TensorShape, ([], [None, 3], [None])))
"""Of a loop's count, a field and its distances."""

# Left and right lend to each other.
_SHARED = np.minimum(np.arange(NUM_LABELS), FLIPPED_LABELS).astype(np.int32)


def add_details(
    completed: tf.Tensor, mask: tf.Tensor, parsing: tf.Tensor, times: tf.Tensor
) -> tf.Tensor:
    """Gives the holes of a batch the texture of their photos.

    Args:
        completed: `uint8` `[B, H, W, 3]`: photos with what the networks painted.
        mask: `uint8` `[B, H, W, 1]`, non-zero = hole.
        parsing: `uint8` `[B, H, W, 1]`: label maps, LIP's 0 to 19.
        times: `float32` scalar: how often the painted picture was enlarged. Below
            `DETAILED_FROM`, nothing is changed.

    Returns:
        `uint8` `[B, H, W, 3]`; the known pixels as they were.
    """
    return tf.cond(
        times >= DETAILED_FROM,
        lambda: tf.map_fn(
            lambda one: add_detail(*one, times),
            (completed, mask, parsing),
            fn_output_signature=tf.TensorSpec([None, None, 3], tf.uint8),
        ),
        lambda: completed,
    )


@tf.function(
    input_signature=[
        tf.TensorSpec([None, None, 3], tf.uint8),
        tf.TensorSpec([None, None, 1], tf.uint8),
        tf.TensorSpec([None, None, 1], tf.uint8),
        tf.TensorSpec([], tf.float32),
    ],
    autograph=False,
)
def add_detail(
    completed: tf.Tensor, mask: tf.Tensor, parsing: tf.Tensor, times: tf.Tensor
) -> tf.Tensor:
    """Fills the hole of one photo with patches of its known part.

    Args:
        completed: `uint8` `[H, W, 3]`: the photo with what the networks painted.
        mask: `uint8` `[H, W, 1]`, non-zero = hole.
        parsing: `uint8` `[H, W, 1]`: the label map, LIP's 0 to 19.
        times: `float32` scalar: how often the painted picture was enlarged.

    Returns:
        `uint8` `[H, W, 3]`, the known pixels as they were. Without a hole, or where the
        hole's surroundings show no whole patch, nothing is changed.
    """
    hole = mask[..., 0] != 0

    def detailed() -> tf.Tensor:
        box = surroundings(hole, times)
        near = [x[box[0] : box[2], box[1] : box[3]] for x in (completed, mask, parsing)]
        labels = tf.minimum(tf.cast(near[2][..., 0], tf.int32), NUM_LABELS - 1)
        photo = _Photo(near[0], near[1][..., 0] != 0, tf.gather(_SHARED, labels), times)
        fine = tf.cast(_synthesized(photo), tf.uint8)
        chosen = prefers(fine, near[0], photo.hole, labels)
        fine = tf.where(chosen[..., None], fine, near[0])
        full = tf.shape(completed)
        around = [[box[0], full[0] - box[2]], [box[1], full[1] - box[3]], [0, 0]]
        return tf.where(hole[..., None], tf.pad(fine, around), completed)

    possible = tf.reduce_any(hole) & (tf.reduce_min(tf.shape(hole)) >= _SHORTEST)
    return tf.cond(possible, detailed, lambda: completed)


def detailed_hole(
    completed: np.ndarray, mask: np.ndarray, parsing: np.ndarray, times: float
) -> np.ndarray:
    """As `add_detail`, of arrays: `uint8` `[H, W, 3]`, `[H, W]` and `[H, W]`."""
    if times < DETAILED_FROM:
        return completed
    maps = [tf.constant(x[..., None]) for x in (mask, parsing)]
    times = tf.constant(times, tf.float32)
    return add_detail(tf.constant(completed), *maps, times).numpy()


def surroundings(hole: tf.Tensor, times: tf.Tensor) -> tf.Tensor:
    """The box in which patches for a hole are looked for.

    Args:
        hole: `bool` `[H, W]`.
        times: `float32` scalar: how often the painted picture was enlarged.

    Returns:
        `int32` `[4]`: top, left, bottom, right; as far around the hole as it is long.
    """
    edges = []
    for axis in (1, 0):
        places = tf.where(tf.reduce_any(hole, axis))[:, 0]
        length = tf.shape(hole, tf.int64)[1 - axis]
        first = tf.reduce_min(tf.concat([places, [length]], 0))
        last = tf.reduce_max(tf.concat([places, [0]], 0)) + 1
        edges.append((first, last, length))
    longest = tf.maximum(edges[0][1] - edges[0][0], edges[1][1] - edges[1][0])
    around = tf.maximum(longest, tf.cast(_LEAST_AROUND * times, tf.int64))
    starts = [tf.maximum(first - around, 0) for first, _, _ in edges]
    stops = [tf.minimum(last + around, length) for _, last, length in edges]
    return tf.cast(tf.stack([*starts, *stops]), tf.int32)


class _Photo(NamedTuple):
    """A hole and what is around it, at the photo's size.

    Attributes:
        guide: `uint8` `[H, W, 3]`, what the networks painted in its hole.
        hole: `bool` `[H, W]`.
        labels: `int32` `[H, W]`.
        times: How often the painted picture was enlarged.
    """

    guide: tf.Tensor
    hole: tf.Tensor
    labels: tf.Tensor
    times: tf.Tensor


def _synthesized(photo: _Photo) -> tf.Tensor:
    """From the coarsest scale to the finest: `[H, W, 3]`, 0 to 255."""
    size = tf.shape(photo.hole)
    coarsest = tf.minimum(
        _halvings(tf.reduce_prod(size) / _COARSEST, 4),
        _halvings((tf.reduce_min(size) + 1) / _SHORTEST, 2) - 1,
    )
    finest = tf.minimum(_halvings(tf.reduce_prod(size) / _FINEST, 4), coarsest)
    level = _Level(photo, coarsest)

    def refined() -> tf.Tensor:
        _, field, distances = tf.while_loop(
            lambda number, *_: number < _COARSEST_ROUNDS,
            lambda number, field, distances: (
                number + 1,
                *level.search(level.vote(field, distances), field),
            ),
            (1, *level.exhaustive_field()),
            shape_invariants=_FIELD_SHAPES,
            parallel_iterations=1,
        )
        state = coarsest, level.whole(field), level.vote(field, distances)
        picture_shape = tf.TensorShape([None, None, 3])
        shapes = (tf.TensorShape([]), picture_shape, picture_shape)

        def finer(number: tf.Tensor, field: tf.Tensor, _: tf.Tensor) -> tuple:
            level = _Level(photo, number - 1)
            field = level.enlarged(field)
            picture = level.vote(field, tf.zeros(tf.shape(field)[:1]))
            field, distances = level.search(picture, field)
            return number - 1, level.whole(field), level.vote(field, distances)

        _, _, picture = tf.while_loop(
            lambda number, *_: number > finest,
            finer,
            state,
            shape_invariants=shapes,
            parallel_iterations=1,
        )
        return _enlarged(picture, tf.bitwise.left_shift(1, finest))[
            : size[0], : size[1]
        ]

    return tf.cond(
        tf.reduce_any(level.is_source),
        refined,
        lambda: tf.cast(photo.guide, tf.float32),
    )


def _halvings(ratio: tf.Tensor, base: int) -> tf.Tensor:
    """The least n of 0 or more with base**n >= ratio."""
    powers = tf.constant([float(base) ** n for n in range(16)], tf.float64)
    return tf.reduce_sum(tf.cast(powers < ratio, tf.int32))


def _enlarged(picture: tf.Tensor, factor: tf.Tensor) -> tf.Tensor:
    def larger() -> tf.Tensor:
        size = tf.shape(picture)[:2] * factor
        large = tf.image.resize(picture[None], size, method="bicubic")[0]
        return tf.clip_by_value(tf.round(large), 0.0, 255.0)

    return tf.cond(factor > 1, larger, lambda: picture)


class _Level:
    """One scale of a photo's crop, and the patches over its hole.

    Patches are named by their center. A field says for each target, a patch that
    touches the hole, which source it is like: row, column, and 1 for a mirrored one.

    Args:
        photo: At its own size.
        number: The scale is 2**-number of that.
    """

    def __init__(self, photo: _Photo, number: tf.Tensor) -> None:
        factor = tf.bitwise.left_shift(1, number)
        full = tf.shape(photo.hole)
        self.size = -(-full // factor)
        rest = self.size * factor - full
        edges = [[0, rest[0]], [0, rest[1]]]
        padded = tf.pad(photo.guide, [*edges, [0, 0]], "SYMMETRIC")
        # Of whole numbers: a large photo is nowhere held in floating point.
        means = tf.image.resize(padded[None], self.size, method="area")[0]
        self.guide = tf.round(means)
        blocks = [self.size[0], factor, self.size[1], factor]
        self.hole = tf.reduce_any(
            tf.reshape(tf.pad(photo.hole, edges, "SYMMETRIC"), blocks), (1, 3)
        )
        half = factor // 2
        labels = tf.pad(photo.labels, edges, "SYMMETRIC")
        self.labels = tf.ensure_shape(labels[half::factor, half::factor], [None, None])
        self.low_size = tf.maximum(
            tf.cast(tf.cast(full, tf.float32) / (_KEPT * photo.times), tf.int32), 1
        )
        low = self.low_frequencies(self.guide)
        strength = tf.reduce_mean((self.guide - low) ** 2, -1, keepdims=True)
        self.low = tf.clip_by_value(tf.round(low), 0.0, 255.0)
        # What a patch gives to the hole: its colors, how strong its detail is, and the
        # colors that this detail belongs to.
        self.offered = tf.concat([self.guide, strength, self.low], -1)
        near = _spread(self.hole)
        rows, columns = (_inner(self.size[axis]) for axis in (0, 1))
        self.is_source = ~near & rows[:, None] & columns[None]
        sources = tf.cast(self.is_source, tf.float32)
        tones = tf.reduce_mean(self.low, -1) * (_TONES / 256.0) - 0.5
        classes = _TONES * self.labels + tf.cast(tf.round(tones), tf.int32)
        seen, levels = (
            tf.reshape(
                tf.math.unsorted_segment_sum(
                    tf.reshape(x, [-1]), tf.reshape(classes, [-1]), _TONES * NUM_LABELS
                ),
                [NUM_LABELS, _TONES],
            )
            for x in (sources, sources * tf.round(tf.sqrt(strength[..., 0])))
        )
        of_label = tf.reduce_sum(seen, -1, keepdims=True)
        self.has_source = tf.gather(of_label[:, 0] >= _FEWEST, self.labels)
        # A tone that is hardly seen has its label's mean.
        mean = tf.reduce_sum(levels, -1, keepdims=True) / tf.maximum(of_label, 1.0)
        mean = tf.where(seen >= _FEWEST, levels / tf.maximum(seen, 1.0), mean)
        # Between two tones, both: a level more or less must not matter.
        tones = tf.clip_by_value(tones, 0.0, _TONES - 1.0)
        below = tf.minimum(tf.floor(tones), _TONES - 2.0)
        place = _TONES * self.labels + tf.cast(below, tf.int32)
        mean = tf.reshape(mean, [-1])
        lower, upper = tf.gather(mean, place), tf.gather(mean, place + 1)
        mean = lower + (tones - below) * (upper - lower)
        self.most_strength = (_MOST_OVER_MEAN * mean) ** 2
        self.targets = tf.cast(tf.where(near), tf.int32)
        self.pixels = tf.cast(tf.where(self.hole), tf.int32)

    def low_frequencies(self, picture: tf.Tensor) -> tf.Tensor:
        """What the networks' answer is trusted in: `[h, w, 3]`."""
        small = tf.image.resize(picture[None], self.low_size, antialias=True)
        return tf.image.resize(small, self.size, method="bicubic")[0]

    def whole(self, field: tf.Tensor) -> tf.Tensor:
        """The field over all pixels, `[h, w, 3]`; a known patch is its own source."""
        rows, columns = tf.meshgrid(
            *(tf.range(n) for n in tf.unstack(self.size)), indexing="ij"
        )
        own = tf.stack([rows, columns, tf.zeros_like(rows)], -1)
        return tf.tensor_scatter_nd_update(own, self.targets, field)

    def enlarged(self, field: tf.Tensor) -> tf.Tensor:
        """The field of the scale below, `[h, w, 3]`, for the targets of this one."""
        below = tf.gather_nd(field, self.targets // 2)
        odd = self.targets % 2
        mirrored = below[:, 2]
        column = tf.where(mirrored == 1, 1 - odd[:, 1], odd[:, 1])
        found = tf.stack(
            [2 * below[:, 0] + odd[:, 0], 2 * below[:, 1] + column, mirrored], -1
        )
        return self._inside(found)

    def _inside(self, found: tf.Tensor) -> tf.Tensor:
        most = tf.stack([self.size[0] - 1, self.size[1] - 1, 1])
        return tf.clip_by_value(found, 0, most)

    def exhaustive_field(self) -> tuple[tf.Tensor, tf.Tensor]:
        """The nearest source of each target, of all that there are; and how far.

        Nearest in low frequencies: a blurred patch is nearer to any smooth one than to
        the sharp one that it is the blur of.
        """
        rows = _rows(self.low, self.size, _APART)
        sources = tf.cast(tf.where(self.is_source), tf.int32)
        both = tf.concat([_as_sources(sources, mirrored) for mirrored in (0, 1)], 0)
        wanted = self._features(rows, _as_sources(self.targets))
        offered = self._features(rows, both)
        lengths = tf.reduce_sum(offered**2, -1)

        def nearest(start: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            one = wanted[start : start + _ROWS]
            distances = lengths - 2.0 * tf.matmul(one, offered, transpose_b=True)
            best = tf.argmin(distances, 1, tf.int32)
            distance = tf.reduce_min(distances, 1) + tf.reduce_sum(one**2, -1)
            return tf.gather(both, best), distance

        return self._in_blocks(nearest, _ROWS)

    def _features(self, rows: tf.Tensor, centers: tf.Tensor) -> tf.Tensor:
        """What patches are compared by: their squared distance is that of patches."""
        places = centers[:, :2]
        labels = tf.gather_nd(self.labels, places)
        return tf.concat(
            [
                _patches(rows, centers, self.size, _APART) - 128.0,
                (tf.gather_nd(self.low, places) - 128.0) * _GUIDE,
                tf.one_hot(labels, NUM_LABELS) * _OTHER_LABEL,
                tf.one_hot(tf.minimum(labels, 1), 2) * _NO_PERSON,
            ],
            -1,
        )

    def _in_blocks(self, function: Callable, length: int) -> tuple:
        """Calls a function with the first target of each block; joins what it gives."""
        count = tf.shape(self.targets)[0]
        blocks = -(-count // length)
        field, distances = (
            tf.TensorArray(dtype, blocks, infer_shape=False, element_shape=shape)
            for dtype, shape in ((tf.int32, [None, 3]), (tf.float32, [None]))
        )

        def step(index: tf.Tensor, field: object, distances: object) -> tuple:
            found, distance = function(index * length)
            return (
                index + 1,
                field.write(index, found),
                distances.write(index, distance),
            )

        _, field, distances = tf.while_loop(
            lambda index, *_: index < blocks,
            step,
            (0, field, distances),
            parallel_iterations=1,
        )
        return field.concat(), distances.concat()

    def search(
        self, picture: tf.Tensor, field: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Better sources, from the neighbors' and at random; and how far they are."""
        rows = _rows(picture, self.size)

        def sweep(number: tf.Tensor, field: tf.Tensor, _: tf.Tensor) -> tuple:
            return number + 1, *self._sweep(rows, field, number)

        _, field, distances = tf.while_loop(
            lambda number, *_: number < _SWEEPS,
            sweep,
            (0, field, tf.zeros(tf.shape(field)[:1])),
            shape_invariants=_FIELD_SHAPES,
            parallel_iterations=1,
        )
        return field, distances

    def _sweep(
        self, rows: tf.Tensor, field: tf.Tensor, number: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        whole = self.whole(field)
        steps, reaches = tf.constant(_STEPS), tf.constant(_REACHES)

        def better(start: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            block = slice(start, start + _BLOCK)
            targets, distance = self.targets[block], self._distance(rows, block)

            def attempt(index: tf.Tensor, best: tf.Tensor, least: tf.Tensor) -> tuple:
                def beside() -> tf.Tensor:
                    places = self._inside(_as_sources(targets + steps[index]))
                    found = tf.gather_nd(whole, places[:, :2])
                    return _moved(found, -steps[index])

                def random() -> tf.Tensor:
                    reach = reaches[index - len(_STEPS)]
                    shift = tf.random.stateless_uniform(
                        tf.shape(targets),
                        tf.stack([start, 100 * number + index]),
                        -reach,
                        reach + 1,
                        tf.int32,
                    )
                    return best + _as_sources(shift)

                found = self._inside(tf.cond(index < len(_STEPS), beside, random))
                distances = distance(found)
                nearer = distances < least
                best = tf.where(nearer[:, None], found, best)
                least = tf.ensure_shape(tf.minimum(distances, least), [None])
                return index + 1, tf.ensure_shape(best, [None, 3]), least

            _, best, least = tf.while_loop(
                lambda index, *_: index < len(_STEPS) + len(_REACHES),
                attempt,
                (0, field[block], distance(field[block])),
                shape_invariants=_FIELD_SHAPES,
                parallel_iterations=1,
            )
            return best, least

        return self._in_blocks(better, _BLOCK)

    def _distance(self, rows: tf.Tensor, block: slice) -> Callable:
        """A function of sources `[n, 3]`: how far they are from a block's targets."""
        wanted = _patches(rows, _as_sources(self.targets[block]), self.size)
        labels = tf.gather_nd(self.labels, self.targets[block])
        low = tf.gather_nd(self.low, self.targets[block])

        def distance(found: tf.Tensor) -> tf.Tensor:
            places = found[:, :2]
            patches = tf.reduce_sum((_patches(rows, found, self.size) - wanted) ** 2, 1)
            colors = tf.reduce_sum((tf.gather_nd(self.low, places) - low) ** 2, 1)
            total = patches + _GUIDE**2 * colors
            total += _penalty(tf.gather_nd(self.labels, places), labels)
            return tf.where(tf.gather_nd(self.is_source, places), total, _FAR)

        return distance

    def vote(self, field: tf.Tensor, distances: tf.Tensor) -> tf.Tensor:
        """The picture that a field gives: `[h, w, 3]`, whole numbers.

        Every pixel of the hole is the mean of what the patches over it say, nearer ones
        and those about it first. Then its low frequencies become the guide's, and the
        others as strong as in the sources: a mean is softer than what it is of.
        """
        whole = self.whole(field)
        trust = tf.exp(-distances / (tf.reduce_mean(distances) + 1.0))
        trust = tf.scatter_nd(self.targets, tf.maximum(trust, 1e-4), self.size)
        count = tf.shape(self.pixels)[0]

        def add(index: tf.Tensor, total: tf.Tensor, weight: tf.Tensor) -> tuple:
            offset = tf.stack([index // _SIDE, index % _SIDE]) - _RADIUS
            centers = self.pixels + offset
            there = tf.reduce_all((centers >= 0) & (centers < self.size), -1)
            centers = tf.clip_by_value(centers, 0, self.size - 1)
            source = self._inside(_moved(tf.gather_nd(whole, centers), -offset))
            away = tf.cast(tf.reduce_sum(offset**2), tf.float32)
            say = tf.gather_nd(trust, centers) * tf.exp(-away / 4.0)
            say = tf.where(there, say, 0.0)[:, None]
            total += say * tf.gather_nd(self.offered, source[:, :2])
            return index + 1, total, weight + say

        _, total, weight = tf.while_loop(
            lambda index, *_: index < _SIDE**2,
            add,
            (0, tf.zeros([count, 7]), tf.zeros([count, 1])),
            parallel_iterations=1,
        )
        mean = total / tf.maximum(weight, 1e-12)
        picture = tf.tensor_scatter_nd_update(self.guide, self.pixels, mean[:, :3])
        off = mean[:, 4:] - tf.gather_nd(self.low, self.pixels)
        return self._as_guided(picture, mean[:, 3], tf.reduce_mean(off**2, -1))

    def _as_guided(
        self, picture: tf.Tensor, strength: tf.Tensor, off: tf.Tensor
    ) -> tf.Tensor:
        fine = picture - self.low_frequencies(picture)
        strength = tf.scatter_nd(self.pixels, strength, self.size)
        strength = tf.minimum(strength, self.most_strength)
        inside = tf.cast(self.hole, tf.float32)
        both = tf.stack([strength, tf.reduce_mean(fine**2, -1) * inside, inside], -1)
        wanted, there, share = tf.unstack(self.low_frequencies(both), axis=-1)
        gain = tf.sqrt(tf.maximum(wanted, 0.0) / tf.maximum(there, 1.0))
        gain = tf.clip_by_value(tf.where(share > 0.05, gain, 1.0), 0.0, _MOST_GAIN)
        # Where no source has the guide's colors, none tells how it looks there.
        fit = tf.exp(-off / (2.0 * _COLORS_APART**2))
        fit = self.low_frequencies(
            tf.scatter_nd(self.pixels, fit, self.size)[..., None]
        )
        fit = tf.clip_by_value(fit / tf.maximum(share, 0.05)[..., None], 0.0, 1.0)
        guided = self.low + fine * gain[..., None]
        guided = fit * guided + (1.0 - fit) * self.guide
        guided = tf.clip_by_value(tf.round(guided), 0.0, 255.0)
        changed = self.hole & self.has_source
        return tf.where(changed[..., None], guided, self.guide)


def _penalty(one: tf.Tensor, other: tf.Tensor) -> tf.Tensor:
    """What patches pay whose centers have those labels; as `_features` has it."""
    differ = tf.cast(one != other, tf.float32)
    person = tf.cast((one == 0) != (other == 0), tf.float32)
    return 2.0 * (_OTHER_LABEL**2 * differ + _NO_PERSON**2 * person)


def _as_sources(places: tf.Tensor, mirrored: int = 0) -> tf.Tensor:
    """`[N, 2]` -> `[N, 3]`."""
    return tf.pad(places, [[0, 0], [0, 1]], constant_values=mirrored)


def _moved(sources: tf.Tensor, step: tf.Tensor) -> tf.Tensor:
    """Sources `[N, 3]` moved with their patch; a mirrored one moves the other way."""
    across = tf.where(sources[:, 2] == 1, -step[1], step[1])
    return tf.stack([sources[:, 0] + step[0], sources[:, 1] + across, sources[:, 2]], 1)


def _spread(hole: tf.Tensor) -> tf.Tensor:
    """Where a patch touches the hole: `bool` `[h, w]`."""
    values = tf.cast(hole, tf.float32)[None, ..., None]
    return tf.nn.max_pool2d(values, _SIDE, 1, "SAME")[0, ..., 0] > 0


def _inner(length: tf.Tensor) -> tf.Tensor:
    places = tf.range(length)
    return (places >= _RADIUS) & (places < length - _RADIUS)


def _rows(picture: tf.Tensor, size: tf.Tensor, apart: int = 1) -> tf.Tensor:
    """Each row of each patch, in one piece to be gathered: `uint8` `[n, 15]`.

    The second half is mirrored. A patch's pixels are so many `apart`.
    """
    reach = _RADIUS * apart
    around = [[reach, reach], [reach, reach], [0, 0]]
    padded = tf.pad(tf.cast(picture, tf.uint8), around, "SYMMETRIC")
    starts = range(0, 2 * reach + 1, apart)
    shifted = [padded[:, start : start + size[1]] for start in starts]
    both = tf.stack([tf.concat(shifted, -1), tf.concat(shifted[::-1], -1)])
    return tf.reshape(both, [-1, 3 * _SIDE])


def _patches(
    rows: tf.Tensor, centers: tf.Tensor, size: tf.Tensor, apart: int = 1
) -> tf.Tensor:
    """Patches by center and mirror `[N, 3]`: `float32` `[N, 75]`."""
    height = size[0] + 2 * _RADIUS * apart
    first = (centers[:, 2] * height + centers[:, 0]) * size[1] + centers[:, 1]
    places = first[:, None] + tf.range(_SIDE) * apart * size[1]
    patches = tf.cast(tf.gather(rows, places), tf.float32)
    return tf.reshape(patches, [-1, _SIDE**2 * 3])
