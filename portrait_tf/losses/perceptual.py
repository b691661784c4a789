"""Distances of VGG features: their values, and their Gram matrices."""

import logging
import pathlib
import random

import h5py
import keras

from portrait_tf.compat import Tensor, ops, replicas
from portrait_tf.errors import PortraitError
from portrait_tf.losses.base import ConfigLoss

logger = logging.getLogger(__name__)

# What Keras' VGG networks subtract from BGR in 0..255: ImageNet's means.
_MEANS = (103.939, 116.779, 123.68)


@keras.saving.register_keras_serializable("portrait_tf")
class PerceptualLoss(ConfigLoss):
    """Weighted mean absolute difference of VGG features (arXiv 1603.08155).

    `sum_n w_n * mean(|F_n(y_true) - F_n(y_pred)|) / mean(|F_n(y_true)|)` over layers n.
    Features grow with depth: relative to the truth's own mean, layers and weights files
    are comparable. The paper of this project takes VGG-19; VGG-16 is for weights that
    exist for it alone.

    Args:
        network: `vgg19` or `vgg16`.
        weights: `imagenet` (Keras downloads it), `random`, or the path of a weights
            file that holds at least the convolutions up to the deepest layer.
        layers: Weight of each layer, by Keras' layer names.
        scale: Photos are averaged over squares of this side first.
        seed: Of the random weights.
        difference: `relative`, as above; or `unit`, LPIPS' (arXiv 1801.03924, without
            its learned weights of channels): features are divided by their length at
            every position, and `sum_n w_n * mean_positions(sum_channels(d^2))` taken.
            A faint texture that is missing counts as much as a strong one.

    Call with `(y_true, y_pred, mask)`: photos `[B, H, W, 3]` in [-1, 1] and the hole,
    outside which the truth stands for the prediction; without a mask, `y_pred` is
    compared as it is. To share features with `StyleLoss`, `extract` both and `compare`.

    Raises:
        PortraitError: An unknown layer, or weights that cannot be had.
    """

    def __init__(
        self,
        network: str = "vgg19",
        weights: str = "imagenet",
        layers: dict[str, float] | None = None,
        scale: int = 1,
        seed: int = 0,
        difference: str = "relative",
    ) -> None:
        self.network = network
        self.weights = weights
        self.layers = layers or {"block3_conv3": 1.0}
        self.scale = scale
        self.seed = seed
        self.difference = difference
        self.features = build_vgg(network, weights, list(self.layers), seed)

    def _preprocess(self, x: Tensor) -> Tensor:
        x = ops.cast(x, "float32")
        if self.scale > 1:
            x = ops.average_pool(x, self.scale, self.scale)
        x = ops.flip((x + 1.0) * 127.5, axis=-1)
        return x - ops.convert_to_tensor(_MEANS, dtype="float32")

    def extract(self, photos: Tensor) -> dict:
        """Features by layer of photos `[B, H, W, 3]` in [-1, 1]: `float32`.

        Under a mixed dtype policy the network itself computes in that.
        """
        features = self.features(self._preprocess(photos))
        return {name: ops.cast(one, "float32") for name, one in features.items()}

    def compare(self, real: dict, fake: dict) -> Tensor:
        """The loss between what `extract` gives of the truth and of another."""
        total = 0.0
        for name, weight in self.layers.items():
            truth = ops.stop_gradient(real[name])
            if self.difference == "unit":
                term = ops.mean(_unit_distance(truth, fake[name]))
            else:
                term = ops.mean(ops.abs(truth - fake[name])) / _typical(truth)
            total = total + weight * term
        return total

    def __call__(
        self, y_true: Tensor, y_pred: Tensor, mask: Tensor | None = None
    ) -> Tensor:
        if mask is not None:
            y_pred = y_true * (1.0 - mask) + y_pred * mask
        return self.compare(self.extract(y_true), self.extract(y_pred))


@keras.saving.register_keras_serializable("portrait_tf")
class StyleLoss(ConfigLoss):
    """Distance of Gram matrices of VGG features (Gatys et al., arXiv 1508.06576).

    `sum_n w_n * mean(|G_n(truth) - G_n(painted)|)` over layers n, with
    `G = K * F^T F` of features F `[H * W, C]` and `K = 1 / (C * H * W)`, as partial
    convolutions have it (arXiv 1804.07723). Ours divides F by the mean of the truth's
    |F| first, as `PerceptualLoss` does, so that weights carry over between VGGs.

    Args:
        layers: Weight of each layer, by Keras' layer names.

    Call with `real, fake`: features by layer, from `PerceptualLoss.extract`.
    """

    def __init__(self, layers: dict[str, float]) -> None:
        self.layers = layers

    def __call__(self, real: dict, fake: dict) -> Tensor:
        total = 0.0
        for name, weight in self.layers.items():
            truth = ops.stop_gradient(real[name])
            unit = _typical(truth)
            difference = _gram(truth / unit) - _gram(fake[name] / unit)
            total = total + weight * ops.mean(ops.abs(difference))
        return total


