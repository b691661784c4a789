"""Several replicas: the losses and weights of one device with the whole batch.

Replicas are virtual devices of the CPU in one process, or processes of their own that
speak gRPC with each other, as workers on several machines do.
"""

import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from processes import wait_until
from tiny import TINY, assert_equal_arrays

from benchmarks.common import free_ports
from portrait_tf.config import parse_config, save_config, with_changes
from portrait_tf.data.cache import Budget, CachedReader
from portrait_tf.data.dataset import training_dataset
from portrait_tf.data.mixture import Mixture, sample_names
from portrait_tf.data.open import open_dataset, open_splits
from portrait_tf.data.shards import write_shards
from portrait_tf.data.synthetic import write_synthetic
from portrait_tf.errors import LostWorkerError, PortraitError
from portrait_tf.runs.storage import read_arrays, read_meta
from portrait_tf.training.commands import train_stage
from portrait_tf.training.distribution import (
    Distribution,
    _place,
    lost_workers,
    read_tf_config,
)

several = pytest.mark.default_stack("Keras 2.15 trains on one device")
HERE = pathlib.Path(__file__).parent
PROGRAM = HERE / "replicas_program.py"
STEPS = 9


def environment(**more):
    """Of a process: one thread, no TF_CONFIG but a given one, this package."""
    paths = [str(HERE.parents[1]), str(HERE.parent)]
    kept = {name: value for name, value in os.environ.items() if name != "TF_CONFIG"}
    return {
        **kept,
        "TF_NUM_INTRAOP_THREADS": "1",
        "TF_NUM_INTEROP_THREADS": "1",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "CUDA_VISIBLE_DEVICES": "",
        "PYTHONPATH": os.pathsep.join(paths),
        **more,
    }


def tf_configs(number, chief=False):
    """TF_CONFIG of each of some workers on this machine, at ports that are free.

    Args:
        number: Of workers.
        chief: Whether the first is of the job `chief`.
    """
    hosts = [f"localhost:{port}" for port in free_ports(number)]
    cluster = {"chief": hosts[:1], "worker": hosts[1:]} if chief else {"worker": hosts}
    return [
        json.dumps({"cluster": cluster, "task": {"type": job, "index": index}})
        for job, members in cluster.items()
        for index in range(len(members))
    ]


def python(*arguments, tf_config=None):
    """A process of this Python that runs, with all that it prints in one stream."""
    return subprocess.Popen(
        [sys.executable, *arguments],
        env=environment(**({"TF_CONFIG": tf_config} if tf_config else {})),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def start(tf_config=None, **given):
    return python(PROGRAM, json.dumps({"devices": 1, **given}), tf_config=tf_config)


def finish(*processes):
    for process in processes:
        output, _ = process.communicate(timeout=900)
        assert process.returncode == 0, output[-3000:]


def result(path):
    """What a process logged, and its variables."""
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files}
    return json.loads(str(arrays.pop("history"))), arrays


def changes_of(stage, *more):
    """An epoch a step, SGD: Adam's first steps have the rate's size for any gradient,

    so a gradient that is all rounding would count as much as a signal.
    """
    changes = [f"steps={STEPS}", "steps_per_epoch=1", "batch_size=4"]
    changes += ["validation_photos=3"]
    changes += ["tensorboard=false", "optimizer.name=sgd", "optimizer.clip_norm=1"]
    changes = [f"{stage}.training.{one}" for one in changes]
    return [*changes, *more]


PARSING = changes_of(
    "parsing",
    "parsing.network.rounds=1",
    "parsing.training.ema=0.9",
    "parsing.loss.balanced=tversky",
    "parsing.loss.class_weights=inverse_sqrt",
)
COMPLETION = changes_of(
    "completion",
    "completion.discriminator_optimizer.name=sgd",
    "completion.discriminator_optimizer.clip_norm=1",
    "completion.loss.adversarial=0.5",
    "completion.loss.adversarial_local=0.5",
    "completion.training.ema=0.9",
    "completion.network.noise=2",
)
PHASES = ("completion.schedule.reconstruction_steps=3",
          "completion.schedule.critic_steps=2")  # fmt: skip
