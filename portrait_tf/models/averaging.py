"""Stage 1 asked several times, and its answers averaged.

JPPNet is tested so: at the scales 1, 0.75 and 1.25, each mirrored, too (arXiv
1804.01984, and its code).
"""

import keras

from portrait_tf.compat import ops
from portrait_tf.errors import PortraitError
from portrait_tf.labels import FLIPPED_JOINTS, FLIPPED_LABELS
from portrait_tf.layers import resize_bilinear
from portrait_tf.models.parsing import full_size_logits, parsing_probabilities

_MULTIPLE = 16


class AveragedParsing:
    """Averages stage 1 over scales and over the mirrored photo.

    With `flip` off and the one scale 1 it is the network's answer itself.

    Args:
        network: Stage 1. Its weights are copied for every other scale, as they are now.
        flip: Whether the mirrored photo is asked, too.
        scales: Of the working size; each is rounded to multiples of 16.

    Attributes:
        networks: One a scale, in order.

    Raises:
        PortraitError: There is no scale, or one that is not above 0.

    Example:

    ```python
    structure = AveragedParsing(network, flip=True, scales=(1.0, 0.75, 1.25))
    labels = structure(photos * (1 - masks), masks)["parsing"].argmax(-1)
    ```
    """

    def __init__(
        self,
        network: keras.Model,
        flip: bool = False,
        scales: tuple[float, ...] = (1.0,),
    ) -> None:
        if not scales or min(scales) <= 0:
            raise PortraitError(
                f"expected at least one scale, and each above 0, received {scales}"
            )
        self.network = network
        self.flip = flip
        self.scales = tuple(scales)
        self.size = tuple(network.size)
        self.networks = [self._at_scale(scale) for scale in self.scales]

    def _at_scale(self, scale: float) -> keras.Model:
        size = tuple(
            max(_MULTIPLE, round(side * scale / _MULTIPLE) * _MULTIPLE)
            for side in self.size
        )
        if size == self.size:
            return self.network
        name = f"{self.network.name}_{size[0]}x{size[1]}"
        config = {**self.network.get_config(), "size": size, "name": name}
        network = type(self.network).from_config(config)
        network.set_weights(self.network.get_weights())
        return network

    def __call__(self, image: object, mask: object) -> dict[str, object]:
        """Asks the network.

        Args:
            image: `float32` `[B, h, w, 3]` in [-1, 1], 0 in the hole.
            mask: `float32` `[B, h, w, 1]`, 1.0 = hole.

        Returns:
            `parsing` `[B, h, w, 20]` probabilities; `logits` `[B, h, w, 20]`, their
            logarithms where several answers are averaged; `pose` `[B, h/4, w/4, 16]`
            heatmaps.
        """
        if not self.flip and self.networks == [self.network]:
            structure = self.network({"image": image, "mask": mask}, training=False)
            return {
                "parsing": parsing_probabilities(structure, self.size),
                "logits": full_size_logits(structure, self.size),
                "pose": structure[f"pose_{self.network.rounds}"],
            }
        cells = (self.size[0] // 4, self.size[1] // 4)
        answers = [
            self._ask(network, *_scaled(image, mask, network.size), cells)
            for network in self.networks
        ]
        parsing, pose = (
            sum(maps) / float(len(answers)) for maps in zip(*answers, strict=True)
        )
        return {
            "parsing": parsing,
            "logits": ops.log(ops.maximum(parsing, 1e-9)),
            "pose": pose,
        }

    def _ask(
        self, network: keras.Model, image: object, mask: object, cells: tuple[int, int]
    ) -> tuple[object, object]:
        """Probabilities at the working size and heatmaps of `cells`."""
        if self.flip:
            # One call for both: a graph then holds the network once.
            image, mask = (
                ops.concatenate([x, ops.flip(x, axis=2)]) for x in (image, mask)
            )
        structure = network({"image": image, "mask": mask}, training=False)
        parsing = parsing_probabilities(structure, self.size)
        pose = structure[f"pose_{network.rounds}"]
        if tuple(pose.shape[1:3]) != cells:
            pose = resize_bilinear(pose, cells)
        if self.flip:
            parsing = _mean_with_mirrored(parsing, FLIPPED_LABELS)
            pose = _mean_with_mirrored(pose, FLIPPED_JOINTS)
        return parsing, pose


def _mean_with_mirrored(maps: object, swapped: object) -> object:
    """Mean of a batch's first half with its second half mirrored back."""
    plain, mirrored = ops.split(maps, 2, axis=0)
    return (plain + ops.take(ops.flip(mirrored, axis=2), swapped, axis=-1)) / 2.0


def _scaled(image: object, mask: object, size: tuple[int, int]) -> tuple:
    """Photo and mask at another size; nothing of the hole gets into known pixels."""
    if tuple(image.shape[1:3]) == tuple(size):
        return image, mask
    known = 1.0 - mask
    values = ops.image.resize(
        ops.concatenate([image * known, known], axis=-1),
        size,
        interpolation="bilinear",
        antialias=True,
    )
    weight = values[..., 3:]
    mask = ops.cast(weight < 0.999, "float32")
    return values[..., :3] / ops.maximum(weight, 1e-3) * (1.0 - mask), mask