def _unit_distance(x: Tensor, y: Tensor) -> Tensor:
    """Squared distance of features divided by their lengths: `[B, H, W]`.

    Expanded, so that nothing as large as the features is divided: half the time.
    """
    # Added to the squared lengths: a root's gradient at 0 would be infinite.
    least = 1e-6
    xx, yy, xy = (ops.sum(a * b, axis=-1) for a, b in ((x, x), (y, y), (x, y)))
    return (
        xx / (xx + least)
        + yy / (yy + least)
        - 2.0 * xy / ops.sqrt((xx + least) * (yy + least))
    )


def _typical(features: Tensor) -> Tensor:
    mean = replicas.total(ops.mean(ops.abs(features))) / replicas.count()
    return ops.maximum(mean, 1e-6)


def _gram(features: Tensor) -> Tensor:
    """`[B, H, W, C]` -> `[B, C, C]`."""
    height, width, channels = ops.shape(features)[1:]
    flat = ops.reshape(features, (-1, height * width, channels))
    size = ops.cast(channels * height * width, features.dtype)
    return ops.matmul(ops.transpose(flat, (0, 2, 1)), flat) / size


def build_vgg(
    network: str, weights: str, layers: list[str], seed: int = 0
) -> keras.Model:
    """A frozen VGG that returns a dict of the named layers' outputs.

    Args:
        network: `vgg19` or `vgg16`.
        weights: `imagenet`, `random`, or a file's path.
        layers: Keras' layer names; the network ends at the deepest.
        seed: Of the random weights.

    Raises:
        PortraitError: An unknown layer, or weights that cannot be had.
    """
    build = {"vgg19": keras.applications.VGG19, "vgg16": keras.applications.VGG16}
    arguments = {"include_top": False, "input_shape": (None, None, 3)}
    if weights == "imagenet":
        try:
            vgg = build[network](weights="imagenet", **arguments)
        except Exception as error:
            # Keras wraps every download error in a bare Exception.
            raise PortraitError(
                f"perceptual.weights: the ImageNet weights of {network} could not be "
                f"downloaded ({error}); give the path of a weights file, or 'random'"
            ) from None
    else:
        vgg = build[network](weights=None, **arguments)
    names = [layer.name for layer in vgg.layers]
    unknown = [name for name in layers if name not in names]
    if unknown:
        raise PortraitError(
            f"perceptual.layers: {network} has no layer {unknown[0]!r}; it has "
            + ", ".join(name for name in names if "conv" in name)
        )
    features = keras.Model(
        vgg.input, {name: vgg.get_layer(name).output for name in layers}
    )
    features.trainable = False
    if weights not in ("imagenet", "random"):
        load_vgg_file(features, weights)
    if weights == "random":
        _draw_weights(features, seed)
        logger.warning(
            "perceptual loss: %s has RANDOM weights; results will be weaker than with "
            "trained ones (completion.perceptual.weights)",
            network,
        )
    else:
        logger.info("perceptual loss: %s with weights %s", network, weights)
    return features


def _draw_weights(vgg: keras.Model, seed: int) -> None:
    """Keras' initial weights, from a seed that nothing else of the process draws on."""
    chance = random.Random(seed)
    for layer in vgg.layers:
        if isinstance(layer, keras.layers.Conv2D):
            draw = keras.initializers.GlorotUniform(chance.randint(1, 10**9))
            layer.kernel.assign(draw(layer.kernel.shape))


def load_vgg_file(vgg: keras.Model, path: str) -> None:
    """Loads the convolutions of a VGG from an HDF5 file, by block and position.

    Reads Keras' own files (`block1_conv2/...`) and files of networks that hold VGG
    blocks as sublayers (`block1/layers/conv2d_1/vars/0`). What the file has beyond the
    network's convolutions is left unread.

    Raises:
        PortraitError: The file is missing, is no HDF5, or lacks a convolution.
    """
    if not pathlib.Path(path).is_file():
        raise PortraitError(f"perceptual.weights: no such file: {path}")
    arrays = {}
    try:
        with h5py.File(path) as file:

            def keep(name: str, item: object) -> None:
                if isinstance(item, h5py.Dataset):
                    arrays[name] = item

            file.visititems(keep)
            for layer in vgg.layers:
                if not isinstance(layer, keras.layers.Conv2D):
                    continue
                layer.set_weights(_find_convolution(arrays, layer, path))
    except OSError as error:
        raise PortraitError(
            f"perceptual.weights: {path} is not an HDF5 weights file: {error}"
        ) from None


def _find_convolution(arrays: dict, layer: keras.layers.Conv2D, path: str) -> list:
    block, conv = layer.name.split("_")
    index = int(conv.removeprefix("conv")) - 1
    nested = f"{block}/layers/conv2d{f'_{index}' if index else ''}/"
    for prefix in (f"{layer.name}/", f"layers/{layer.name}/", nested):
        found = [array[...] for name, array in arrays.items() if prefix in f"/{name}"]
        # The kernel is the one of rank 4, whatever the file calls it.
        found.sort(key=lambda array: -array.ndim)
        if [array.shape for array in found] == [w.shape for w in layer.get_weights()]:
            return found
    raise PortraitError(
        f"perceptual.weights: {path} has no weights that fit {layer.name} "
        f"(kernel {tuple(layer.kernel.shape)})"
    )
