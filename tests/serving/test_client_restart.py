"""A server process that is killed and started again, under a client."""

import concurrent.futures
import contextlib
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from serving_photos import check_completed, make_photo

from serving.client import PortraitClient

SECONDS_AWAY = 8.0
SERVER = """
import sys
from serving.local_server import LocalServer

folder, port = sys.argv[1], int(sys.argv[2])
print("ready", flush=True)
sys.stdin.readline()
with LocalServer(folder, grpc_port=port, rest_port=0):
    print("serving", flush=True)
    sys.stdin.readline()
"""


@contextlib.contextmanager
def waiting_server(folder, port):
    """A process that has imported TensorFlow; a line on stdin starts its server."""
    command = [sys.executable, "-c", SERVER, str(folder), str(port)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def start(process):
    assert process.stdout.readline() == "ready\n"
    process.stdin.write("\n")
    process.stdin.flush()


@pytest.mark.long
def test_a_restart_of_8_seconds_loses_no_call(models_dir, free_port):
    image, mask = make_photo(400, 300)
    ended = threading.Event()

    def call_on(client):
        """Calls without a pause until the end; how long each took."""
        seconds = []
        while not ended.is_set():
            begun = time.monotonic()
            result = client.complete(image, mask)
            seconds.append(time.monotonic() - begun)
            check_completed(image, mask, result.completed, result.parsing)
        return seconds

    with (
        waiting_server(models_dir, free_port) as first,
        waiting_server(models_dir, free_port) as second,
        PortraitClient(f"localhost:{free_port}", timeout=30) as client,
        concurrent.futures.ThreadPoolExecutor(2) as pool,
    ):
        start(first)
        client.wait_until_available(60)
        callers = [pool.submit(call_on, client) for _ in range(2)]
        time.sleep(1)
        first.kill()
        time.sleep(SECONDS_AWAY)
        start(second)
        assert second.stdout.readline() == "serving\n"
        time.sleep(2)
        ended.set()
        seconds = [caller.result() for caller in callers]
    for calls in seconds:
        assert len(calls) > 2
        # One of them was under way, and waited.
        assert SECONDS_AWAY - 1 < max(calls) < 30
        assert np.median(calls) < 3
