"""A picture after each epoch."""

import pathlib

import keras
import numpy as np
import tensorflow as tf

from portrait_tf.geometry import joints_of_parts
from portrait_tf.inference.pipeline import Pipeline
from portrait_tf.labels import color_parsing
from portrait_tf.layers import heatmap_peaks
from portrait_tf.models.parsing import find_structure
from portrait_tf.photos import write_png
from portrait_tf.photos.drawing import contact_sheet, draw_joints, show_hole


class Preview(keras.callbacks.Callback):
    """Draws a contact sheet: input, mask, parsing, pose, output, truth.

    With a face network, the output of stage 2 stands before the refined one.

    Args:
        folder: Of a stage; `preview.png` in it is replaced after each epoch.
        batch: One batch of the validation stream.
        parsing_network: Stage 1.
        completion_network: Stage 2; None while stage 1 is trained.
        face_network: Stage 3, while it is trained.
        tensorboard: Whether TensorBoard is given the sheets, too.
    """

    def __init__(
        self,
        folder: pathlib.Path,
        batch: dict,
        parsing_network: keras.Model,
        completion_network: keras.Model | None = None,
        face_network: keras.Model | None = None,
        tensorboard: bool = False,
    ) -> None:
        super().__init__()
        self.folder = folder
        self.parsing_network = parsing_network
        self.completion_network = completion_network
        self.face_network = face_network
        self.tensorboard = tensorboard
        self.batch = {key: np.asarray(value) for key, value in batch.items()}

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        sheet = self.draw()
        write_png(self.folder / "preview.png", sheet)
        if self.tensorboard:
            writer = tf.summary.create_file_writer(
                str(self.folder / "tensorboard" / "previews")
            )
            with writer.as_default():
                tf.summary.image("preview", sheet[None], step=epoch)
            writer.close()

    def draw(self) -> np.ndarray:
        """The sheet as RGB `uint8` `[H, W, 3]`."""
        image, mask = self.batch["image"], self.batch["mask"]
        logits, pose, outputs = self._answers(image, mask)
        parsing = np.argmax(logits, axis=-1).astype(np.uint8)
        truth = np.minimum(self.batch["parsing"], 255).astype(np.uint8)
        titles = ["input", "mask", "parsing", *(["pose"] if pose is not None else [])]
        titles += [*outputs, "truth", "true parsing"]
        rows = []
        for index, photo in enumerate(_to_photo(image)):
            hole = mask[index, ..., 0]
            row = [
                show_hole(photo, hole),
                (hole * 255).astype(np.uint8),
                color_parsing(parsing[index]),
            ]
            if pose is not None:
                row.append(draw_joints(show_hole(photo, hole), pose[index]))
            row += [output[index] for output in outputs.values()]
            rows.append([*row, photo, color_parsing(truth[index])])
        return contact_sheet(rows, titles)

    def _answers(self, image: np.ndarray, mask: np.ndarray) -> tuple:
        """Logits, joints in pixels or None, and output photos by title."""
        outputs = {}
        if self.completion_network is None:
            structure = find_structure(self.parsing_network, image * (1 - mask), mask)
            logits = structure["parsing"]
            pose = structure.get(f"pose_{self.parsing_network.rounds}")
        else:
            result = Pipeline(
                self.parsing_network,
                self.completion_network,
                face_network=self.face_network,
            ).networks(image, mask)
            logits, pose = result["logits"], result.get("pose")
            titles = {"unrefined": "stage 2", "completed": "output"}
            outputs = {
                title: _to_photo(np.asarray(result[name]))
                for name, title in titles.items()
                if name in result
            }
        if pose is not None:
            pose = joints_of_parts(np.array(heatmap_peaks(pose)), image.shape[1:3])
            # A weak peak is a joint that the network takes to be missing.
            pose[..., 2] = pose[..., 2] > 0.15
        return logits, pose, outputs


def _to_photo(image: np.ndarray) -> np.ndarray:
    return np.clip(np.rint((image + 1) * 127.5), 0, 255).astype(np.uint8)
