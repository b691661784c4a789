"""A stand-in model with all five signatures of the export, in plain operations."""

import tensorflow as tf
from serving_photos import FILLED_LABEL

IMAGE = tf.TensorSpec([None, None, None, 3], tf.uint8, "image")
MASK = tf.TensorSpec([None, None, None, 1], tf.uint8, "mask")
PARSING = tf.TensorSpec([None, None, None, 1], tf.uint8, "parsing")
MARGINS = tf.TensorSpec([None, 4], tf.float32, "margins")
STRINGS = [
    tf.TensorSpec([None], tf.string, "image_bytes"),
    tf.TensorSpec([None], tf.string, "mask_bytes"),
]
GREY = 77


def fill(image, mask):
    """Grey and one label in the hole."""
    hole = tf.not_equal(mask, 0)
    completed = tf.where(hole, tf.constant(GREY, tf.uint8), image)
    label = tf.constant(FILLED_LABEL, tf.uint8)
    return completed, tf.where(hole, label, tf.zeros_like(mask))


class FullModel(tf.Module):
    def __init__(self, pose=True):
        super().__init__()
        self.pose = pose

    @tf.function(input_signature=[IMAGE, MASK])
    def tensors(self, image, mask):
        completed, parsing = fill(image, mask)
        return {"completed": completed, "parsing": parsing}

    @tf.function(input_signature=STRINGS)
    def encoded(self, image_bytes, mask_bytes):
        def one(pair):
            image = tf.io.decode_image(pair[0], 3, expand_animations=False)
            mask = tf.io.decode_image(pair[1], 1, expand_animations=False)
            completed, parsing = fill(image, mask)
            return tf.io.encode_png(completed), tf.io.encode_png(parsing)

        completed, parsing = tf.map_fn(
            one, (image_bytes, mask_bytes), fn_output_signature=(tf.string, tf.string)
        )
        return {"completed_bytes": completed, "parsing_bytes": parsing}

    @tf.function(input_signature=[IMAGE, MASK])
    def parse(self, image, mask):
        outputs = {"parsing": fill(image, mask)[1]}
        if self.pose:
            numbers = tf.reshape(tf.range(48, dtype=tf.float32), [1, 16, 3])
            outputs["joints"] = tf.tile(numbers, [tf.shape(image)[0], 1, 1])
        return outputs

    @tf.function(input_signature=[IMAGE, MASK, PARSING])
    def complete_with_parsing(self, image, mask, parsing):
        """The hole becomes ten times the label, which shows what map arrived."""
        label = tf.where(parsing > 19, tf.constant(FILLED_LABEL, tf.uint8), parsing)
        return {"completed": tf.where(mask > 0, 10 * label, image)}

    @tf.function(input_signature=[IMAGE, MARGINS])
    def extrapolate(self, image, margins):
        shape = tf.shape(image)
        sides = tf.gather(shape[1:3], [0, 0, 1, 1])
        pixels = tf.cast(tf.round(margins * tf.cast(sides, tf.float32)), tf.int32)
        size = tf.stack(
            [
                shape[1] + pixels[:, 0] + pixels[:, 1],
                shape[2] + pixels[:, 2] + pixels[:, 3],
            ],
            axis=1,
        )
        canvas = tf.reduce_max(size, axis=0)

        def one(items):
            photo, pixels, size = items
            rest = canvas - size
            padding = [pixels[:2], pixels[2:], [0, 0]]
            photo = tf.pad(photo, padding, constant_values=GREY)
            labels = tf.pad(
                tf.zeros_like(items[0][..., :1]), padding, constant_values=FILLED_LABEL
            )
            padding = [[0, rest[0]], [0, rest[1]], [0, 0]]
            return tf.pad(photo, padding), tf.pad(labels, padding)

        completed, parsing = tf.map_fn(
            one,
            (image, pixels, size),
            fn_output_signature=(
                tf.TensorSpec([None, None, 3], tf.uint8),
                tf.TensorSpec([None, None, 1], tf.uint8),
            ),
        )
        return {"completed": completed, "parsing": parsing, "size": size}


def save_full_model(folder, pose=True, without=()):
    """Writes version 1 with all signatures but those in `without`."""
    module = FullModel(pose)
    signatures = {
        "serving_default": module.tensors,
        "encoded": module.encoded,
        "parse": module.parse,
        "complete_with_parsing": module.complete_with_parsing,
        "extrapolate": module.extrapolate,
    }
    for name in without:
        del signatures[name]
    tf.saved_model.save(module, str(folder / "1"), signatures)
    return folder
