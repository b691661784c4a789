"""Seconds and memory of one training step of JPPNet, at all three scales.

    python -m benchmarks.jppnet_step [--steps N] [--set KEY=VALUE ...]

Weights are random: neither figure depends on them. The step is traced, as in training;
the first one takes the tracing too.
"""

import argparse
import pathlib
import resource
import time

CONFIG = pathlib.Path(__file__).parent.parent / "configs" / "jppnet.yaml"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=1)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    arguments = parser.parse_args()

    import numpy as np
    import tensorflow as tf

    from portrait_tf.config import load_config, with_changes
    from portrait_tf.data.dataset import training_dataset
    from portrait_tf.data.synthetic import synthetic_portrait
    from portrait_tf.runs.folder import build_network
    from portrait_tf.training.build import build_trainer

    config = with_changes(load_config(CONFIG), arguments.set)
    trainer = build_trainer("parsing", build_network("parsing", config), [], config)
    portraits = [synthetic_portrait(seed, config.size) for seed in (0, 1)]
    batches = training_dataset(
        portraits, config, config.parsing.training.batch_size, 0, arguments.steps
    )
    step = tf.function(trainer.train_step)
    for index, batch in enumerate(batches):
        start = time.monotonic()
        logs = step(batch)
        loss = float(logs["loss"])
        if not np.isfinite(loss):
            raise SystemExit(f"step {index}: the loss is {loss}")
        print(f"step {index}: {time.monotonic() - start:.1f} s, loss {loss:.3f}")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(
        f"{trainer.network.count_params()} parameters, {tuple(config.size)}, batch "
        f"{config.parsing.training.batch_size}, scales {config.parsing.scales}: "
        f"peak memory {peak:.2f} GiB"
    )


if __name__ == "__main__":
    main()
