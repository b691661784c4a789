"""The page, on Gradio: layout, and which button does what."""

import base64
import contextlib
import html
import json
import os
import pathlib
import tempfile
import threading
from collections.abc import Callable, Iterator

import cv2

from portrait_tf.apps.web import actions
from portrait_tf.apps.web.actions import Limits
from portrait_tf.apps.web.examples import example_photos
from portrait_tf.apps.web.sessions import IDLE_SECONDS, Sessions
from portrait_tf.errors import PortraitError
from portrait_tf.labels import BONES, LABELS, PALETTE
from portrait_tf.photos import PhotoFile
from portrait_tf.portrait import Portrait

_STATIC = pathlib.Path(__file__).parent / "static"
_SWEEP_SECONDS = 60
_WAITING = 32
"""Visitors in the queue; more are told to come back."""

_EMPTY = ""


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
        blocks = build_page(portrait, sessions, limits)
        stopped = threading.Event()

        def sweep() -> None:
            while not stopped.wait(_SWEEP_SECONDS):
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
    if not port:
        import socket

        with socket.socket() as probe:
            probe.bind((host, 0))
            port = probe.getsockname()[1]
    try:
        _, address, _ = blocks.launch(
            server_name=host,
            server_port=port,
            theme=_theme(),
            css=(_STATIC / "page.css").read_text(encoding="utf-8"),
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


def _theme() -> object:
    import gradio as gr

    fonts = ["system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif"]
    return gr.themes.Base(
        primary_hue="teal",
        neutral_hue="slate",
        radius_size="md",
        # Names of installed fonts: none is fetched.
        font=[gr.themes.Font(name) for name in fonts],
        font_mono=[gr.themes.Font("ui-monospace"), gr.themes.Font("monospace")],
    ).set(
        body_text_color_subdued="#56657a",
        body_text_color_subdued_dark="#a9b4c4",
        button_primary_background_fill="#0d7d74",
        button_primary_background_fill_hover="#0a655e",
        button_primary_text_color="#ffffff",
        button_primary_background_fill_dark="#0d7d74",
    )


def build_page(portrait: Portrait, sessions: Sessions, limits: Limits) -> object:
    """The page as `gradio.Blocks`, not yet served."""
    import gradio as gr

    with gr.Blocks(
        title="portrait-tf",
        analytics_enabled=False,
        delete_cache=(_SWEEP_SECONDS, IDLE_SECONDS),
    ) as blocks:
        _html(
            gr,
            '<header class="head"><h1>Complete a portrait</h1><p>Paint over what hides '
            "a person, or extend a photo past its border; the networks first see the "
            "whole body, then paint it.</p></header>",
        )
        with gr.Row(elem_id="source-row"):
            upload = gr.UploadButton(
                "Open a photo",
                variant="primary",
                scale=0,
                min_width=150,
                elem_id="open-photo",
            )
            # Gradio's own leaves an empty temporary file beside each upload. That the
            # path is one of an upload was checked before.
            upload._process_single_file = lambda sent: sent.path
            examples = gr.HTML(
                html_template=_examples_html(),
                js_on_load=_EXAMPLES_JS.replace("__MOST_BYTES__", str(limits.bytes)),
                apply_default_css=False,
                elem_id="examples",
            )
        photo_message = _html(gr, _EMPTY, elem_id="photo-message")
        with gr.Row(equal_height=False):
            with gr.Column(scale=6, min_width=320):
                editor = gr.HTML(
                    _EMPTY,
                    html_template=_read("editor.html"),
                    js_on_load=_editor_js(),
                    apply_default_css=False,
                    elem_id="editor",
                )
                with gr.Row():
                    find = gr.Button("Find the body", elem_id="find-body")
                    complete = gr.Button(
                        "Complete", variant="primary", elem_id="complete"
                    )
            with gr.Column(scale=5, min_width=320):
                compare = gr.HTML(
                    _EMPTY,
                    html_template=_read("compare.html"),
                    js_on_load=_read("compare.js"),
                    apply_default_css=False,
                    elem_id="compare",
                )
                work_message = _html(gr, _EMPTY, elem_id="work-message")
                with gr.Row():
                    photo_file = gr.DownloadButton(
                        "Download PNG", visible=False, elem_id="download-photo"
                    )
                    mask_file = gr.DownloadButton(
                        "Download mask", visible=False, elem_id="download-mask"
                    )
        _html(
            gr,
            f'<p class="fine">Photos of at most {limits.megabytes} MB and '
            f"{limits.megapixels:g} megapixels: JPEG, PNG, WebP, TIFF, BMP. Yours is "
            "kept while this tab is open, and nothing of it afterwards.</p>",
        )

        opened = [editor, compare, photo_message, work_message, photo_file, mask_file]
        quiet = {"api_visibility": "private", "show_progress": "minimal"}
        engine = {"concurrency_id": "engine", "concurrency_limit": 1}
        painting = "() => [window.portraitPainting()]"

        def show_photo(key: str, read: Callable[[], PhotoFile]) -> list:
            try:
                session = sessions.open(key, read())
            except PortraitError as error:
                return [*[gr.skip()] * 2, _message(str(error), True), *[gr.skip()] * 3]
            height, width = session.photo.size
            return [
                actions.scene_json(session),
                _EMPTY,
                _message(
                    f"{session.photo.path.name}: {width} x {height} pixels",
                    notes=session.photo.notes,
                ),
                _EMPTY,
                *[gr.update(visible=False, value=None)] * 2,
            ]

        def open_upload(path: str, request: gr.Request) -> list:
            return show_photo(
                request.session_hash, lambda: actions.read_upload(path, limits)
            )

        def open_example(event: gr.EventData, request: gr.Request) -> list:
            photos = example_photos()
            index = int(event.index) % len(photos)
            return show_photo(request.session_hash, lambda: photos[index])

        def refuse(event: gr.EventData) -> str:
            return _message(
                f"{event.name}: expected a file of at most {limits.megabytes} MB, "
                f"received {int(event.size) / 1e6:.1f} MB",
                True,
            )

        def find_body(text: str, request: gr.Request) -> list:
            try:
                session = sessions.get(request.session_hash)
                # In place of an error; what is said of the result stays.
                return [actions.find_body(portrait, session, text), session.message]
            except PortraitError as error:
                return [gr.skip(), _message(str(error), True)]

        def complete_photo(text: str, request: gr.Request) -> list:
            try:
                session = sessions.get(request.session_hash)
                result = actions.complete(portrait, session, text, limits)
            except PortraitError as error:
                return [*[gr.skip()] * 2, _message(str(error), True), *[gr.skip()] * 2]
            height, width = result.size
            session.message = _message(
                f"Done: {width} x {height} pixels.", notes=result.notes
            )
            return [
                result.body or gr.skip(),
                result.pair,
                session.message,
                gr.update(visible=True, value=str(result.photo)),
                gr.update(
                    visible=result.mask is not None,
                    value=str(result.mask) if result.mask else None,
                ),
            ]

        def put_away(request: gr.Request) -> None:
            sessions.close(request.session_hash)

        upload.upload(open_upload, upload, opened, **quiet)
        examples.example(open_example, None, opened, **quiet)
        examples.oversize(refuse, None, photo_message, **quiet)
        find.click(
            find_body, editor, [editor, work_message], js=painting, **quiet, **engine
        )
        complete.click(
            complete_photo,
            editor,
            [editor, compare, work_message, photo_file, mask_file],
            js=painting,
            show_progress_on=[compare],
            **quiet | {"show_progress": "full"},
            **engine,
        )
        blocks.unload(put_away)
    blocks.queue(max_size=_WAITING)
    return blocks


def _html(gr: object, value: str, elem_id: str | None = None) -> object:
    return gr.HTML(value, js_on_load=None, apply_default_css=False, elem_id=elem_id)


def _message(text: str, error: bool = False, notes: list[str] | None = None) -> str:
    """A sentence for the visitor, read out by screen readers; with notes below it."""
    # A sentence; but a file's name stays as it is.
    if "." not in text.split(maxsplit=1)[0]:
        text = text[:1].upper() + text[1:]
    more = "".join(f"<li>{html.escape(note)}</li>" for note in notes or [])
    return (
        f'<div class="message{" error" if error else ""}" '
        f'role="{"alert" if error else "status"}">{html.escape(text)}'
        + (f"<ul>{more}</ul>" if more else "")
        + "</div>"
    )


def _read(name: str) -> str:
    return (_STATIC / name).read_text(encoding="utf-8")


def _editor_js() -> str:
    script = _read("editor.js")
    for name, values in (
        ("__LABELS__", list(LABELS)),
        ("__PALETTE__", PALETTE.tolist()),
        ("__BONES__", [list(bone) for bone in BONES]),
    ):
        script = script.replace(name, json.dumps(values))
    return script


_EXAMPLES_JS = """
element.querySelectorAll("button").forEach((button, index) => {
  button.addEventListener("click", () => trigger("example", { index }));
});
const isPicker = (one) => one.matches && one.matches("#source-row input[type=file]");
document.addEventListener("click", (event) => {
  if (isPicker(event.target)) event.target.accept = "image/*,.heic,.heif,.tif,.tiff";
}, true);
// Before it is sent: a large file takes minutes to be refused.
document.addEventListener("change", (event) => {
  if (!isPicker(event.target) || !event.target.files.length) return;
  const { name, size } = event.target.files[0];
  if (size <= __MOST_BYTES__) return;
  event.stopImmediatePropagation();
  event.target.value = "";
  trigger("oversize", { name, size });
}, true);
"""


def _examples_html() -> str:
    buttons = []
    for number, photo in enumerate(example_photos(), 1):
        small = cv2.resize(photo.rgb(), (86, 129), interpolation=cv2.INTER_AREA)
        content = cv2.imencode(".jpg", cv2.cvtColor(small, cv2.COLOR_RGB2BGR))[1]
        source = f"data:image/jpeg;base64,{base64.b64encode(content).decode()}"
        buttons.append(
            f'<button type="button" aria-label="Example {number}: a synthetic person">'
            f'<img src="{source}" alt=""></button>'
        )
    return (
        '<div class="examples"><span>or an example</span>' + "".join(buttons) + "</div>"
    )
