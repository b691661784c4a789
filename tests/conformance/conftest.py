"""Which server is held to the protocol: `TFS_TARGET`, or the embedded one."""

import contextlib
import os
import socket

import grpc
import pytest
from conformance_calls import (
    UNLIMITED,
    Rest,
    get_metadata,
    model_stub,
    prediction_stub,
    split,
)


@pytest.fixture(scope="session")
def addresses(request):
    """gRPC and REST as `host:port`; None for a REST port that nobody answers."""
    target = os.environ.get("TFS_TARGET")
    if target:
        rest = os.environ.get("TFS_REST", "").removeprefix("http://").rstrip("/")
        yield target, rest or _find_rest(target)
        return
    from serving.local_server import LocalServer

    folder = request.getfixturevalue("tiny_models")
    name = os.environ.get("TFS_MODEL", "portrait")
    with LocalServer(folder, name, grpc_port=0, rest_port=0) as server:
        yield f"localhost:{server.grpc_port}", f"localhost:{server.rest_port}"


def _find_rest(target):
    host, port = split(target)
    for candidate in (port + 1, 8501):
        with contextlib.suppress(OSError):
            socket.create_connection((host, candidate), 5).close()
            return f"{host}:{candidate}"
    return None


@pytest.fixture(scope="session")
def model():
    return os.environ.get("TFS_MODEL", "portrait")


@pytest.fixture(scope="session")
def channel(addresses):
    with grpc.insecure_channel(addresses[0], options=UNLIMITED) as channel:
        grpc.channel_ready_future(channel).result(60)
        yield channel


@pytest.fixture(scope="session")
def prediction(channel):
    return prediction_stub(channel)


@pytest.fixture(scope="session")
def models(channel):
    return model_stub(channel)


@pytest.fixture(scope="session")
def metadata(prediction, model):
    """The version that answers, and its signatures by name."""
    return get_metadata(prediction, model)


@pytest.fixture
def needs(metadata):
    """Skips the test where the export has no such signature."""

    def check(signature):
        if signature not in metadata[1]:
            pytest.skip(f"the export has no signature {signature!r}")

    return check


@pytest.fixture(scope="session")
def rest(addresses):
    if addresses[1] is None:
        pytest.skip("nothing answers REST at port + 1 or 8501; TFS_REST says where")
    return Rest(addresses[1])
