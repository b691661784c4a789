"""Serves the page while it is wanted."""

import contextlib
import os
import pathlib
import socket
import tempfile
import threading
from collections.abc import Iterator

import numpy as np

from portrait_tf.apps.web.actions import Limits
from portrait_tf.apps.web.sessions import SWEEP_SECONDS, Sessions
from portrait_tf.errors import PortraitError
from portrait_tf.inference.large_photos import frame_of
from portrait_tf.portrait import Portrait


@contextlib.contextmanager
def _without_proxy() -> Iterator[None]:
    """No proxy for Gradio, which asks none but its own server whether it runs.

    It makes HTTP clients when it is imported and when it is started; they would go
    through the user's `http_proxy`, or fail on a proxy of a kind that they do not know.
    """
    kept = os.environ.get("no_proxy")
    os.environ["no_proxy"] = "*"
    try:
        yield
    finally:
        if kept is None:
            del os.environ["no_proxy"]
        else:
            os.environ["no_proxy"] = kept


def check_gradio() -> None:
    """Raises PortraitError: the extra `web` is not installed, or not whole."""
    # Before its import, as it asks for news of itself then.
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    try:
        with _without_proxy():
            import gradio  # noqa: F401
    except ImportError as error:
        missing = "is not installed"
        if error.name != "gradio":
            missing = f"cannot be imported ({error})"
        raise PortraitError(
            f"the page needs Gradio, which {missing}: pip install 'portrait-tf[web]'"
        ) from None


def warm_up(portrait: Portrait) -> None:
    """Loads networks and detail before the first visitor would wait for them."""
    height, width = frame_of(portrait.engine)
    # A flat photo would be given no detail.
    photo = np.random.default_rng(0).integers(
        0, 256, (2 * height, 2 * width, 3), np.uint8
    )
    mask = np.zeros(photo.shape[:2], np.uint8)
    mask[height:, :width] = 1
    portrait.complete(photo, mask)


@contextlib.contextmanager
def running_page(
    portrait: Portrait,
    host: str = "127.0.0.1",
    port: int = 7860,
    limits: Limits | None = None,
) -> Iterator[str]:
    """Serves the page while the context is open; gives its address.

    All files are in one temporary folder, which is removed in the end; a visitor's are
    removed when the tab is closed.

    Args:
        portrait: What completes.
        host: The address to listen on; 127.0.0.1 lets nobody else in.
        port: To listen on; 0 for any that is free.
        limits: What visitors may send.

    Raises:
        PortraitError: Gradio is missing, or the port is taken.
    """
    check_gradio()
    limits = limits or Limits()
    with tempfile.TemporaryDirectory(prefix="portrait-tf-web-") as folder:
        os.environ["GRADIO_TEMP_DIR"] = folder
        sessions = Sessions(pathlib.Path(folder))
        from portrait_tf.apps.web.layout import build_page

        blocks = build_page(portrait, sessions, limits)
        stopped = threading.Event()

        def sweep() -> None:
            while not stopped.wait(SWEEP_SECONDS):
                sessions.sweep()

        try:
            address = _launch(blocks, host, port, limits)
            threading.Thread(target=sweep, daemon=True).start()
            yield address
        finally:
            stopped.set()
            blocks.close(verbose=False)
            del os.environ["GRADIO_TEMP_DIR"]


@_without_proxy()
def _launch(blocks: object, host: str, port: int, limits: Limits) -> str:
    from portrait_tf.apps.web.layout import page_theme, read_static

    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.create_server((host, port), family=family) as probe:
            port = probe.getsockname()[1]
        _, address, _ = blocks.launch(
            server_name=f"[{host}]" if ":" in host else host,
            server_port=port,
            theme=page_theme(),
            css=read_static("page.css"),
            max_file_size=limits.bytes,
            # Nothing of a visitor is recorded, and nothing leaves this machine.
            share=False,
            run_history=False,
            enable_monitoring=False,
            footer_links=[],
            prevent_thread_lock=True,
            quiet=True,
            inbrowser=False,
            ssr_mode=False,
            pwa=False,
            mcp_server=False,
            # Of our own bugs, visitors need not see more than that.
            show_error=False,
        )
    except OSError as error:
        raise PortraitError(f"cannot listen on {host}:{port}: {error}") from None
    return address
