"""Curves and pictures for TensorBoard.

An event file is a file of TFRecords, each a protocol buffer of TensorFlow's own. They
are written here without `tf.summary`, which needs the tensorboard package, and cannot
say that a run was resumed.
"""

import pathlib
import time

import cv2
import keras
import numpy as np
import tensorflow as tf

from portrait_tf.compat import current_rate
from portrait_tf.training.previews import Preview

_STEPS = 10
_JPEG_QUALITY = 90


class EventFile:
    """One of TensorBoard's event files; a folder may hold several, read in order.

    Args:
        folder: Made if it is missing.
        step: What follows begins here: points of earlier files from here on are those
            of a run that was stopped, and TensorBoard drops them.
    """

    def __init__(self, folder: pathlib.Path, step: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        # Sorted by name; two of one second must not share one.
        number = len(list(folder.iterdir()))
        name = f"events.out.tfevents.{int(time.time()):010d}.portrait-tf.{number:04d}"
        self.writer = tf.io.TFRecordWriter(str(folder / name))
        self._write(file_version="brain.Event:2")
        start = tf.compat.v1.SessionLog(status=tf.compat.v1.SessionLog.START)
        self._write(step=step, session_log=start)

    def _write(self, **values: object) -> None:
        event = tf.compat.v1.Event(wall_time=time.time(), **values)
        self.writer.write(event.SerializeToString())

    def add(
        self, step: int, scalars: dict[str, float], image: np.ndarray | None = None
    ) -> None:
        """Adds points, and a picture called `preview`.

        Args:
            step: Optimizer steps done.
            scalars: By the name of their curve.
            image: RGB `uint8` `[H, W, 3]`.
        """
        summary = tf.compat.v1.Summary()
        for name, value in scalars.items():
            summary.value.add(tag=name, simple_value=value)
        if image is not None:
            # A PNG of every epoch would be larger than the checkpoint.
            _, jpeg = cv2.imencode(
                ".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY]
            )
            picture = tf.compat.v1.Summary.Image(
                height=image.shape[0],
                width=image.shape[1],
                colorspace=3,
                encoded_image_string=jpeg.tobytes(),
            )
            summary.value.add(tag="preview", image=picture)
        self._write(step=step, summary=summary)

    def flush(self) -> None:
        self.writer.flush()

    def close(self) -> None:
        self.writer.close()


class Curves(keras.callbacks.Callback):
    """Writes what is seen of a run: `train/` and `validation/` within a folder.

    `train` has the terms of the loss, the norms of the gradients and the learning
    rates, a mean over ten steps each, and at the end of an epoch its scores and the
    preview. `validation` has the terms and scores of the same names.

    Args:
        folder: Where TensorBoard is to look.
        preview: It draws before this callback has its turn; None: no pictures.
    """

    def __init__(self, folder: pathlib.Path, preview: Preview | None) -> None:
        super().__init__()
        self.folder = folder
        self.preview = preview
        self.files = {}
        self.recent = []

    def _file(self, name: str) -> EventFile:
        if name not in self.files:
            # Of points and pictures at the step itself the earlier file is right.
            self.files[name] = EventFile(self.folder / name, self.first_step + 1)
        return self.files[name]

    def on_train_begin(self, logs: dict | None = None) -> None:
        if not self.files:
            self.first_step = self.model.step
        self.recent = []

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        self.recent.append(self.model.latest_values())
        if self.model.step % _STEPS == 0:
            self._add_recent()

    def _add_recent(self) -> None:
        if not self.recent:
            return
        names = dict.fromkeys(name for values in self.recent for name in values)
        scalars = {
            name: float(np.mean([one[name] for one in self.recent if name in one]))
            for name in names
        }
        for name, optimizer in self.model.optimizers.items():
            scalars[f"learning_rate/{name}"] = current_rate(optimizer)
        self._file("train").add(self.model.step, scalars)
        self.recent = []

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        self._add_recent()
        logs = {name: float(value) for name, value in (logs or {}).items()}
        terms = self.model.tracked
        scores = {
            name: value
            for name, value in logs.items()
            if name not in terms and not name.startswith("val_")
        }
        sheet = self.preview.sheet if self.preview else None
        self._file("train").add(self.model.step, scores, sheet)
        validated = {
            name.removeprefix("val_"): value
            for name, value in logs.items()
            if name.startswith("val_")
        }
        if validated:
            self._file("validation").add(self.model.step, validated)
        for file in self.files.values():
            file.flush()

    def close(self) -> None:
        """After the last `fit` of the run, whatever has ended it."""
        for file in self.files.values():
            file.close()
        self.files = {}
