"""Scores of methods over photos: averages, and which method beats which."""

from collections.abc import Sequence

import numpy as np

HIGHER, LOWER = "higher", "lower"
ALL_TASKS = "all"
RESAMPLES = 2000
SCORES = {
    "psnr_hole": {"name": "hole PSNR (dB)", "better": HIGHER},
    "ssim": {"name": "SSIM", "better": HIGHER},
    "l1": {"name": "hole L1 (0-255)", "better": LOWER},
}
"""The scores of `score_photo`: their names, and which values are better."""


def compare_pair(reference: np.ndarray, other: np.ndarray, better: str) -> dict:
    """Tests whether one method beats another beyond the spread over photos.

    A paired bootstrap draws photos with replacement and averages the differences,
    `RESAMPLES` times. Seeds are averaged first: the interval does not show what another
    training would change.

    Args:
        reference: `[seeds, photos]`.
        other: `[seeds, photos]`, of the same photos.
        better: `higher` or `lower`.

    Returns:
        `difference`, reference minus other, and `low` and `high` of its 95 % interval;
        `wins` of the reference among `photos`; `verdict`: `better`, `worse`, or
        `open` if the interval contains 0.
    """
    differences = reference.mean(0) - other.mean(0)
    rng = np.random.default_rng(0)
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


def over_all_tasks(rows: list[dict], keys: Sequence[str]) -> list[dict]:
    """Rows of the task `all`: means over the tasks of each method, seed and photo."""
    photos: dict[tuple, list[dict]] = {}
    for row in rows:
        photos.setdefault((row["method"], row["seed"], row["index"]), []).append(row)
    return [
        {
            **some[0],
            "task": ALL_TASKS,
            **{key: float(np.mean([row[key] for row in some])) for key in keys},
        }
        for some in photos.values()
    ]


class TaskSummary:
    """The scores of all methods on one task.

    Args:
        rows: One dict per method, `seed` (if there are several) and photo (`index`,
            `photo`), with the scores.
        columns: `name` and `better` of each score, and how it is set against a baseline
            (`by`: `difference` or `ratio`).
    """

    def __init__(self, rows: list[dict], columns: dict[str, dict]) -> None:
        self.columns = columns
        self._rows: dict[str, dict] = {}
        for row in rows:
            seeds = self._rows.setdefault(row["method"], {})
            seeds.setdefault(row.get("seed"), {})[row["index"]] = row

    def photos(self, method: str) -> dict[int, dict]:
        """The rows of a method's first seed by index."""
        return next(iter(self._rows[method].values()))

    def values(self, method: str, key: str, like: str | None = None) -> np.ndarray:
        """One score `[seeds, photos]`, on the photos of another method if given."""
        indices = self.photos(like or method)
        seeds = self._rows[method].values()
        return np.array([[rows[index][key] for index in indices] for rows in seeds])

    def statistics(self, baseline: str | None = None) -> dict[str, dict]:
        """Statistics by method, plain values for JSON.

        Args:
            baseline: A method that the others are set against.

        Returns:
            `photos`, the number of photos, and for each score `mean` and `median` over
            photos of the mean over seeds; with several seeds `seed_deviation` of the
            means; with a baseline `mean_to_` and `median_to_` it: minus, or divided
            by, the baseline's on the same photos (None where that is 0).
        """
        return {
            method: {
                "photos": len(self.photos(method)),
                **{
                    key: self._statistics(method, key, baseline) for key in self.columns
                },
            }
            for method in self._rows
        }

    def _statistics(self, method: str, key: str, baseline: str | None) -> dict:
        values = self.values(method, key)
        averages = {"mean": np.mean, "median": np.median}
        found: dict = {n: float(f(values.mean(0))) for n, f in averages.items()}
        if None not in self._rows[method]:
            found["seed_deviation"] = deviation(values.mean(1))
        if baseline:
            beside = self.values(baseline, key, method).mean(0)
            for name, average in averages.items():
                other = float(average(beside))
                if self.columns[key]["by"] == "difference":
                    found[f"{name}_to_{baseline}"] = found[name] - other
                else:
                    ratio = found[name] / other if other else None
                    found[f"{name}_to_{baseline}"] = ratio
        return found

    def pairs(self, reference: str) -> dict[str, dict[str, dict]]:
        """`compare_pair` of the reference and each other method, by method and score.

        A pair is compared on the other method's photos.
        """
        return {
            method: {
                key: compare_pair(
                    self.values(reference, key, method),
                    self.values(method, key),
                    column["better"],
                )
                for key, column in self.columns.items()
            }
            for method in self._rows
            if method != reference
        }

    def ranked(self, method: str) -> list[dict]:
        """Photos by the hole PSNR of a method, the best first."""
        psnr = self.values(method, "psnr_hole").mean(0)
        photos = list(self.photos(method).values())
        return [
            {
                "photo": photos[place]["photo"],
                "index": photos[place]["index"],
                "psnr_hole": float(psnr[place]),
            }
            for place in np.argsort(-psnr, kind="stable")
        ]


def deviation(values: np.ndarray) -> float | None:
    """Standard deviation over seeds; None with one seed."""
    return float(np.std(values, ddof=1)) if len(values) > 1 else None
