"""What serving costs, how much a server carries, and whether a swap is noticed.

    portrait-tf export bundled models
    python -m benchmarks.serving --models models --minutes 5 --json serving.json
    python -m benchmarks.serving --target HOST:8500 --rest http://HOST:8501

Starts `portrait-tf serve` on a copy of the newest version in `--models`, or any other
server that takes `tensorflow_model_server`'s flags (`--server-command`):

* `cost`: the server's time for one Predict over the time of a bare `Session.run` of the
  same SavedModel and the same photo, batch 1, one request at a time, in alternation in
  one run; medians. The server's time is what it says itself: the step of
  `:tensorflow:serving:request_latency_sum` that the request made, which TensorFlow
  Serving takes from the call of its handler to the finished answer: decoding of
  tensors, the run, encoding of tensors; not gRPC's own reading and writing of the
  message. The round trip that the client sees is printed beside it. A server without
  that metric is judged by the round trip, which is an upper bound.
* `load`: clients that each send the next request when the last is answered, without
  batching, then with it.
* `swap`: the same load while every `--swap-seconds` the version is copied to the next
  number, by a temporary name and a rename; one older version is kept.

With `--target`, `load` is measured on a server as it runs. Clients and server share the
machine here: what the clients take is missing to the server. Exit code 1 when a request
failed, or a version that was swapped in was never served.
"""

import argparse
import collections
import dataclasses
import json
import os
import pathlib
import shutil
import sys
import threading
import time
from collections.abc import Callable, Sequence

import grpc
import numpy as np
from tensorflow_serving.apis import predict_pb2

from benchmarks.server_process import (
    EMBEDDED,
    PREDICT,
    Address,
    ServerProcess,
    add_server_options,
    copied_models,
    newest_version,
    predict_request,
    read_metrics,
    read_server_options,
)
from portrait_tf.data.masks import border_mask
from portrait_tf.data.synthetic import synthetic_portrait
from portrait_tf.errors import PortraitError
from portrait_tf.files import write_result
from portrait_tf.photos import encode_png

GOAL = 1.05
PHASES = ("cost", "plain", "batching", "swap")
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
    """What clients saw.

    Attributes:
        seconds: Wall time.
        latencies: Seconds of every answered request.
        failures: Statuses of the others.
        versions: Answers by the version that gave them.
        swaps: Version and seconds from its rename to AVAILABLE; None if it never was.
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
        """What the table and the JSON file hold."""
        p50, p99 = (
            np.percentile(self.latencies, [50, 99]) if self.latencies else [None, None]
        )
        return {
            "requests": len(self.latencies) + sum(self.failures.values()),
            "failed": sum(self.failures.values()),
            "failures": dict(self.failures),
            "seconds": self.seconds,
            "per_second": len(self.latencies) / self.seconds,
            "p50_ms": None if p50 is None else 1000 * float(p50),
            "p99_ms": None if p99 is None else 1000 * float(p99),
            "versions": {str(key): self.versions[key] for key in sorted(self.versions)},
            "swaps": [{"version": one, "seconds": took} for one, took in self.swaps],
        }


def example_inputs(signature: str, size: tuple[int, int]) -> dict[str, np.ndarray]:
    """One synthetic portrait without its lower third.

    Args:
        signature: `serving_default` or `encoded`.
        size: Height and width.
    """
    photo = synthetic_portrait(0, size).photo
    mask = border_mask(size, bottom=1 / 3)
    if signature == "encoded":
        return {
            "image_bytes": np.array([encode_png(photo)], object),
            "mask_bytes": np.array([encode_png(mask)], object),
        }
    return {"image": photo[None], "mask": mask[None, ..., None]}


def measure_cost(
    address: Address,
    models: pathlib.Path,
    signature: str,
    size: tuple[int, int],
    repeats: int = 50,
    warm_up: int = 5,
) -> dict:
    """Times requests and bare runs in turn.

    Args:
        address: The server.
        models: The folder whose newest version it serves.
        signature: What is asked for.
        size: Height and width of the photo.
        repeats: Requests, and runs, that count.
        warm_up: Those before that, which do not.

    Returns:
        Medians in milliseconds: `session`, `server` (None if it does not say),
        `round_trip`; `ratio`; `by`, what it is made of.
    """
    import tensorflow as tf

    inputs = example_inputs(signature, size)
    content = predict_request(inputs, address.model_name, signature).SerializeToString()
    times = {"session": [], "server": [], "round_trip": []}
    with (
        tf.Graph().as_default(),
        tf.compat.v1.Session() as session,
        address.channel() as channel,
    ):
        meta = tf.compat.v1.saved_model.load(
            session, ["serve"], str(newest_version(models))
        )
        definition = meta.signature_def[signature]
        fetches = {name: info.name for name, info in definition.outputs.items()}
        feeds = {definition.inputs[name].name: one for name, one in inputs.items()}
        call = _raw_predict(channel)
        for index in range(warm_up + repeats):
            before = _handled(address)
            start = time.perf_counter()
            call(content, timeout=60)
            middle = time.perf_counter()
            after = _handled(address)
            pause = time.perf_counter()
            session.run(fetches, feeds)
            end = time.perf_counter()
            if index < warm_up:
                continue
            times["round_trip"].append(middle - start)
            times["session"].append(end - pause)
            if before and after and after[1] == before[1] + 1:
                times["server"].append((after[0] - before[0]) / 1e6)
    medians = {
        name: 1000 * float(np.median(values)) if values else None
        for name, values in times.items()
    }
    by = "round_trip" if medians["server"] is None else "server"
    return {
        "signature": signature,
        "size": list(size),
        "repeats": repeats,
        **{f"{name}_ms": value for name, value in medians.items()},
        "by": by,
        "ratio": medians[by] / medians["session"],
        "goal": GOAL,
    }


def _handled(address: Address) -> tuple[float, float] | None:
    """Microseconds and number of Predict calls by gRPC that the server counts."""
    metrics = read_metrics(address.rest)
    if metrics is None:
        return None

    def total(name: str) -> float:
        return sum(
            value
            for key, value in metrics.items()
            if key.startswith(f"{name}{{")
            and 'entrypoint="GRPC"' in key
            and f'model_name="{address.model_name}"' in key
        )

    return total(f"{_LATENCY}_sum"), total(f"{_LATENCY}_count")


def _raw_predict(channel: grpc.Channel) -> Callable:
    """Predict on bytes, so that the client's part is as small as it can be."""
    return channel.unary_unary(
        PREDICT, request_serializer=bytes, response_deserializer=bytes
    )


