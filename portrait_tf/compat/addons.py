"""Options of the config that tensorflow-addons provides, or a substitute for them.

tensorflow-addons is imported only where it is used. `check_addons` raises where the
default stack has no substitute.
"""

from collections.abc import Iterable

import cv2
import numpy as np

from portrait_tf.compat import KERAS_3
from portrait_tf.errors import PortraitError


def check_addons(what: str, expected: str) -> None:
    """Raises PortraitError: this is not the stack with tensorflow-addons.

    Args:
        what: Key and value that ask for it.
        expected: What this stack has instead.
    """
    if KERAS_3:
        raise PortraitError(
            f"{what} is not available on the default stack: expected "
            f"{expected}, or the addons stack (Python 3.11, "
            "pip install 'portrait-tf[addons]')"
        )


def dense_image_warp(image: np.ndarray, flow: np.ndarray) -> np.ndarray:
    """Moves every pixel by a vector of its own, bilinearly.

    tensorflow-addons' `dense_image_warp`, or OpenCV's `remap`, which is equal to it.

    Args:
        image: `float32` `[H, W, C]`.
        flow: `float32` `[H, W, 2]`: rows and columns. The result at a place p is the
            image at `p - flow[p]`, or its nearest border pixel.

    Returns:
        `float32` `[H, W, C]`.
    """
    if not KERAS_3:
        from tensorflow_addons.image import dense_image_warp as warp

        return warp(image[None], flow[None])[0].numpy()
    places = np.indices(image.shape[:2], np.float32)
    rows, columns = places - np.moveaxis(flow, -1, 0)
    return cv2.remap(
        image, columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )


def cutout(
    image: np.ndarray, center: tuple[int, int], size: tuple[int, int], value: int
) -> np.ndarray:
    """One color in a rectangle (arXiv 1708.04552).

    tensorflow-addons' `cutout`; without it, the same by assignment.

    Args:
        image: `uint8` `[H, W, C]`.
        center: Row and column; the rectangle ends at the photo's border.
        size: Height and width, even numbers.
        value: Of all channels.

    Returns:
        `uint8` `[H, W, C]`, a copy.
    """
    if not KERAS_3:
        from tensorflow_addons.image import cutout as cut

        return cut(image[None], size, np.array([center], np.int32), value)[0].numpy()
    image = image.copy()
    top, left = (
        max(0, middle - side // 2) for middle, side in zip(center, size, strict=True)
    )
    bottom, right = (
        middle + side // 2 for middle, side in zip(center, size, strict=True)
    )
    image[top:bottom, left:right] = value
    return image


class AddonsOptimizer:
    """RAdam or Lookahead of tensorflow-addons, with the face of Keras' optimizers.

    Those are of Keras' legacy kind: without `build`, and they do not clip in
    `apply_gradients`.

    Args:
        kind: `adam`, `sgd` or `radam` (arXiv 1908.03265).
        rate: Learning rate, or its schedule.
        arguments: Of the optimizer.
        lookahead: Steps between two synchronisations with the slow weights
            (arXiv 1907.08610); 0 for none.
        clip_norm: Of all gradients together.
        name: Of the optimizer.
    """

    def __init__(
        self,
        kind: str,
        rate: object,
        arguments: dict[str, float],
        lookahead: int,
        clip_norm: float | None,
        name: str,
    ) -> None:
        import keras
        import tensorflow_addons as tfa

        kinds = {
            "adam": keras.optimizers.legacy.Adam,
            "sgd": keras.optimizers.legacy.SGD,
            "radam": tfa.optimizers.RectifiedAdam,
        }
        optimizer = kinds[kind](learning_rate=rate, name=name, **arguments)
        if lookahead:
            optimizer = tfa.optimizers.Lookahead(optimizer, lookahead, name=name)
        self.optimizer = optimizer
        self.name = name
        self.global_clipnorm = clip_norm
        self._learning_rate = rate

    def build(self, variables: list) -> None:
        """Makes all slots; the optimizers themselves would at their first step."""
        self.optimizer._create_all_weights(variables)
        for variable in self.variables:
            slot = variable.name.removesuffix(":0").replace("/", "_")
            variable.path = f"{self.name}/{slot}"

    @property
    def iterations(self) -> object:
        """Steps done."""
        return self.optimizer.iterations

    @property
    def variables(self) -> list:
        """Steps done, then the slots."""
        return [self.iterations, *self.optimizer.weights[1:]]

    def apply_gradients(self, pairs: Iterable[tuple]) -> None:
        """As Keras has it.

        Args:
            pairs: Gradient and variable; a gradient of None leaves the variable.
        """
        import tensorflow as tf

        pairs = [pair for pair in pairs if pair[0] is not None]
        gradients, variables = zip(*pairs, strict=True)
        if self.global_clipnorm is not None:
            gradients, _ = tf.clip_by_global_norm(gradients, self.global_clipnorm)
        self.optimizer.apply_gradients(zip(gradients, variables, strict=True))
