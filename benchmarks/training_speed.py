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
from collections.abc import Callable

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


def gradients(function: Callable, by: object) -> list:
    """Gradients of the sum of all that a function returns, by variables or a tensor."""
    import tensorflow as tf

    with tf.GradientTape() as tape:
        if isinstance(by, tf.Tensor):
            tape.watch(by)
        total = tf.add_n([tf.reduce_sum(x) for x in tf.nest.flatten(function())])
    found = tape.gradient(total, tf.nest.flatten(by))
    return [one for one in found if one is not None]


def step_parts(stage: str, trainer, batch: dict) -> dict:  # noqa: ANN001
    """The parts of a train step, as functions without arguments."""
    import tensorflow as tf

    network, optimizer = trainer.network, trainer.optimizer
    variables = network.trainable_variables
    parts = {}

    def part(name: str, function: Callable, *inputs: object) -> object:
        traced = tf.function(function)
        parts[name] = lambda: tf.nest.map_structure(
            lambda x: x.numpy(), traced(*inputs)
        )
        return traced(*inputs)

    def forward(inputs: dict) -> dict:
        return trainer.answer(network, inputs, training=True)

    def update() -> object:
        zeros = [tf.zeros(one.shape) for one in variables]
        optimizer.apply_gradients(zip(zeros, variables, strict=True))
        trainer.update_average()
        return tf.convert_to_tensor(optimizer.iterations)

    inputs = part(
        "earlier stages", lambda batch: trainer.prepare(batch, training=True), batch
    )
    if stage == "completion":
        _prefill_parts(part, network, inputs)
    outputs = part("forward", forward, inputs)
    part(
        "forward and backward",
        lambda inputs: gradients(lambda: forward(inputs), variables),
        inputs,
    )
    if stage == "completion" and trainer.perceptual:
        image, painted = inputs["image"], outputs["completed"]
        part("perceptual loss", trainer.perceptual, image, painted)
        part(
            "perceptual loss and its gradient",
            lambda x: gradients(lambda: trainer.perceptual(image, x), x),
            painted,
        )
    if trainer.critics:
        _critic_parts(part, trainer, *trainer.critic_inputs(inputs, outputs))
    part("optimizer and average", update)
    part("the step", trainer.train_step, batch)
    return parts


def _prefill_parts(part: Callable, network, inputs: dict) -> None:  # noqa: ANN001
    names = [layer.name for layer in network.layers]
    structure = inputs["parsing"]
    if "sharpen" in names:
        structure = part("sharpening", network.get_layer("sharpen"), structure)
    if "prefill" in names:
        known = [inputs["image"], inputs["mask"]]
        known += [structure] if network.prefill == "parsing" else []
        part("pre-fill", network.get_layer("prefill").__call__, known)


def _critic_parts(part: Callable, trainer, real: dict, fake: dict) -> None:  # noqa: ANN001
    part("a step of the critics", trainer.train_critics, real, fake)
    part(
        "adversarial terms and their gradient",
        lambda x: gradients(
            lambda: trainer.critics.network_losses(real, {**fake, "image": x}), x
        ),
        fake["image"],
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
    from portrait_tf.data.synthetic import synthesize

    changes = ["completion.perceptual.weights=random", *given.set]
    config = with_changes(load_config(given.config), changes)
    if given.data:
        reader = open_dataset(given.data, "train")
    else:
        reader = [synthesize(seed, config.size) for seed in range(16)]
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
