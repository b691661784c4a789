"""The client against a real server."""

import subprocess
import sys
import threading
import time

import cv2
import grpc
import pytest
import tensorflow as tf
from serving_photos import check_completed, make_photo

from portrait_tf.errors import PortraitError
from serving.client import PortraitClient, ServerError
from serving.local_server import LocalServer


@pytest.fixture(scope="module")
def client(target):
    with PortraitClient(target) as client:
        yield client


def png(array):
    return cv2.imencode(".png", array)[1].tobytes()


@pytest.mark.parametrize("batch", [None, 1, 3])
@pytest.mark.parametrize("has_channel", [True, False])
def test_complete_arrays(client, batch, has_channel):
    image, mask = make_photo(31, 20, batch)
    result = client.complete(image, mask if has_channel else mask[..., 0])
    check_completed(image, mask, result.completed, result.parsing)


def test_complete_arrays_that_are_not_contiguous(client):
    image, mask = make_photo(30, 40)
    image, mask = image[::2, ::-1], mask[::2, ::-1]
    result = client.complete(image, mask)
    check_completed(image, mask, result.completed, result.parsing)


def test_complete_large_photo(client):
    image, mask = make_photo(1500, 1400)
    result = client.complete(image, mask)
    check_completed(image, mask, result.completed, result.parsing)


def test_complete_files(client):
    image, mask = make_photo(31, 20)
    files = png(image[..., ::-1]), png(mask)
    result = client.complete(*files)
    check_completed(image, mask, result.completed, result.parsing)
    completed, parsing = client.complete_encoded(*files)
    assert completed.startswith(b"\x89PNG") and parsing.startswith(b"\x89PNG")


def test_complete_reads_typed_values(serve):
    server = serve(enable_serialization_as_tensor_content=False)
    image, mask = make_photo(31, 20)
    with PortraitClient(f"localhost:{server.grpc_port}") as client:
        result = client.complete(image, mask)
    check_completed(image, mask, result.completed, result.parsing)


def test_status_and_metadata(client):
    (status,) = client.status()
    assert (status.version, status.state, status.error) == (10, "AVAILABLE", "")
    metadata = client.metadata()
    assert (metadata.name, metadata.version) == ("portrait", 10)
    assert set(metadata.signatures) == {"serving_default", "encoded"}
    default = metadata.signatures["serving_default"]
    assert default.inputs["image"].dtype == "uint8"
    assert default.inputs["image"].shape == (None, None, None, 3)
    assert set(default.outputs) == {"completed", "parsing"}


IMAGE, MASK = make_photo()
BATCH, MASKS = make_photo(batch=2)
ONE_WITHOUT = MASKS.copy()
ONE_WITHOUT[1] = 0


