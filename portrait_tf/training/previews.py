"""A picture after each epoch, for a falling loss proves little."""

import pathlib

import keras
import numpy as np

from portrait_tf.geometry import joints_of_parts
from portrait_tf.inference.pipeline import Pipeline
from portrait_tf.labels import colour_parsing
from portrait_tf.layers import heatmap_peaks
from portrait_tf.models.parsing import find_structure
from portrait_tf.photos import write_png
from portrait_tf.photos.drawing import contact_sheet, draw_joints, show_hole


class Preview(keras.callbacks.Callback):
    """Writes a contact sheet: input, mask, parsing, pose, output, truth.

    With a face network, what stage 2 made stands before the output.

    Args:
        path: Of the PNG file; the last epoch's replaces it.
        parsing_network: Stage 1.
        batch: One batch of the validation stream.
        completion_network: Stage 2; None while stage 1 is trained.
        face_network: Stage 3, while it is trained.

    Attributes:
        sheet: The last one, RGB `uint8` `[H, W, 3]`.
    """

    def __init__(
        self,
        path: pathlib.Path,
        parsing_network: keras.Model,
        batch: dict,
        completion_network: keras.Model | None = None,
        face_network: keras.Model | None = None,
    ) -> None:
        super().__init__()
        self.path = path
        self.parsing_network = parsing_network
        self.completion_network = completion_network
        self.face_network = face_network
        self.sheet = None
        self.batch = {key: np.asarray(value) for key, value in batch.items()}

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        self.sheet = self.draw()
        write_png(self.path, self.sheet)

    def draw(self) -> np.ndarray:
        """The sheet as RGB `uint8`."""
        image, mask = self.batch["image"], self.batch["mask"]
        titles = ["input", "mask", "parsing"]
        titles += ["pose"] if self.parsing_network.pose else []
        if self.completion_network is not None:
            result = Pipeline(
                self.parsing_network,
                self.completion_network,
                face_network=self.face_network,
            ).networks(image, mask)
            logits, pose = result["logits"], result.get("pose")
            drawn = {"unrefined": "stage 2", "completed": "output"}
            titles += [title for name, title in drawn.items() if name in result]
            outputs = [
                _to_photo(np.asarray(result[name])) for name in drawn if name in result
            ]
        else:
            structure = find_structure(self.parsing_network, image * (1 - mask), mask)
            logits = structure["parsing"]
            pose = structure.get(f"pose_{self.parsing_network.rounds}")
            outputs = []
        titles += ["truth", "true parsing"]
        if pose is not None:
            peaks = joints_of_parts(np.array(heatmap_peaks(pose)), image.shape[1:3])
            # A weak peak is a joint that the network takes to be missing.
            peaks[..., 2] = peaks[..., 2] > 0.15
        parsing = np.argmax(logits, axis=-1).astype(np.uint8)
        photos = _to_photo(image)
        rows = []
        for index, photo in enumerate(photos):
            hole = mask[index, ..., 0]
            row = [
                show_hole(photo, hole),
                (hole * 255).astype(np.uint8),
                colour_parsing(parsing[index]),
            ]
            if pose is not None:
                row.append(draw_joints(show_hole(photo, hole), peaks[index]))
            row += [output[index] for output in outputs]
            truth = np.minimum(self.batch["parsing"][index], 255).astype(np.uint8)
            rows.append([*row, photo, colour_parsing(truth)])
        return contact_sheet(rows, titles)


def _to_photo(image: np.ndarray) -> np.ndarray:
    return np.clip(np.rint((image + 1) * 127.5), 0, 255).astype(np.uint8)
