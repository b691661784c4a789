"""What each part of stage 1 is worth: pose, refinement, the mask channel.

    python -m benchmarks.parsing_ablation --data DIR --steps 1000 --out ablation

Trains the small network without one part each, and in full, with the same steps and
several seeds, and scores it on the validation photos with the four evaluation tasks'
holes. A killed run goes on with the same command: runs and their scores are kept in
`--out`, by variant and seed; `--out/scores.json` has all of it.
"""

import argparse
import json
import logging
import pathlib

import numpy as np

from portrait_tf.config import Config, load_config, with_changes
from portrait_tf.data.dataset import Reader
from portrait_tf.errors import PortraitError
from portrait_tf.files import write_result

VARIANTS = {
    "full": [],
    "no_pose": ["parsing.network.pose=false"],
    "no_refinement": ["parsing.network.rounds=0"],
    "no_mask_channel": ["parsing.network.mask_channel=false"],
}
SCORES = ("miou_hole", "miou")
CONFIG = pathlib.Path(__file__).parent.parent / "configs" / "parsing_small.yaml"


def score(network: object, reader: Reader, config: Config) -> dict[str, float]:
    """Mean IoU in the hole and of the whole map, over all photos and tasks.

    Args:
        network: Stage 1.
        reader: Photos with label maps.
        config: Uses `size`. Holes are those of `portrait-tf evaluate`, of seed 0.
    """
    from portrait_tf.evaluation.parsing import ALL_TASKS, evaluate_parsing, predictor
    from portrait_tf.inference.averaging import AveragedParsing

    predict = predictor(AveragedParsing(network))
    scores = evaluate_parsing(predict, reader, config.size)["tasks"][ALL_TASKS]
    return {
        "miou_hole": scores["hole"]["mean_iou"],
        "miou": scores["whole"]["mean_iou"],
    }


def summary(scores: dict[str, dict[str, dict]]) -> str:
    """Mean and spread (standard deviation of a sample) over seeds, as a table."""
    lines = [f"{'variant':<16} {'seeds':>5} {'hole mIoU':>16} {'whole mIoU':>16}"]
    for variant, seeds in scores.items():
        line = f"{variant:<16} {len(seeds):>5}"
        for name in SCORES:
            values = [one[name] for one in seeds.values()]
            spread = np.std(values, ddof=1) if len(values) > 1 else float("nan")
            line += f" {np.mean(values):>7.4f} +- {spread:.4f}"
        lines.append(line)
    return "\n".join(lines)


class ScoreFile:
    """Scores by variant and seed, kept in a file with the config they are of.

    Args:
        path: The file; what it holds is gone on with.
        base: The config.

    Raises:
        PortraitError: The file holds scores of another config.
    """

    def __init__(self, path: pathlib.Path, base: Config) -> None:
        self.path, self.settings = path, base.model_dump(mode="json")
        self.scores: dict[str, dict[str, dict]] = {}
        if path.is_file():
            found = json.loads(path.read_text())
            if found["config"] != self.settings:
                raise PortraitError(
                    f"{path} holds scores of another config; give another --out"
                )
            self.scores = found["scores"]

    def has(self, variant: str, seed: int) -> bool:
        return str(seed) in self.scores.get(variant, {})

    def add(self, variant: str, seed: int, found: dict) -> None:
        """Writes the file, and says what was found."""
        self.scores.setdefault(variant, {})[str(seed)] = found
        print(f"{variant}, seed {seed}: {found}", flush=True)
        text = json.dumps({"config": self.settings, "scores": self.scores}, indent=2)
        write_result(self.path, text.encode())


def run_ablation(
    base: Config,
    reader: Reader,
    validation_reader: Reader,
    seeds: int,
    out: pathlib.Path,
) -> dict[str, dict[str, dict]]:
    """Trains and scores every variant with every seed, or goes on with it.

    Args:
        base: What the variants change.
        reader: Training samples.
        validation_reader: Photos that are scored.
        seeds: How many; 0, 1, 2 and so on.
        out: Folder of runs and scores.

    Returns:
        Scores by variant and seed, as `scores.json` has them.

    Raises:
        PortraitError: The folder holds an ablation of another config.
    """
    from portrait_tf.runs.folder import load_run_network
    from portrait_tf.training.commands import train_stage

    kept = ScoreFile(out / "scores.json", base)
    # Seeds first: a stop after some hours leaves every variant with as many.
    for seed in range(seeds):
        for variant, changes in VARIANTS.items():
            if kept.has(variant, seed):
                continue
            config = with_changes(base, [*changes, f"seed={seed}"])
            run = out / f"{variant}_{seed}"
            train_stage("parsing", config, reader, run, verbose=0)
            network = load_run_network(run, "parsing")
            kept.add(variant, seed, score(network, validation_reader, config))
    return kept.scores


def add_options(parser: argparse.ArgumentParser) -> None:
    """What `base_config` reads beside `--steps`, and how many seeds."""
    parser.add_argument("--size", type=int, nargs=2, default=(96, 64))
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--seeds", type=int, default=3)


def base_config(options: argparse.Namespace) -> Config:
    """The small network's config, for as many steps as the options say."""
    return with_changes(
        load_config(CONFIG),
        [
            f"size={list(options.size)}",
            f"parsing.training.steps={options.steps}",
            f"parsing.training.batch_size={options.batch}",
            f"parsing.training.optimizer.warmup_steps={options.steps // 10}",
        ],
    )


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True, help="a data set")
    parser.add_argument("--steps", type=int, default=1000)
    add_options(parser)
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("ablation"))
    options = parser.parse_args(arguments)

    from portrait_tf.data.open import open_dataset

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        scores = run_ablation(
            base_config(options),
            open_dataset(options.data, "train"),
            open_dataset(options.data, "val"),
            options.seeds,
            options.out,
        )
    except PortraitError as error:
        raise SystemExit(str(error)) from None
    print(summary(scores))


if __name__ == "__main__":
    main()
