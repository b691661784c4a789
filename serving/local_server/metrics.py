"""What is counted, under TensorFlow Serving's names, and its page for Prometheus.

Conventions: names, labels and buckets are TF Serving's, with its colons and without
the suffix `_total` that Prometheus' own libraries would add to a counter. Times are
microseconds.
"""

import bisect
import itertools
import threading

MAX_SERIES = 1000
"""Series a metric may have: the names in requests are the clients' to choose."""

_COUNTERS = {
    ":tensorflow:cc:saved_model:load_attempt_count": ("model_path", "status"),
    ":tensorflow:cc:saved_model:load_latency": ("model_path",),
    ":tensorflow:core:graph_runs": (),
    ":tensorflow:core:graph_run_time_usecs": (),
    ":tensorflow:serving:request_count": ("model_name", "status"),
    ":tensorflow:serving:batching_session:wrapped_run_count": (),
}


def _exponential(scale: float, growth: float, count: int) -> list[float]:
    return [scale * growth**power for power in range(count)]


_LATENCY_BUCKETS = _exponential(10, 1.8, 33)
_HISTOGRAMS = {
    ":tensorflow:core:graph_run_time_usecs_histogram": (
        (),
        _exponential(1000, 2, 20),
    ),
    ":tensorflow:serving:request_latency": (
        ("model_name", "API", "entrypoint"),
        _LATENCY_BUCKETS,
    ),
    ":tensorflow:serving:runtime_latency": (
        ("model_name", "API", "runtime"),
        _LATENCY_BUCKETS,
    ),
    ":tensorflow:serving:model_warmup_latency": (
        ("model_path", "status"),
        _LATENCY_BUCKETS,
    ),
    ":tensorflow:serving:batching_session:queuing_latency": (
        ("thread_pool_name",),
        _exponential(100, 1.2, 52),
    ),
}


class _Histogram:
    def __init__(self, limits: list[float]):
        self._limits = limits
        self._counts = [0] * (len(limits) + 1)
        self._sum = 0.0

    def add(self, value: float) -> None:
        # A limit belongs to the next bucket, as in TensorFlow's histograms.
        self._counts[bisect.bisect_right(self._limits, value)] += 1
        self._sum += value

    def lines(self, name: str, labels: str) -> list[str]:
        comma = "," if labels else ""
        limits = [f"{limit:g}" for limit in self._limits] + ["+Inf"]
        totals = list(itertools.accumulate(self._counts))
        lines = [
            f'{name}_bucket{{{labels}{comma}le="{limit}"}} {total}'
            for limit, total in zip(limits, totals, strict=True)
        ]
        lines.append(f"{name}_sum{{{labels}}} {self._sum:g}")
        lines.append(f"{name}_count{{{labels}}} {totals[-1]}")
        return lines


class Metrics:
    """The counters and histograms of one server. Safe to use from several threads."""

    def __init__(self):
        self._lock = threading.Lock()
        self._counters: dict[str, dict[tuple[str, ...], int]] = {
            name: {} if labels else {(): 0} for name, labels in _COUNTERS.items()
        }
        self._histograms: dict[str, dict[tuple[str, ...], _Histogram]] = {
            name: {} for name in _HISTOGRAMS
        }

    def count(self, name: str, *labels: str, by: int = 1) -> None:
        """Adds to a counter."""
        with self._lock:
            series = self._counters[name]
            if labels in series or len(series) < MAX_SERIES:
                series[labels] = series.get(labels, 0) + by

    def observe(self, name: str, seconds: float, *labels: str) -> None:
        """Adds a time to a histogram of microseconds."""
        with self._lock:
            series = self._histograms[name]
            if labels not in series:
                if len(series) >= MAX_SERIES:
                    return
                series[labels] = _Histogram(_HISTOGRAMS[name][1])
            series[labels].add(seconds * 1e6)

    def record_request(
        self, model_name: str, api: str, entrypoint: str, status: str, seconds: float
    ) -> None:
        """Notes a request, and its time if it succeeded.

        `api` is `Predict` over gRPC; over REST the verb as the URL spells it, "" for
        the pages of status and metadata. `entrypoint` is `GRPC` or `REST`.
        """
        self.count(":tensorflow:serving:request_count", model_name, status)
        if status == "OK":
            name = ":tensorflow:serving:request_latency"
            self.observe(name, seconds, model_name, api, entrypoint)

    def record_graph_run(self, seconds: float) -> None:
        """Notes a run of a Session."""
        self.count(":tensorflow:core:graph_runs")
        self.count(":tensorflow:core:graph_run_time_usecs", by=int(seconds * 1e6))
        self.observe(":tensorflow:core:graph_run_time_usecs_histogram", seconds)

    def page(self) -> str:
        """Everything, in Prometheus' text format."""
        lines = []
        with self._lock:
            for name, series in self._counters.items():
                lines.append(f"# TYPE {name} counter")
                lines += [
                    f"{name}{{{_join(_COUNTERS[name], values)}}} {value}"
                    for values, value in series.items()
                ]
            for name, series in self._histograms.items():
                lines.append(f"# TYPE {name} histogram")
                for values, histogram in series.items():
                    labels = _join(_HISTOGRAMS[name][0], values)
                    lines += histogram.lines(name, labels)
        return "\n".join(lines) + "\n"


def _join(names: tuple[str, ...], values: tuple[str, ...]) -> str:
    return ",".join(
        f'{name}="{_escape(value)}"' for name, value in zip(names, values, strict=True)
    )


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
