"""Numbers of a comparison: means, medians, orders, and what beats what.

docs/compare.md says what each is.
"""

import numpy as np

from portrait_tf.evaluation.compare_config import Plan

ALL_TASKS = "all"
HIGHER, LOWER = "higher", "lower"
RESAMPLES = 2000


def score_columns(plan: Plan) -> dict[str, dict]:
    """Of each score its `name`, with the weights it depends on, and which is better."""
    columns = {
        "psnr_hole": {"name": "hole PSNR (dB)", "better": HIGHER},
        "ssim": {"name": "SSIM", "better": HIGHER},
        "l1": {"name": "hole L1 (0-255)", "better": LOWER},
    }
    features = plan.compare.features
    if features.weights:
        network = {"vgg16": "VGG-16", "vgg19": "VGG-19"}[features.network]
        weights = features.name or {"imagenet": "ImageNet"}.get(
            features.weights, features.weights.rsplit("/", 1)[-1].split(".")[0]
        )
        columns["perceptual"] = {
            "name": f"{network} {weights} distance",
            "better": LOWER,
        }
        columns["frechet"] = {
            "name": f"Fréchet, {network} {weights} {features.frechet_layer}",
            "better": LOWER,
        }
    return columns


def summarise(
    plan: Plan,
    results: dict[str, dict],
    seconds: dict[str, float],
    left_out: dict[str, str],
) -> dict:
    """The report of a comparison, plain values for JSON.

    Args:
        plan: What is compared.
        results: Of each method and seed what `score_method` returned.
        seconds: Of `time_methods`.
        left_out: Why something is missing, by its name.

    Returns:
        * `setup`: what was compared;
        * `scores`: `score_columns`;
        * `methods`: of each `kind`, `parsing`, `seeds`, `seconds`, and `tasks`: of
          each task and of `all`, of each score `mean` and `median` over the photos
          (of the mean over seeds) and `seed_deviation` of the means (None of one
          seed); of the Fréchet distance, which no single photo has, the mean alone;
        * `order`: of each task and score the methods, the best first;
        * `pairs`: of each other method `compare_pair` with the reference, by task and
          score;
        * `ranked`: of each task all photos (`photo`, `index`, `psnr_hole`), the
          reference's best first;
        * `left_out`.
    """
    compare, columns = plan.compare, score_columns(plan)
    photo_scores = [key for key in columns if key != "frechet"]
    tables = {
        name: _table(runs, compare.tasks, photo_scores)
        for name, runs in results.items()
    }
    tasks = (*compare.tasks, ALL_TASKS)
    methods = {}
    for name, runs in results.items():
        known = plan.methods.get(name)
        kind = "classical" if known is None else "trained"
        if name in plan.pictures:
            kind = "pictures"
        methods[name] = {
            "kind": kind,
            "parsing": known.parsing if kind == "trained" else None,
            "seeds": [int(seed) for seed in runs] if kind == "trained" else [],
            "seconds": seconds.get(name),
            "tasks": {
                task: {
                    **{
                        key: _statistics(_of_task(table, compare.tasks, task))
                        for key, table in tables[name].items()
                    },
                    **_frechet(runs, task, "frechet" in columns),
                }
                for task in tasks
            },
        }
    first = next(iter(results.values()))
    reference = plan.reference
    report = {
        "setup": {
            "reference": reference,
            "size": list(plan.base.size),
            "steps": compare.steps,
            "seeds": list(compare.seeds),
            "split": compare.split,
            "photos": len(next(iter(first.values()))["rows"]) // len(compare.tasks),
            "mask_seed": compare.mask_seed,
            "stage_1": compare.stage_1.source,
            "features": compare.features.weights,
            "same_features_in_training": _trained_on(plan),
        },
        "scores": columns,
        "methods": methods,
        "order": {
            task: {
                key: _order(methods, task, key, one["better"])
                for key, one in columns.items()
            }
            for task in tasks
        },
        "pairs": {},
        "ranked": {},
        "left_out": left_out,
    }
    if reference not in results:
        # A classical method that is not installed.
        reference = report["setup"]["reference"] = next(iter(results))
    for name in results:
        if name != reference:
            report["pairs"][name] = {
                task: {
                    key: compare_pair(
                        _of_task(tables[reference][key], compare.tasks, task),
                        _of_task(tables[name][key], compare.tasks, task),
                        columns[key]["better"],
                    )
                    for key in photo_scores
                }
                for task in tasks
            }
    names = [row["photo"] for row in next(iter(results[reference].values()))["rows"]]
    names = names[:: len(compare.tasks)]
    for place, task in enumerate(compare.tasks):
        values = tables[reference]["psnr_hole"].mean(0)[:, place]
        report["ranked"][task] = [
            {"photo": names[i], "index": int(i), "psnr_hole": float(values[i])}
            for i in np.argsort(-values, kind="stable")
        ]
    return report


