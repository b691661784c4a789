"""What serving costs, how much a server carries, and whether a swap is noticed.

    portrait-tf export bundled models
    python -m benchmarks.serving --models models --minutes 5 --json serving.json
    python -m benchmarks.serving --target HOST:8500 --rest http://HOST:8501

Starts `portrait-tf serve` on a copy of the newest version in `--models`, or any other
program with `tensorflow_model_server`'s flags (`--server-command`):

* `cost`: the server's time for one Predict over the time of a bare `Session.run` of the
  same SavedModel and photo, batch 1, in alternation; medians. The server's time is the
  step of its metric `:tensorflow:serving:request_latency_sum`, which TensorFlow Serving
  takes from the call of its handler to the finished answer, without gRPC's own reading
  and writing. A server without that metric is judged by the round trip, an upper bound.
* `plain` and `batching`: clients that each send the next request when the last one is
  answered, without and with batching.
* `swap`: the same load while every `--swap-seconds` the version is copied to the next
  number, by a temporary name and a rename; one older version is kept.

With `--target`, the load is measured on a server as it runs. Clients and server share
the machine here, and the cores. Exit code 1 if a request fails or a version is never
served.
"""

import argparse
import collections
import dataclasses
import os
import pathlib
import shlex
import shutil
import sys
import threading
import time
from collections.abc import Callable

import grpc
import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2

from benchmarks.common import new_parser, user_errors, write_json
from benchmarks.server_process import (
    EMBEDDED,
    Address,
    ServerProcess,
    copied_models,
    newest_version,
    predict_request,
)
from portrait_tf.data.masks import border_mask
from portrait_tf.data.synthetic import synthesize
from portrait_tf.photos import encode_png

GOAL = 1.05
PHASES = ("cost", "plain", "batching", "swap")
_PREDICT = "/tensorflow.serving.PredictionService/Predict"
_LATENCY = ":tensorflow:serving:request_latency"
_BATCHING = """\
max_batch_size {{ value: {size} }}
# 0: nobody waits for a batch to fill; what has queued up meanwhile goes together.
batch_timeout_micros {{ value: 0 }}
max_enqueued_batches {{ value: 100 }}
num_batch_threads {{ value: {threads} }}
"""


@dataclasses.dataclass
class Load:
    """What clients see.

    Attributes:
        seconds: Wall time.
        latencies: Seconds of every answered request.
        failures: Counts of the others by status.
        versions: Counts of answers by version.
        swaps: Version, and seconds from its rename to AVAILABLE; None if never.
    """

    seconds: float = 0.0
    latencies: list[float] = dataclasses.field(default_factory=list)
    failures: collections.Counter = dataclasses.field(
        default_factory=collections.Counter
    )
    versions: collections.Counter = dataclasses.field(
        default_factory=collections.Counter
    )
    swaps: list[tuple[int, float | None]] = dataclasses.field(default_factory=list)

    def summary(self) -> dict:
        """The numbers of the table and the JSON file."""
        p50, p99 = (
            [1000 * float(one) for one in np.percentile(self.latencies, [50, 99])]
            if self.latencies
            else [None, None]
        )
        failed = sum(self.failures.values())
        return {
            "requests": len(self.latencies) + failed,
            "failed": failed,
            "failures": dict(self.failures),
            "seconds": self.seconds,
            "per_second": len(self.latencies) / self.seconds,
            "p50_ms": p50,
            "p99_ms": p99,
            "versions": {str(key): self.versions[key] for key in sorted(self.versions)},
            "swaps": [{"version": one, "seconds": took} for one, took in self.swaps],
        }


def example_inputs(signature: str, size: tuple[int, int]) -> dict[str, np.ndarray]:
    """One synthetic portrait without its lower third, for a signature."""
    photo = synthesize(0, size).photo
    mask = border_mask(size, bottom=1 / 3)
    if signature == "encoded":
        return {
            "image_bytes": np.array([encode_png(photo)], object),
            "mask_bytes": np.array([encode_png(mask)], object),
        }
    return {"image": photo[None], "mask": mask[None, ..., None]}


