"""The client against a real server."""

import concurrent.futures

import pytest
import tensorflow as tf
from processes import python_output
from serving_photos import check_completed, make_photo, png

from portrait_tf.errors import PortraitError
from serving.client import PortraitClient, ServerError
from serving.local_server import LocalServer


@pytest.fixture(scope="module")
def client(target):
    with PortraitClient(target) as client:
        yield client


@pytest.mark.parametrize("batch", [None, 1, 3])
@pytest.mark.parametrize("has_channel", [True, False])
def test_complete_arrays(client, batch, has_channel):
    image, mask = make_photo(31, 20, batch)
    result = client.complete(image, mask if has_channel else mask[..., 0])
    check_completed(image, mask, result.completed, result.parsing)


def test_arrays_that_are_not_contiguous_or_large(client):
    parts = [array[::2, ::-1] for array in make_photo(30, 40)]
    for image, mask in (parts, make_photo(1500, 1400)):
        result = client.complete(image, mask)
        check_completed(image, mask, result.completed, result.parsing)


def test_complete_encoded(client):
    image, mask = make_photo(31, 20)
    answer = client.complete_encoded(png(image), png(mask))
    completed, parsing = (tf.io.decode_png(one).numpy() for one in answer)
    check_completed(image, mask, completed, parsing)


def test_both_forms_of_an_answer(serve):
    server = serve(enable_serialization_as_tensor_content=True)
    image, mask = make_photo(31, 20)
    with PortraitClient(f"localhost:{server.grpc_port}") as client:
        for signature in ("serving_default", "encoded"):
            result = client.complete(image, mask, signature=signature)
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
        ({"target": "\ud800:85"}, "the server is '.ud800:85'; expected HOST:PORT as"),
        ({"target": "unix:"}, "'unix:' is no address"),
        ({"model_name": ""}, "name is ''; expected a text"),
        ({"model_name": 5}, "name is 5; expected a text"),
        ({"model_name": "a\ud800"}, r"name is 'a\\ud800'; expected a text"),
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


def check_error(code, *phrases, of):
    """Asserts that a call fails so, in one line."""
    with pytest.raises(ServerError) as caught:
        of()
    message = str(caught.value)
    assert caught.value.code.name == code and "\n" not in message
    assert all(phrase in message for phrase in phrases), message


def test_server_refuses(client, target):
    image, mask = make_photo(10, 12)
    for files, phrase in (
        ((png(image), png(mask[:5])), "image and mask differ in size"),
        ((b"garbage", png(mask)), "refused"),
    ):
        check_error(
            "INVALID_ARGUMENT", target, phrase,
            of=lambda files=files: client.complete_encoded(*files),
        )  # fmt: skip


@pytest.mark.parametrize("options", [{"model_name": "other"}, {"version": 7}])
def test_unknown_model_or_version(target, options):
    (value,) = options.values()
    phrases = (target, "does not serve", str(value))
    with PortraitClient(target, **options) as client:
        check_error("NOT_FOUND", *phrases, of=lambda: client.complete(IMAGE, MASK))
        check_error("NOT_FOUND", *phrases, of=client.status)


def test_a_model_with_other_signatures(publish, serve):
    server = serve(publish(1))
    with PortraitClient(f"localhost:{server.grpc_port}") as client:
        check_error(
            "FAILED_PRECONDITION", 'key "encoded" not found',
            of=lambda: client.complete(png(IMAGE), png(MASK)),
        )  # fmt: skip
        check_error(
            "INVALID_ARGUMENT", "Sent extra", of=lambda: client.complete(IMAGE, MASK)
        )


def test_deadline(target):
    image, mask = make_photo(1200, 1200)
    with PortraitClient(target, timeout=0.002) as client:
        check_error(
            "DEADLINE_EXCEEDED", target, "did not answer within 0.002 s",
            of=lambda: client.complete(image, mask),
        )  # fmt: skip


def test_unreachable(free_port):
    address = f"localhost:{free_port}"
    phrases = (address, "cannot be reached", "Connection refused")
    with PortraitClient(address, timeout=0.5) as client:
        for settings in ({}, {"timeout": 0.3}):
            check_error(
                "UNAVAILABLE", *phrases,
                of=lambda settings=settings: client.complete(IMAGE, MASK, **settings),
            )  # fmt: skip
        check_error(
            "UNAVAILABLE", address, "not available within 0.5 s",
            of=lambda: client.wait_until_available(0.5),
        )  # fmt: skip


@pytest.mark.parametrize("waits", [True, False])
def test_a_call_waits_for_its_server(models_dir, free_port, waits):
    """By `wait_until_available`, and by itself."""
    server = LocalServer(models_dir, grpc_port=free_port, rest_port=0)
    with (
        PortraitClient(f"localhost:{free_port}", timeout=20) as client,
        concurrent.futures.ThreadPoolExecutor(1) as pool,
    ):
        ready = pool.submit(client.wait_until_available, 20) if waits else None
        call = None if waits else pool.submit(client.complete, IMAGE, MASK)
        with pytest.raises(concurrent.futures.TimeoutError):
            (ready or call).result(0.3)
        with server:
            (ready or call).result()
            assert client.complete(IMAGE, MASK).completed.shape == IMAGE.shape


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
    python_output("-c", code, timeout=60)