@pytest.mark.parametrize(
    ("image", "mask", "message"),
    [
        (IMAGE / 255, MASK, r"image is an array of float64 .* expected .* uint8"),
        (IMAGE, MASK > 0, r"mask is an array of bool .* expected .* uint8"),
        (IMAGE.tolist(), MASK, "image is a list; expected a numpy array"),
        (IMAGE[..., 0], MASK, r"image has shape \[9, 11\]; expected RGB \[H, W, 3\]"),
        (IMAGE[..., :2], MASK, r"shape \[9, 11, 2\]; expected"),
        (IMAGE[:0], MASK[:0], r"shape \[0, 11, 3\]; expected"),
        (IMAGE, MASK[:5], r"mask has shape \[5, 11, 1\]; expected \[9, 11, 1\]"),
        (IMAGE, IMAGE, r"mask has shape \[9, 11, 3\]"),
        (BATCH, MASK, r"mask has shape \[9, 11, 1\]; expected \[2, 9, 11, 1\]"),
        (IMAGE, MASK * 0, "the mask has no hole"),
        (BATCH, ONE_WITHOUT, "mask 1 of the batch has no hole"),
        (IMAGE, b"x", "the mask is no image file that is known here"),
        (IMAGE, "none.png", "none.png: cannot read the mask: No such file"),
        (png(IMAGE), png(MASK[:5]), r"mask has shape \[5, 11\]; expected \[9, 11, 1\]"),
        (png(IMAGE), MASK[:5], r"mask has shape \[5, 11, 1\]; expected"),
        (png(IMAGE), png(MASK * 0), "the mask has no hole"),
        (b"", b"x", "the image has 0 bytes"),
    ],
)
def test_checked_before_sending(image, mask, message):
    # No server is there: what is sent would end in a ServerError.
    with (
        PortraitClient("localhost:1") as client,
        pytest.raises(PortraitError, match=message) as caught,
    ):
        client.complete(image, mask)
    assert not isinstance(caught.value, ServerError)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"timeout": 0}, "timeout is 0; expected"),
        ({"target": "localhost"}, "'localhost' is no address; expected HOST:PORT"),
        ({"target": "::1:8500"}, "'::1:8500' is no address; expected HOST:PORT"),
        ({"target": "localhost:85000"}, "is no address"),
        ({"target": 8500}, "the server is 8500; expected HOST:PORT as text"),
        ({"model_name": ""}, "name is ''; expected a text"),
        ({"model_name": 5}, "name is 5; expected a text"),
        ({"version_label": 5}, "label is 5; expected a text"),
        ({"version": -1}, "version is -1; expected 0 or above"),
        ({"version": "1"}, "version is '1'; expected 0 or above"),
        ({"timeout": "5"}, "timeout is '5'; expected seconds above 0"),
        ({"timeout": float("nan")}, "timeout is nan; expected seconds"),
        ({"timeout": float("inf")}, "timeout is inf; expected seconds"),
        ({"version": 1, "version_label": "stable"}, "version 1 and label 'stable'"),
        ({"max_pixels": 0}, "max_pixels is 0"),
        ({"load_balancing": "random"}, "load_balancing is 'random'; expected"),
        ({"headers": {"a b": "c"}}, "'a b' is no header's name"),
        ({"headers": {"grpc-x": "c"}}, "'grpc-x' is no header's name"),
        ({"api_key": "k\n"}, "value of header 'x-api-key' has characters"),
    ],
)
def test_settings_that_cannot_be(settings, message):
    with pytest.raises(PortraitError, match=message) as caught:
        PortraitClient(**settings)
    assert "k\n" not in str(caught.value)


def test_a_call_may_have_its_own_time():
    with PortraitClient("localhost:1") as client:
        with pytest.raises(PortraitError, match="timeout is -1; expected"):
            client.complete(IMAGE, MASK, timeout=-1)
        with pytest.raises(PortraitError, match="timeout is '5'; expected seconds"):
            client.complete(IMAGE, MASK, timeout="5")
        with pytest.raises(PortraitError, match="timeout is 0; expected"):
            client.wait_until_available(0)


def test_a_closed_client_says_so(target):
    client = PortraitClient(target)
    client.close()
    with pytest.raises(PortraitError, match="is closed"):
        client.complete(IMAGE, MASK)
    with pytest.raises(PortraitError, match="is closed"):
        client.complete_many([])


def check_server_error(caught, code, *phrases):
    assert caught.value.code == code
    message = str(caught.value)
    assert "\n" not in message
    for phrase in phrases:
        assert phrase in message


def test_server_refuses(client, target):
    image, mask = make_photo(10, 12)
    with pytest.raises(ServerError) as caught:
        client.complete_encoded(png(image), png(mask[:5]))
    check_server_error(
        caught,
        grpc.StatusCode.INVALID_ARGUMENT,
        target,
        "image and mask differ in size",
    )
    with pytest.raises(ServerError) as caught:
        client.complete_encoded(b"garbage", png(mask))
    check_server_error(caught, grpc.StatusCode.INVALID_ARGUMENT, target, "refused")


@pytest.mark.parametrize("options", [{"model_name": "other"}, {"version": 7}])
def test_unknown_model_or_version(target, options):
    image, mask = make_photo()
    with PortraitClient(target, **options) as client:
        for call in (lambda: client.complete(image, mask), client.status):
            with pytest.raises(ServerError) as caught:
                call()
            (value,) = options.values()
            check_server_error(
                caught, grpc.StatusCode.NOT_FOUND, target, "does not serve", str(value)
            )


