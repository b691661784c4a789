"""Stage 1 asked several times, and its answers averaged.

JPPNet is tested so: at the scales 1, 0.75 and 1.25, each mirrored, too (arXiv
1804.01984, and its code).
"""

from collections.abc import Callable

import keras
import numpy as np

from portrait_tf.compat import ops
from portrait_tf.errors import PortraitError
from portrait_tf.labels import FLIPPED_JOINTS, FLIPPED_LABELS
from portrait_tf.layers import heatmap_peaks, resize_bilinear
from portrait_tf.models.parsing import (
    find_structure,
    full_size_logits,
    parsing_probabilities,
)
from portrait_tf.runs.weights import at_size

_MULTIPLE = 16


class AveragedParsing:
    """Averages stage 1 over scales and over the mirrored photo.

    With `flip` off and the one scale 1 it is the network's answer itself.

    Args:
        network: Stage 1. One of a single size (`ParsingNetwork`) has its weights copied
            for every other scale, as they are now.
        flip: Whether the mirrored photo is asked, too.
        scales: Of the working size; each is rounded to multiples of 16.

    Attributes:
        networks: One a scale, in order; the same one where it takes any size.
        sizes: Height and width that each is asked at.

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
        self.sizes = [self._scaled_size(scale) for scale in self.scales]
        self.networks = [self._at_size(size) for size in self.sizes]
        self._shift = self._pose_shift()
        self._traced = None

    def _scaled_size(self, scale: float) -> tuple[int, int]:
        height, width = (
            max(_MULTIPLE, round(side * scale / _MULTIPLE) * _MULTIPLE)
            for side in self.size
        )
        # A size that is no multiple itself is still the network's own.
        return self.size if scale == 1.0 else (height, width)

    def _pose_shift(self) -> np.ndarray:
        """How far a joint in averaged heat maps is from `geometry.joint_parts`.

        A network draws the joint at x at `x / w` of its own width w, half a pixel to
        the left. At another scale that is another half pixel, and a mirrored map, once
        mirrored back, is half a pixel too far to the right.
        """
        down, across = (
            np.mean([0.5 / own - 0.5 / size[axis] for size in self.sizes])
            for axis, own in enumerate(self.size)
        )
        return np.float32([0.5 / self.size[1] if self.flip else across, down, 0])

    def _at_size(self, size: tuple[int, int]) -> keras.Model:
        takes_any = self.network.input["image"].shape[1] is None
        if takes_any:
            return self.network
        name = f"{self.network.name}_{size[0]}x{size[1]}"
        return at_size(self.network, size, name)

    def __call__(
        self, image: object, mask: object, hints: object | None = None
    ) -> dict[str, object]:
        """Asks the network.

        Args:
            image: `float32` `[B, h, w, 3]` in [-1, 1], 0 in the hole.
            mask: `float32` `[B, h, w, 1]`, 1.0 = hole.
            hints: `[B, 16, 3]`, as of `find_structure`, for a network that takes them.

        Returns:
            `parsing` `[B, h, w, 20]` probabilities; `logits` `[B, h, w, 20]`, their
            logarithms where several answers are averaged; `pose` heatmaps with 16
            channels at the network's stride, if it has a pose branch.
        """
        if not self.flip and self.sizes == [self.size]:
            structure = find_structure(self.network, image, mask, hints)
            answer = {
                "parsing": parsing_probabilities(structure, self.size),
                "logits": full_size_logits(structure, self.size),
            }
            if self.network.pose:
                answer["pose"] = structure[f"pose_{self.network.rounds}"]
            return answer
        answers = [
            self._ask(network, *_scaled(image, mask, size), self._hints_at(hints, size))
            for network, size in zip(self.networks, self.sizes, strict=True)
        ]
        parsing = sum(answer["parsing"] for answer in answers) / len(answers)
        result = {"parsing": parsing, "logits": ops.log(ops.maximum(parsing, 1e-9))}
        if self.network.pose:
            poses = [answer["pose"] for answer in answers]
            cells = tuple(
                round(count * own / asked)
                for count, own, asked in zip(
                    poses[0].shape[1:3], self.size, self.sizes[0], strict=True
                )
            )
            result["pose"] = sum(
                pose
                if tuple(pose.shape[1:3]) == cells
                else resize_bilinear(pose, cells)
                for pose in poses
            ) / len(poses)
        return result

    def peaks(self, pose: object) -> object:
        """Joints in the heat maps of a call.

        Args:
            pose: `[B, h, w, 16]`.

        Returns:
            `[B, 16, 3]`: x and y as `portrait_tf.geometry.joint_parts`, and the peak.
        """
        return heatmap_peaks(pose) - self._shift

    def predict(
        self, image: np.ndarray, mask: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """A call on arrays, traced once for batches of any length.

        Args:
            image: As a call has it.
            mask: As a call has it.

        Returns:
            Probabilities `[B, h, w, 20]`, and `peaks` `[B, 16, 3]`; None of a network
            without pose.
        """
        if self._traced is None:
            self._traced = self._trace()
        probabilities, peaks = self._traced(image, mask)
        return probabilities.numpy(), None if peaks is None else peaks.numpy()

    def _trace(self) -> Callable:
        import tensorflow as tf

        @tf.function(
            input_signature=[
                tf.TensorSpec([None, *self.size, 3], tf.float32),
                tf.TensorSpec([None, *self.size, 1], tf.float32),
            ],
            autograph=False,
        )
        def ask(image: tf.Tensor, mask: tf.Tensor) -> tuple:
            answer = self(image, mask)
            return answer["parsing"], (
                self.peaks(answer["pose"]) if "pose" in answer else None
            )

        return ask

    def _hints_at(self, hints: object | None, size: tuple[int, int]) -> object | None:
        """Hints for another size, where half a pixel is another part."""
        if hints is None:
            return None
        across, down = (
            0.5 / own - 0.5 / one
            for own, one in zip(self.size[::-1], size[::-1], strict=True)
        )
        return hints + np.float32([across, down, 0])

    def _ask(
        self, network: keras.Model, image: object, mask: object, hints: object | None
    ) -> dict:
        """Probabilities at the working size, and heatmaps."""
        if self.flip:
            # One call for both: a graph then holds the network once.
            image, mask = (
                ops.concatenate([x, ops.flip(x, axis=2)]) for x in (image, mask)
            )
            if hints is not None:
                mirrored = ops.take(hints, FLIPPED_JOINTS, axis=1)
                mirrored = mirrored * np.float32([-1, 1, 1])
                last = 1 - 1 / network.size[1]
                hints = ops.concatenate([hints, mirrored + np.float32([last, 0, 0])])
        structure = find_structure(network, image, mask, hints)
        answer = {"parsing": parsing_probabilities(structure, self.size)}
        if network.pose:
            answer["pose"] = structure[f"pose_{network.rounds}"]
        if self.flip:
            swapped = {"parsing": FLIPPED_LABELS, "pose": FLIPPED_JOINTS}
            answer = {
                name: _mean_with_mirrored(maps, swapped[name])
                for name, maps in answer.items()
            }
        return answer


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
