"""Clients that share no code with ours, as examples/clients has them, for real.

Each makes its own environment from a package registry, which takes minutes.
"""

import os
import pathlib
import shutil
import subprocess
import sys

import cv2
import pytest
from serving_photos import make_photo

from portrait_tf.photos import read_photo, write_png

EXAMPLES = pathlib.Path(__file__).parents[2] / "examples" / "clients"


@pytest.fixture
def photo(tmp_path):
    """Files of a photo above 4 MB as a tensor and its mask, and the arrays."""
    image, mask = make_photo(1300, 1200)
    write_png(tmp_path / "photo.png", image)
    write_png(tmp_path / "mask.png", mask[..., 0])
    return image, mask


def call(*command, **options):
    """A program that has ended, and what it said."""
    command = [str(part) for part in command]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=500, **options
    )


def run(*command, **options):
    result = call(*command, **options)
    assert result.returncode == 0, f"{result.stdout}\n{result.stderr}"
    return result.stdout


def install(*command, **options):
    """Installs from a registry; skips where none can be reached."""
    try:
        result = call(*command, **options)
    except subprocess.TimeoutExpired:
        pytest.skip(f"{command[0]} did not end in 500 s: is a registry reachable?")
    said = result.stdout + result.stderr
    unreachable = ("ENOTFOUND", "ECONNREFUSED", "ETIMEDOUT", "EAI_AGAIN",
                   "No matching distribution", "Could not find a version")  # fmt: skip
    if result.returncode and any(sign in said for sign in unreachable):
        pytest.skip(f"no package registry: {said[-300:]}")
    assert result.returncode == 0, said


def needs(program):
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed here")


def check(photo, path):
    """Asserts that known pixels came back bit for bit, and the hole filled."""
    image, mask = photo
    completed = read_photo(path)
    known = mask[..., 0] == 0
    assert completed.shape == image.shape
    assert (completed[known] == image[known]).all()
    assert (completed[~known] != image[~known]).any()


@pytest.mark.long
def test_curl(full, photo, tmp_path):
    needs("curl")
    url = f"http://127.0.0.1:{full.rest_port}"
    files = [tmp_path / name for name in ("photo.png", "mask.png", "out.png")]
    said = run(EXAMPLES / "rest.sh", url, *files)
    assert "AVAILABLE" in said
    check(photo, files[-1])
    (tmp_path / "photo.png").write_bytes(b"no picture")
    result = call(EXAMPLES / "rest.sh", url, *files)
    assert result.returncode == 1 and '"error"' in result.stderr


@pytest.mark.long
def test_node(full, photo, tmp_path):
    needs("node")
    needs("npm")
    folder = tmp_path / "node"
    shutil.copytree(
        EXAMPLES / "node", folder, ignore=shutil.ignore_patterns("node_modules")
    )
    install("npm", "install", "--no-audit", "--no-fund", cwd=folder)
    run(sys.executable, EXAMPLES / "make_descriptors.py", folder / "serving.desc")
    said = run(
        "node", "client.js", "serving.desc", f"localhost:{full.grpc_port}",
        tmp_path / "photo.png", tmp_path / "mask.png", tmp_path / "out.png",
        cwd=folder,
    )  # fmt: skip
    assert said.strip() == "1: AVAILABLE"
    check(photo, tmp_path / "out.png")


@pytest.mark.long
def test_ovmsclient(full, tmp_path):
    # It cannot be told to receive more than gRPC's 4 MB.
    image, mask = make_photo(600, 400)
    cv2.imwrite(str(tmp_path / "photo.png"), image[..., ::-1])
    cv2.imwrite(str(tmp_path / "mask.png"), mask)
    run(sys.executable, "-m", "venv", tmp_path / "venv")
    python = tmp_path / "venv" / "bin" / "python"
    install(python, "-m", "pip", "install", "--quiet", "ovmsclient", "pillow")
    clean = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    said = run(
        python, EXAMPLES / "ovms.py", f"localhost:{full.grpc_port}", 1,
        tmp_path / "photo.png", tmp_path / "mask.png", tmp_path / "out.png",
        env=clean,
    )  # fmt: skip
    assert "AVAILABLE" in said and "inputs ['image', 'mask']" in said
    check((image, mask), tmp_path / "out.png")