HINGE = (
    *PHASES,
    *(
        f"completion.loss.{name}={weight}"
        for name, weight in {
            "psnr": 0.1, "style": 1, "total_variation": 0.1, "label_color": 1,
            "feature_matching": 1,
        }.items()
    ),
    "completion.discriminator.local_crops=2",
    "completion.discriminator.r1=0.5",
    "completion.discriminator.r1_interval=2",
)  # fmt: skip
# Each phase is a graph that takes seconds to trace, and so does every term.
WGAN = ("completion.discriminator.loss=wgan_gp",
        "completion.loss.perceptual=0",
        "completion.schedule.reconstruction_steps=0",
        "completion.schedule.critic_steps=2",
        "completion.discriminator.spectral_normalization=false")  # fmt: skip


@pytest.fixture(scope="module")
def parsing_run(tmp_path_factory, portraits):
    """Stage 1, hardly trained, for stage 2 to be trained upon."""
    run = tmp_path_factory.mktemp("stage_1") / "run"
    config = with_changes(parse_config(TINY), ["parsing.training.steps=1"])
    train_stage("parsing", config, portraits, run, verbose=0)
    return run


def assert_equal_histories(one, other, relative=1e-4):
    assert len(one) == len(other) == STEPS
    for step, (row, others) in enumerate(zip(one, other, strict=True)):
        assert row.keys() == others.keys()
        for name, value in row.items():
            assert np.isfinite(value)
            # A pixel whose two best labels are as likely may fall to either.
            least = 2e-4 if name.startswith(("miou", "pck")) else 1e-5
            assert others[name] == pytest.approx(value, rel=relative, abs=least), (
                f"{name} of step {step}"
            )


@several
@pytest.mark.long
@pytest.mark.parametrize(
    ("strategy", "stage", "changes"),
    [
        ("multiworker", "parsing", PARSING),
        ("mirrored", "completion", [*COMPLETION, *HINGE]),
        ("mirrored", "completion", [*COMPLETION, *WGAN]),
    ],
    ids=["parsing", "hinge", "wgan_gp"],
)
def test_two_replicas_train_as_one(strategy, stage, changes, parsing_run, tmp_path):
    common = {"stage": stage, "changes": changes}
    if stage == "completion":
        common["parsing"] = str(parsing_run)
    # Each has a folder of its own, as machines have that share no files.
    places = {
        name: {"run": str(tmp_path / name), "out": str(tmp_path / f"{name}.npz")}
        for name in ("alone", "both", "other")
    }
    processes = [start(strategy="none", **places["alone"], **common)]
    if strategy == "mirrored":
        processes.append(
            start(strategy=strategy, devices=2, **places["both"], **common)
        )
    else:
        processes += [
            start(tf_config, strategy=strategy, **places[name], **common)
            for name, tf_config in zip(("both", "other"), tf_configs(2), strict=True)
        ]
    finish(*processes)
    history, _ = result(places["alone"]["out"])
    shared, variables = result(places["both"]["out"])
    assert_equal_histories(history, shared)
    assert len({round(row["loss"], 3) for row in history}) > STEPS // 2
    if strategy == "multiworker":
        same, others = result(places["other"]["out"])
        assert_equal_histories(shared, same, 1e-6)
        assert not (tmp_path / "other").exists()
        assert_equal_arrays(variables, others)
    (arrays, meta), (shared_arrays, shared_meta) = (
        read_arrays(tmp_path / name / stage / "checkpoint.npz")
        for name in ("alone", "both")
    )
    assert meta == shared_meta and meta["step"] == STEPS
    assert_equal_arrays(arrays, shared_arrays, rtol=1e-3, atol=1e-4)


# Adam's moments, averages, noise of the network: all that a run which goes on must have
# on every worker.
RESUMED = (
    *(one for one in COMPLETION if "optimizer.name=sgd" not in one),
    *PHASES,
    "completion.loss.perceptual=0",
    "completion.training.steps_per_epoch=4",
    "completion.training.checkpoint_minutes=0.0001",
)


def start_both(parsing_run, folder, outs, **more):
    """Stage 2 on a chief and a worker, each with a folder of its own."""
    return [
        start(
            tf_config, stage="completion", changes=RESUMED, parsing=str(parsing_run),
            run=str(folder / name), strategy="multiworker", out=str(folder / out),
            **(more if name == "run" else {"data": more["data"]}),
        )
        for name, out, tf_config in zip(
            ("run", "other"), outs, tf_configs(2, chief=True), strict=True
        )
    ]  # fmt: skip


