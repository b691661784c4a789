"""Stage 2: paints the hole, guided by the parsing map.

Photos are RGB in [-1, 1], their hole set to 0; masks are 1.0 in the hole; the parsing
map comes as 20 probabilities.
"""

from collections.abc import Callable

import keras
from keras import layers

from portrait_tf.compat import Tensor
from portrait_tf.config import parse_section
from portrait_tf.config.completion import CompletionNetworkConfig
from portrait_tf.labels import NUM_LABELS
from portrait_tf.layers import (
    LabelAttention,
    NoiseChannels,
    ParsingGuidedFill,
    PixelShuffle,
    PushPull,
    SharpenParsing,
    TextureNoise,
)
from portrait_tf.models.blocks import (
    SHUFFLE_FILTERS,
    check_size,
    gated_conv,
    gated_residual_block,
    global_context,
    plain_conv,
    plain_residual_block,
    separable_conv,
    separable_residual_block,
)
from portrait_tf.models.network import Network

_CONVOLUTIONS = {
    "plain": (plain_conv, plain_residual_block),
    "gated": (gated_conv, gated_residual_block),
    "separable": (separable_conv, separable_residual_block),
}


@keras.saving.register_keras_serializable("portrait_tf")
class CompletionNetwork(Network):
    """Encoder, dilated residual middle, decoder with skips.

    Inputs and shape follow *Deep Portrait Image Completion and Extrapolation* (arXiv
    1808.07757, stage 2), the dilated middle Iizuka et al. (*Globally and Locally
    Consistent Image Completion*, SIGGRAPH 2017). The paper's layer table is not known
    to us: widths, skips and pixel-shuffle ends are our choice, made so that no
    convolution runs at full resolution. So are `prefill`, a smooth guess that the
    network adds to, so that it starts without a seam, and the lack of normalization.

    Args:
        size: Height and width; multiples of the largest stride.
        widths: Channels at `stem` and at every doubling of it: strides 2, 4 and 8.
        stem: Stride of the first convolution and of the last shuffle, 2 or 4. With 4
            a photo has a quarter of the positions from end to end.
        blocks: Residual blocks at every stride but the largest, on the way down and
            again on the way up.
        dilations: One residual block of the middle, at the largest stride, each.
        prefill: What the output is a difference to: `parsing`, each label's colors
            spread over its part of the hole; `plain`, a membrane; `none`, the photo
            with its hole.
        prefill_stride: At which label colors spread, 4 or 8; with 8 they take a
            sixteenth of the arithmetic.
        sharpness: Power that the map's probabilities are raised to before anything
            reads them (`SharpenParsing`); 1 leaves it as it is.
        parsing: Whether the network takes the map; without it, it is no longer the
            paper's, and shows what the map is worth.
        convolution: `plain`; `gated` (DeepFill v2, arXiv 1806.03589), which learns
            to tell what is known from what is not, for two thirds more arithmetic; or
            `separable` (MobileNets, arXiv 1704.04861), for an eighth of it.
        attention: From all positions of the middle to the known ones, halfway through
            the dilated middle: `none`, `any`, or `same_label` (`LabelAttention`).
        noise: Channels of Gaussian noise at the input, in training alone
            (`NoiseChannels`).
        upsampling: Of the decoder, by 1x1 convolutions and pixel shuffles: `shuffle`,
            which leaves a grid of its stride in the picture (Odena et al.,
            *Deconvolution and Checkerboard Artifacts*, Distill 2016); or
            `smooth_shuffle`, which blurs behind each. Both have the same weights. The
            last step, to full resolution, is not blurred.
        texture_noise: A fixed field of noise behind the middle and every step of the
            decoder (`TextureNoise`).

    Call with `{"image": [B, H, W, 3], "parsing": [B, H, W, 20], "mask": [B, H, W, 1]}`;
    without the map if `takes_parsing` is false: `completion_inputs` makes the dict.
    Returns `{"painted": [B, H, W, 3]}`, the whole photo repainted, not clipped.

    Raises:
        ValueError: The size is no multiple of the largest stride; an option is none of
            the above, or needs the map that `parsing` leaves out.

    Example:

    ```python
    network = CompletionNetwork(size=(192, 128))
    painted = network({"image": photos * (1 - masks), "parsing": p, "mask": masks})
    ```
    """

    def __init__(
        self,
        size: tuple[int, int] = (192, 128),
        widths: tuple[int, ...] = (32, 64, 128),
        dilations: tuple[int, ...] = (1, 2, 4, 8, 2, 1),
        prefill: str = "parsing",
        parsing: bool = True,
        convolution: str = "plain",
        attention: str = "none",
        noise: int = 0,
        stem: int = 2,
        blocks: int = 0,
        prefill_stride: int = 4,
        sharpness: float = 1.0,
        upsampling: str = "shuffle",
        texture_noise: bool = False,
        **kwargs: object,
    ) -> None:
        chosen = {
            "stem": stem, "prefill": prefill, "prefill_stride": prefill_stride,
            "parsing": parsing, "convolution": convolution, "attention": attention,
            "upsampling": upsampling,
        }  # fmt: skip
        parse_section(CompletionNetworkConfig, chosen, type(self).__name__)
        strides = [stem * 2**level for level in range(len(widths))]
        check_size(size, strides[-1])
        conv, residual_block = _CONVOLUTIONS[convolution]
        # === Layers and Functional Model ===
        image = keras.Input((*size, 3), name="image")
        mask = keras.Input((*size, 1), name="mask")
        inputs, structure = {"image": image, "mask": mask}, []
        if parsing:
            inputs["parsing"] = keras.Input((*size, NUM_LABELS), name="parsing")
            structure = [inputs["parsing"]]
            if sharpness != 1.0:
                structure = [SharpenParsing(sharpness, name="sharpen")(structure[0])]
        start = _first_guess(prefill, prefill_stride, image, mask, structure)
        known = [start, *structure, mask]
        if noise:
            known.append(NoiseChannels(noise, name="noise")(mask))
        x = layers.Concatenate(name="inputs")(known)
        # As in MobileNets: the first one has few channels, and has to mix them.
        first = plain_conv if convolution == "separable" else conv
        x = first(x, widths[0], f"stride{stem}", kernel_size=stem + 3, strides=stem)
        x = _blocks(residual_block, x, f"stride{stem}", blocks)
        skips = [x]
        for stride, width in zip(strides[1:-1], widths[1:-1], strict=True):
            x = conv(x, width, f"stride{stride}_down", strides=2)
            x = conv(x, width, f"stride{stride}")
            x = _blocks(residual_block, x, f"stride{stride}", blocks)
            skips.append(x)
        x = conv(x, widths[-1], f"stride{strides[-1]}", strides=2)
        middle = -(-len(dilations) // 2)
        for index, dilation in enumerate(dilations[:middle]):
            x = residual_block(x, f"middle_block{index + 1}", dilation)
        if attention != "none":
            x = _attend(x, attention, [image, mask, *structure])
        for index, dilation in enumerate(dilations[middle:], middle):
            x = residual_block(x, f"middle_block{index + 1}", dilation)
        x = global_context(x, "context")
        if texture_noise:
            x = TextureNoise(strides[-1], name="middle_noise")(x)
        inner, last = SHUFFLE_FILTERS[upsampling]
        for level in reversed(range(len(skips))):
            name, width = f"decode{strides[level]}", widths[level]
            x = layers.Conv2D(4 * width, 1, name=f"{name}_enlarge")(x)
            x = PixelShuffle(2, inner, name=f"{name}_shuffle")(x)
            x = layers.Concatenate(name=f"{name}_skip")([x, skips[level]])
            x = conv(x, width, name)
            if texture_noise:
                x = TextureNoise(strides[level], name=f"{name}_noise")(x)
            x = _blocks(residual_block, x, name, blocks)
        x = layers.Conv2D(
            3 * stem**2,
            3,
            padding="same",
            kernel_initializer="zeros",
            name="painted_conv",
        )(x)
        x = PixelShuffle(stem, last, name="painted_shuffle")(x)
        # In float32 under any policy: bfloat16 has but 256 grays.
        painted = layers.Add(name="painted", dtype="float32")([x, start])
        super().__init__(inputs=inputs, outputs={"painted": painted}, **kwargs)
        # === Config ===
        self.size = tuple(size)
        self.widths = tuple(widths)
        self.stem = stem
        self.blocks = blocks
        self.dilations = tuple(dilations)
        self.prefill = prefill
        self.prefill_stride = prefill_stride
        self.sharpness = sharpness
        self.parsing = parsing
        self.convolution = convolution
        self.attention = attention
        self.noise = noise
        self.upsampling = upsampling
        self.texture_noise = texture_noise

    @property
    def takes_parsing(self) -> bool:
        """Whether it is called with a parsing map."""
        return self.parsing

    @property
    def noise_state(self) -> list:
        """Where the noise has got to; a resumed run needs it, no weights file does."""
        return [self.get_layer("noise").state] if self.noise else []


def _first_guess(
    prefill: str, stride: int, image: Tensor, mask: Tensor, structure: list
) -> Tensor:
    """The photo that the network's output is a difference to."""
    if prefill == "parsing":
        return ParsingGuidedFill(
            # As many relaxations as reach as far as 80 at stride 4.
            label_relaxations=80 * 16 // stride**2,
            label_stride=stride,
            name="prefill",
        )([image, mask, *structure])
    if prefill == "plain":
        return PushPull(name="prefill")([image, mask])
    return image


def _attend(x: Tensor, attention: str, known: list) -> Tensor:
    """Adds features of known positions; `known` is image, mask and perhaps the map."""
    same_label = attention == "same_label"
    layer = LabelAttention(max(1, x.shape[-1] // 2), same_label, name="attention")
    gathered = layer([x, *known[: 3 if same_label else 2]])
    return layers.Add(name="attention_add")([x, gathered])


def _blocks(block: Callable, x: Tensor, name: str, count: int) -> Tensor:
    for index in range(count):
        x = block(x, f"{name}_block{index + 1}")
    return x


def completion_inputs(
    network: keras.Model, image: Tensor, parsing: Tensor, mask: Tensor
) -> dict[str, Tensor]:
    """What a network of stage 2 is called with.

    Args:
        network: Its `takes_parsing` says whether it is given the map.
        image: `[B, H, W, 3]` in [-1, 1], its hole set to 0.
        parsing: `[B, H, W, 20]` probabilities.
        mask: `[B, H, W, 1]`, 1.0 = hole.
    """
    inputs = {"image": image, "mask": mask}
    return {**inputs, "parsing": parsing} if network.takes_parsing else inputs
