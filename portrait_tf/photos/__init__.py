"""Photos and masks from files, and back.

Photos are RGB `uint8` `[H, W, 3]`; masks are `uint8` `[H, W]`, 255 = hole. `read_photo`
and `write_png` know pixels alone; `open_photo` and `write_photo` keep all that a
photographer's file has beside them (docs/photos.md).
"""

from portrait_tf.photos.arrays import (
    check_image_bytes,
    decode_image,
    encode_png,
    read_image_bytes,
    write_png,
)
from portrait_tf.photos.masks import (
    MaskOptions,
    hole_from_alpha,
    hole_from_photo,
    read_hole,
)
from portrait_tf.photos.photo_file import PhotoFile
from portrait_tf.photos.reading import (
    FORMATS,
    decode_photo,
    open_photo,
    photo_of_image,
    read_photo,
)
from portrait_tf.photos.writing import (
    EXTENSIONS,
    compose,
    encode_photo,
    format_named,
    format_of,
    output_name,
    write_photo,
)

PHOTO_EXTENSIONS = tuple(FORMATS)

__all__ = [
    "EXTENSIONS",
    "FORMATS",
    "MaskOptions",
    "PHOTO_EXTENSIONS",
    "PhotoFile",
    "check_image_bytes",
    "compose",
    "decode_image",
    "decode_photo",
    "encode_photo",
    "encode_png",
    "format_named",
    "format_of",
    "hole_from_alpha",
    "hole_from_photo",
    "open_photo",
    "output_name",
    "photo_of_image",
    "read_hole",
    "read_image_bytes",
    "read_photo",
    "write_photo",
    "write_png",
]