@several
@pytest.mark.long
def test_what_was_killed_goes_on_as_if_never_stopped(data, parsing_run, tmp_path):
    """kill -9 of the chief at step 6, and the other ends by itself; then both again.

    To the bit alike on both workers.
    """
    shards = tmp_path / "shards"
    write_shards(open_splits(data), shards)
    for folder in ("whole", "killed"):
        (tmp_path / folder).mkdir()
    finish(
        *start_both(
            parsing_run, tmp_path / "whole", ("a.npz", "b.npz"), data=str(shards)
        )
    )
    entire, whole = result(tmp_path / "whole" / "a.npz")

    given = parsing_run, tmp_path / "killed", ("a.npz", "b.npz")
    chief, other = start_both(*given, data=str(shards), kill_at=6)
    chief.communicate(timeout=400)
    assert chief.returncode == -signal.SIGKILL
    output, _ = other.communicate(timeout=200)
    assert other.returncode == 75, output[-3000:]
    assert "start all workers again" in output and "Traceback" not in output
    assert read_meta(tmp_path / "killed/run/completion/checkpoint.npz")["step"] == 6

    finish(*start_both(*given, data=str(shards)))
    history, resumed = result(tmp_path / "killed" / "a.npz")
    same, others = result(tmp_path / "killed" / "b.npz")
    # Parts of epochs count, where a phase begins and where it was killed.
    assert 0 < len(history) < len(entire)
    assert history == same
    assert sum(array.size for array in whole.values()) > 1000
    assert_equal_arrays(resumed, others)
    assert_equal_arrays(resumed, whole, rtol=1e-5, atol=1e-6)
    assert not (tmp_path / "killed" / "other").exists()


# What each of two virtual devices gets is compared with what one gets of all photos.
_LOSSES = """
import numpy as np, tensorflow as tf
(cpu,) = tf.config.list_physical_devices("CPU")
two = [tf.config.LogicalDeviceConfiguration()] * 2
tf.config.set_logical_device_configuration(cpu, two)
import keras
from portrait_tf import losses
from portrait_tf.compat import replicas
rng = np.random.default_rng(0)
x = tf.constant(rng.uniform(-1, 1, (4, 8, 8, 3)), tf.float32)
y = tf.constant(rng.uniform(-1, 1, (4, 8, 8, 3)), tf.float32)
part = np.array([0.1, 0.9, 0.3, 0.7]).reshape(4, 1, 1, 1)
mask = tf.constant(rng.random((4, 8, 8, 1)) < part, tf.float32)
labels = tf.constant(rng.integers(0, 22, (4, 8, 8)) * [[[0]], [[1]], [[1]], [[1]]])
logits = tf.constant(rng.normal(size=(4, 8, 8, 20)), tf.float32)
heat = tf.constant(rng.random((4, 8, 8, 16)) * part, tf.float32)
truth = tf.nn.softmax(8 * logits)
perceptual = losses.PerceptualLoss("vgg16", "random", {"block1_conv2": 1.0})
style = losses.StyleLoss({"block1_conv2": 1.0})
w = mask[..., 0] + 0.5
cases = {
    "masked_l1": (lambda p, x, m: losses.masked_l1(x, p, m), y, x, mask),
    "psnr": (lambda p, x, m: losses.psnr_loss(x, p, m), y, x, mask),
    "tv": (lambda p, m: losses.total_variation(p, p, m), y, mask),
    "color": (lambda p, x, m, t: losses.label_color(x, p, m, t), y, x, mask,
               truth),
    "perceptual": (lambda p, x: perceptual(x, p), y, x),
    "style": (lambda p, x: style(perceptual.extract(x), perceptual.extract(p)), y, x),
    "cross_entropy": (lambda p, l, w: losses.parsing_cross_entropy(
        l, p, w * losses.inverse_sqrt_weights(l)), logits, labels, w),
    "pose": (lambda p, t: losses.pose_error(t, p), heat, heat[::-1]),
    "root_pose": (lambda p, t: losses.root_pose_error(t, p), heat, heat[::-1]),
    **{kind: (lambda p, l, w, kind=kind: losses.parsing_balanced(kind, l, p, w),
              logits, labels, w) for kind in ("dice", "tversky", "focal")},
}
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])

def gradient(function, scale, first, *rest):
    with tf.GradientTape() as tape:
        p = scale * first
        value = function(p, *rest)
    return value, tape.gradient(value, scale)

for name, (function, *arguments) in cases.items():
    one, slope = gradient(function, tf.Variable(1.1), *arguments)
    with strategy.scope():
        scale = tf.Variable(1.1)

    @tf.function
    def step():
        def on_replica():
            own = [replicas.own_rows(a) for a in arguments]
            return gradient(function, scale, *own)
        return [strategy.reduce("MEAN", v, None) for v in strategy.run(on_replica)]

    two, slopes = step()
    np.testing.assert_allclose(two, one, rtol=1e-5, err_msg=name)
    np.testing.assert_allclose(slopes, slope, rtol=1e-4, atol=1e-6, err_msg=name)
    assert abs(float(slope)) > 1e-4, name
print("equal:", len(cases))
"""


