"""A training that is interrupted many times: `python interrupted_program.py JSON`.

The JSON has `config`, `stage` (`parsing`, `completion`, or `line`, the trainer of
`line.py`), `rounds` and `path`, of the checkpoint. Prints a dict an interrupt, as JSON:
`step`, and the iterations of every optimizer in the checkpoint that was written after.
"""

import json
import pathlib
import random
import signal
import sys
import threading
from _thread import interrupt_main

import keras
import tensorflow as tf
from line import LineTrainer, line_data
from trainers import trainer_of

from portrait_tf.config import parse_config
from portrait_tf.data.dataset import training_dataset
from portrait_tf.data.synthetic import synthesize
from portrait_tf.runs.checkpoint import save_checkpoint
from portrait_tf.runs.storage import read_arrays
from portrait_tf.training.callbacks import Checkpoints


def main() -> None:
    given = json.loads(sys.argv[1])
    signal.signal(signal.SIGINT, signal.default_int_handler)
    config = parse_config(given["config"])
    if given["stage"] == "line":
        trainer = LineTrainer()
        trainer.compile(optimizer=keras.optimizers.Adam(name="network_optimizer"))
    else:
        trainer = trainer_of(given["stage"], config)
    people = [synthesize(seed, config.size) for seed in range(2)]
    batch = next(iter(training_dataset(people, config, 2)))
    data = tf.data.Dataset.from_tensors(batch).repeat()
    if given["stage"] == "line":
        data = line_data()
    chance = random.Random(0)

    class Interrupt(keras.callbacks.Callback):
        timer = None

        def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
            # A garbage collector's callback may have swallowed the last one.
            if self.timer is None or not self.timer.is_alive():
                # The handler runs in the main thread, wherever that is.
                self.timer = threading.Timer(chance.uniform(0, 0.2), interrupt_main)
                self.timer.start()

    found = []
    while len(found) < given["rounds"]:
        interrupt = Interrupt()
        try:
            trainer.fit(
                data,
                steps_per_epoch=10**6,
                callbacks=[Checkpoints(pathlib.Path(given["path"]), 1000), interrupt],
                shuffle=False,
                verbose=0,
            )
        except KeyboardInterrupt:
            interrupt.timer.cancel()
            save_checkpoint(trainer, given["path"])
        arrays, meta = read_arrays(given["path"])
        counts = {
            name.split("/")[0]: int(array)
            for name, array in arrays.items()
            if "iteration" in name
        }
        found.append({"step": meta["step"], **counts})
    print(json.dumps(found))


if __name__ == "__main__":
    main()
