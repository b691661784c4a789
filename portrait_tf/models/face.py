"""Stage 3: repaints the face in a crop of the completed photo.

Photos are RGB in [-1, 1]; masks are 1.0 in the hole; the parsing map comes as 20
probabilities.
"""

import keras
from keras import layers

from portrait_tf.compat import Tensor, ops
from portrait_tf.labels import NUM_LABELS
from portrait_tf.layers import (
    PixelShuffle,
    box_window,
    crop_and_resize,
    face_boxes,
    uncrop,
)
from portrait_tf.models.blocks import (
    SHUFFLE_FILTERS,
    check_size,
    plain_conv,
    plain_residual_block,
)
from portrait_tf.models.network import Network


@keras.saving.register_keras_serializable("portrait_tf")
class FaceNetwork(Network):
    """Encoder, residual middle, decoder with skips; its answer is a difference.

    That a face network repaints the face region after stage 2 is the idea of *Deep
    Portrait Image Completion and Extrapolation* (arXiv 1808.07757). Its layers are not
    known to us: these are our choice, stage 2's with another middle. The last
    convolution starts at zero: untrained, the network changes nothing.

    Args:
        size: Height and width of the crop; multiples of 8.
        widths: Channels at strides 2, 4 and 8.
        blocks: Residual blocks of the middle, at stride 8.
        context: Of the box that is cropped; see `face_boxes`.
        feather: Of the border it is pasted with; see `box_window`.
        upsampling: As of `CompletionNetwork`; both have the same weights.

    Call with `{"image": [B, h, w, 3], "parsing": [B, h, w, 20], "mask": [B, h, w, 1]}`,
    crops of what the earlier stages gave: `face_inputs`. Returns
    `{"correction": [B, h, w, 3]}`, to be added to the crop inside the hole.

    Example:

    ```python
    network = FaceNetwork(size=(64, 64))
    refined = refine_faces(network, completed, parsing, masks)["completed"]
    ```
    """

    def __init__(
        self,
        size: tuple[int, int] = (64, 64),
        widths: tuple[int, int, int] = (32, 64, 96),
        blocks: int = 4,
        context: float = 0.3,
        feather: float = 0.1,
        upsampling: str = "shuffle",
        **kwargs: object,
    ) -> None:
        check_size(size, 8)
        inner, last = SHUFFLE_FILTERS[upsampling]
        # === Layers and Functional Model ===
        inputs = {
            "image": keras.Input((*size, 3), name="image"),
            "parsing": keras.Input((*size, NUM_LABELS), name="parsing"),
            "mask": keras.Input((*size, 1), name="mask"),
        }
        x = layers.Concatenate(name="inputs")(list(inputs.values()))
        x = plain_conv(x, widths[0], "stride2", kernel_size=5, strides=2)
        stride2 = x
        x = plain_conv(x, widths[1], "stride4_down", strides=2)
        x = plain_conv(x, widths[1], "stride4")
        stride4 = x
        x = plain_conv(x, widths[2], "stride8", strides=2)
        for index in range(blocks):
            x = plain_residual_block(x, f"middle_block{index + 1}")
        x = layers.Conv2D(4 * widths[1], 1, name="decode4_enlarge")(x)
        x = PixelShuffle(2, inner, name="decode4_shuffle")(x)
        x = layers.Concatenate(name="decode4_skip")([x, stride4])
        x = plain_conv(x, widths[1], "decode4")
        x = layers.Conv2D(4 * widths[0], 1, name="decode2_enlarge")(x)
        x = PixelShuffle(2, inner, name="decode2_shuffle")(x)
        x = layers.Concatenate(name="decode2_skip")([x, stride2])
        x = plain_conv(x, widths[0], "decode2")
        x = layers.Conv2D(
            12, 3, padding="same", kernel_initializer="zeros", name="correction_conv"
        )(x)
        # In full precision under every policy: it is added to a photo.
        correction = PixelShuffle(2, last, name="correction", dtype="float32")(x)
        super().__init__(inputs=inputs, outputs={"correction": correction}, **kwargs)
        # === Config ===
        self.size = tuple(size)
        self.widths = tuple(widths)
        self.blocks = blocks
        self.context = context
        self.feather = feather
        self.upsampling = upsampling


def find_faces(network: FaceNetwork, parsing: Tensor, mask: Tensor) -> tuple:
    """`face_boxes` with the shape and the context that a network is made for."""
    aspect = network.size[0] / network.size[1]
    return face_boxes(parsing, mask, aspect, network.context)


def face_inputs(
    network: FaceNetwork,
    completed: Tensor,
    parsing: Tensor,
    mask: Tensor,
    boxes: Tensor,
) -> dict[str, Tensor]:
    """The crops that a face network is called with.

    Args:
        network: Gives the size.
        completed: `[B, H, W, 3]`, what stage 2 gave, known pixels as they were.
        parsing: `[B, H, W, 20]`.
        mask: `[B, H, W, 1]`.
        boxes: `[B, 4]`, of `find_faces`.
    """
    crops = crop_and_resize(
        ops.concatenate([completed, parsing, mask], axis=-1), boxes, network.size
    )
    return {
        "image": crops[..., :3],
        "parsing": crops[..., 3:-1],
        "mask": crops[..., -1:],
    }


def paste_correction(
    network: FaceNetwork,
    completed: Tensor,
    mask: Tensor,
    correction: Tensor,
    boxes: Tensor,
    found: Tensor,
) -> Tensor:
    """Adds a correction of crops to the photos, softly, inside the hole alone.

    It is the correction that is enlarged or shrunk, not the photo, which so keeps its
    sharpness where nothing is corrected.

    Args:
        network: Gives the feather.
        completed: `[B, H, W, 3]`, static height and width.
        mask: `[B, H, W, 1]`.
        correction: `[B, h, w, 3]`.
        boxes: `[B, 4]`, of `find_faces`.
        found: `[B]` bool, of `find_faces`.

    Returns:
        `[B, H, W, 3]` in [-1, 1]; known pixels, and photos without a face to refine,
        bit for bit as they were.
    """
    size = tuple(completed.shape[1:3])
    change = uncrop(correction, boxes, size) * box_window(boxes, size, network.feather)
    refined = ops.clip(completed + mask * change, -1.0, 1.0)
    return ops.where((mask > 0) & found[:, None, None, None], refined, completed)


def refine_faces(
    network: FaceNetwork, completed: Tensor, parsing: Tensor, mask: Tensor
) -> dict[str, Tensor]:
    """Finds the faces, repaints what of them is hole, and pastes it back.

    The network runs on every photo, also on those whose answer is then not taken: a
    graph of fixed shapes costs less than a choice, and a crop is small.

    Args:
        network: Stage 3.
        completed: `[B, H, W, 3]` in [-1, 1], static height and width.
        parsing: `[B, H, W, 20]` probabilities.
        mask: `[B, H, W, 1]`, 1.0 = hole.

    Returns:
        `completed` `[B, H, W, 3]`; `face_boxes` `[B, 4]` and `face_found` `[B]`, as
        `face_boxes` gives them.
    """
    boxes, found = find_faces(network, parsing, mask)
    inputs = face_inputs(network, completed, parsing, mask, boxes)
    correction = network(inputs, training=False)["correction"]
    refined = paste_correction(network, completed, mask, correction, boxes, found)
    return {"completed": refined, "face_boxes": boxes, "face_found": found}
