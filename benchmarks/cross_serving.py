"""Whether both stacks compute, export and serve the same: every pairing, in a table.

    python -m benchmarks.cross_serving --default .venv/bin/python \
        --addons .venv-addons/bin/python --json cross.json

* `weights`: each stack saves tiny networks with random weights; both load them, and the
  package's own, and complete one photo.
* `serving`: each stack exports the same weights; `portrait-tf serve` of each stack
  serves both exports, and a client of each stack calls every signature over gRPC.
* `session`: further versions of TensorFlow, such as the published images of TensorFlow
  Serving hold, run every signature of both exports in a Session, as those do:
  `--session 2.20=PYTHON` names an interpreter with that TensorFlow and nothing of ours.

What `serving_default` answers is compared with the default stack's own pipeline, the
other signatures with the default stack alone (its export, server and client). The table
has the largest difference of a colour, in grey levels of 255, the part of the labels
that differ, and the largest way of a joint in pixels, over all signatures. Exit code 1
if colours differ by more than `--grey-levels`, or labels by more than `--labels`.
"""

import argparse
import dataclasses
import json
import os
import pathlib
import subprocess
import sys
import tempfile

import numpy as np

from portrait_tf.errors import PortraitError
from portrait_tf.files import write_result

STACKS = ("default", "addons")
BUNDLED = "bundled"
_ROOT = pathlib.Path(__file__).parents[1]
_KINDS = {"parsing": "compact", "completion": "parsing_guided", "face": "face"}
_SIZE = [64, 48]
_NETWORKS = {
    "parsing": {"widths": [8, 16, 16, 24], "blocks": [1, 1], "feature_width": 16},
    "completion": {
        "widths": [8, 16, 16],
        "dilations": [1, 2],
        "convolution": "gated",
        "attention": "same_label",
        "noise": 1,
    },
    "face": {"size": [16, 16], "widths": [8, 16, 16], "blocks": 1},
}


@dataclasses.dataclass(frozen=True)
class Row:
    """One pairing, and how far it is from the default stack's pipeline.

    Attributes:
        kind: `weights`, `serving` or `session`.
        model: Whose weights.
        made: Saved the weights, or exported them.
        ran: Loaded the weights, or ran the export: a stack, or a version of TensorFlow.
        called: The client; empty where there is none.
        grey_levels: Largest difference of a colour, of 255.
        labels: Part of the labels that differ.
        joints: Largest way of a joint, pixels.
    """

    kind: str
    model: str
    made: str
    ran: str
    called: str
    grey_levels: int
    labels: float
    joints: float

    def __str__(self) -> str:
        names = (self.kind, self.model, self.made, self.ran, self.called or "-")
        cells = [*names, str(self.grey_levels), f"{self.labels:.3%}"]
        cells.append(f"{self.joints:.3f}")
        return f"| {' | '.join(cells)} |"


HEADER = """\
| What | Weights | Made by | Run by | Called by | Grey levels | Labels | Joints |
|---|---|---|---|---|---:|---:|---:|"""


# === What an interpreter of either stack is started for ===
def save_tiny(folder: pathlib.Path) -> None:
    """Tiny networks with random weights, each a file that `load_weights` reads."""
    import keras

    from portrait_tf.models import NETWORKS
    from portrait_tf.runs.weights import save_weights

    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    for stage, kind in _KINDS.items():
        network = NETWORKS[kind](**{"size": _SIZE, **_NETWORKS[stage]})
        network.set_weights(
            [w + rng.normal(0, 0.05, w.shape) for w in network.get_weights()]
        )
        save_weights(network, folder / f"{stage}.npz", {}, dtype=None)


def _pipeline(weights: str) -> object:
    from portrait_tf.inference.pipeline import Pipeline
    from portrait_tf.runs.weights import load_weights

    if weights == BUNDLED:
        return Pipeline.bundled()
    parsing, completion, face = (
        load_weights(pathlib.Path(weights) / f"{stage}.npz") for stage in _KINDS
    )
    return Pipeline(parsing, completion, face_network=face)


def complete(photo: pathlib.Path, weights: str, out: pathlib.Path) -> None:
    """The answer of a pipeline in this process."""
    given = np.load(photo)
    found = _pipeline(weights)(given["photo"][None], given["mask"][None])
    np.savez(
        out,
        **{
            f"serving_default/{name}": np.array(found[name][0])
            for name in ("completed", "parsing")
        },
    )


def export(weights: str, folder: pathlib.Path) -> None:
    """A version with all signatures."""
    from export.saved_model import export_pipeline

    export_pipeline(_pipeline(weights), folder)


