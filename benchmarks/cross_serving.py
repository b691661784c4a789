"""Whether both stacks compute, export and serve the same: every pairing, in a table.

    python -m benchmarks.cross_serving --default .venv/bin/python \
        --addons .venv-addons/bin/python --json cross.json

* `weights`: each stack saves tiny networks with random weights; both load them, and the
  package's own, and complete one photo.
* `serving`: each stack exports the same weights; `portrait-tf serve` of each stack
  serves both exports, and a client of each stack calls every signature over gRPC.
* `session`: further versions of TensorFlow run every signature of both exports in a
  Session, as TensorFlow Serving does. `--session 2.20=PYTHON` names an interpreter with
  that TensorFlow and nothing of ours.

`serving_default` is compared with the default stack's own pipeline, the other
signatures with the default stack's export, server and client. The table has the
largest difference of a color, in gray levels of 255, the part of the labels that
differ, and the largest distance of a joint in pixels, over all signatures. Exit code 1
if colors differ by more than `--gray-levels`, or labels by more than `--labels`.
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

from benchmarks.common import ROOT, markdown, new_parser, user_errors, write_json
from portrait_tf.errors import PortraitError

STACKS = ("default", "addons")
BUNDLED = "bundled"
_KINDS = {"parsing": "compact", "completion": "parsing_guided", "face": "face"}
_NETWORKS = {
    "parsing": {
        "widths": [8, 16, 16, 24],
        "blocks": [1, 1],
        "feature_width": 16,
        "hints": True,
    },
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
    """One pairing, and its distance from the default stack's pipeline.

    Attributes:
        kind: `weights`, `serving` or `session`.
        model: Whose weights.
        made: The stack that saved the weights, or exported them.
        ran: What loaded the weights, or ran the export: a stack, or a TensorFlow.
        called: The client's stack; empty where there is none.
        gray_levels: Largest difference of a color, of 255.
        labels: Part of the labels that differ.
        joints: Largest distance of a joint, pixels.
    """

    kind: str
    model: str
    made: str
    ran: str
    called: str
    gray_levels: int
    labels: float
    joints: float

    def cells(self) -> list[str]:
        names = [self.kind, self.model, self.made, self.ran, self.called or "-"]
        return [*names, self.gray_levels, f"{self.labels:.3%}", f"{self.joints:.3f}"]


COLUMNS = (
    "What", "Weights", "Made by", "Run by", "Called by", "Gray levels", "Labels",
    "Joints",
)  # fmt: skip


# === Tasks of an interpreter of either stack ===
def save_tiny(folder: str) -> None:
    """Saves tiny networks with random weights."""
    import keras

    from portrait_tf.models import NETWORKS
    from portrait_tf.runs.weights import save_weights

    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    for stage, kind in _KINDS.items():
        network = NETWORKS[kind](**{"size": [64, 48], **_NETWORKS[stage]})
        network.set_weights(
            [w + rng.normal(0, 0.05, w.shape) for w in network.get_weights()]
        )
        save_weights(network, pathlib.Path(folder, f"{stage}.npz"), {}, dtype=None)


def _pipeline(weights: str) -> object:
    from portrait_tf.inference.pipeline import Pipeline
    from portrait_tf.runs.weights import load_weights

    if weights == BUNDLED:
        return Pipeline.bundled()
    parsing, completion, face = (
        load_weights(pathlib.Path(weights) / f"{stage}.npz") for stage in _KINDS
    )
    return Pipeline(parsing, completion, face_network=face)


def complete(photo: str, weights: str, out: str) -> None:
    """Writes the result of a pipeline in this process."""
    given = np.load(photo)
    found = _pipeline(weights)(given["photo"][None], given["mask"][None])
    names = ("completed", "parsing")
    np.savez(out, **{f"serving_default/{n}": np.array(found[n][0]) for n in names})


def export(weights: str, folder: str) -> None:
    """Exports a version with all signatures."""
    from export.saved_model import export_pipeline

    export_pipeline(_pipeline(weights), pathlib.Path(folder))


def call(photo: str, target: str, out: str) -> None:
    """Writes a server's answers to every signature.

    Raises:
        PortraitError: The server has a signature that is not called here.
    """
    from serving.client import PortraitClient

    given = np.load(photo)
    plain = given["photo"], given["mask"]
    found = {}
    with PortraitClient(target) as client:
        answers = {
            name: client.complete(*plain, signature=name)
            for name in ("serving_default", "encoded")
        }
        answers["extrapolate"] = client.extrapolate(plain[0], bottom=0.3, right=0.2)
        for name, answer in answers.items():
            found[f"{name}/completed"] = answer.completed
            found[f"{name}/parsing"] = answer.parsing
        answer = client.parse(*plain)
        found["parse/parsing"] = answer.parsing
        found["parse/joints"] = answer.joints[:, :2]
        found["complete_with_parsing/completed"] = client.complete_with_parsing(
            *plain, np.full_like(plain[1], 255)
        )
        answer = client.complete_with_joints(*plain, _joints(plain[0]))
        for key in ("completed", "parsing"):
            found[f"complete_with_joints/{key}"] = getattr(answer, key)
        found["complete_with_joints/joints"] = answer.joints[:, :2]
        called = {name.split("/")[0] for name in found}
        if missing := client.metadata().signatures.keys() - called:
            raise PortraitError(f"not called: {', '.join(sorted(missing))}")
    np.savez(out, **found)


def _joints(photo: np.ndarray) -> np.ndarray:
    """An ankle below the middle of a photo: `[16, 3]`."""
    from portrait_tf.photos.joints import joints_by_name

    return joints_by_name({"L_Ankle": (0.6 * photo.shape[1], 0.9 * photo.shape[0])})


def session(photo: str, model: str, out: str) -> None:
    """Writes what a Session computes for the signatures of `call`."""
    import tensorflow as tf

    given = np.load(photo)
    image, mask = given["photo"][None], given["mask"][None]
    files = [tf.io.encode_png(one).numpy() for one in (image[0], mask[0])]
    plain, unknown = {"image": image, "mask": mask}, np.full_like(mask, 255)
    feeds = {
        "serving_default": plain,
        "encoded": {"image_bytes": files[:1], "mask_bytes": files[1:]},
        "parse": plain,
        "complete_with_parsing": {**plain, "parsing": unknown},
        "complete_with_joints": {**plain, "joints": _joints(image[0])[None]},
        "extrapolate": {"image": image, "margins": np.float32([[0, 0.3, 0, 0.2]])},
    }
    found = {}
    (version,) = (one for one in pathlib.Path(model).iterdir() if one.name.isdecimal())
    with tf.compat.v1.Session(graph=tf.Graph()) as running:
        loaded = tf.compat.v1.saved_model.load(running, ["serve"], str(version))
        for name, feed in feeds.items():
            signature = loaded.signature_def[name]
            answer = running.run(
                {key: info.name for key, info in signature.outputs.items()},
                {signature.inputs[key].name: value for key, value in feed.items()},
            )
            for key, value in answer.items():
                found[f"{name}/{key.removesuffix('_bytes')}"] = value[0]
    height, width = found.pop("extrapolate/size")
    for key in ("completed", "parsing"):
        content = found[f"encoded/{key}"]
        found[f"encoded/{key}"] = tf.io.decode_png(content).numpy()
        found[f"extrapolate/{key}"] = found[f"extrapolate/{key}"][:height, :width]
    for name in ("parse", "complete_with_joints"):
        found[f"{name}/joints"] = found[f"{name}/joints"][:, :2]
    np.savez(out, **found)


TASKS = {one.__name__: one for one in (save_tiny, complete, export, call, session)}


def work(tasks: list[list[str]]) -> None:
    """Runs tasks in this process."""
    if any(name not in ("call", "session") for name, *_ in tasks):
        from portrait_tf.startup import load_keras

        load_keras()
    for name, *values in tasks:
        TASKS[name](*values)


# === The driver ===
class Driver:
    """Runs tasks in interpreters, and compares what they wrote.

    Args:
        pythons: An interpreter of each of `STACKS`.
        sessions: Interpreters with other versions of TensorFlow, by version.
        scratch: A folder for all files.
    """

    def __init__(
        self, pythons: dict[str, str], sessions: dict[str, str], scratch: pathlib.Path
    ) -> None:
        self.pythons, self.sessions, self.scratch = pythons, sessions, scratch
        self.photo = scratch / "photo.npz"
        self.rows: list[Row] = []

    def run(self, python: str, *tasks: list) -> None:
        """Raises PortraitError with the last lines of an interpreter that fails."""
        text = json.dumps([[str(value) for value in task] for task in tasks])
        paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        done = subprocess.run(
            [python, "-m", "benchmarks.cross_serving", "--work", text],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        if done.returncode:
            said = "\n".join(done.stdout.splitlines()[-15:])
            raise PortraitError(
                f"{python} ended with {done.returncode}: {text}\n{said}"
            )

    def measure(self, bundled: bool) -> list[Row]:
        """Every pairing; with `bundled` of the package's own weights, too."""
        names = {stack: f"tiny of {stack}" for stack in self.pythons}
        weights = {name: self.scratch / name for name in names.values()}
        for stack, python in self.pythons.items():
            weights[names[stack]].mkdir()
            self.run(python, ["save_tiny", weights[names[stack]]])
        exported = {"tiny": weights[names["default"]]}
        if bundled:
            weights[BUNDLED] = exported[BUNDLED] = BUNDLED
        for stack, python in self.pythons.items():
            tasks = [
                ["complete", self.photo, source, self._file(name, stack)]
                for name, source in weights.items()
            ]
            tasks += [
                ["export", source, self.scratch / f"{name}_{stack}"]
                for name, source in exported.items()
            ]
            self.run(python, *tasks)
        for name in weights:
            truth = np.load(self._file(name, "default"))
            made = name.removeprefix("tiny of ") if name != BUNDLED else "-"
            for stack in self.pythons:
                found = np.load(self._file(name, stack))
                model = name.split(" ")[0]
                self._add(("weights", model, made, stack, ""), truth, found)
        for name in exported:
            known = names["default"] if name == "tiny" else name
            self._run_exports(name, dict(np.load(self._file(known, "default"))))
        return self.rows

    def _file(self, *parts: str) -> pathlib.Path:
        return self.scratch / f"{'_'.join(parts)}.npz"

    def _run_exports(self, name: str, truth: dict) -> None:
        # Not imported in the interpreters of `sessions`: they have only TensorFlow.
        from benchmarks.server_process import ServerProcess

        for made in self.pythons:
            model = self.scratch / f"{name}_{made}"
            for ran, server in self.pythons.items():
                command = (server, "-m", "portrait_tf", "serve")
                with ServerProcess(model, command=command) as address:
                    for called, client in self.pythons.items():
                        out = self._file(name, made, ran, called)
                        self.run(client, ["call", self.photo, address.target, out])
                        found = np.load(out)
                        # The default stack alone comes first.
                        truth = {**found, **truth}
                        self._add(("serving", name, made, ran, called), truth, found)
            for version, python in self.sessions.items():
                out = self._file(name, made, version)
                self.run(python, ["session", self.photo, model, out])
                ran = f"TensorFlow {version}"
                self._add(("session", name, made, ran, ""), truth, np.load(out))

    def _add(self, names: tuple[str, ...], truth: dict, found: dict) -> None:
        levels, labels, joints = [], [], [0.0]
        for name in found:
            one, other = truth[name].ravel(), found[name].ravel()
            if name.endswith("/completed"):
                levels.append(int(np.abs(one.astype(int) - other).max()))
            elif name.endswith("/parsing"):
                labels.append(float(np.mean(one != other)))
            else:
                joints.append(float(np.abs(one - other).max()))
        self.rows.append(Row(*names, max(levels), max(labels), max(joints)))


