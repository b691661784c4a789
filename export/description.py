"""What a version's folder says of itself: `signature.json`, README, batching."""

import dataclasses
import datetime
import json
import pathlib
from collections.abc import Iterable

import jinja2

import portrait_tf
from export import contract
from portrait_tf.labels import JOINTS, LABELS

DESCRIPTION_FILE = "signature.json"
BATCHING_FILE = "batching_params.pbtxt"
README_FILE = "README.md"
FORMAT = 1


def describe(pipeline: object, names: Iterable[str], batch_sizes: list[int]) -> dict:
    """What `signature.json` holds, but for the list of files.

    Args:
        pipeline: A `StoredNetworks`.
        names: Of the signatures that are exported.
        batch_sizes: That batching makes.
    """
    import keras
    import tensorflow as tf

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
        "precision": pipeline.precision,
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
        "weights": {"sha256": pipeline.sha256, "bytes": pipeline.bytes},
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


def render(file: str, description: dict) -> str:
    """A file of `templates/`, `README.md` or `batching_params.pbtxt`, filled in."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("export"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template(file).render(description)


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
    for name in (README_FILE, BATCHING_FILE):
        (folder / name).write_text(render(name, description))
    text = json.dumps({**description, "files": files}, indent=2)
    (folder / DESCRIPTION_FILE).write_text(text + "\n")