def call(photo: pathlib.Path, target: str, out: pathlib.Path) -> None:
    """A server's answers, to every signature that it has.

    Raises:
        PortraitError: It has one that is not called here.
    """
    from serving.client import PortraitClient

    given = np.load(photo)
    plain = given["photo"], given["mask"]
    unknown = np.full_like(given["mask"], 255)
    found = {}
    with PortraitClient(target) as client:
        for name in ("serving_default", "encoded"):
            answer = client.complete(*plain, signature=name)
            found[f"{name}/completed"] = answer.completed
            found[f"{name}/parsing"] = answer.parsing
        answer = client.parse(*plain)
        found["parse/parsing"] = answer.parsing
        found["parse/joints"] = answer.joints[:, :2]
        found["complete_with_parsing/completed"] = client.complete_with_parsing(
            *plain, unknown
        )
        answer = client.extrapolate(given["photo"], bottom=0.3, right=0.2)
        found["extrapolate/completed"] = answer.completed
        found["extrapolate/parsing"] = answer.parsing
        called = {name.split("/")[0] for name in found}
        if missing := client.metadata().signatures.keys() - called:
            raise PortraitError(f"not called: {', '.join(sorted(missing))}")
    np.savez(out, **found)


def run_session(photo: pathlib.Path, model: pathlib.Path, out: pathlib.Path) -> None:
    """What a Session answers, to every signature of `call`."""
    import tensorflow as tf

    given = np.load(photo)
    image, mask = given["photo"][None], given["mask"][None]
    files = [tf.io.encode_png(one).numpy() for one in (image[0], mask[0])]
    feeds = {
        "serving_default": {"image": image, "mask": mask},
        "encoded": {"image_bytes": files[:1], "mask_bytes": files[1:]},
        "parse": {"image": image, "mask": mask},
        "complete_with_parsing": {
            "image": image,
            "mask": mask,
            "parsing": np.full_like(mask, 255),
        },
        "extrapolate": {"image": image, "margins": np.float32([[0, 0.3, 0, 0.2]])},
    }
    found = {}
    (version,) = (path for path in model.iterdir() if path.name.isdecimal())
    with tf.compat.v1.Session(graph=tf.Graph()) as session:
        loaded = tf.compat.v1.saved_model.load(session, ["serve"], str(version))
        for name, feed in feeds.items():
            signature = loaded.signature_def[name]
            answer = session.run(
                {key: info.name for key, info in signature.outputs.items()},
                {signature.inputs[key].name: value for key, value in feed.items()},
            )
            for key, value in answer.items():
                found[f"{name}/{key.removesuffix('_bytes')}"] = value[0]
    for key in ("completed", "parsing"):
        content = found[f"encoded/{key}"]
        found[f"encoded/{key}"] = tf.io.decode_png(content).numpy()
    height, width = found.pop("extrapolate/size")
    for key in ("completed", "parsing"):
        found[f"extrapolate/{key}"] = found[f"extrapolate/{key}"][:height, :width]
    found["parse/joints"] = found["parse/joints"][:, :2]
    np.savez(out, **found)


def _work(tasks: list[list[str]]) -> None:
    from portrait_tf.startup import load_keras

    if any(name not in ("call", "session") for name, *_ in tasks):
        load_keras()
    for name, *values in tasks:
        if name == "save":
            save_tiny(pathlib.Path(values[0]))
        elif name == "complete":
            complete(pathlib.Path(values[0]), values[1], pathlib.Path(values[2]))
        elif name == "export":
            export(values[0], pathlib.Path(values[1]))
        elif name == "session":
            run_session(*map(pathlib.Path, values))
        else:
            call(pathlib.Path(values[0]), values[1], pathlib.Path(values[2]))


