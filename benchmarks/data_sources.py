"""What photos without labels, and drawn people, are worth to stage 1.

    python -m benchmarks.data_sources --data DIR --unlabelled DIR --steps 700 --out out

Four ways to train the small network from nothing, with several seeds, scored as
`benchmarks.parsing_ablation` does: `labelled` for so many steps, and three of twice as
many: `labelled_longer` goes on alike; `self_training` goes on with the unlabelled
photos too, as often, with the maps that `labelled` itself predicts for them;
`synthetic_first` sees synthetic portraits for the first half. The second half of all
three starts from the weights of the first, with a schedule of its own. A killed run
goes on with the same command.
"""

import argparse
import logging
import pathlib

from benchmarks.parsing_ablation import (
    ScoreFile,
    add_options,
    base_config,
    score,
    summary,
)
from portrait_tf.config import Config, with_changes
from portrait_tf.data.dataset import Reader
from portrait_tf.errors import PortraitError

SYNTHETIC_SIZE = (192, 128)


def run_sources(
    base: Config,
    reader: Reader,
    unlabelled: dict[str, Reader],
    validation_reader: Reader,
    seeds: int,
    out: pathlib.Path,
    synthetic: int = 600,
) -> dict[str, dict[str, dict]]:
    """Trains and scores all four with every seed, or goes on with it.

    Args:
        base: The config; its steps are those of a half.
        reader: Labelled training samples.
        unlabelled: Splits of the data set without label maps.
        validation_reader: Photos that are scored.
        seeds: How many; 0, 1, 2 and so on.
        out: Folder of runs and scores.
        synthetic: Number of synthetic portraits.

    Returns:
        Scores by way and seed, as `scores.json` has them.

    Raises:
        PortraitError: The folder holds scores of another config.
    """
    from portrait_tf.data.labelling import label_dataset
    from portrait_tf.data.mixture import mix
    from portrait_tf.data.open import open_dataset
    from portrait_tf.data.synthetic import synthetic_portrait
    from portrait_tf.inference.averaging import AveragedParsing
    from portrait_tf.runs.folder import load_run_network
    from portrait_tf.training.commands import train_stage

    kept = ScoreFile(out / "scores.json", base)
    drawn = [synthetic_portrait(seed, SYNTHETIC_SIZE) for seed in range(synthetic)]

    def train(name: str, seed: int, samples: Reader, start: str | None = None) -> None:
        if kept.has(name, seed):
            return
        run = out / f"{name}_{seed}"
        changes = [f"seed={seed}"]
        if start:
            changes.append(f"parsing.training.start_from={out / f'{start}_{seed}'}")
        config = with_changes(base, changes)
        train_stage("parsing", config, samples, run, verbose=0)
        network = load_run_network(run, "parsing")
        kept.add(name, seed, score(network, validation_reader, config))

    for seed in range(seeds):
        train("labelled", seed, reader)
        train("labelled_longer", seed, reader, "labelled")
        guessed = out / f"labels_{seed}"
        if not guessed.is_dir():
            teacher = load_run_network(out / f"labelled_{seed}", "parsing")
            label_dataset(unlabelled, AveragedParsing(teacher, flip=True), guessed)
        both = mix([reader, open_dataset(guessed, "train")], (1.0, 1.0))
        train("self_training", seed, both, "labelled")
        train("synthetic", seed, drawn)
        train("synthetic_first", seed, reader, "synthetic")
    return kept.scores


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True, help="a data set with label maps")
    parser.add_argument("--unlabelled", required=True, help="one without")
    parser.add_argument("--steps", type=int, default=700, help="of a half")
    add_options(parser)
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("sources"))
    options = parser.parse_args(arguments)

    from portrait_tf.data.open import open_dataset, open_splits

    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    try:
        scores = run_sources(
            base_config(options),
            open_dataset(options.data, "train"),
            open_splits(options.unlabelled),
            open_dataset(options.data, "val"),
            options.seeds,
            options.out,
        )
    except PortraitError as error:
        raise SystemExit(str(error)) from None
    print(summary(scores))


if __name__ == "__main__":
    main()
