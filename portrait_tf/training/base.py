"""What both trainers share."""

import keras
import tensorflow as tf


class Trainer(keras.Model):
    """A model that trains networks; it has no weights and no graph of its own.

    Attributes:
        step: Optimizer steps done. It is a variable, so that a compiled train step can
            draw random numbers from it: a resumed run draws the same ones.
    """

    def __init__(self, name: str) -> None:
        super().__init__(name=name)
        self.step_variable = tf.Variable(0, dtype=tf.int64, trainable=False)
        # Keras would build a trainer that it thinks unbuilt with made-up data.
        self.built = True

    @property
    def step(self) -> int:
        return int(self.step_variable)

    @step.setter
    def step(self, value: int) -> None:
        self.step_variable.assign(value)

    @property
    def networks(self) -> dict[str, keras.Model]:
        """The trained networks, by the name of their group in a checkpoint."""
        raise NotImplementedError

    def state(self) -> dict[str, list]:
        """Groups of variables that a checkpoint holds, networks and optimizers."""
        raise NotImplementedError

    def phase_starts(self) -> list[int]:
        """Steps at which the train step changes."""
        return []

    def enter_phase(self, step: int) -> None:
        """Makes ready for the phase that holds `step`."""