@several
def test_losses_of_two_replicas_are_those_of_one():
    """Values and gradients of all losses; the two halves differ in holes and labels."""
    process = python("-c", _LOSSES)
    output, _ = process.communicate(timeout=200)
    assert process.returncode == 0, output[-3000:]
    assert "equal: 12\n" in output


def test_parts_of_a_batch_are_the_batch(tiny_config, portraits):
    whole = training_dataset(portraits, tiny_config, 4, 3, 5, 0)
    parts = [
        list(training_dataset(portraits, tiny_config, 4, 3, 5, 0, (i, 2), 2))
        for i in range(2)
    ]
    assert [len(part) for part in parts] == [4, 4]
    for step, batch in enumerate(whole):
        # Two replicas of each of two workers, in this order.
        rows = [parts[w][2 * step + r] for w in range(2) for r in range(2)]
        for key, value in batch.items():
            joined = np.concatenate([row[key] for row in rows])
            np.testing.assert_array_equal(joined, value, err_msg=key)


CLUSTER = {"worker": ["a:1", "b:2"]}


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ({"cluster": CLUSTER, "task": {"type": "worker", "index": 1}}, 1),
        (
            {
                "cluster": {**CLUSTER, "chief": ["c:1"]},
                "task": {"type": "worker", "index": 0},
            },
            1,
        ),
        (None, None),
        ("{", None),
        ([], None),
        ({"cluster": CLUSTER}, None),
        ({"cluster": CLUSTER, "task": {"type": "worker", "index": 2}}, None),
        ({"cluster": CLUSTER, "task": {"type": "chief", "index": 0}}, None),
        *(
            (
                {"cluster": {"worker": hosts}, "task": {"type": "worker", "index": 0}},
                None,
            )
            for hosts in ("a:1", [1])
        ),
    ],
)
def test_place_of_a_worker_in_tf_config(text, place):
    text = text if isinstance(text, str | None) else json.dumps(text)
    if place is not None:
        cluster, job, index = read_tf_config(text)
        assert _place(cluster, job, index) == place
        return
    with pytest.raises(PortraitError, match="TF_CONFIG in the environment: expected"):
        read_tf_config(text)


@pytest.mark.parametrize(
    ("kind", "message", "lost"),
    [
        ("UnavailableError", "Socket closed", True),
        ("AbortedError", "task tried to connect while it is connected", True),
        ("InvalidArgumentError", "Collective ops is aborted by: cut off", True),
        ("InternalError", "cuDNN launch failure", False),
        ("ResourceExhaustedError", "OOM when allocating tensor", False),
        ("InvalidArgumentError", "indices are out of bounds", False),
        (
            "UnknownError",
            "Collective ops is aborted by: PortraitError: a.jpg: expected a photo",
            False,
        ),
    ],
)
def test_a_fault_of_ones_own_is_no_lost_worker(kind, message, lost, caplog):
    error = getattr(tf.errors, kind)(None, None, message)
    several = Distribution()
    several.workers = 2
    expected = LostWorkerError if lost else type(error)
    with pytest.raises(expected), lost_workers(several):
        raise error
    assert (message in caplog.text) == lost
    with pytest.raises(type(error)), lost_workers(Distribution()):
        raise error


# A worker that is there when all have come, and gone before the first exchange.
_GONE = """
import os, signal, tensorflow as tf
tf.distribute.MultiWorkerMirroredStrategy()
os.kill(os.getpid(), signal.SIGKILL)
"""
_COMES = """
import sys
from portrait_tf.errors import PortraitError
from portrait_tf.training.distribution import lost_workers, make_distribution
try:
    distribution = make_distribution("multiworker")
    with lost_workers(distribution):
        distribution.finish()
except PortraitError as error:
    print(error)
    sys.exit(error.exit_code)
"""