def run_load(
    address: Address,
    contents: Sequence[bytes],
    seconds: float,
    timeout: float = 60.0,
    beside: Callable[[Load, threading.Event], None] | None = None,
) -> Load:
    """Clients that send one request after another.

    Args:
        address: The server.
        contents: A PredictRequest's bytes for each client.
        seconds: How long.
        timeout: Deadline of a request.
        beside: What runs meanwhile, in this thread; is given the event that ends it.
    """
    load, lock, over = Load(), threading.Lock(), threading.Event()

    def client(content: bytes) -> None:
        latencies, failures, versions = [], [], collections.Counter()
        with address.channel() as channel:
            call = _raw_predict(channel)
            while not over.is_set():
                start = time.perf_counter()
                try:
                    answer = call(content, timeout=timeout)
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

    threads = [threading.Thread(target=client, args=(one,)) for one in contents]
    timer = threading.Timer(seconds, over.set)
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
    """Copies the newest version to the next number; readers see all of it or nothing.

    Returns:
        That number.
    """
    source = newest_version(models)
    number = int(source.name) + 1
    # No number, so no server takes it for a version while it is written.
    temporary = models / f".copying-{number}"
    shutil.copytree(source, temporary)
    temporary.rename(models / str(number))
    return number


def swap_versions(
    address: Address, models: pathlib.Path, interval: float
) -> Callable[[Load, threading.Event], None]:
    """What publishes a version every `interval` seconds while a load runs.

    One that is not served after that time delays the next.
    """

    def swap(load: Load, over: threading.Event) -> None:
        with address.channel() as channel:
            due = time.perf_counter() + interval
            while not over.wait(max(0.0, due - time.perf_counter())):
                due += interval
                start = time.perf_counter()
                number = publish_copy(models)
                took = None
                # A swap begun is seen through, with the clients going on or not.
                while time.perf_counter() - start < 120:
                    if number in address.available_versions(channel):
                        took = time.perf_counter() - start
                        break
                    time.sleep(0.1)
                load.swaps.append((number, took))
                old = models / str(number - 2)
                if took is not None and old.exists():
                    shutil.rmtree(old)

    return swap


