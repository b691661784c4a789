"""What a version's folder says of itself: `signature.json`, README, batching."""

import dataclasses
import datetime
import json
import pathlib
from collections.abc import Iterable

import portrait_tf
from export import contract
from portrait_tf.labels import JOINTS, LABELS

DESCRIPTION_FILE = "signature.json"
BATCHING_FILE = "batching_params.pbtxt"
README_FILE = "README.md"
FORMAT = 1


def describe(networks: object, names: Iterable[str], batch_sizes: list[int]) -> dict:
    """What `signature.json` holds, but for the list of files.

    Args:
        networks: A `StoredNetworks`.
        names: Of the signatures that are exported.
        batch_sizes: That batching makes.
    """
    import keras
    import tensorflow as tf

    pipeline = networks.pipeline
    signatures = {name: dataclasses.asdict(contract.SIGNATURES[name]) for name in names}
    if not pipeline.parsing_network.pose and "parse" in signatures:
        del signatures["parse"]["outputs"]["joints"]
    stages = {
        "parsing": pipeline.parsing_network,
        "completion": pipeline.completion_network,
        "face": pipeline.face_network,
    }
    return {
        "format": FORMAT,
        "model": contract.MODEL_NAME,
        "exported": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "versions": {
            "portrait-tf": portrait_tf.__version__,
            "tensorflow": tf.__version__,
            "keras": keras.__version__,
        },
        "precision": networks.precision,
        "working_size": list(pipeline.size),
        "stages": {
            stage: {
                "network": type(network).__name__,
                "parameters": network.count_params(),
            }
            for stage, network in stages.items()
            if network is not None
        },
        "stage_1_averaged_over": {
            "flip": pipeline.structure.flip,
            "scales": list(pipeline.structure.scales),
        },
        "detail": pipeline.detail,
        "weights": {"sha256": networks.sha256, "bytes": networks.bytes},
        "batch_sizes": list(batch_sizes),
        "limits": {
            "photos_per_batch": contract.max_batch(pipeline.size),
            "pixels_per_photo": contract.MAX_PIXELS,
            "pixels_per_batch": contract.MAX_BATCH_PIXELS,
            "side": contract.MAX_SIDE,
        },
        "image_formats": list(contract.IMAGE_FORMATS),
        "labels": list(LABELS),
        "joints": list(JOINTS),
        "signatures": signatures,
    }


def batching_params(batch_sizes: list[int]) -> str:
    """`BatchingParameters` of TensorFlow Serving, as text."""
    allowed = "\n".join(f"allowed_batch_sizes: {size}" for size in batch_sizes)
    return f"""\
# How TensorFlow Serving merges requests for this version. It reads this file if it runs
# with --enable_batching and --enable_per_model_batching_parameters; otherwise give it
# with --batching_parameters_file.
#
# Merged requests must agree in all sizes but the batch's, or all of them fail. So
# batching is for `encoded`, whose inputs are strings, and where all photos have one
# size. `extrapolate` may mix margins, not sizes of photos.

# The largest of allowed_batch_sizes, as TensorFlow Serving demands. Beyond it a GPU
# gains little, and every request waits longer.
max_batch_size {{ value: {batch_sizes[-1]} }}

# What a lone request waits for company: 2 ms, little beside what a photo takes.
batch_timeout_micros {{ value: 2000 }}

# Batches that wait; then requests are refused with UNAVAILABLE, for a client to try
# again, rather than answered when nobody listens any more.
max_enqueued_batches {{ value: 64 }}

# Batches that run at once. Each uses all cores, so two: one computes while the other
# decodes and encodes files. With per-model parameters the server's common file counts.
num_batch_threads {{ value: 2 }}

# A batch is filled up to the next of these: a GPU's library chooses its kernels anew
# for every other shape. Each is warmed up before the version is available.
{allowed}

# Photos of different sizes are not padded: padding would count as photo.
pad_variable_length_inputs: false
"""