@several
@pytest.mark.long
def test_a_worker_that_is_gone_at_the_start_is_a_lost_one():
    """Not a mistake: after 2, Kubernetes would end the Job for good."""
    stays, _ = workers = [
        python("-c", program, tf_config=one)
        for program, one in zip((_COMES, _GONE), tf_configs(2), strict=True)
    ]
    for worker in reversed(workers):
        output, _ = worker.communicate(timeout=200)
    assert stays.returncode == 75, output[-3000:]
    assert "start all workers again" in output
    assert "Collective ops is aborted by: " in output


@several
def test_a_port_that_is_taken_is_a_mistake():
    with socket.create_server(("localhost", 0)) as taken:
        address = f"localhost:{taken.getsockname()[1]}"
        tf_config = {
            "cluster": {"worker": [address]}, "task": {"type": "worker", "index": 0}
        }  # fmt: skip
        process = python("-c", _COMES, tf_config=json.dumps(tf_config))
        output, _ = process.communicate(timeout=200)
    assert process.returncode == 2, output[-3000:]
    assert "worker 1 of 1 in TF_CONFIG cannot start: " in output


@several
@pytest.mark.parametrize(
    ("stage", "changes", "strategy", "sentence"),
    [
        ("face", [], "mirrored", "the stage 'face' trains on one device"),
        ("parsing", [], "both", "a strategy of none, mirrored, multiworker"),
        (
            "completion",
            ["completion.network={kind: glc, width_divisor: 16}"],
            "mirrored",
            "completion.network.normalization batch .* expected group",
        ),
    ],
)
def test_what_replicas_cannot_train_is_refused(
    stage, changes, strategy, sentence, tiny_config, portraits, tmp_path
):
    config = with_changes(tiny_config, changes)
    with pytest.raises(PortraitError, match=sentence):
        train_stage(stage, config, portraits, tmp_path / "r", strategy=strategy)
    assert not (tmp_path / "r").exists()


@pytest.mark.addons_stack("Keras 3 can")
@pytest.mark.parametrize("strategy", ["mirrored", "multiworker"])
def test_keras_2_trains_on_one_device(strategy, tiny_config, portraits, tmp_path):
    sentence = f"--strategy {strategy} needs Keras 3, received 2.15.0: expected the"
    with pytest.raises(PortraitError, match=sentence):
        train_stage(
            "parsing", tiny_config, portraits, tmp_path / "r", strategy=strategy
        )
    assert not (tmp_path / "r").exists()


@several
def test_one_device_is_one_replica(tiny_config, portraits, tmp_path):
    """`mirrored` where there is nothing to mirror: the run of `none`."""
    runs = {}
    changes = ["parsing.training.steps=2", "parsing.network.rounds=0"]
    config = with_changes(tiny_config, changes)
    for strategy in ("none", "mirrored"):
        train_stage(
            "parsing", config, portraits, tmp_path / strategy, None,
            verbose=0, strategy=strategy,
        )  # fmt: skip
        runs[strategy] = read_arrays(tmp_path / strategy / "parsing/checkpoint.npz")
    assert runs["none"][1] == runs["mirrored"][1]
    arrays = (runs[strategy][0] for strategy in ("none", "mirrored"))
    assert_equal_arrays(*arrays, rtol=1e-3, atol=2e-4)


# === Through the command line ===


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "people"
    write_synthetic(folder, 6, 2, size=(64, 64))
    return folder


def command(run, data, config):
    return ["train", "parsing", "--data", str(data), "--config", str(config),
            "--run", str(run), "--strategy", "multiworker"]  # fmt: skip


def start_command(run, data, config, tf_config):
    arguments = command(run, data, config)
    return python("-m", "portrait_tf", *arguments, tf_config=tf_config)


def config_file(path, *changes):
    changes = [f"parsing.training.{one}" for one in changes]
    changes.append("parsing.network.rounds=0")
    save_config(with_changes(parse_config(TINY), changes), path)
    return path


@several
def test_multiworker_without_tf_config_is_one_sentence(data, tmp_path):
    """In a process of its own, which a worker ends at once."""
    config = config_file(tmp_path / "config.yaml")
    process = start_command(tmp_path / "run", data, config, None)
    output, _ = process.communicate(timeout=200)
    assert process.returncode == 2
    assert "portrait-tf: --strategy multiworker needs TF_CONFIG" in output
    assert not (tmp_path / "run").exists()