def test_a_model_with_other_signatures(serve, tmp_path):
    class Other(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, "x")])
        def double(self, x):
            return {"y": 2 * x}

    module = Other()
    signatures = {"serving_default": module.double}
    tf.saved_model.save(module, str(tmp_path / "1"), signatures)
    server = serve(tmp_path)
    image, mask = make_photo()
    with PortraitClient(f"localhost:{server.grpc_port}") as client:
        with pytest.raises(ServerError) as caught:
            client.complete(png(image), png(mask))
        check_server_error(
            caught, grpc.StatusCode.FAILED_PRECONDITION, 'key "encoded" not found'
        )
        with pytest.raises(ServerError) as caught:
            client.complete(image, mask)
        check_server_error(caught, grpc.StatusCode.INVALID_ARGUMENT, "Sent extra")


def test_deadline(target):
    image, mask = make_photo(1200, 1200)
    with PortraitClient(target, timeout=0.002) as client:
        with pytest.raises(ServerError) as caught:
            client.complete(image, mask)
        check_server_error(
            caught,
            grpc.StatusCode.DEADLINE_EXCEEDED,
            target,
            "did not answer within 0.002 s",
        )


def test_unreachable(free_port):
    address = f"localhost:{free_port}"
    with PortraitClient(address, timeout=0.5) as client:
        for settings in ({}, {"timeout": 0.3}):
            with pytest.raises(ServerError) as caught:
                client.complete(IMAGE, MASK, **settings)
            check_server_error(
                caught,
                grpc.StatusCode.UNAVAILABLE,
                address,
                "cannot be reached",
                "Connection refused",
            )
        start = time.monotonic()
        with pytest.raises(ServerError) as caught:
            client.wait_until_available(0.5)
        assert time.monotonic() - start < 3
        check_server_error(
            caught, grpc.StatusCode.UNAVAILABLE, address, "not available within 0.5 s"
        )


def test_wait_until_available(models_dir, free_port):
    server = LocalServer(models_dir, grpc_port=free_port, rest_port=0)
    timer = threading.Timer(0.7, server.start)
    with PortraitClient(f"localhost:{free_port}") as client:
        timer.start()
        client.wait_until_available(20)
        assert client.complete(IMAGE, MASK).completed.shape == IMAGE.shape
    timer.join()
    server.stop()


def test_a_call_waits_for_its_server(models_dir, free_port):
    server = LocalServer(models_dir, grpc_port=free_port, rest_port=0)
    timer = threading.Timer(0.7, server.start)
    with PortraitClient(f"localhost:{free_port}", timeout=20) as client:
        timer.start()
        assert client.complete(IMAGE, MASK).completed.shape == IMAGE.shape
    timer.join()
    server.stop()


ONLY = """
import sys

ALLOWED = {"grpc", "google", "numpy", "PIL", "portrait_tf", "serving"}
ALLOWED.add("typing_extensions")  # Of gRPC.

class Barrier:
    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        if top not in ALLOWED and top not in sys.stdlib_module_names:
            raise ModuleNotFoundError(f"{name} is not what the client needs", name=name)

sys.meta_path.insert(0, Barrier())
"""


def test_the_client_needs_four_packages(target):
    """And completes a photo with them, by arrays and by files."""
    code = ONLY + (
        "import numpy as np\n"
        "from serving.client import PortraitClient, doctor\n"
        "image = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)\n"
        "mask = np.zeros((20, 30), np.uint8); mask[5:9, 5:9] = 255\n"
        f"with PortraitClient({target!r}) as client:\n"
        "    for signature in ('serving_default', 'encoded'):\n"
        "        found = client.complete(image, mask, signature=signature)\n"
        "        assert (found.completed == image)[mask == 0].all()\n"
        "    assert client.metadata().signatures and client.status()\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
