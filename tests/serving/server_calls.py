"""Calls of a server by hand, the command that starts one, and waiting."""

import contextlib
import http.client
import json
import subprocess
import sys


def call(server, method, path, body=None, **headers):
    """Sends one HTTP request; gives status, headers and body."""
    connection = http.client.HTTPConnection("localhost", server.rest_port, timeout=30)
    with contextlib.closing(connection):
        headers = {key.replace("_", "-"): value for key, value in headers.items()}
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        return response.status, response.headers, response.read()


def call_rest(server, path, body=None, method=None):
    """Sends JSON, by GET where there is none; gives status and JSON."""
    if body is not None and not isinstance(body, bytes):
        body = json.dumps(body).encode()
    method = method or ("GET" if body is None else "POST")
    status, headers, answer = call(server, method, path, body)
    assert headers["Content-Type"] == "application/json"
    return status, json.loads(answer)


@contextlib.contextmanager
def serve_command(*arguments):
    """Runs `portrait-tf serve` on free ports."""
    process = subprocess.Popen(
        [sys.executable, "-m", "portrait_tf", "serve", "--port=0",
         "--rest_api_port", "0", *map(str, arguments)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        yield process
    finally:
        process.kill()
        process.communicate()
