"""The functions that a server offers; graphs of TensorFlow operations, nothing else.

* `serving_default`: `image` `uint8` `[B, H, W, 3]` (RGB) and `mask` `uint8`
  `[B, H, W, 1]` (non-zero = hole) give `completed` `uint8` `[B, H, W, 3]` and `parsing`
  `uint8` `[B, H, W, 1]` (LIP's labels).
* `encoded`: `image_bytes` and `mask_bytes`, strings `[B]` with PNG, JPEG or BMP files,
  give `completed_bytes` and `parsing_bytes`, strings `[B]` with PNG files. The photos
  of a batch may differ in size. `_bytes` makes REST answers base64.
"""

from collections.abc import Callable

import tensorflow as tf

from portrait_tf.pipeline import Pipeline


def _check(image: tf.Tensor, mask: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Refuses what the networks cannot take; the first operations of every graph.

    A convolution that meets another rank aborts the process, and only `ensure_shape`
    turns that into INVALID_ARGUMENT.
    """
    image = tf.ensure_shape(image, [None, None, None, 3])
    mask = tf.ensure_shape(mask, [None, None, None, 1])
    same = tf.debugging.assert_equal(
        tf.shape(image)[:3],
        tf.shape(mask)[:3],
        message="image and mask must have one batch, height and width",
    )
    filled = tf.debugging.assert_positive(
        tf.shape(image), message="batch, height and width must be at least 1"
    )
    with tf.control_dependencies([check for check in (same, filled) if check]):
        return tf.identity(image), tf.identity(mask)


def _decode(content: tf.Tensor, channels: int) -> tf.Tensor:
    with tf.device("/CPU:0"):
        picture = tf.io.decode_image(
            content, channels=channels, expand_animations=False
        )
    return tf.ensure_shape(picture, [None, None, channels])[None]


def _encode(picture: tf.Tensor) -> tf.Tensor:
    with tf.device("/CPU:0"):
        return tf.io.encode_png(picture)


def build_signatures(pipeline: Pipeline) -> dict[str, tuple[Callable, list]]:
    """Each signature's function and what it takes, by the signature's name.

    Args:
        pipeline: All networks.
    """

    def serving_default(image: tf.Tensor, mask: tf.Tensor) -> dict[str, tf.Tensor]:
        return pipeline(*_check(image, mask))

    def decode_pair(pair: tuple) -> tuple[tf.Tensor, tf.Tensor]:
        return _check(_decode(pair[0], 3), _decode(pair[1], 1))

    def encoded(image_bytes: tf.Tensor, mask_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        image_bytes = tf.ensure_shape(image_bytes, [None])
        mask_bytes = tf.ensure_shape(mask_bytes, [None])
        same = tf.debugging.assert_equal(
            tf.shape(image_bytes),
            tf.shape(mask_bytes),
            message="image_bytes and mask_bytes must have one length",
        )
        with tf.control_dependencies([same] if same else []):
            pairs = (tf.identity(image_bytes), tf.identity(mask_bytes))

        def shrink(pair: tuple) -> tuple[tf.Tensor, tf.Tensor]:
            small_image, small_mask, _ = pipeline.shrink(*decode_pair(pair))
            return small_image[0], small_mask[0]

        def paste(items: tuple) -> tuple[tf.Tensor, tf.Tensor]:
            # Decoded once more: photos of different sizes fit in no one tensor.
            pair, completed, parsing = items
            image, mask = decode_pair(pair)
            result = pipeline.paste(
                image,
                mask,
                {"completed": completed[None], "parsing": parsing[None]},
                pipeline.place(image),
            )
            return _encode(result["completed"][0]), _encode(result["parsing"][0])

        height, width = pipeline.size
        small_image, small_mask = tf.map_fn(
            shrink,
            pairs,
            fn_output_signature=(
                tf.TensorSpec([height, width, 3], tf.float32),
                tf.TensorSpec([height, width, 1], tf.float32),
            ),
        )
        result = pipeline.networks(small_image, small_mask)
        completed, parsing = tf.map_fn(
            paste,
            (pairs, result["completed"], result["parsing"]),
            fn_output_signature=(
                tf.TensorSpec([], tf.string),
                tf.TensorSpec([], tf.string),
            ),
        )
        return {"completed_bytes": completed, "parsing_bytes": parsing}

    return {
        "serving_default": (
            serving_default,
            [
                tf.TensorSpec([None, None, None, 3], tf.uint8, name="image"),
                tf.TensorSpec([None, None, None, 1], tf.uint8, name="mask"),
            ],
        ),
        "encoded": (
            encoded,
            [
                tf.TensorSpec([None], tf.string, name="image_bytes"),
                tf.TensorSpec([None], tf.string, name="mask_bytes"),
            ],
        ),
    }
