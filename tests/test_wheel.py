"""The wheel: what is in it, and that it runs in an environment of its own."""

import os
import pathlib
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile

import pytest

import portrait_tf

ROOT = pathlib.Path(__file__).parents[1]
PACKAGES = ("portrait_tf", "export", "serving")
LEFTOVERS = (
    "serving/deploy/secrets/envoy/tls.key",
    "serving/deploy/secrets/envoy/api_keys.yaml",
    "serving/deploy/secrets/grafana_password", "serving/deploy/.env.mine",
    "serving/deploy/models/1/saved_model.pb", "serving/deploy/models/models.config",
    "serving/deploy/config/ssl.config", "serving/deploy/kubernetes/base/secret.yaml",
    "portrait_tf/weights/mine.h5", "portrait_tf/apps/web/photo.jpg",
    "models/1/saved_model.pb", "runs/mine/parsing/config.yaml",
)  # fmt: skip


@pytest.fixture(scope="module")
def tracked():
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True)
    if listed.returncode:
        pytest.skip("git's list of files is needed")
    names = os.fsdecode(listed.stdout).splitlines()
    return [name for name in names if (ROOT / name).is_file()]


@pytest.fixture(scope="module")
def wheel(tracked, tmp_path_factory):
    """Built from a checkout that was used: with secrets, models and leftovers."""
    used, out = tmp_path_factory.mktemp("used"), tmp_path_factory.mktemp("wheel")
    for name in tracked:
        if name.startswith((*PACKAGES, "tests/", "configs/")) or "/" not in name:
            (used / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, used / name)
    for name in LEFTOVERS:
        (used / name).parent.mkdir(parents=True, exist_ok=True)
        (used / name).write_text("secret")
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation",
         "--quiet", "--wheel-dir", out, used],
        check=True,
    )  # fmt: skip
    (wheel,) = out.glob("*.whl")
    return wheel


def test_it_has_the_files_of_git_and_nothing_else(wheel, tracked):
    """So neither tests nor secrets nor models; but weights, templates, deployment."""
    assert wheel.name == f"portrait_tf-{portrait_tf.__version__}-py3-none-any.whl"
    packed = {
        name
        for name in zipfile.ZipFile(wheel).namelist()
        if not name.startswith(f"portrait_tf-{portrait_tf.__version__}.dist-info/")
    }
    ours = {name for name in tracked if name.split("/")[0] in PACKAGES}
    assert packed == ours - {"serving/deploy/.gitignore"}
    assert {
        "portrait_tf/weights/parsing_demo.npz",
        "portrait_tf/evaluation/templates/page.html",
        "serving/deploy/config/models.config",
    } <= packed


def test_it_runs_in_an_empty_environment(wheel, tmp_path):
    """Its packages come from the wheel; what it needs, from this environment."""
    venv.create(tmp_path / "venv")
    python = tmp_path / "venv" / "bin" / "python"
    subprocess.run(
        [sys.executable, "-m", "pip", "--python", python, "install", "--no-deps",
         "--no-index", "--quiet", wheel],
        check=True,
    )  # fmt: skip
    (site,) = (tmp_path / "venv" / "lib").glob("python*/site-packages")
    # A folder that is named here has no say through .pth files of its own.
    (site / "needed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    kept = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}

    def run(*command):
        return subprocess.run(
            command, cwd=tmp_path, env=kept, check=True, capture_output=True, text=True
        ).stdout

    script = tmp_path / "venv" / "bin" / "portrait-tf"
    assert run(script, "--version") == f"portrait-tf {portrait_tf.__version__}\n"
    assert "extrapolate" in run(script, "--help")
    where = "import portrait_tf, serving.client as c; print(portrait_tf.__file__)"
    assert run(python, "-c", where).startswith(str(site))