def _table(runs: dict, tasks: tuple[str, ...], keys: list[str]) -> dict:
    """Of each score `[seeds, photos, tasks]`."""
    return {
        key: np.array(
            [[row[key] for row in one["rows"]] for one in runs.values()]
        ).reshape(len(runs), -1, len(tasks))
        for key in keys
    }


def _of_task(table: np.ndarray, tasks: tuple[str, ...], task: str) -> np.ndarray:
    """`[seeds, photos]`; of all tasks a photo's mean over them."""
    return table.mean(2) if task == ALL_TASKS else table[..., tasks.index(task)]


def _statistics(values: np.ndarray) -> dict:
    photos = values.mean(0)
    return {
        "mean": float(photos.mean()),
        "median": float(np.median(photos)),
        "seed_deviation": _deviation(values.mean(1)),
    }


def _deviation(values: np.ndarray) -> float | None:
    return float(np.std(values, ddof=1)) if len(values) > 1 else None


def _frechet(runs: dict, task: str, wanted: bool) -> dict:
    if not wanted:
        return {}
    values = np.array([one["frechet"][task] for one in runs.values()])
    return {
        "frechet": {"mean": float(values.mean()), "seed_deviation": _deviation(values)}
    }


def _order(methods: dict, task: str, key: str, better: str) -> list[str]:
    sign = -1 if better == HIGHER else 1
    return sorted(
        methods, key=lambda name: sign * methods[name]["tasks"][task][key]["mean"]
    )


def _trained_on(plan: Plan) -> list[str]:
    """Methods whose loss compares features of the very file that the scores use."""
    weights = plan.compare.features.weights
    found = []
    for name, config in plan.networks.items():
        loss, perceptual = config.completion.loss, config.completion.perceptual
        used = loss.perceptual or loss.style
        # The same file may be named by another path.
        if (
            used
            and weights
            and (perceptual.weights.rsplit("/", 1)[-1] == weights.rsplit("/", 1)[-1])
        ):
            found.append(name)
    return found


def compare_pair(
    reference: np.ndarray, other: np.ndarray, better: str, seed: int = 0
) -> dict:
    """Whether one method beats another beyond the spread over photos.

    A paired bootstrap: photos are drawn with replacement, as many as there are, and
    the mean of the differences is taken, 2000 times. Seeds are averaged before; what
    another training would change is not in the interval.

    Args:
        reference: `[seeds, photos]`.
        other: The same photos.
        better: `higher` or `lower`.
        seed: Of the draws.

    Returns:
        `difference`, reference minus other, and `low` and `high` of its 95 % interval;
        `wins` of the reference among `photos`; `verdict`: `better`, `worse`, or
        `open`, where 0 lies in the interval.
    """
    differences = reference.mean(0) - other.mean(0)
    rng = np.random.default_rng(seed)
    count = len(differences)
    means = [
        differences[rng.integers(0, count, count)].mean() for _ in range(RESAMPLES)
    ]
    low, high = np.percentile(means, (2.5, 97.5))
    sign = 1 if better == HIGHER else -1
    verdict = "open"
    if low > 0 or high < 0:
        verdict = "better" if sign * differences.mean() > 0 else "worse"
    return {
        "difference": float(differences.mean()),
        "low": float(low),
        "high": float(high),
        "wins": int((sign * differences > 0).sum()),
        "photos": count,
        "verdict": verdict,
    }