def _shape(shape: Iterable) -> str:
    return "[" + ",".join(map(str, shape)) + "]"


def _fields(title: str, fields: dict) -> list[str]:
    lines = [
        f"| {title} | dtype | shape | range | unit | meaning |",
        "|" + " --- |" * 6,
    ]
    for name, field in fields.items():
        limits = field["range"]
        span = f"{limits[0]} to {limits[1]}" if limits else "any"
        lines.append(
            f"| `{name}` | {field['dtype']} | {_shape(field['shape'])} | {span} | "
            f"{field['unit']} | {field['meaning']} |"
        )
    return [*lines, ""]


def readme(description: dict) -> str:
    """The README of a version's folder.

    Args:
        description: Of `describe`.
    """
    height, width = description["working_size"]
    limits = description["limits"]
    versions = description["versions"]
    lines = [
        "# A version of the portrait model",
        "",
        "A SavedModel for TensorFlow Serving, written by `portrait-tf export` on "
        f"{description['exported']}. `{DESCRIPTION_FILE}` says the same for programs.",
        "",
        f"- TensorFlow {versions['tensorflow']}, Keras {versions['keras']}, "
        f"portrait-tf {versions['portrait-tf']}. The server must be at least as new "
        "as this TensorFlow.",
        f"- Weights: {description['weights']['bytes'] / 1e6:.1f} MB, "
        f"{description['precision']}; computed in float32. SHA-256 "
        f"`{description['weights']['sha256']}`.",
        f"- Working size: {height}x{width}. Photos of any size are brought to it and "
        "back; the hole alone is pasted, so known pixels stay bit for bit.",
        *(
            f"- Stage `{stage}`: {one['network']}, {one['parameters']} parameters."
            for stage, one in description["stages"].items()
        ),
        "",
        "## Limits",
        "",
        f"A batch has 1 to {limits['photos_per_batch']} photos and at most "
        f"{limits['pixels_per_batch']} pixels; a photo, or an extended one, at most "
        f"{limits['pixels_per_photo']} pixels, and {limits['side']} a side. What "
        "exceeds them, has another shape, or is no picture, is INVALID_ARGUMENT; files "
        "are measured before they are decoded.",
        "",
        "Equal letters in a signature's shapes are equal sizes; B is the batch.",
        "",
    ]
    for name, signature in description["signatures"].items():
        lines += [f"## `{name}`", "", signature["meaning"], ""]
        lines += _fields("input", signature["inputs"])
        lines += _fields("output", signature["outputs"])
    lines += ["## Values", "", "LIP's labels:", ""]
    lines.append(
        ", ".join(f"{index} {name}" for index, name in enumerate(description["labels"]))
        + "."
    )
    lines += ["", "LIP's joints:", ""]
    lines.append(
        ", ".join(f"{index} {name}" for index, name in enumerate(description["joints"]))
        + "."
    )
    sizes = ", ".join(map(str, description["batch_sizes"]))
    lines += [
        "",
        "## Batching and warm-up",
        "",
        f"`{BATCHING_FILE}` lets a server merge requests to batches of {sizes} photos "
        "and says why. `assets.extra` has a request for every signature and each of "
        "these sizes, which the server runs before it calls the version available.",
        "",
    ]
    return "\n".join(lines)


def write_description(folder: pathlib.Path, description: dict) -> None:
    """Writes README, batching parameters and, last of all files, `signature.json`.

    It lists the files that were there before, with their sizes in bytes: so a folder
    that is not whole can be told. README and batching parameters may be edited later.
    """
    files = {
        path.relative_to(folder).as_posix(): path.stat().st_size
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    (folder / README_FILE).write_text(readme(description))
    (folder / BATCHING_FILE).write_text(batching_params(description["batch_sizes"]))
    text = json.dumps({**description, "files": files}, indent=2)
    (folder / DESCRIPTION_FILE).write_text(text + "\n")
