"""How training grows with the number of replicas, and what many GPUs would take.

    python -m benchmarks.replicas [--devices 1 2 4] [--workers 1 2]
    python -m benchmarks.replicas --plan [--gpus 1 10 100] [--price 2.5] ...

The first measures: every replica has `--batch` photos, so the work grows with their
number. `--devices` are virtual devices of this CPU in one process, `--workers` are
processes that speak gRPC. Both share the cores of this machine, so no line can be
faster than these cores are; what is seen is what the exchange costs.

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

from benchmarks.server_process import free_ports

REPOSITORY = pathlib.Path(__file__).parents[1]
CONFIG = REPOSITORY / "configs" / "demo.yaml"
# The first steps are traced, and fill the queues.
_LEFT_OUT = 3


def build_trainer(stage: str, config):  # noqa: ANN001, ANN201
    """A prepared trainer of a stage, with random weights."""
    from portrait_tf.runs.folder import build_network
    from portrait_tf.training import build

    network = build_network(stage, config, training=True)
    earlier = [build_network("parsing", config)] if stage == "completion" else []
    return build.build_trainer(stage, network, earlier, config)


def experiment(arguments: argparse.Namespace, batch_size: int):  # noqa: ANN201
    """The config with a batch, a VGG without weights, and critics at once."""
    from portrait_tf.config import load_config, with_changes

    changes = [
        f"{arguments.stage}.training.batch_size={batch_size}",
        "completion.perceptual.weights=random",
        "completion.schedule.reconstruction_steps=0",
        "completion.schedule.critic_steps=0",
    ]
    return with_changes(load_config(arguments.config), [*changes, *arguments.set])


def measure(arguments: argparse.Namespace, devices: int) -> None:
    """In a process of its own: prints seconds a step, and the replicas there are."""
    import tensorflow as tf

    if devices > 1:
        (cpu,) = tf.config.list_physical_devices("CPU")
        tf.config.set_logical_device_configuration(
            cpu, [tf.config.LogicalDeviceConfiguration()] * devices
        )
    import keras

    from portrait_tf.data.dataset import training_dataset
    from portrait_tf.data.synthetic import synthetic_portrait
    from portrait_tf.training.distribution import make_distribution

    names = {"devices": "mirrored", "workers": "multiworker"}
    distribution = make_distribution(names[arguments.measured])
    batch_size = arguments.batch * distribution.replicas
    config = experiment(arguments, batch_size)
    keras.utils.set_random_seed(0)
    with distribution.scope():
        trainer = build_trainer(arguments.stage, config)
    portraits = [synthetic_portrait(seed, config.size) for seed in range(4)]
    steps = _LEFT_OUT + arguments.steps

    class Clock(keras.callbacks.Callback):
        times = []

        def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
            self.times.append(time.perf_counter())

    clock = Clock()
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
    seconds = [b - a for a, b in zip(clock.times, clock.times[1:], strict=False)]
    if distribution.chief:
        answer = {
            "replicas": distribution.replicas,
            "seconds": statistics.median(seconds[_LEFT_OUT - 1 :]),
        }
        print("RESULT" + json.dumps(answer), flush=True)


def started(arguments: argparse.Namespace, kind: str, number: int) -> dict:
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
        processes.append(
            subprocess.Popen(
                command,
                env=environment,
                cwd=REPOSITORY,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
    outputs = [process.communicate() for process in processes]
    for process, (_, error) in zip(processes, outputs, strict=True):
        if process.returncode:
            raise SystemExit(error[-3000:])
    (line,) = [
        line
        for output, _ in outputs
        for line in output.splitlines()
        if line.startswith("RESULT")
    ]
    return json.loads(line.removeprefix("RESULT"))


def table(arguments: argparse.Namespace) -> None:
    cores = len(os.sched_getaffinity(0))
    print(
        f"{arguments.stage} of {pathlib.Path(arguments.config).name}, "
        f"{arguments.batch} photos a replica, {cores} core(s), median of "
        f"{arguments.steps} steps\n"
    )
    print("| replicas | how | seconds a step | photos a second | of one alone |")
    print("| ---: | --- | ---: | ---: | ---: |")
    for kind, numbers in (
        ("devices", arguments.devices),
        ("workers", arguments.workers),
    ):
        first = None
        for number in numbers:
            answer = started(arguments, kind, number)
            rate = answer["replicas"] * arguments.batch / answer["seconds"]
            first = first or rate
            print(
                f"| {answer['replicas']} | {kind} | {answer['seconds']:.3f} | "
                f"{rate:.2f} | {rate / first:.2f} |",
                flush=True,
            )


def operations(arguments: argparse.Namespace) -> dict:
    """What one training step takes: floating-point operations, bytes."""
    import tensorflow as tf

    from portrait_tf.data.dataset import training_dataset
    from portrait_tf.data.synthetic import synthetic_portrait

    config = experiment(arguments, arguments.batch)
    trainer = build_trainer(arguments.stage, config)
    portraits = [synthetic_portrait(seed, config.size) for seed in range(4)]
    stream = training_dataset(portraits, config, arguments.batch, 0, 8)
    batch = next(iter(stream))
    graph = tf.function(trainer.train_step).get_concrete_function(batch).graph
    options = tf.compat.v1.profiler.ProfileOptionBuilder.float_operation()
    options["output"] = "none"
    counted = tf.compat.v1.profiler.profile(graph, options=options)
    start = time.perf_counter()
    photos = sum(len(one["image"]) for one in stream.take(4))
    data_seconds = (time.perf_counter() - start) / photos
    trained = [
        variable
        for network in trainer.networks.values()
        for variable in network.trainable_variables
    ]
    return {
        "flop": counted.total_float_ops / arguments.batch,
        "gradient_bytes": 4 * sum(int(tf.size(one)) for one in trained),
        "data_seconds": data_seconds,
        "size": tuple(config.size),
    }


def plan(arguments: argparse.Namespace) -> None:
    """Prints the arithmetic for some numbers of GPUs."""
    told = operations(arguments)
    flop, exchanged = told["flop"], told["gradient_bytes"]
    per_gpu = arguments.tflops * 1e12 * arguments.utilisation
    compute = arguments.gpu_batch * flop / per_gpu
    print(f"Counted in this program ({arguments.stage}, {told['size']}):")
    print(f"  floating-point operations a photo and step: {flop / 1e9:.1f} G")
    print(f"  gradients exchanged a step: {exchanged / 1e6:.1f} MB (float32)")
    print(f"  making a sample on this CPU: {1e3 * told['data_seconds']:.1f} ms")
    print("ASSUMED, to be replaced by your own figures:")
    print(f"  a GPU does {arguments.tflops} TFLOP/s at its peak (--tflops), and")
    print(f"  {arguments.utilisation:.0%} of it in these networks (--utilisation)")
    print(f"  a GPU costs {arguments.price} an hour (--price)")
    print(f"  {arguments.gpu_batch} photos a GPU and step (--gpu-batch)")
    print(f"  {arguments.gigabits} Gbit/s between GPUs (--gigabits), nothing hidden")
    print(f"  {arguments.hop_us} us a hop of an exchange (--hop-us)")
    print(f"  {arguments.exchanges} exchanges a step (--exchanges)")
    print(f"  a stored photo has {arguments.photo_kb} kB (--photo-kb)")
    print("Arithmetic:")
    print("  compute = photos a GPU * operations / (peak * part)")
    print("  exchange = 2 (N-1)/N * bytes / bandwidth + exchanges * 2 (N-1) * hop")
    print("  photos/s = N * photos a GPU / (compute + exchange)")
    print("  cost of a million = 1e6 / (photos/s) / 3600 * N * price\n")
    print(
        "| GPUs | batch | compute | exchange | photos/s | of N times one | read | "
        "CPU cores for samples | hours a million | cost a million |"
    )
    print("| ---: " * 10 + "|")
    alone = arguments.gpu_batch / compute
    for number in arguments.gpus:
        ring = 2 * (number - 1) / number * exchanged / (arguments.gigabits * 1e9 / 8)
        hops = arguments.exchanges * 2 * (number - 1) * arguments.hop_us * 1e-6
        rate = number * arguments.gpu_batch / (compute + ring + hops)
        hours = 1e6 / rate / 3600
        print(
            f"| {number} | {number * arguments.gpu_batch} | {1e3 * compute:.1f} ms | "
            f"{1e3 * (ring + hops):.1f} ms | {rate:.0f} | {rate / alone / number:.0%} |"
            f" {rate * arguments.photo_kb / 1e3:.0f} MB/s | "
            f"{rate * told['data_seconds']:.0f} | {hours:.2f} | "
            f"{hours * number * arguments.price:.2f} |"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--stage", choices=["parsing", "completion"], default="parsing")
    parser.add_argument("--config", default=str(CONFIG))
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--batch", type=int, default=2, help="Photos a replica.")
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--devices", type=int, nargs="*", default=[1, 2, 4])
    parser.add_argument("--workers", type=int, nargs="*", default=[1, 2])
    parser.add_argument("--plan", action="store_true")
    parser.add_argument("--gpus", type=int, nargs="+", default=[1, 10, 100])
    parser.add_argument("--gpu-batch", type=int, default=16)
    parser.add_argument("--tflops", type=float, default=60.0)
    parser.add_argument("--utilisation", type=float, default=0.3)
    parser.add_argument("--price", type=float, default=2.5)
    parser.add_argument("--gigabits", type=float, default=100.0)
    parser.add_argument("--hop-us", type=float, default=10.0)
    parser.add_argument("--exchanges", type=int, default=20)
    parser.add_argument("--photo-kb", type=float, default=40.0)
    parser.add_argument("--measured", help=argparse.SUPPRESS)
    parser.add_argument("--number", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measured:
        devices = arguments.number if arguments.measured == "devices" else 1
        measure(arguments, devices)
    elif arguments.plan:
        plan(arguments)
    else:
        table(arguments)


if __name__ == "__main__":
    main()