def measure(
    models: pathlib.Path,
    phases: Sequence[str] = PHASES,
    signature: str = "serving_default",
    size: tuple[int, int] = (192, 128),
    clients: int = 4,
    seconds: float = 300.0,
    swap_seconds: float = 20.0,
    repeats: int = 50,
    batch_size: int = 4,
    command: Sequence[str] = EMBEDDED,
    report: Callable[[str], None] = lambda line: None,
) -> dict:
    """Every phase on a server of its own, over a copy of the newest version.

    Returns:
        What each phase gave, by its name.
    """
    results = {}
    common = ["--file_system_poll_wait_seconds=1"]
    with copied_models(models) as copy:
        batching = copy / "batching.txt"
        batching.write_text(_BATCHING.format(size=batch_size, threads=os.cpu_count()))
        content = predict_request(
            example_inputs(signature, size), signature=signature
        ).SerializeToString()
        for phase in phases:
            report(f"{phase} ...")
            flags = list(common)
            if phase == "batching":
                flags += ["--enable_batching", f"--batching_parameters_file={batching}"]
            with ServerProcess(copy, flags, command) as address:
                if phase == "cost":
                    results[phase] = measure_cost(
                        address, copy, signature, size, repeats
                    )
                    continue
                swap = swap_versions(address, copy, swap_seconds)
                load = run_load(
                    address,
                    [content] * clients,
                    seconds,
                    beside=swap if phase == "swap" else None,
                )
                results[phase] = load.summary()
    return results


def failed(results: dict) -> bool:
    """Whether a request failed, or a swap was never served."""
    return any(
        one.get("failed") or any(swap["seconds"] is None for swap in one["swaps"])
        for phase, one in results.items()
        if phase != "cost"
    )


def table(results: dict) -> str:
    """The numbers, a phase a line."""
    lines = []
    if cost := results.get("cost"):
        server = cost["server_ms"]
        lines += [
            f"one request of {cost['signature']} at {cost['size'][0]}x"
            f"{cost['size'][1]}, medians of {cost['repeats']}:",
            f"  bare Session.run {cost['session_ms']:.2f} ms, server"
            f" {'does not say' if server is None else f'{server:.2f} ms'}, round trip"
            f" {cost['round_trip_ms']:.2f} ms",
            f"  {cost['by'].replace('_', ' ')} / Session.run = {cost['ratio']:.3f}"
            f" (goal: at most {cost['goal']}):"
            f" {'met' if cost['ratio'] <= cost['goal'] else 'missed'}",
            "",
        ]
    loads = {phase: one for phase, one in results.items() if phase != "cost"}
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
        took = [swap["seconds"] for swap in one["swaps"]]
        served = [value for value in took if value is not None]
        swaps = (
            f"{len(served)} of {len(took)} served, at most"
            f" {max(served, default=0):.1f} s after the rename"
            if took
            else "-"
        )
        lines.append(
            f"{phase:<10} {one['requests']:>8} {one['failed']:>6}"
            f" {one['per_second']:>8.2f} {p50:>8} {p99:>8}  {swaps}"
        )
        lines += [f"  {count} x {what}" for what, count in one["failures"].items()]
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_server_options(parser)
    parser.add_argument("--phases", nargs="+", choices=PHASES, default=PHASES)
    parser.add_argument(
        "--signature", choices=("serving_default", "encoded"), default="serving_default"
    )
    parser.add_argument("--size", type=int, nargs=2, default=(192, 128), metavar="N")
    parser.add_argument("--clients", type=int, default=4)
    parser.add_argument("--minutes", type=float, default=5.0, help="a phase")
    parser.add_argument("--swap-seconds", type=float, default=20.0)
    parser.add_argument("--repeats", type=int, default=50, help="of the cost phase")
    parser.add_argument("--batch-size", type=int, default=4, help="of batching")
    options = read_server_options(parser, arguments)
    size, seconds = tuple(options.size), 60 * options.minutes
    try:
        if options.target is None:
            results = measure(
                options.models,
                options.phases,
                options.signature,
                size,
                options.clients,
                seconds,
                options.swap_seconds,
                options.repeats,
                options.batch_size,
                options.server_command,
                lambda line: print(line, file=sys.stderr, flush=True),
            )
        else:
            address = Address(options.target, options.rest, options.model_name)
            content = predict_request(
                example_inputs(options.signature, size),
                options.model_name,
                options.signature,
            ).SerializeToString()
            load = run_load(address, [content] * options.clients, seconds)
            results = {"as it runs": load.summary()}
    except PortraitError as error:
        raise SystemExit(str(error)) from None
    if options.json:
        write_result(options.json, json.dumps(results, indent=2).encode())
    print(table(results))
    if failed(results):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
