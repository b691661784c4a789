"""The files for production, as far as they can be checked without it."""

import pathlib
import re
import shutil
import subprocess

import cv2
import numpy as np
import pytest
import yaml
from serving_photos import check_completed, make_photo

import serving

DEPLOY = pathlib.Path(serving.__file__).parent / "deploy"


@pytest.fixture(scope="module")
def compose():
    return yaml.safe_load((DEPLOY / "docker-compose.yml").read_text())


@pytest.mark.parametrize(("profile", "suffix"), [("cpu", ""), ("gpu", "-gpu")])
def test_compose_service(compose, profile, suffix):
    service = compose["services"][f"serving-{profile}"]
    assert service["profiles"] == [profile]
    # One variable, with a pinned default, for both.
    assert service["image"] == f"tensorflow/serving:${{TFS_TAG:-2.20.0}}{suffix}"
    assert {entry.rpartition(":")[2] for entry in service["ports"]} == {"8500", "8501"}
    (volume,) = service["volumes"]
    assert volume["read_only"] and volume["type"] == "bind"
    assert volume["target"] == f"/models/{service['environment']['MODEL_NAME']}"
    has_gpu = "nvidia" in str(service.get("deploy"))
    assert has_gpu == (profile == "gpu")


def run_health_check(compose, port, model_name):
    kind, *command = compose["services"]["serving-cpu"]["healthcheck"]["test"]
    assert kind == "CMD"
    command[-1] = command[-1].replace("$$", "$").replace("8501", str(port))
    return subprocess.run(
        command, env={"MODEL_NAME": model_name, "PATH": "/usr/bin:/bin"}, timeout=20
    ).returncode


@pytest.mark.skipif(not shutil.which("bash"), reason="the image's bash is needed")
def test_health_check_reads_the_state(compose, server):
    assert run_health_check(compose, server.rest_port, "portrait") == 0
    assert run_health_check(compose, server.rest_port, "other") != 0
    assert run_health_check(compose, 1, "portrait") != 0


def test_readme_names_the_version_of_the_image():
    readme = (DEPLOY / "README.md").read_text()
    for needed in ("2.20.0", "2.21", "--gpus all", "readonly", "MODEL_NAME=portrait"):
        assert needed in readme


@pytest.mark.skipif(not shutil.which("curl"), reason="the README's curl is needed")
def test_readme_requests_work(server, tmp_path):
    image, mask = make_photo(40, 30)
    cv2.imwrite(str(tmp_path / "photo.png"), image[..., ::-1])
    cv2.imwrite(str(tmp_path / "mask.png"), mask)
    readme = (DEPLOY / "README.md").read_text()
    readme = readme.replace("localhost:8501", f"localhost:{server.rest_port}")
    readme = readme.replace("localhost:8500", f"localhost:{server.grpc_port}")
    status, predict = (
        block
        for block in re.findall(r"```bash\n(.*?)```", readme, re.DOTALL)
        if "curl" in block
    )

    def run(script):
        return subprocess.run(
            ["bash", "-ec", script],
            cwd=tmp_path,
            check=True,
            capture_output=True,
            text=True,
            timeout=60,
        ).stdout

    answer = run(status)
    assert '"state": "AVAILABLE"' in answer and "serving_default" in answer
    run(predict)
    completed = cv2.imread(str(tmp_path / "completed.png"))[..., ::-1]
    check_completed(image, mask, completed, (mask != 0).astype(np.uint8) * 5)


def test_readme_client_works(server, tmp_path, monkeypatch):
    image, mask = make_photo(40, 30)
    cv2.imwrite(str(tmp_path / "photo.png"), image[..., ::-1])
    cv2.imwrite(str(tmp_path / "mask.png"), mask)
    readme = (DEPLOY / "README.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", readme, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    exec(code.replace("localhost:8500", f"localhost:{server.grpc_port}"), {})
    completed = cv2.imread(str(tmp_path / "completed.png"))[..., ::-1]
    check_completed(image, mask, completed, (mask != 0).astype(np.uint8) * 5)
