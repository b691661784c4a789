"""How the page starts where proxies are set, and what is said when it cannot."""

import importlib.util
import os
import socket
import subprocess
import sys
import urllib.request

import pytest
from processes import python, python_output

from portrait_tf.apps.web import page
from portrait_tf.apps.web.actions import Limits
from portrait_tf.errors import PortraitError

COMMAND = ["-m", "portrait_tf", "web", "--port", "0"]


def environment(**more):
    """This process's, without its proxies."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.lower().endswith("_proxy")
    }
    return kept | more


needs_gradio = pytest.mark.skipif(
    importlib.util.find_spec("gradio") is None,
    reason="needs Gradio (pip install 'portrait-tf[web]')",
)


@needs_gradio
def test_hosts_are_listened_on_or_refused():
    class Blocks:
        def launch(self, server_name, server_port, **settings):
            return None, f"{server_name}:{server_port}", None

    with socket.create_server(("::1", 0), family=socket.AF_INET6) as taken:
        port = taken.getsockname()[1]
        for host in ("192.0.2.1", "::1"):
            with pytest.raises(
                PortraitError, match=f"cannot listen on {host}:{port}: "
            ):
                page._launch(Blocks(), host, port, Limits())
    assert page._launch(Blocks(), "::1", port, Limits()) == f"[::1]:{port}"


@pytest.mark.long
@needs_gradio
def test_the_page_starts_whatever_proxy_is_set():
    """Nothing listens at these addresses."""
    proxies = {
        "http_proxy": "http://127.0.0.1:9",
        "ALL_PROXY": "socks5://127.0.0.1:9",
        "no_proxy": "example.org",
    }
    server = subprocess.Popen(
        [sys.executable, *COMMAND],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(**proxies),
    )
    try:
        line = server.stdout.readline()
        assert "http://" in line, server.communicate(timeout=60)[1]
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with direct.open(line.split()[4]) as answer:
            assert answer.status == 200
    finally:
        server.terminate()
        server.communicate(timeout=60)


def test_visitors_wait_for_nothing_that_loads_late():
    code = (
        "import sys, time; from portrait_tf.apps.web.page import warm_up\n"
        "from portrait_tf import Portrait; from portrait_tf.data.synthetic import *\n"
        "portrait, photo = Portrait.load(), synthesize(0, (300, 200)).photo\n"
        "mask = photo[..., 0] * 0; mask[90:150, 70:110] = 1\n"
        "def seconds(work, *given):\n"
        "    start = time.process_time(); work(*given)\n"
        "    return time.process_time() - start\n"
        "before = seconds(warm_up, portrait)\n"
        "first, second = (seconds(portrait.complete, photo, mask) for _ in range(2))\n"
        "assert before > 2 * first and first < 4 * second, (before, first, second)\n"
    )
    python_output("-c", code, timeout=300)


@pytest.mark.parametrize("kept", [None, "example.org"])
def test_the_users_variables_stay(monkeypatch, kept):
    monkeypatch.setitem(sys.modules, "gradio", os)
    monkeypatch.delenv("no_proxy", raising=False)
    if kept:
        monkeypatch.setenv("no_proxy", kept)
    page.check_gradio()
    assert os.environ.get("no_proxy") == kept


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "Gradio, which is not installed: pip install"),
        ("import no_such_module", "cannot be imported (No module named 'no_such_mod"),
        ("from os import no_such", "cannot be imported (cannot import name 'no_such'"),
    ],
)
def test_what_is_missing_is_named(tmp_path, content, words):
    """A package of Gradio's name that is broken, before any that is installed."""
    (tmp_path / "gradio").mkdir()
    code = content or "raise ModuleNotFoundError('no module', name='gradio')"
    (tmp_path / "gradio" / "__init__.py").write_text(code)
    path = os.pathsep.join([str(tmp_path), *filter(None, sys.path)])
    done = python(*COMMAND, env=environment(PYTHONPATH=path))
    assert done.returncode == 2 and words in done.stderr
    assert done.stderr.count("\n") == 1
