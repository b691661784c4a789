"""Photos a second of a training step and of its data, by part.

    python -m benchmarks.training_speed [--stage completion] [--data DIR] [--threads 1]

Parts of a step are traced one by one, each as it is in the step, and take turns, so
that other work on the machine slows all of them alike. The step comes last; it is less
than the sum, for parts overlap: the forward pass of stage 2 holds the pre-fill and the
sharpening. Medians are printed. CPU time is what to compare on a busy machine. Weights
are random, for no time depends on them; without `--data` synthetic people are read.
"""

import collections
import os
import pathlib
import statistics
import time

from benchmarks.common import add_config, build_trainer, markdown, new_parser

STAGES = ("parsing", "completion", "face")


def clocked(parts: dict, repeats: int) -> dict[str, tuple[float, float]]:
    """Median seconds of the clock and of the CPU of each part; all take turns.

    Args:
        parts: Functions without arguments, by name. Each is called once more, first.
        repeats: How often each is measured.
    """
    for part in parts.values():
        part()
    seconds = collections.defaultdict(list)
    for _ in range(repeats):
        for name, part in parts.items():
            before = time.perf_counter(), time.process_time()
            part()
            after = time.perf_counter(), time.process_time()
            seconds[name].append([b - a for a, b in zip(before, after, strict=True)])
    return {
        name: tuple(map(statistics.median, zip(*seconds[name], strict=True)))
        for name in parts
    }


def table(results: dict[str, tuple[float, float]], photos: int) -> str:
    """Markdown of the result of `clocked` for parts that were given so many photos."""
    return markdown(
        ["part", "ms a photo", "CPU ms a photo", "photos a second"],
        [
            [
                name,
                f"{1e3 * wall / photos:.2f}",
                f"{1e3 * cpu / photos:.2f}",
                f"{photos / wall:.2f}",
            ]
            for name, (wall, cpu) in results.items()
        ],
    )


class Parts:
    """Parts of a train step, each traced, as functions without arguments."""

    def __init__(self) -> None:
        self.calls = {}

    def add(self, name: str, function: object, *inputs: object) -> object:
        """Adds a part; returns what it computes."""
        import tensorflow as tf

        traced = tf.function(function)
        self.calls[name] = lambda: tf.nest.map_structure(
            lambda x: x.numpy(), traced(*inputs)
        )
        return traced(*inputs)


def step_parts(stage: str, trainer, batch: dict) -> dict:  # noqa: ANN001
    """The parts of a train step, as functions without arguments."""
    import tensorflow as tf

    parts, variables = Parts(), trainer.network.trainable_variables
    if stage == "parsing":
        parts.add("forward", lambda batch: trainer(batch, training=True), batch)
    if stage == "face":
        before = parts.add(
            "stages 1 and 2", lambda one: trainer.completed_for(one, 1), batch
        )
        crops = parts.add("crops", trainer._crops, batch, before)
        parts.add("forward", lambda crops: trainer(crops, training=True), crops)
    if stage == "completion":
        _completion_parts(parts, trainer, batch)

    def update() -> object:
        zeros = [tf.zeros(one.shape) for one in variables]
        first = next(iter(trainer.optimizers.values()))
        trainer.update_weights(first, zeros, variables)
        return first.iterations

    parts.add("optimizer and average", update)
    parts.add("the step", trainer.train_step, batch)
    return parts.calls


