"""The functions that a server offers; graphs of TensorFlow operations, nothing else.

What each takes and gives is written down in `export.contract`.
"""

from collections.abc import Callable

import tensorflow as tf

from export.contract import SIGNATURES, check_names, max_batch
from export.guards import check_joints, check_photos, guarded, pixel_limits, same_sizes
from export.images import check_files, decode_mask, decode_photo, encode
from export.stored import StoredNetworks


class _Signatures:
    """One method a signature, called like it."""

    def __init__(self, pipeline: StoredNetworks) -> None:
        self.pipeline = pipeline
        self.most = max_batch(pipeline.size)
        height, width = pipeline.size
        self._small = tuple(
            tf.TensorSpec([height, width, channels], tf.float32) for channels in (3, 1)
        )

    def serving_default(
        self, image: tf.Tensor, mask: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        return self.pipeline(*check_photos(image, self.most, mask=mask))

    def encoded(
        self, image_bytes: tf.Tensor, mask_bytes: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        def decode(pair: tuple) -> tuple[tf.Tensor, tf.Tensor]:
            content, mask_content, as_is, mask_as_is = pair
            image = decode_photo(content, as_is)
            mask = decode_mask(mask_content, mask_as_is)
            # A header may lie.
            return tuple(guarded([image, mask], same_sizes(image, mask=mask)))

        completed, parsing = self._complete_each(
            check_files(image_bytes, mask_bytes, self.most),
            decode,
            lambda _, picture: encode(picture),
            [tf.TensorSpec([], tf.string)] * 2,
        )
        return {"completed_bytes": completed, "parsing_bytes": parsing}

    def parse(self, image: tf.Tensor, mask: tf.Tensor) -> dict[str, tf.Tensor]:
        return self.pipeline.parse(*check_photos(image, self.most, mask=mask))

    def complete_with_parsing(
        self, image: tf.Tensor, mask: tf.Tensor, parsing: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        given = check_photos(image, self.most, mask=mask, parsing=parsing)
        result = self.pipeline.complete_with_parsing(*given)
        return {"completed": result["completed"]}

    def complete_with_joints(
        self, image: tf.Tensor, mask: tf.Tensor, joints: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        image, mask = check_photos(image, self.most, mask=mask)
        image, joints = check_joints(image, joints)
        return self.pipeline.complete_with_joints(image, mask, joints)

    def extrapolate(self, image: tf.Tensor, margins: tf.Tensor) -> dict[str, tf.Tensor]:
        margins = tf.ensure_shape(margins, [None, 4])
        (image,) = check_photos(image, self.most)
        full = tf.shape(image)[1:3]
        image, margins = guarded(
            [image, margins],
            [
                (
                    tf.shape(image)[0] == tf.shape(margins)[0],
                    "image and margins must have one batch",
                    tf.stack([tf.shape(image)[0], tf.shape(margins)[0]]),
                ),
                # Of a NaN, neither is true.
                (
                    (margins >= 0) & (margins <= 1),
                    "margins are parts of the photo, 0 to 1",
                    margins,
                ),
            ],
        )
        pixels = tf.cast(
            tf.round(margins * tf.cast(tf.repeat(full, 2), tf.float32)), tf.int32
        )
        sizes = full + tf.stack(
            [pixels[:, 0] + pixels[:, 1], pixels[:, 2] + pixels[:, 3]], axis=-1
        )
        canvas = tf.reduce_max(sizes, axis=0)
        image, pixels, sizes, canvas = guarded(
            [image, pixels, sizes, canvas],
            pixel_limits(canvas[None], tf.shape(image)[0], "canvas"),
        )

        def extend(items: tuple) -> tuple[tf.Tensor, tf.Tensor]:
            photo, (top, bottom, left, right) = items[0], tf.unstack(items[1])
            padding = [[top, bottom], [left, right], [0, 0]]
            known = tf.zeros([full[0], full[1], 1], tf.uint8)
            return (
                tf.pad(photo, padding)[None],
                tf.pad(known, padding, constant_values=255)[None],
            )

        def place(items: tuple, picture: tf.Tensor) -> tf.Tensor:
            rest = canvas - items[2]
            return tf.pad(picture, [[0, rest[0]], [0, rest[1]], [0, 0]])

        completed, parsing = self._complete_each(
            (image, pixels, sizes),
            extend,
            place,
            [tf.TensorSpec([None, None, channels], tf.uint8) for channels in (3, 1)],
        )
        return {"completed": completed, "parsing": parsing, "size": sizes}

    def _complete_each(
        self,
        items: tuple[tf.Tensor, ...],
        read: Callable[[tuple], tuple[tf.Tensor, tf.Tensor]],
        finish: Callable[[tuple, tf.Tensor], tf.Tensor],
        specs: list[tf.TensorSpec],
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Completes photos of different sizes, the networks' part in one batch.

        Args:
            items: What the photos are read from, `[B, ...]` each.
            read: Makes photo and mask of one item. It is called twice, for photos of
                different sizes fit in no one tensor.
            finish: Makes the answer of one item and its `uint8` `[H, W, C]` picture.
            specs: The answers, of photos and of label maps.
        """

        def shrink(item: tuple) -> tuple[tf.Tensor, tf.Tensor]:
            small_image, small_mask, _ = self.pipeline.shrink(*read(item))
            return small_image[0], small_mask[0]

        def paste(values: tuple) -> tuple[tf.Tensor, tf.Tensor]:
            item, *small = values
            image, mask = read(item)
            names = ("completed", "parsing")
            result = {name: one[None] for name, one in zip(names, small, strict=True)}
            place = self.pipeline.place(image)
            result = self.pipeline.paste(image, mask, result, place)
            return tuple(finish(item, result[name][0]) for name in names)

        small = tf.map_fn(shrink, items, fn_output_signature=self._small)
        result = self.pipeline.networks(*small)
        return tf.map_fn(
            paste,
            (items, result["completed"], result["parsing"]),
            fn_output_signature=tuple(specs),
        )


def input_specs(name: str) -> list[tf.TensorSpec]:
    """What a signature's graph says of its inputs: sizes that vary are None."""
    return [
        tf.TensorSpec(
            [None if isinstance(size, str) else size for size in field.shape],
            field.dtype,
            name=field_name,
        )
        for field_name, field in SIGNATURES[name].inputs.items()
    ]


def build_signatures(
    pipeline: StoredNetworks, names: list[str] | None = None
) -> dict[str, Callable]:
    """Each signature's graph function, by name.

    Args:
        pipeline: All stages.
        names: Of `export.contract.SIGNATURES`; by default all that the networks have.
    """
    methods = _Signatures(pipeline)
    return {
        name: tf.function(
            getattr(methods, name), input_signature=input_specs(name), autograph=False
        )
        for name in names or check_names(None, pipeline.takes_joints)
    }
