"""Image files in the graph: their size is read, and refused, before they are decoded.

Decoding alone has no limit: a PNG file of some kilobytes can ask for gigabytes. Where
a size stands in each format: PNG (W3C), section 11.2.2; WebP (RFC 9649), sections 2.5
to 2.7; BMP, `BITMAPINFOHEADER`; JPEG is left to TensorFlow's own reader.
"""

import tensorflow as tf

from export import guards
from export.contract import IMAGE_FORMATS

_HEADER = 32


def picture_sizes(contents: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Heights and widths that image files say they have; nothing is decoded.

    Args:
        contents: Strings `[B]`.

    Returns:
        `int32` `[B, 2]`, zeros for anything that is no picture, and `[B]` bool,
        whether TensorFlow decodes it to the channels that it has, and to no others:
        WebP and BMP.
    """
    with tf.device("/CPU:0"):
        header = tf.io.decode_raw(contents, tf.uint8, fixed_length=_HEADER)
        header = tf.cast(header, tf.int32)

        def starts(mark: bytes, at: int = 0) -> tf.Tensor:
            return tf.reduce_all(header[:, at : at + len(mark)] == list(mark), axis=-1)

        def number(at: int, count: int, big: bool = False) -> tf.Tensor:
            powers = [256**index for index in range(count)]
            digits = header[:, at : at + count]
            return tf.reduce_sum(digits * (powers[::-1] if big else powers), axis=-1)

        def side(at: int, big: bool) -> tf.Tensor:
            highest = number(at if big else at + 3, 1)
            value = number(at + 1 if big else at, 3, big)
            # Four bytes overflow; what needs the fourth is too large anyway.
            return tf.where(highest == 0, value, 2**24)

        webp = starts(b"RIFF") & starts(b"WEBP", 8)
        lossless = number(21, 3) + (number(24, 1) % 128) * 2**24
        # Rows from bottom to top, unless the height is negative: 2's complement.
        upward = number(25, 1) == 255
        bmp_height = tf.where(upward, 2**24 - number(22, 3), side(22, False))
        kinds = [
            (starts(b"\x89PNG\r\n\x1a\n") & starts(b"IHDR", 12),
             side(20, True), side(16, True)),
            (webp & starts(b"VP8X", 12), number(27, 3) + 1, number(24, 3) + 1),
            (webp & starts(b"VP8L", 12),
             lossless // 2**14 % 2**14 + 1, lossless % 2**14 + 1),
            (webp & starts(b"VP8 ", 12),
             number(28, 2) % 2**14, number(26, 2) % 2**14),
            (starts(b"BM"), bmp_height, side(18, False)),
        ]  # fmt: skip
        sizes = _jpeg_sizes(contents, starts(b"\xff\xd8\xff"))
        for found, *size in kinds:
            sizes = tf.where(found[:, None], tf.stack(size, axis=-1), sizes)
        return sizes, webp | starts(b"BM")


def _jpeg_sizes(contents: tf.Tensor, are_jpeg: tf.Tensor) -> tf.Tensor:
    """Heights and widths of those that are JPEG; zeros for others."""

    def measure(item: tuple) -> tf.Tensor:
        is_jpeg, content = item
        return tf.cond(
            is_jpeg,
            lambda: tf.image.extract_jpeg_shape(content)[:2],
            lambda: tf.zeros([2], tf.int32),
        )

    spec = tf.TensorSpec([2], tf.int32)
    return tf.map_fn(measure, (are_jpeg, contents), fn_output_signature=spec)


def check_files(
    image_bytes: tf.Tensor, mask_bytes: tf.Tensor, most: int
) -> tuple[tf.Tensor, ...]:
    """Photos and masks as files `[B]`, checked without decoding them.

    Returns:
        Photos, masks, and for each the flags of `picture_sizes`.
    """
    image_bytes = tf.ensure_shape(image_bytes, [None])
    mask_bytes = tf.ensure_shape(mask_bytes, [None])
    counts = tf.stack([tf.size(image_bytes), tf.size(mask_bytes)])
    image_bytes, mask_bytes = guards.guarded(
        [image_bytes, mask_bytes],
        [
            (
                counts[0] == counts[1],
                "image_bytes and mask_bytes must have one length",
                counts,
            ),
            *guards.batch_limits(counts[0], most),
        ],
    )
    sizes, as_is = picture_sizes(image_bytes)
    mask_sizes, mask_as_is = picture_sizes(mask_bytes)
    formats = f"{', '.join(IMAGE_FORMATS[:-1])} or {IMAGE_FORMATS[-1]}"
    checks = [
        (
            tf.reduce_min(one, axis=-1) > 0,
            f"{name} must be {formats} files with a size",
            one,
        )
        for name, one in (("image_bytes", sizes), ("mask_bytes", mask_sizes))
    ]
    checks += guards.pixel_limits(sizes, tf.constant(1))
    checks.append(
        (
            sizes == mask_sizes,
            "image and mask must have one height and width each",
            tf.concat([sizes, mask_sizes], axis=-1),
        )
    )
    return tuple(guards.guarded([image_bytes, mask_bytes, as_is, mask_as_is], checks))


def decode_photo(content: tf.Tensor, as_is: tf.Tensor) -> tf.Tensor:
    """`uint8` `[1, H, W, 3]` of a checked file; `as_is` of `check_files`."""

    def colors() -> tf.Tensor:
        picture = _decode_as_is(content)
        return tf.broadcast_to(picture, tf.concat([tf.shape(picture)[:2], [3]], 0))

    with tf.device("/CPU:0"):
        photo = tf.cond(as_is, colors, lambda: _decode(content, 3))
    return tf.ensure_shape(photo, [None, None, 3])[None]


def decode_mask(content: tf.Tensor, as_is: tf.Tensor) -> tf.Tensor:
    """`uint8` `[1, H, W, 1]` of a checked file; `as_is` of `check_files`."""

    def grays() -> tf.Tensor:
        return tf.reduce_max(_decode_as_is(content), axis=-1, keepdims=True)

    with tf.device("/CPU:0"):
        mask = tf.cond(as_is, grays, lambda: _decode(content, 1))
    return tf.ensure_shape(mask, [None, None, 1])[None]


def _decode(content: tf.Tensor, channels: int) -> tf.Tensor:
    return tf.io.decode_image(content, channels=channels, expand_animations=False)


def _decode_as_is(content: tf.Tensor) -> tf.Tensor:
    """With one or three channels; transparency is left out."""
    return tf.ensure_shape(_decode(content, 0), [None, None, None])[..., :3]


def encode(picture: tf.Tensor) -> tf.Tensor:
    """A PNG file of `uint8` `[H, W, 3]` or `[H, W, 1]`."""
    with tf.device("/CPU:0"):
        return tf.io.encode_png(picture)
