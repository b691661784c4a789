"""JPPNet, layer by layer: the network that `ParsingNetwork` is the small sister of.

Inputs and outputs are those of `ParsingNetwork`, at stride 8 throughout.
"""

import keras
from keras import layers

from portrait_tf.compat import Tensor
from portrait_tf.labels import NUM_JOINTS, NUM_LABELS
from portrait_tf.models.backbones import resnet
from portrait_tf.models.blocks import check_size
from portrait_tf.models.network import Network

_ATROUS_RATES = (6, 12, 18, 24)
# Of the refinement: kernel and channels; the feature is what the fourth gives.
_REFINEMENT = ((3, 512), (5, 256), (7, 256), (9, 256))


@keras.saving.register_keras_serializable("portrait_tf")
class JPPNet(Network):
    """Parsing and pose that refine each other over a ResNet-101 (arXiv 1804.01984).

    The layer table is that of the authors' code. The first weights of what is not
    pretrained are our choice, and so is `mask_channel`: JPPNet knows of no holes.

    Any height and width can be called with, though one `size` is what it is made for:
    it is trained on photos at several scales (`parsing.scales`).

    Args:
        size: Height and width; multiples of 8.
        rounds: Refinement rounds.
        backbone: `resnet101` or `resnet50`.
        mask_channel: The encoder sees the mask beside the photo; without, the mask is
            an input that nothing reads.
        width_divisor: Of all channels but the answers', for tests.

    Call with `{"image": [B, H, W, 3], "mask": [B, H, W, 1]}`. Returns a dict:

    * `parsing_0` ... `parsing_<rounds>`: logits `[B, H/8, W/8, 20]`,
    * `pose_0` ... `pose_<rounds>`: heatmaps `[B, H/8, W/8, 16]`,
    * `parsing`: the last round's logits, the answer.

    Example:

    ```python
    network = JPPNet(size=(384, 384))
    load_backbone_weights(network, "imagenet")
    outputs = network({"image": photos * (1 - masks), "mask": masks})
    ```
    """

    pose = True

    def __init__(
        self,
        size: tuple[int, int] = (384, 384),
        rounds: int = 2,
        backbone: str = "resnet101",
        mask_channel: bool = False,
        width_divisor: int = 1,
        **kwargs: object,
    ) -> None:
        check_size(size, 8)

        def conv(x: Tensor, filters: int, name: str, kernel_size: int = 3) -> Tensor:
            return layers.Conv2D(
                filters // width_divisor,
                kernel_size,
                padding="same",
                activation="relu",
                kernel_initializer="he_normal",
                name=name,
            )(x)

        # === Layers and Functional Model ===
        image = keras.Input((None, None, 3), name="image")
        mask = keras.Input((None, None, 1), name="mask")
        x = image
        if mask_channel:
            x = layers.Concatenate(name="image_and_mask")([image, mask])
        encoded = resnet(x, backbone, {4: 2, 5: 4}, width_divisor)
        outputs = {"parsing_0": _atrous_sum(encoded["conv5"], "parsing_0")}
        x = conv(encoded["conv5"], 512, "parsing_0_conv1")
        features = {"parsing": conv(x, 256, "parsing_0_feature")}
        x = encoded["conv4"]
        for index, filters in enumerate((512, 512, 256, 256, 256), 1):
            x = conv(x, filters, f"pose_0_conv{index}")
        features["pose"] = conv(x, 256, "pose_0_feature")
        x = conv(features["pose"], 512, "pose_0_top", kernel_size=1)
        outputs["pose_0"] = _heatmaps(x, "pose_0")
        for step in range(1, rounds + 1):
            for task, answer in (("pose", _heatmaps), ("parsing", _atrous_sum)):
                name = f"{task}_{step}"
                # Both tasks read the round before, of both.
                remapped = [
                    conv(
                        outputs[f"{source}_{step - 1}"],
                        128,
                        f"{name}_remap_{source}",
                        kernel_size=1,
                    )
                    for source in ("pose", "parsing")
                ]
                x = layers.Concatenate(name=f"{name}_inputs")(
                    [features[task], *remapped]
                )
                for index, (kernel_size, filters) in enumerate(_REFINEMENT, 1):
                    last = index == len(_REFINEMENT)
                    layer = f"{name}_feature" if last else f"{name}_conv{index}"
                    x = conv(x, filters, layer, kernel_size)
                features[task] = x
                x = conv(x, 256, f"{name}_top", kernel_size=1)
                outputs[name] = answer(x, name)
        outputs["parsing"] = outputs[f"parsing_{rounds}"]
        super().__init__(
            inputs={"image": image, "mask": mask}, outputs=outputs, **kwargs
        )
        # === Config ===
        self.size = tuple(size)
        self.rounds = rounds
        self.backbone = backbone
        self.mask_channel = mask_channel
        self.width_divisor = width_divisor


def _small_start() -> keras.initializers.Initializer:
    return keras.initializers.RandomNormal(stddev=0.01)


def _heatmaps(x: Tensor, name: str) -> Tensor:
    return layers.Conv2D(NUM_JOINTS, 1, kernel_initializer=_small_start(), name=name)(x)


def _atrous_sum(x: Tensor, name: str) -> Tensor:
    """Logits as the sum of four dilated convolutions (DeepLab, arXiv 1606.00915)."""
    return layers.Add(name=name)(
        [
            layers.Conv2D(
                NUM_LABELS,
                3,
                dilation_rate=rate,
                padding="same",
                kernel_initializer=_small_start(),
                name=f"{name}_rate{rate}",
            )(x)
            for rate in _ATROUS_RATES
        ]
    )