def main() -> int:
    parser = new_parser(__doc__)
    parser.add_argument("--default", default=".venv/bin/python")
    parser.add_argument("--addons", default=".venv-addons/bin/python")
    parser.add_argument(
        "--session", action="append", default=[], metavar="VERSION=PYTHON",
        help="an interpreter with another TensorFlow, for a Session; again for more",
    )  # fmt: skip
    parser.add_argument("--tiny", action="store_true", help="not the package's weights")
    parser.add_argument("--size", type=int, nargs=2, default=(192, 128), metavar="N")
    parser.add_argument("--gray-levels", type=int, default=2)
    parser.add_argument("--labels", type=float, default=0.001)
    parser.add_argument("--json", type=pathlib.Path, help="write the table here, too")
    parser.add_argument("--work", type=json.loads, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        work(options.work)
        return 0
    from portrait_tf.data.synthetic import synthesize

    height, width = options.size
    mask = np.zeros((height, width, 1), np.uint8)
    mask[height // 3 : height * 5 // 8, width // 3 : width * 2 // 3] = 255
    mask[height * 4 // 5 :] = 255
    # Not resolved: an environment's interpreter is a link to another one.
    pythons = {stack: os.path.abspath(getattr(options, stack)) for stack in STACKS}
    sessions = {}
    for text in options.session:
        version, _, python = text.partition("=")
        if not python:
            parser.error(f"--session is {text!r}; expected VERSION=PYTHON")
        sessions[version] = os.path.abspath(python)
    with tempfile.TemporaryDirectory() as scratch:
        driver = Driver(pythons, sessions, pathlib.Path(scratch))
        photo = synthesize(3, (height, width)).photo
        np.savez(driver.photo, photo=photo, mask=mask)
        rows = driver.measure(not options.tiny)
    print(markdown(COLUMNS, [row.cells() for row in rows]))
    write_json(options.json, [dataclasses.asdict(row) for row in rows])
    worst = max(row.gray_levels for row in rows), max(row.labels for row in rows)
    return int(worst[0] > options.gray_levels or worst[1] > options.labels)


if __name__ == "__main__":
    with user_errors():
        sys.exit(main())
