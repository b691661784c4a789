"""Stage 1: the complete body structure from an incomplete photo.

Photos are RGB in [-1, 1], their hole set to 0 (mid-gray); masks are 1.0 in the hole.
Parsing outputs are logits of LIP's 20 labels, pose outputs are heatmaps of its 16
joints, peak 1.
"""

import functools

import keras
import numpy as np
from keras import layers

from portrait_tf.compat import Tensor, ops
from portrait_tf.labels import LABELS, NUM_JOINTS, NUM_LABELS
from portrait_tf.layers import (
    PixelShuffle,
    Upsample,
    grouped,
    heatmap_peaks,
    joint_heatmaps,
    of_labels,
    resize_bilinear,
    segment_heatmaps,
)
from portrait_tf.models.backbones import BACKBONES
from portrait_tf.models.blocks import (
    check_size,
    normalized_conv,
    residual_block,
)
from portrait_tf.models.network import Network


@keras.saving.register_keras_serializable("portrait_tf")
class ParsingNetwork(Network):
    """Parsing and pose that refine each other, after JPPNet, small enough for a CPU.

    The idea, two branches and rounds of refinement in which each task sees the other's
    last prediction, is JPPNet's (arXiv 1804.01984, section 3). The encoder (residual,
    output stride 16, decoded to stride 8), group normalization, the mask as a fourth
    input channel and the decoded last map at stride 2 are our choice: JPPNet's
    ResNet-101 does not fit a CPU, and it does not know about holes.

    Args:
        size: Height and width; multiples of 16.
        widths: Channels at strides 2, 4, 8 and 16.
        blocks: Residual blocks at strides 8 and 16.
        feature_width: Channels of each task's feature.
        rounds: Refinement rounds.
        backbone: A name of `BACKBONES`.
        pose: With the pose branch; without, there are no pose outputs either.
        mask_channel: The encoder sees the mask beside the photo; without, the mask is
            an input that nothing reads.
        hints: With an input for joints that are known: 16 heat maps as
            `joint_heatmaps` draws them, empty where nothing is known. `find_structure`
            asks such a network twice, the second time with its own joints as hints.
        decoder_dilations: Residual blocks at stride 8, behind the hints; one each.

    Call with `{"image": [B, H, W, 3], "mask": [B, H, W, 1]}`, and with hints also
    `"hints": [B, H/4, W/4, 16]`. Returns a dict:

    * `parsing_0` ... `parsing_<rounds>`: logits `[B, H/4, W/4, 20]`,
    * `pose_0` ... `pose_<rounds>`: heatmaps `[B, H/4, W/4, 16]`,
    * `parsing`: logits `[B, H/2, W/2, 20]`, the answer.

    Example:

    ```python
    network = ParsingNetwork(size=(192, 128))
    outputs = network({"image": photos * (1 - masks), "mask": masks})
    ```
    """

    def __init__(
        self,
        size: tuple[int, int] = (192, 128),
        widths: tuple[int, int, int, int] = (24, 48, 96, 160),
        blocks: tuple[int, int] = (3, 3),
        feature_width: int = 64,
        rounds: int = 2,
        backbone: str = "small",
        pose: bool = True,
        mask_channel: bool = True,
        hints: bool = False,
        decoder_dilations: tuple[int, ...] = (),
        **kwargs: object,
    ) -> None:
        check_size(size, 16)
        # === Layers and Functional Model ===
        image = keras.Input((*size, 3), name="image")
        mask = keras.Input((*size, 1), name="mask")
        inputs = {"image": image, "mask": mask}
        x = image
        if mask_channel:
            x = layers.Concatenate(name="image_and_mask")([image, mask])
        arguments = {"widths": widths, "blocks": blocks} if backbone == "small" else {}
        encoded = BACKBONES[backbone](x, **arguments)
        stride4, stride8, x = (encoded[f"stride{n}"] for n in (4, 8, 16))
        x = layers.Conv2D(4 * widths[2], 1, name="decode8_enlarge")(x)
        x = PixelShuffle(2, name="decode8_shuffle")(x)
        x = layers.Concatenate(name="decode8_skip")([x, stride8])
        x = normalized_conv(x, widths[2], "decode8")
        x = residual_block(x, "decode8_block")
        if hints:
            inputs["hints"] = keras.Input(
                (size[0] // 4, size[1] // 4, NUM_JOINTS), name="hints"
            )
            hinted = normalized_conv(inputs["hints"], widths[1], "hints", strides=2)
            hinted = layers.Conv2D(
                widths[2], 3, padding="same", kernel_initializer="zeros", name="hinted"
            )(hinted)
            # Added, from zero: the network of before is a start for one with hints.
            x = layers.Add(name="decode8_hinted")([x, hinted])
        for index, dilation in enumerate(decoder_dilations, start=1):
            x = residual_block(x, f"decode8_dilated{index}", dilation)

        channels = {"parsing": NUM_LABELS, "pose": NUM_JOINTS}
        if not pose:
            del channels["pose"]
        features = {
            task: normalized_conv(x, feature_width, f"{task}_0_feature")
            for task in channels
        }
        outputs = {}
        coarse = {}
        for step in range(rounds + 1):
            if step:
                features = {
                    task: _refine(task, step, features, coarse, feature_width)
                    for task in reversed(channels)
                }
            for task in channels:
                name = f"{task}_{step}"
                # Small first answers: a heatmap is empty but for a few cells.
                coarse[task] = layers.Conv2D(
                    4 * channels[task],
                    1,
                    kernel_initializer=keras.initializers.RandomNormal(stddev=0.01),
                    name=f"{name}_head",
                )(features[task])
                outputs[name] = PixelShuffle(2, name=name)(coarse[task])

        x = layers.Conv2D(4 * widths[1], 1, name="decode4_enlarge")(features["parsing"])
        x = PixelShuffle(2, name="decode4_shuffle")(x)
        x = layers.Concatenate(name="decode4_skip")(
            [x, stride4, outputs[f"parsing_{rounds}"]]
        )
        x = normalized_conv(x, widths[1], "decode4")
        x = layers.Conv2D(4 * NUM_LABELS, 1, name="parsing_difference")(x)
        x = PixelShuffle(2, name="parsing_shuffle")(x)
        enlarged = Upsample(2, name="parsing_enlarged")(outputs[f"parsing_{rounds}"])
        outputs["parsing"] = layers.Add(name="parsing")([x, enlarged])
        super().__init__(inputs=inputs, outputs=outputs, **kwargs)
        # === Config ===
        self.size = tuple(size)
        self.widths = tuple(widths)
        self.blocks = tuple(blocks)
        self.feature_width = feature_width
        self.rounds = rounds
        self.backbone = backbone
        self.pose = pose
        self.mask_channel = mask_channel
        self.hints = hints
        self.decoder_dilations = tuple(decoder_dilations)

    @functools.cached_property
    def halves(self) -> tuple[keras.Model, keras.Model]:
        """A network with hints in two: what hints do not change, and the rest.

        The first takes photo and mask, the second the first's answers and the hints.
        """
        hinted, skip = (
            self.get_layer(name).input for name in ("decode8_hinted", "decode4_skip")
        )
        shared = [hinted[0], skip[1]]
        first = keras.Model([self.input["image"], self.input["mask"]], shared)
        return first, keras.Model([*shared, self.input["hints"]], self.output)


def _refine(task: str, step: int, features: dict, coarse: dict, width: int) -> Tensor:
    """One task's next feature from its last one and both tasks' last predictions."""
    name = f"{task}_{step}"
    remapped = [
        layers.Conv2D(width // 2, 1, activation="relu", name=f"{name}_remap_{source}")(
            coarse[source]
        )
        for source in reversed(coarse)
    ]
    x = layers.Concatenate(name=f"{name}_inputs")([features[task], *remapped])
    x = normalized_conv(x, width, f"{name}_mix")
    # A 5x5 kernel stands for JPPNet's 5, 7 and 9: at 24x16 positions it reaches far.
    return normalized_conv(x, width, f"{name}_feature", kernel_size=5)


HINT_SIGMA = 0.021
"""Of the Gaussians of joint hints, as a part of the height."""
HINT_STRENGTH = 3.0
"""Peak of the heat maps of joints that are given; training's hints have 1."""

GUIDANCE = 1.0
"""How far a map goes beyond what given joints have changed in it."""

LIMBS = 5.0
"""Log-odds against the background, from a given joint of a limb to the next one."""
HANDS = 12.0
"""Log-odds of an arm's label at a given wrist and its hand; a sleeve ends before it."""
FOREARMS = 6.0
"""The same, from the wrist back to the elbow, where there may be a sleeve."""

_WIDTH = 0.011
"""Of the Gaussian across them, as a part of the height."""
_LIMB, _HAND, _FOREARM = (-0.1, 0.9), (-0.6, 0.1), (0.0, 0.85)
"""From the given joint, as parts of the way to the next one, nearer to the trunk."""
_NEXT = {0: 1, 1: 2, 5: 4, 4: 3, 10: 11, 11: 12, 15: 14, 14: 13}
"""The next joint, by `JOINTS`' numbers: of ankles, knees, wrists and elbows."""
_ARMS = {10: LABELS.index("RightArm"), 15: LABELS.index("LeftArm")}

_FOUND = 0.15


def find_structure(
    network: keras.Model, image: Tensor, mask: Tensor, hints: Tensor | None = None
) -> dict[str, Tensor]:
    """Asks stage 1 for a photo's structure.

    A network that takes hints is asked twice. Cross-entropy alone answers with the
    marginal of every pixel, and where a shoe could be here or there, the marginal is
    nowhere a shoe. A pose, however, is a place: given the joints that it has found
    itself, the network draws the map around them.

    Training has hints that agree with the photo. Where given joints do not, the network
    would rather believe the photo; it follows stronger hints further, and so it does
    with classifier-free guidance (Ho and Salimans, arXiv 2207.12598): in the hole, the
    answer without given joints is what the map moves away from. Then the limbs of given
    joints are drawn by rule (`LIMBS`, `HANDS`, `FOREARMS`), our choice, for stage 1 has
    seen too few hands in front of a coat. What both cost where joints are true,
    `python -m benchmarks.joints` prints.

    Args:
        network: Stage 1.
        image: `[B, H, W, 3]` in [-1, 1], 0 in the hole.
        mask: `[B, H, W, 1]`, 1.0 = hole.
        hints: `[B, 16, 3]`: x, y as parts of width and height, and 1.0 where the joint
            is given, 0.0 where the network is to find it. None: it finds all.

    Returns:
        The network's outputs.
    """
    image, mask = ops.convert_to_tensor(image), ops.convert_to_tensor(mask)
    if not getattr(network, "hints", False):
        return network({"image": image, "mask": mask}, training=False)
    encode, decode = network.halves
    encoded = encode([image, mask], training=False)
    size = tuple(side // 4 for side in network.size)
    asked = hints is not None
    if not asked:
        # From a tensor of the batch, whose length a graph does not know.
        hints = ops.zeros((ops.shape(mask)[0], NUM_JOINTS, 3))
    given = hints[..., 2:] > 0
    none = joint_heatmaps(hints * 0.0, size, HINT_SIGMA)
    first = decode([*encoded, none], training=False)
    peaks = heatmap_peaks(first[f"pose_{network.rounds}"])
    found = ops.cast(peaks[..., 2:] > _FOUND, "float32")
    joints = ops.concatenate([peaks[..., :2], found], axis=-1)
    joints = ops.where(given, hints, joints)
    strength = np.array([1, 1, HINT_STRENGTH], "float32")
    strong = ops.where(given, strength * joints, joints)
    committed = joint_heatmaps(strong, size, HINT_SIGMA)
    outputs = decode([*encoded, committed], training=False)
    if not asked:
        # A graph then leaves out the first map.
        return outputs
    told = ops.max(ops.cast(given, "float32"), axis=1, keepdims=True)[..., None]
    hole = resize_bilinear(mask, tuple(side // 2 for side in network.size))
    parsing = outputs["parsing"]
    weight = ops.cast(GUIDANCE * told * hole, parsing.dtype)
    parsing = parsing + weight * (parsing - first["parsing"])
    # In ONNX Runtime a user's joints are an input that is 0 most of the time.
    limbs = ops.cond(
        ops.max(hints[..., 2]) > 0,
        lambda: ops.cast(hole * _limbs(hints, joints, hole.shape[1:3]), parsing.dtype),
        lambda: ops.zeros(ops.shape(parsing), dtype=parsing.dtype),
    )
    return {**outputs, "parsing": parsing + limbs}


def _limbs(given: Tensor, joints: Tensor, size: tuple[int, int]) -> Tensor:
    """Log-odds that the limbs of given joints add to a map: `[B, h, w, 20]`.

    Args:
        given: `[B, 16, 3]`, the hints of `find_structure`.
        joints: The given ones, and those that were found; a limb whose next joint is
            not known is round.
        size: h and w.
    """

    def maps(ends: list[int], part: tuple[float, float]) -> Tensor:
        end = ops.take(given, ends, axis=1)
        inner = ops.take(joints, [_NEXT[one] for one in ends], axis=1)
        way = (inner - end) * inner[..., 2:] * np.float32([1, 1, 0])
        return segment_heatmaps(end + part[0] * way, end + part[1] * way, size, _WIDTH)

    body = ops.max(maps(list(_NEXT), _LIMB), axis=-1, keepdims=True)
    wrists = list(_ARMS)
    arms = ops.maximum(HANDS * maps(wrists, _HAND), FOREARMS * maps(wrists, _FOREARM))
    labels = np.eye(NUM_LABELS, dtype=np.float32)
    return ops.matmul(arms, labels[list(_ARMS.values())]) - LIMBS * body * labels[0]


def full_size_logits(outputs: dict, size: tuple[int, int]) -> Tensor:
    """The answer at the photo's size: `[B, H, W, 20]`, enlarged bilinearly."""
    return resize_bilinear(outputs["parsing"], size)


def parsing_probabilities(outputs: dict, size: tuple[int, int]) -> Tensor:
    """What stage 2 is given: probabilities `[B, H, W, 20]`."""
    return ops.softmax(full_size_logits(outputs, size), axis=-1)


def parsing_labels(probabilities: Tensor) -> Tensor:
    """The label of every pixel, int32 `[B, H, W]`, of probabilities `[B, H, W, 20]`.

    The part of the body first (`LABEL_GROUPS`), then the likeliest label of it: three
    kinds of coat are a torso, though each may be less likely than the one background.
    """
    parts = grouped(probabilities)
    chosen = ops.cast(parts >= ops.max(parts, axis=-1, keepdims=True), "float32")
    return ops.argmax(probabilities * of_labels(chosen), axis=-1)


def true_parsing(labels: Tensor, predicted: Tensor) -> Tensor:
    """The true map as stage 2 takes it; void pixels are predicted.

    Args:
        labels: int32 `[B, H, W]`; 20 and above is void.
        predicted: `[B, H, W, 20]` probabilities.
    """
    known = (labels < NUM_LABELS)[..., None]
    return ops.where(known, ops.one_hot(labels, NUM_LABELS), predicted)
