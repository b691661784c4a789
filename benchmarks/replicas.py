"""How training grows with the number of replicas, and what many GPUs would take.

    python -m benchmarks.replicas [--devices 1 2 4] [--workers 1 2]
    python -m benchmarks.replicas --plan [--gpus 1 10 100] [--price 2.5] ...

The first measures: every replica has `--batch` photos, so the work grows with their
number. `--devices` are virtual devices of this CPU in one process, `--workers` are
processes that speak gRPC. Both share the cores of this machine: the figures show what
the exchange costs, not what GPUs gain.

`--plan` is arithmetic. Operations of a step, and bytes of weights and photos, are those
of the real program; what a GPU does and costs are ASSUMPTIONS, to be replaced.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import time

from benchmarks.common import (
    ROOT,
    add_config,
    build_trainer,
    free_ports,
    markdown,
    new_parser,
)

# The first steps are traced, and fill the queues.
_LEFT_OUT = 3


def experiment(options: argparse.Namespace, batch_size: int):  # noqa: ANN201
    """The config with a batch, a VGG without weights, and critics at once."""
    from portrait_tf.config import load_config, with_changes

    changes = [
        f"{options.stage}.training.batch_size={batch_size}",
        "completion.perceptual.weights=random",
        "completion.schedule.reconstruction_steps=0",
        "completion.schedule.critic_steps=0",
    ]
    return with_changes(load_config(options.config), [*changes, *options.set])


def measure(options: argparse.Namespace) -> None:
    """In a process of its own: prints seconds a step, and the number of replicas."""
    import tensorflow as tf

    if options.measured == "devices" and options.number > 1:
        (cpu,) = tf.config.list_physical_devices("CPU")
        tf.config.set_logical_device_configuration(
            cpu, [tf.config.LogicalDeviceConfiguration()] * options.number
        )
    import keras

    from portrait_tf.data.dataset import training_dataset
    from portrait_tf.data.synthetic import synthesize
    from portrait_tf.training.distribution import make_distribution

    names = {"devices": "mirrored", "workers": "multiworker"}
    distribution = make_distribution(names[options.measured])
    batch_size = options.batch * distribution.replicas
    config = experiment(options, batch_size)
    keras.utils.set_random_seed(0)
    with distribution.scope():
        trainer = build_trainer(options.stage, config)
    portraits = [synthesize(seed, config.size) for seed in range(4)]
    steps, times = _LEFT_OUT + options.steps, []
    clock = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: times.append(time.perf_counter())
    )
    trainer.fit(
        distribution.training_data(
            lambda part, local: training_dataset(
                portraits, config, batch_size, 0, steps, 0, part, local
            )
        ),
        steps_per_epoch=steps,
        callbacks=[clock],
        verbose=0,
    )
    distribution.finish()
    seconds = [after - before for before, after in zip(times, times[1:], strict=False)]
    if distribution.chief:
        median = statistics.median(seconds[_LEFT_OUT - 1 :])
        answer = {"replicas": distribution.replicas, "seconds": median}
        print("RESULT" + json.dumps(answer), flush=True)


def started(kind: str, number: int) -> dict:
    """Starts the processes of one line of the table, and waits for the answer."""
    command = [sys.executable, "-m", "benchmarks.replicas", *sys.argv[1:]]
    command += ["--measured", kind, "--number", str(number)]
    hosts = [f"localhost:{port}" for port in free_ports(number)]
    processes = []
    for index in range(number if kind == "workers" else 1):
        task = {"type": "worker", "index": index}
        tf_config = json.dumps({"cluster": {"worker": hosts}, "task": task})
        environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
        environment |= {"TF_CONFIG": tf_config} if kind == "workers" else {}
        pipe = subprocess.PIPE
        processes.append(
            subprocess.Popen(
                command, env=environment, cwd=ROOT, stdout=pipe, stderr=pipe, text=True
            )
        )
    outputs = [process.communicate() for process in processes]
    for process, (_, error) in zip(processes, outputs, strict=True):
        if process.returncode:
            raise SystemExit(error[-3000:])
    lines = [line for output, _ in outputs for line in output.splitlines()]
    (found,) = [line for line in lines if line.startswith("RESULT")]
    return json.loads(found.removeprefix("RESULT"))


def table(options: argparse.Namespace) -> None:
    """Prints photos a second for some numbers of devices and workers."""
    cores = len(os.sched_getaffinity(0))
    print(
        f"{options.stage} of {pathlib.Path(options.config).name}, {options.batch} "
        f"photos a replica, {cores} core(s), median of {options.steps} steps\n"
    )
    rows = []
    for kind in ("devices", "workers"):
        first = None
        for number in getattr(options, kind):
            answer = started(kind, number)
            rate = answer["replicas"] * options.batch / answer["seconds"]
            first = first or rate
            cells = [f"{answer['seconds']:.3f}", f"{rate:.2f}", f"{rate / first:.2f}"]
            rows.append([answer["replicas"], kind, *cells])
    titles = ["seconds a step", "photos a second", "of one alone"]
    print(markdown(["replicas", "how", *titles], rows))


def operations(options: argparse.Namespace) -> tuple[float, float, float]:
    """Operations a photo and step, bytes of the gradients, seconds a sample."""
    import tensorflow as tf

    from portrait_tf.data.dataset import training_dataset
    from portrait_tf.data.synthetic import synthesize

    config = experiment(options, options.batch)
    trainer = build_trainer(options.stage, config)
    portraits = [synthesize(seed, config.size) for seed in range(4)]
    stream = training_dataset(portraits, config, options.batch, 0, 8)
    batch = next(iter(stream))
    graph = (
        tf.function(trainer.train_step, autograph=False)
        .get_concrete_function(batch)
        .graph
    )
    profile = tf.compat.v1.profiler.ProfileOptionBuilder.float_operation()
    profile["output"] = "none"
    counted = tf.compat.v1.profiler.profile(graph, options=profile)
    start = time.perf_counter()
    photos = sum(len(one["image"]) for one in stream.take(4))
    seconds = (time.perf_counter() - start) / photos
    trained = [
        variable
        for network in trainer.networks.values()
        for variable in network.trainable_variables
    ]
    gradients = 4 * sum(int(tf.size(one)) for one in trained)
    return counted.total_float_ops / options.batch, gradients, seconds


def plan(options: argparse.Namespace) -> None:
    """Prints the arithmetic for some numbers of GPUs."""
    flop, exchanged, sample = operations(options)
    per_gpu = options.tflops * 1e12 * options.utilisation
    compute = options.gpu_batch * flop / per_gpu
    print(
        f"Counted in this program ({options.stage}):\n"
        f"  floating-point operations a photo and step: {flop / 1e9:.1f} G\n"
        f"  gradients exchanged a step: {exchanged / 1e6:.1f} MB (float32)\n"
        f"  making a sample on this CPU: {1e3 * sample:.1f} ms\n"
        "ASSUMED, to be replaced by your own figures:\n"
        f"  a GPU does {options.tflops} TFLOP/s at its peak (--tflops), and\n"
        f"  {options.utilisation:.0%} of it in these networks (--utilisation)\n"
        f"  a GPU costs {options.price} an hour (--price)\n"
        f"  {options.gpu_batch} photos a GPU and step (--gpu-batch)\n"
        f"  {options.gigabits} Gbit/s between GPUs (--gigabits), nothing hidden\n"
        f"  {options.hop_us} us a hop of an exchange (--hop-us)\n"
        f"  {options.exchanges} exchanges a step (--exchanges)\n"
        f"  a stored photo has {options.photo_kb} kB (--photo-kb)\n"
        "Arithmetic:\n"
        "  compute = photos a GPU * operations / (peak * part)\n"
        "  exchange = 2 (N-1)/N * bytes / bandwidth + exchanges * 2 (N-1) * hop\n"
        "  photos/s = N * photos a GPU / (compute + exchange)\n"
        "  cost of a million = 1e6 / (photos/s) / 3600 * N * price\n"
    )
    alone, rows = options.gpu_batch / compute, []
    for number in options.gpus:
        ring = 2 * (number - 1) / number * exchanged / (options.gigabits * 1e9 / 8)
        ring += options.exchanges * 2 * (number - 1) * options.hop_us * 1e-6
        rate = number * options.gpu_batch / (compute + ring)
        hours = 1e6 / rate / 3600
        rows.append(
            [
                number,
                number * options.gpu_batch,
                f"{1e3 * compute:.1f} ms",
                f"{1e3 * ring:.1f} ms",
                f"{rate:.0f}",
                f"{rate / alone / number:.0%}",
                f"{rate * options.photo_kb / 1e3:.0f} MB/s",
                f"{rate * sample:.0f}",
                f"{hours:.2f}",
                f"{hours * number * options.price:.2f}",
            ]
        )
    columns = ["GPUs", "batch", "compute", "exchange", "photos/s", "of N times one"]
    columns += ["read", "CPU cores for samples", "hours a million", "cost a million"]
    print(markdown(columns, rows))


def main() -> None:
    parser = new_parser(__doc__)
    parser.add_argument("--stage", choices=["parsing", "completion"], default="parsing")
    add_config(parser, "demo.yaml")
    parser.add_argument("--batch", type=int, default=2, help="Photos a replica.")
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--devices", type=int, nargs="*", default=[1, 2, 4])
    parser.add_argument("--workers", type=int, nargs="*", default=[1, 2])
    parser.add_argument("--plan", action="store_true")
    parser.add_argument("--gpus", type=int, nargs="+", default=[1, 10, 100])
    for name, default in {
        "gpu-batch": 16, "exchanges": 20, "tflops": 60.0, "utilisation": 0.3,
        "price": 2.5, "gigabits": 100.0, "hop-us": 10.0, "photo-kb": 40.0,
    }.items():  # fmt: skip
        parser.add_argument(f"--{name}", type=type(default), default=default)
    parser.add_argument("--measured", help=argparse.SUPPRESS)
    parser.add_argument("--number", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measured:
        measure(options)
    elif options.plan:
        plan(options)
    else:
        table(options)


if __name__ == "__main__":
    main()
