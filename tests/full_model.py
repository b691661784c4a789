"""A stand-in model with all six signatures of the export, in plain operations."""

import tensorflow as tf
from serving_photos import FILLED_LABEL, GRAY

IMAGE = tf.TensorSpec([None, None, None, 3], tf.uint8, "image")
MASK = tf.TensorSpec([None, None, None, 1], tf.uint8, "mask")
PARSING = tf.TensorSpec([None, None, None, 1], tf.uint8, "parsing")
JOINTS = tf.TensorSpec([None, 16, 3], tf.float32, "joints")
MARGINS = tf.TensorSpec([None, 4], tf.float32, "margins")
STRINGS = [
    tf.TensorSpec([None], tf.string, "image_bytes"),
    tf.TensorSpec([None], tf.string, "mask_bytes"),
]
PIXELS = [tf.TensorSpec([None, None, channels], tf.uint8) for channels in (3, 1)]


class FullModel(tf.Module):
    """Gray and one label in the hole.

    Stateful on purpose: the label is a variable, which a Session has to find.
    """

    def __init__(self, pose=True):
        super().__init__()
        self.pose = pose
        self.label = tf.Variable(FILLED_LABEL, dtype=tf.int32)

    def fill(self, image, mask):
        image = tf.ensure_shape(image, [None, None, None, 3])
        mask = tf.ensure_shape(mask, [None, None, None, 1])
        same = tf.debugging.assert_equal(
            tf.shape(image)[:3], tf.shape(mask)[:3], "image and mask differ in size"
        )
        with tf.control_dependencies([same]):
            hole = tf.not_equal(mask, 0)
        label = tf.cast(self.label, tf.uint8)
        completed = tf.where(hole, tf.constant(GRAY, tf.uint8), image)
        return completed, tf.where(hole, label, tf.zeros_like(mask))

    @tf.function(input_signature=[IMAGE, MASK])
    def serving_default(self, image, mask):
        completed, parsing = self.fill(image, mask)
        return {"completed": completed, "parsing": parsing}

    @tf.function(input_signature=STRINGS)
    def encoded(self, image_bytes, mask_bytes):
        def one(pair):
            image, mask = (
                tf.io.decode_image(content, channels, expand_animations=False)
                for content, channels in zip(pair, (3, 1), strict=True)
            )
            completed, parsing = self.fill(image[tf.newaxis], mask[tf.newaxis])
            return tf.io.encode_png(completed[0]), tf.io.encode_png(parsing[0])

        completed, parsing = tf.map_fn(
            one, (image_bytes, mask_bytes), fn_output_signature=(tf.string, tf.string)
        )
        return {"completed_bytes": completed, "parsing_bytes": parsing}

    @tf.function(input_signature=[IMAGE, MASK])
    def parse(self, image, mask):
        outputs = {"parsing": self.fill(image, mask)[1]}
        if self.pose:
            numbers = tf.reshape(tf.range(48, dtype=tf.float32), [1, 16, 3])
            outputs["joints"] = tf.tile(numbers, [tf.shape(image)[0], 1, 1])
        return outputs

    @tf.function(input_signature=[IMAGE, MASK, PARSING])
    def complete_with_parsing(self, image, mask, parsing):
        """The hole becomes ten times the label, which shows what map arrived."""
        label = tf.where(parsing > 19, tf.constant(FILLED_LABEL, tf.uint8), parsing)
        return {"completed": tf.where(mask > 0, 10 * label, image)}

    @tf.function(input_signature=[IMAGE, MASK, JOINTS])
    def complete_with_joints(self, image, mask, joints):
        """The hole becomes x of the left ankle; the joints come back."""
        gray = tf.cast(joints[:, 5, 0], tf.uint8)[:, None, None, None]
        _, parsing = self.fill(image, mask)
        completed = tf.where(mask > 0, gray, image)
        return {"completed": completed, "parsing": parsing, "joints": joints}

    @tf.function(input_signature=[IMAGE, MARGINS])
    def extrapolate(self, image, margins):
        full = tf.shape(image)[1:3]
        sides = tf.cast(tf.repeat(full, 2), tf.float32)
        pixels = tf.cast(tf.round(margins * sides), tf.int32)
        size = full + tf.reduce_sum(tf.reshape(pixels, [-1, 2, 2]), -1)
        canvas = tf.reduce_max(size, axis=0)

        def one(items):
            photo, pixels, size = items
            rest = canvas - size
            around = [pixels[:2], pixels[2:], [0, 0]]
            behind = [[0, rest[0]], [0, rest[1]], [0, 0]]
            labels = tf.zeros_like(photo[..., :1])
            return tuple(
                tf.pad(tf.pad(one, around, constant_values=value), behind)
                for one, value in ((photo, GRAY), (labels, FILLED_LABEL))
            )

        completed, parsing = tf.map_fn(
            one, (image, pixels, size), fn_output_signature=tuple(PIXELS)
        )
        return {"completed": completed, "parsing": parsing, "size": size}


NAMES = (
    "serving_default", "encoded", "parse", "complete_with_parsing",
    "complete_with_joints", "extrapolate",
)  # fmt: skip


def save_full_model(folder, pose=True, names=NAMES, version=1):
    """Writes a version with these signatures; gives the folder of versions."""
    module = FullModel(pose)
    signatures = {name: getattr(module, name) for name in names}
    tf.saved_model.save(module, str(folder / str(version)), signatures)
    return folder