def measure_cost(
    address: Address, models: pathlib.Path, options: argparse.Namespace
) -> dict:
    """Times requests and bare runs in turn; medians in milliseconds."""
    inputs = example_inputs(options.signature, options.size)
    request = predict_request(inputs, address.model_name, options.signature)
    content = request.SerializeToString()
    times = {"session": [], "server": [], "round_trip": []}
    with (
        tf.Graph().as_default(),
        tf.compat.v1.Session() as session,
        address.channel() as channel,
    ):
        path = str(newest_version(models))
        meta = tf.compat.v1.saved_model.load(session, ["serve"], path)
        definition = meta.signature_def[options.signature]
        fetches = {name: info.name for name, info in definition.outputs.items()}
        feeds = {definition.inputs[name].name: one for name, one in inputs.items()}
        call = _raw_predict(channel)
        for index in range(5 + options.repeats):
            before = _handled(address)
            start = time.perf_counter()
            call(content, timeout=60)
            middle = time.perf_counter()
            after = _handled(address)
            pause = time.perf_counter()
            session.run(fetches, feeds)
            end = time.perf_counter()
            if index < 5:
                continue
            times["round_trip"].append(middle - start)
            times["session"].append(end - pause)
            if before and after and after[1] == before[1] + 1:
                times["server"].append((after[0] - before[0]) / 1e6)
    medians = {
        f"{name}_ms": 1000 * float(np.median(values)) if values else None
        for name, values in times.items()
    }
    by = "round_trip" if medians["server_ms"] is None else "server"
    return {
        "signature": options.signature,
        "size": list(options.size),
        "repeats": options.repeats,
        **medians,
        "by": by,
        "ratio": medians[f"{by}_ms"] / medians["session_ms"],
        "goal": GOAL,
    }


def _handled(address: Address) -> tuple[float, float] | None:
    """Microseconds and number of Predict calls by gRPC that the server counts."""
    metrics = address.metrics()
    if metrics is None:
        return None
    labels = ('entrypoint="GRPC"', f'model_name="{address.model_name}"')

    def total(name: str) -> float:
        return sum(
            value
            for key, value in metrics.items()
            if key.startswith(f"{name}{{") and all(one in key for one in labels)
        )

    return total(f"{_LATENCY}_sum"), total(f"{_LATENCY}_count")


def _raw_predict(channel: grpc.Channel) -> Callable:
    """Predict on bytes, so that the client's part is as small as possible."""
    return channel.unary_unary(
        _PREDICT, request_serializer=bytes, response_deserializer=bytes
    )


def run_load(
    address: Address,
    options: argparse.Namespace,
    beside: Callable[[Load, threading.Event], None] | None = None,
) -> Load:
    """Clients that send one request after another, for the minutes of a phase.

    Args:
        address: The server.
        options: Options of the command line.
        beside: Runs meanwhile in this thread; takes the event that ends the load.
    """
    inputs = example_inputs(options.signature, options.size)
    request = predict_request(inputs, address.model_name, options.signature)
    content = request.SerializeToString()
    load, lock, over = Load(), threading.Lock(), threading.Event()

    def client() -> None:
        latencies, failures, versions = [], [], collections.Counter()
        with address.channel() as channel:
            call = _raw_predict(channel)
            while not over.is_set():
                start = time.perf_counter()
                try:
                    answer = call(content, timeout=60)
                except grpc.RpcError as error:
                    failures.append(f"{error.code().name}: {error.details()}"[:200])
                    continue
                latencies.append(time.perf_counter() - start)
                response = predict_pb2.PredictResponse.FromString(answer)
                versions[response.model_spec.version.value] += 1
                if not response.outputs:
                    failures.append("an answer without outputs")
        with lock:
            load.latencies += latencies
            load.failures.update(failures)
            load.versions.update(versions)

    threads = [threading.Thread(target=client) for _ in range(options.clients)]
    timer = threading.Timer(60 * options.minutes, over.set)
    start = time.perf_counter()
    for thread in (timer, *threads):
        thread.start()
    try:
        if beside is not None:
            beside(load, over)
        over.wait()
    finally:
        over.set()
        timer.cancel()
        for thread in threads:
            thread.join()
    load.seconds = time.perf_counter() - start
    return load


def publish_copy(models: pathlib.Path) -> int:
    """Copies the newest version to the next number, which is returned, by a rename."""
    source = newest_version(models)
    number = int(source.name) + 1
    # A name that no server takes for a version while it is written.
    temporary = models / f".copying-{number}"
    shutil.copytree(source, temporary)
    temporary.rename(models / str(number))
    return number


def swap_versions(
    address: Address, models: pathlib.Path, interval: float
) -> Callable[[Load, threading.Event], None]:
    """Publishes a version every `interval` seconds while a load runs."""

    def swap(load: Load, over: threading.Event) -> None:
        with address.channel() as channel:
            due = time.perf_counter() + interval
            while not over.wait(max(0.0, due - time.perf_counter())):
                due += interval
                start = time.perf_counter()
                number, took = publish_copy(models), None
                # A swap is waited for even if the load is over.
                while took is None and time.perf_counter() - start < 120:
                    if number in address.available_versions(channel):
                        took = time.perf_counter() - start
                    else:
                        time.sleep(0.1)
                load.swaps.append((number, took))
                if took is not None:
                    shutil.rmtree(models / str(number - 2), ignore_errors=True)

    return swap