def _completion_parts(parts: Parts, trainer, batch: dict) -> None:  # noqa: ANN001
    import tensorflow as tf

    network, image = trainer.network, batch["image"]
    parsing = parts.add("stage 1", lambda one: trainer.parsing_for(one, 1.0), batch)
    names = [layer.name for layer in network.layers]
    structure = parsing
    if "sharpen" in names:
        structure = parts.add("sharpening", network.get_layer("sharpen"), parsing)
    if "prefill" in names:
        inputs = [image, batch["mask"]]
        inputs += [structure] if network.prefill == "parsing" else []
        parts.add("pre-fill", network.get_layer("prefill").__call__, inputs)

    def forward(batch: dict, parsing: object) -> object:
        return trainer(batch, parsing, training=True)["painted"]

    def backward(batch: dict, parsing: object) -> object:
        gradients, _ = trainer.differentiate(
            lambda _: (tf.reduce_sum(forward(batch, parsing)), ()),
            network.trainable_variables,
        )
        return [one for one in gradients if one is not None]

    painted = parts.add("forward", forward, batch, parsing)
    parts.add("forward and backward", backward, batch, parsing)
    if loss := trainer.perceptual:
        parts.add("perceptual loss", loss, image, painted)
        parts.add(
            "perceptual loss and its gradient",
            lambda truth, one: trainer.gradient_by(lambda x: loss(truth, x), one),
            image,
            painted,
        )
    if trainer.critics:
        boxes = trainer._local_boxes(batch["mask"])
        inputs = (batch, painted, parsing, boxes)
        parts.add("a step of the critics", trainer._train_critics, *inputs)
        parts.add(
            "adversarial terms and their gradient",
            lambda batch, one: trainer.gradient_by(
                lambda x: sum(trainer._adversarial(batch, x, parsing, boxes).values()),
                one,
            ),
            batch,
            painted,
        )


def data_parts(reader, config, batch_size: int) -> dict:  # noqa: ANN001
    """What a sample is made of, as functions that make a batch of each."""
    import numpy as np

    from portrait_tf.data.augment import prepare
    from portrait_tf.data.dataset import training_dataset
    from portrait_tf.data.masks import random_mask

    rng = np.random.default_rng(config.seed)

    def drawn(rng: np.random.Generator):  # noqa: ANN202
        return reader[int(rng.integers(len(reader)))]

    def augmented() -> dict:
        return prepare(drawn(rng), config.size, rng, config.augmentation, drawn)

    maps = [augmented()["parsing"] for _ in range(batch_size)]
    stream = iter(training_dataset(reader, config, batch_size, seed=config.seed))

    def each(make: object) -> object:
        return lambda: [make(index) for index in range(batch_size)]

    return {
        "reading": each(lambda _: drawn(rng)),
        "reading and augmentation": each(lambda _: augmented()),
        "hole": each(
            lambda index: random_mask(rng, config.size, config.masks, maps[index])
        ),
        "tf.data": lambda: next(stream),
    }


def main(arguments: list[str] | None = None) -> None:
    parser = new_parser(__doc__)
    parser.add_argument("--stage", nargs="+", choices=STAGES, default=["completion"])
    add_config(parser, "demo_completion.yaml")
    parser.add_argument("--data", help="A data set; without it, synthetic people.")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1, help="Of TensorFlow.")
    given = parser.parse_args(arguments)

    # TensorFlow reads them when it starts.
    for kind in ("INTRAOP", "INTEROP"):
        os.environ[f"TF_NUM_{kind}_THREADS"] = str(given.threads)
    from portrait_tf.config import load_config, with_changes
    from portrait_tf.data.dataset import training_dataset
    from portrait_tf.data.open import open_dataset
    from portrait_tf.data.synthetic import synthetic_portrait

    changes = ["completion.perceptual.weights=random", *given.set]
    config = with_changes(load_config(given.config), changes)
    if given.data:
        reader = open_dataset(given.data, "train")
    else:
        reader = [synthetic_portrait(seed, config.size) for seed in range(16)]
    batch = next(iter(training_dataset(reader, config, given.batch, seed=config.seed)))
    print(
        f"{pathlib.Path(given.config).name}, {config.size[0]}x{config.size[1]}, "
        f"batches of {given.batch}, {given.threads} thread(s), "
        f"medians of {given.repeats}\n"
    )
    for name in (*given.stage, "data"):
        if name == "data":
            parts = data_parts(reader, config, given.batch)
        else:
            trainer = build_trainer(name, config)
            trainer.step = max(trainer.phase_starts(), default=0)
            parts = step_parts(name, trainer, batch)
        print(f"{name}\n\n{table(clocked(parts, given.repeats), given.batch)}\n")


if __name__ == "__main__":
    main()