# === The driver ===
def _run(python: str, *tasks: list) -> None:
    """Does tasks in an interpreter, in order.

    Raises:
        PortraitError: They failed; with the last lines that it wrote.
    """
    text = json.dumps([[str(value) for value in task] for task in tasks])
    done = subprocess.run(
        [python, "-m", "benchmarks.cross_serving", "--work", text],
        cwd=_ROOT,
        env=_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode:
        said = "\n".join(done.stdout.splitlines()[-15:])
        raise PortraitError(f"{python} ended with {done.returncode}: {text}\n{said}")


def _environment() -> dict[str, str]:
    paths = [str(_ROOT), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}


def measure(
    pythons: dict[str, str],
    scratch: pathlib.Path,
    photo: np.ndarray,
    mask: np.ndarray,
    bundled: bool = True,
    sessions: dict[str, str] | None = None,
) -> list[Row]:
    """Every pairing.

    Args:
        pythons: An interpreter of each of `STACKS`.
        scratch: A folder for all that is written.
        photo: `uint8` `[H, W, 3]`.
        mask: `uint8` `[H, W, 1]`, non-zero = hole.
        bundled: Whether the package's own weights are compared, too.
        sessions: Interpreters with other versions of TensorFlow, by version.

    Raises:
        PortraitError: An interpreter or a server failed.
    """
    # Not imported in the interpreters of `sessions`: they have only TensorFlow.
    from benchmarks.server_process import ServerProcess

    given = scratch / "photo.npz"
    np.savez(given, photo=photo, mask=mask)
    weights = {}
    for stack, python in pythons.items():
        weights[f"tiny of {stack}"] = scratch / f"weights_{stack}"
        weights[f"tiny of {stack}"].mkdir()
        _run(python, ["save", weights[f"tiny of {stack}"]])
    if bundled:
        weights[BUNDLED] = BUNDLED
    exported = {"tiny": weights["tiny of default"]}
    if bundled:
        exported[BUNDLED] = BUNDLED
    for stack, python in pythons.items():
        tasks = [
            ["complete", given, source, scratch / f"{name}_{stack}.npz"]
            for name, source in weights.items()
        ]
        tasks += [
            ["export", source, scratch / f"{name}_{stack}"]
            for name, source in exported.items()
        ]
        _run(python, *tasks)
    rows = []
    for name in weights:
        truth = np.load(scratch / f"{name}_default.npz")
        made = name.removeprefix("tiny of ") if name != BUNDLED else "-"
        for stack in pythons:
            found = np.load(scratch / f"{name}_{stack}.npz")
            model = name.split(" ")[0]
            rows.append(_row("weights", model, made, stack, "", truth, found))
    for name in exported:
        known = "tiny of default" if name == "tiny" else name
        truth = dict(np.load(scratch / f"{known}_default.npz"))
        for made in pythons:
            for ran, server in pythons.items():
                command = (server, "-m", "portrait_tf", "serve")
                with ServerProcess(
                    scratch / f"{name}_{made}", command=command
                ) as address:
                    for called, client in pythons.items():
                        out = scratch / f"{name}_{made}_{ran}_{called}.npz"
                        _run(client, ["call", given, address.target, out])
                        found = np.load(out)
                        # The default stack alone comes first.
                        truth = {**found, **truth}
                        rows.append(
                            _row("serving", name, made, ran, called, truth, found)
                        )
            for version, python in (sessions or {}).items():
                out = scratch / f"{name}_{made}_{version}.npz"
                _run(python, ["session", given, scratch / f"{name}_{made}", out])
                ran = f"TensorFlow {version}"
                rows.append(_row("session", name, made, ran, "", truth, np.load(out)))
    return rows


def _row(kind: str, model: str, made: str, ran: str, called: str, *both: dict) -> Row:
    truth, found = both
    levels, labels, joints = [], [], [0.0]
    for name in found:
        one, other = truth[name].ravel(), found[name].ravel()
        if name.endswith("/completed"):
            levels.append(int(np.abs(one.astype(int) - other).max()))
        elif name.endswith("/parsing"):
            labels.append(float(np.mean(one != other)))
        else:
            joints.append(float(np.abs(one - other).max()))
    return Row(kind, model, made, ran, called, max(levels), max(labels), max(joints))


def main(arguments: list[str] | None = None) -> int:
    """Prints the table.

    Args:
        arguments: Of the command line.
    """
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--default", default=".venv/bin/python")
    parser.add_argument("--addons", default=".venv-addons/bin/python")
    parser.add_argument(
        "--session", action="append", default=[], metavar="VERSION=PYTHON",
        help="an interpreter with another TensorFlow, for a Session; again for more",
    )  # fmt: skip
    parser.add_argument("--tiny", action="store_true", help="not the package's weights")
    parser.add_argument("--grey-levels", type=int, default=2)
    parser.add_argument("--labels", type=float, default=0.001)
    parser.add_argument("--json", type=pathlib.Path, help="write the table here, too")
    parser.add_argument("--work", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.work:
        _work(json.loads(options.work))
        return 0
    from portrait_tf.data.synthetic import synthetic_portrait

    photo = synthetic_portrait(3, (192, 128)).photo
    mask = np.zeros((192, 128, 1), np.uint8)
    mask[60:120, 40:90] = 255
    mask[150:] = 255
    # Not resolved: an environment's interpreter is a link to another one.
    pythons = {stack: os.path.abspath(getattr(options, stack)) for stack in STACKS}
    sessions = {}
    for text in options.session:
        version, _, python = text.partition("=")
        if not python:
            raise PortraitError(f"--session is {text!r}; expected VERSION=PYTHON")
        sessions[version] = os.path.abspath(python)
    with tempfile.TemporaryDirectory() as scratch:
        rows = measure(
            pythons, pathlib.Path(scratch), photo, mask, not options.tiny, sessions
        )
    print(HEADER, *rows, sep="\n")
    if options.json:
        text = json.dumps([dataclasses.asdict(row) for row in rows], indent=1)
        write_result(options.json, text.encode())
    worst = max(row.grey_levels for row in rows), max(row.labels for row in rows)
    return int(worst[0] > options.grey_levels or worst[1] > options.labels)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except PortraitError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