@several
@pytest.mark.long
def test_workers_that_do_not_agree(data, tmp_path):
    """Each of these alone would train apart in silence, or hang at the validation."""
    config = config_file(tmp_path / "config.yaml")
    other = config_file(tmp_path / "other.yaml", "steps=8")
    first, second = tf_configs(2)
    workers = [
        start_command(tmp_path / "run", data, config, first),
        start_command(tmp_path / "run", data, other, second),
    ]
    outputs = [worker.communicate(timeout=200)[0] for worker in workers]
    assert [worker.returncode for worker in workers] == [75, 2], outputs
    assert "worker 2 has parsing.training.steps 8 (the chief: 4)" in outputs[1]
    assert not list((tmp_path / "run").rglob("checkpoint.npz"))


def test_what_differs_from_the_chief_is_named():
    distribution = Distribution()
    distribution.index = 1
    distribution.on_chief = lambda work: {"a": "1", "b": "2"}
    distribution.agree({"a": "1", "b": "2"})
    with pytest.raises(PortraitError, match=r"worker 2 has b 3 \(the chief: 2\)$"):
        distribution.agree({"a": "1", "b": "3"})
    with pytest.raises(PortraitError, match=r"a None \(the chief: 1\).*, \.\.\.$"):
        distribution.agree(dict.fromkeys("cdef", "1"))


def test_names_of_samples_are_known_unread(data, portraits):
    reader = open_dataset(data, "train")
    names = list(reader.names)
    assert len(names) == 6
    assert sample_names(reader) == names
    cached = CachedReader(reader, Budget(1e9))
    assert sample_names(cached) == names
    assert sample_names(Mixture([cached, portraits])) == [
        *names, *(one.name for one in portraits)
    ]  # fmt: skip


def test_a_batch_that_cannot_be_shared_out():
    distribution = Distribution()
    distribution.replicas = 2
    distribution.check_batch("parsing", 4)
    with pytest.raises(PortraitError, match="multiple of their number, 2, received 3"):
        distribution.check_batch("parsing", 3)


def wait_for_step(run, step, *workers):
    """Until the checkpoint has at least a step."""
    checkpoint = run / "parsing" / "checkpoint.npz"

    def reached():
        if checkpoint.is_file() and read_meta(checkpoint)["step"] >= step:
            return True
        for worker in workers:
            assert worker.poll() is None, worker.communicate()[0][-3000:]

    wait_until(reached, 400)


@several
@pytest.mark.long
def test_a_photo_that_is_cut_off_on_one_worker_ends_both(data, tmp_path):
    """Its worker names it: 2, so no cluster tries again; the other has lost it: 75."""
    config = config_file(tmp_path / "config.yaml", "steps=100", "validation_photos=0")
    broken = tmp_path / "broken"
    shutil.copytree(data, broken)
    photo = sorted((broken / "TrainVal_images" / "train_images").iterdir())[2]
    photo.write_bytes(photo.read_bytes()[:200])
    workers = [
        start_command(tmp_path / "run", folder, config, one)
        for folder, one in zip((data, broken), tf_configs(2), strict=True)
    ]
    outputs = [worker.communicate(timeout=200)[0] for worker in workers]
    assert [worker.returncode for worker in workers] == [75, 2], outputs
    assert outputs[1].splitlines()[-1] == (
        f"portrait-tf: {photo}: expected a whole photo, received a file that is cut off"
    )
    assert "start all workers again" in outputs[0]
    assert not any("Traceback" in output for output in outputs)


@several
@pytest.mark.long
def test_sigterm_on_the_chief_stops_all_with_a_checkpoint(data, tmp_path):
    config = config_file(
        tmp_path / "config.yaml", "steps=6000", "steps_per_epoch=2000",
        "checkpoint_minutes=0.00001", "validation_photos=0",
    )  # fmt: skip
    run = tmp_path / "run"
    workers = [start_command(run, data, config, one) for one in tf_configs(2)]
    wait_for_step(run, 3, *workers)
    workers[0].send_signal(signal.SIGTERM)
    outputs = [worker.communicate(timeout=120)[0] for worker in workers]
    assert [worker.returncode for worker in workers] == [130, 75], outputs
    step = read_meta(run / "parsing/checkpoint.npz")["step"]
    assert f"stopped at step {step}" in outputs[0]