def measure(options: argparse.Namespace) -> dict:
    """Results by phase, each of a server of its own."""
    if options.target:
        address = Address(options.target, options.rest, options.model_name)
        return {"as it runs": run_load(address, options).summary()}
    results = {}
    with copied_models(options.models) as models:
        batching = models / "batching.txt"
        text = _BATCHING.format(size=options.batch_size, threads=os.cpu_count())
        batching.write_text(text)
        for phase in options.phases:
            print(f"{phase} ...", file=sys.stderr, flush=True)
            flags = ["--file_system_poll_wait_seconds=1"]
            if phase == "batching":
                flags += ["--enable_batching", f"--batching_parameters_file={batching}"]
            with ServerProcess(models, flags, options.server_command) as address:
                if phase == "cost":
                    results[phase] = measure_cost(address, models, options)
                    continue
                beside = None
                if phase == "swap":
                    beside = swap_versions(address, models, options.swap_seconds)
                results[phase] = run_load(address, options, beside).summary()
    return results


def failed(results: dict) -> bool:
    """Whether a request failed, or a swap was never served."""
    return any(
        one["failed"] or any(swap["seconds"] is None for swap in one["swaps"])
        for phase, one in results.items()
        if phase != "cost"
    )


def table(results: dict) -> str:
    """The numbers, a phase per line."""
    lines = []
    loads = dict(results)
    if cost := loads.pop("cost", None):
        server = cost["server_ms"]
        said = "does not say" if server is None else f"{server:.2f} ms"
        lines += [
            f"one request of {cost['signature']} at {cost['size'][0]}x"
            f"{cost['size'][1]}, medians of {cost['repeats']}:",
            f"  bare Session.run {cost['session_ms']:.2f} ms, server {said}, round trip"
            f" {cost['round_trip_ms']:.2f} ms",
            f"  {cost['by'].replace('_', ' ')} / Session.run = {cost['ratio']:.3f}"
            f" (goal: at most {GOAL}): {'met' if cost['ratio'] <= GOAL else 'missed'}",
            "",
        ]
    if loads:
        lines.append(
            f"{'load':<10} {'requests':>8} {'failed':>6} {'per s':>8} {'p50 ms':>8}"
            f" {'p99 ms':>8}  swaps"
        )
    for phase, one in loads.items():
        p50, p99 = (
            "-" if one[key] is None else f"{one[key]:.1f}"
            for key in ("p50_ms", "p99_ms")
        )
        served = [s["seconds"] for s in one["swaps"] if s["seconds"] is not None]
        swaps = "-"
        if one["swaps"]:
            swaps = f"{len(served)} of {len(one['swaps'])} served, at most "
            swaps += f"{max(served, default=0):.1f} s after the rename"
        lines.append(
            f"{phase:<10} {one['requests']:>8} {one['failed']:>6}"
            f" {one['per_second']:>8.2f} {p50:>8} {p99:>8}  {swaps}"
        )
        lines += [f"  {count} x {what}" for what, count in one["failures"].items()]
    return "\n".join(lines)


def main() -> int:
    parser = new_parser(__doc__)
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument(
        "--models", type=pathlib.Path, help="start a server on the newest version here"
    )
    which.add_argument("--target", help="or a server that runs: HOST:PORT of gRPC")
    parser.add_argument(
        "--server-command", type=shlex.split, default=EMBEDDED,
        help="what is started; takes tensorflow_model_server's flags",
    )  # fmt: skip
    parser.add_argument("--rest", default="", help="with --target: http://HOST:PORT")
    parser.add_argument("--model-name", default="portrait", help="with --target")
    parser.add_argument("--json", type=pathlib.Path, help="write the numbers here, too")
    parser.add_argument("--phases", nargs="+", choices=PHASES, default=PHASES)
    signatures = ("serving_default", "encoded")
    parser.add_argument("--signature", choices=signatures, default=signatures[0])
    parser.add_argument("--size", type=int, nargs=2, default=(192, 128), metavar="N")
    parser.add_argument("--clients", type=int, default=4)
    parser.add_argument("--minutes", type=float, default=5.0, help="a phase")
    parser.add_argument("--swap-seconds", type=float, default=20.0)
    parser.add_argument("--repeats", type=int, default=50, help="of the cost phase")
    parser.add_argument("--batch-size", type=int, default=4, help="of batching")
    options = parser.parse_args()
    options.size = tuple(options.size)
    results = measure(options)
    write_json(options.json, results)
    print(table(results))
    return int(failed(results))


if __name__ == "__main__":
    with user_errors():
        sys.exit(main())
