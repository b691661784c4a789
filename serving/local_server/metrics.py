"""What is counted, under TensorFlow Serving's names, and its page for Prometheus.

Names, labels and buckets are TF Serving's, with its colons and without the suffix
`_total` that Prometheus' own libraries would add to a counter. Times are microseconds.
"""

import bisect
import itertools
import threading
from collections.abc import Sequence

MAX_SERIES = 1000
"""Series a metric may have: the names in requests are the clients' to choose."""


def _exponential(scale: float, growth: float, count: int) -> list[float]:
    return [scale * growth**power for power in range(count)]


_LATENCY = _exponential(10, 1.8, 33)
_METRICS: dict[str, tuple[tuple[str, ...], Sequence[float]]] = {
    "cc:saved_model:load_attempt_count": (("model_path", "status"), ()),
    "cc:saved_model:load_latency": (("model_path",), ()),
    "core:graph_runs": ((), ()),
    "core:graph_run_time_usecs": ((), ()),
    "core:graph_run_time_usecs_histogram": ((), _exponential(1000, 2, 20)),
    "serving:request_count": (("model_name", "status"), ()),
    "serving:request_latency": (("model_name", "API", "entrypoint"), _LATENCY),
    "serving:runtime_latency": (("model_name", "API", "runtime"), _LATENCY),
    "serving:model_warmup_latency": (("model_path", "status"), _LATENCY),
    "serving:batching_session:wrapped_run_count": ((), ()),
    "serving:batching_session:queuing_latency": (
        ("thread_pool_name",), _exponential(100, 1.2, 52),
    ),
}  # fmt: skip
"""By name, without `:tensorflow:`: the labels, and a histogram's limits."""


class Metrics:
    """The counters and histograms of one server. Safe to use from several threads."""

    def __init__(self):
        self._lock = threading.Lock()
        # Of each series the sum, and how many fell into each bucket.
        self._series: dict[str, dict[tuple[str, ...], list[float]]] = {
            name: {} if labels or limits else {(): [0]}
            for name, (labels, limits) in _METRICS.items()
        }

    def add(self, name: str, *labels: str, value: float = 1) -> None:
        """Adds to a counter, or notes one value in a histogram."""
        limits = _METRICS[name][1]
        with self._lock:
            series = self._series[name]
            if labels not in series:
                if len(series) >= MAX_SERIES:
                    return
                series[labels] = [0] * (len(limits) + 2 if limits else 1)
            series[labels][0] += value
            if limits:
                # A limit belongs to the next bucket, as in TensorFlow's histograms.
                series[labels][1 + bisect.bisect_right(limits, value)] += 1

    def record_request(
        self, model_name: str, api: str, entrypoint: str, status: str, seconds: float
    ) -> None:
        """Notes a request, and its time if it succeeded.

        `api` is `Predict` over gRPC; over REST the verb as the URL spells it, "" for
        the pages of status and metadata. `entrypoint` is `GRPC` or `REST`.
        """
        self.add("serving:request_count", model_name, status)
        if status == "OK":
            labels = (model_name, api, entrypoint)
            self.add("serving:request_latency", *labels, value=seconds * 1e6)

    def page(self) -> str:
        """Everything, in Prometheus' text format."""
        lines = []
        with self._lock:
            for short, (names, limits) in _METRICS.items():
                name = f":tensorflow:{short}"
                lines.append(f"# TYPE {name} {'histogram' if limits else 'counter'}")
                for values, (total, *counts) in self._series[short].items():
                    labels = [
                        f'{label}="{_escape(value)}"'
                        for label, value in zip(names, values, strict=True)
                    ]
                    shown = ",".join(labels)
                    if not limits:
                        lines.append(f"{name}{{{shown}}} {total}")
                        continue
                    edges = [f"{limit:g}" for limit in limits] + ["+Inf"]
                    sums = list(itertools.accumulate(counts))
                    for edge, below in zip(edges, sums, strict=True):
                        bucket = ",".join([*labels, f'le="{edge}"'])
                        lines.append(f"{name}_bucket{{{bucket}}} {below}")
                    lines.append(f"{name}_sum{{{shown}}} {total:g}")
                    lines.append(f"{name}_count{{{shown}}} {sums[-1]}")
        return "\n".join(lines) + "\n"


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
