"""The page's layout, on Gradio, and which button does what."""

import html
import json
import pathlib
import types
from collections.abc import Callable
from typing import Any

import gradio as gr

from portrait_tf.apps.web import actions
from portrait_tf.apps.web.actions import Limits
from portrait_tf.apps.web.examples import example_photos
from portrait_tf.apps.web.pictures import shrink
from portrait_tf.apps.web.sessions import IDLE_SECONDS, SWEEP_SECONDS, Sessions
from portrait_tf.errors import PortraitError
from portrait_tf.labels import BONES, JOINTS, LABELS, PALETTE
from portrait_tf.photos import PhotoFile
from portrait_tf.photos.drawing import data_url
from portrait_tf.portrait import Portrait

_STATIC = pathlib.Path(__file__).parent / "static"
_WAITING = 32
"""Visitors in the queue; more are told to come back."""

_EMPTY = ""


def page_theme() -> gr.themes.Base:
    """Colors and fonts that are installed: none is fetched."""
    fonts = ["system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif"]
    return gr.themes.Base(
        primary_hue="teal",
        neutral_hue="slate",
        radius_size="md",
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


def read_static(name: str) -> str:
    """The text of a file beside the code."""
    return (_STATIC / name).read_text(encoding="utf-8")


class _Handlers:
    """What the page's events do, in a visitor's session."""

    def __init__(self, portrait: Portrait, sessions: Sessions, limits: Limits) -> None:
        self.portrait, self.sessions, self.limits = portrait, sessions, limits

    def open_upload(self, path: str, request: gr.Request) -> list:
        return self._show(request, lambda: actions.read_upload(path, self.limits))

    def open_example(self, event: gr.EventData, request: gr.Request) -> list:
        photos = example_photos()
        return self._show(request, lambda: photos[int(event.index) % len(photos)])

    def _show(self, request: gr.Request, read: Callable[[], PhotoFile]) -> list:
        try:
            session = self.sessions.open(request.session_hash, read())
        except PortraitError as error:
            return [*[gr.skip()] * 2, _message(str(error), True), *[gr.skip()] * 4]
        photo = session.photo
        said = f"{photo.path.name}: {photo.size[1]} x {photo.size[0]} pixels"
        return [
            actions.scene_json(session),
            _EMPTY,
            _message(said, notes=photo.notes),
            _EMPTY,
            *[gr.update(visible=False, value=None)] * 2,
            _EMPTY,
        ]

    def refuse(self, event: gr.EventData) -> str:
        return _message(
            f"{event.name}: expected a file of at most {self.limits.megabytes} MB, "
            f"received {int(event.size) / 1e6:.1f} MB",
            True,
        )

    def find_body(self, text: str, request: gr.Request) -> list:
        try:
            session = self.sessions.get(request.session_hash)
            # In place of an error; what is said of the result stays.
            body = actions.find_body(self.portrait, session, text, self.limits)
            return [body, session.message]
        except PortraitError as error:
            return [gr.skip(), _message(str(error), True)]

    def complete(self, text: str, request: gr.Request) -> list:
        return self._answer(text, request, lambda *known: [actions.complete(*known)])

    def candidates(self, text: str, request: gr.Request) -> list:
        return self._answer(text, request, actions.candidates)

    def _answer(self, text: str, request: gr.Request, act: Callable) -> list:
        try:
            session = self.sessions.get(request.session_hash)
            results = act(self.portrait, session, text, self.limits)
        except PortraitError as error:
            failed = _message(str(error), True)
            return [*[gr.skip()] * 3, failed, *[gr.skip()] * 2]
        height, width = results[0].size
        session.message = _message(
            f"Done: {width} x {height} pixels.", notes=results[0].notes
        )
        mask = str(results[0].mask) if results[0].mask else None
        several = _EMPTY
        if len(results) > 1:
            several = json.dumps([json.loads(one.pair)["after"] for one in results])
        return [
            *_shown(results[0]),
            session.message,
            gr.update(visible=mask is not None, value=mask),
            several,
        ]

    def choose(self, event: gr.EventData, request: gr.Request) -> list:
        try:
            session = self.sessions.get(request.session_hash)
        except PortraitError as error:
            return [*[gr.skip()] * 3, _message(str(error), True)]
        return [*_shown(session.results[int(event.index)]), gr.skip()]

    def put_away(self, request: gr.Request) -> None:
        self.sessions.close(request.session_hash)


def _shown(result: actions.Result) -> list:
    """Of an answer: the body, before and after, the file."""
    file = gr.update(visible=True, value=str(result.photo))
    return [result.body or gr.skip(), result.pair, file]


def build_page(portrait: Portrait, sessions: Sessions, limits: Limits) -> gr.Blocks:
    """The page, not yet served."""
    handlers = _Handlers(portrait, sessions, limits)
    with gr.Blocks(
        title="portrait-tf",
        analytics_enabled=False,
        delete_cache=(SWEEP_SECONDS, IDLE_SECONDS),
    ) as blocks:
        page = _lay_out(limits)
        opened = [page.editor, page.compare, page.photo_message, page.work_message]
        opened += [page.photo_file, page.mask_file, page.choices]
        shown = [page.editor, page.compare, page.photo_file]
        quiet = {"api_visibility": "private", "show_progress": "minimal"}
        engine = {"concurrency_id": "engine", "concurrency_limit": 1}
        painting = "() => [window.portraitPainting()]"
        page.upload.upload(handlers.open_upload, page.upload, opened, **quiet)
        page.examples.example(handlers.open_example, None, opened, **quiet)
        page.examples.oversize(handlers.refuse, None, page.photo_message, **quiet)
        page.find.click(
            handlers.find_body,
            page.editor,
            [page.editor, page.work_message],
            js=painting,
            **quiet,
            **engine,
        )
        for button, answer in (
            (page.complete, handlers.complete),
            (page.several, handlers.candidates),
        ):
            button.click(
                answer,
                page.editor,
                [*shown, page.work_message, page.mask_file, page.choices],
                js=painting,
                show_progress_on=[page.compare],
                **quiet | {"show_progress": "full"},
                **engine,
            )
        chosen = [*shown, page.work_message]
        page.choices.choice(handlers.choose, None, chosen, **quiet)
        blocks.unload(handlers.put_away)
    blocks.queue(max_size=_WAITING)
    return blocks


def _lay_out(limits: Limits) -> types.SimpleNamespace:
    """The page's parts, by name; within `gr.Blocks`."""
    page = types.SimpleNamespace()
    _html(read_static("head.html"))
    with gr.Row(elem_id="source-row"):
        page.upload = gr.UploadButton(
            "Open a photo",
            variant="primary",
            scale=0,
            min_width=150,
            elem_id="open-photo",
        )
        # Gradio's own leaves an empty temporary file beside each upload. That the path
        # is one of an upload was checked before.
        page.upload._process_single_file = lambda sent: sent.path
        script = read_static("examples.js")
        page.examples = _html(
            html_template=_examples_html(),
            js_on_load=script.replace("__MOST_BYTES__", str(limits.bytes)),
            elem_id="examples",
        )
    page.photo_message = _html(_EMPTY, elem_id="photo-message")
    with gr.Row(equal_height=False):
        with gr.Column(scale=6, min_width=320):
            page.editor = _html(
                _EMPTY,
                html_template=read_static("editor.html"),
                js_on_load=_editor_js(),
                elem_id="editor",
            )
            with gr.Row():
                page.find = gr.Button("Find the body", elem_id="find-body")
                page.complete = gr.Button(
                    "Complete", variant="primary", elem_id="complete"
                )
                page.several = gr.Button("Four poses", elem_id="several")
        with gr.Column(scale=5, min_width=320):
            _lay_out_results(page)
    _html(
        f'<p class="fine">Photos of at most {limits.megabytes} MB and '
        f"{limits.megapixels:g} megapixels: JPEG, PNG, WebP, TIFF, BMP. Yours is "
        "kept while this tab is open, and nothing of it afterwards.</p>"
    )
    return page


def _lay_out_results(page: types.SimpleNamespace) -> None:
    """The parts that show answers."""
    page.compare = _html(
        _EMPTY,
        html_template=read_static("compare.html"),
        js_on_load=read_static("compare.js"),
        elem_id="compare",
    )
    page.choices = _html(
        _EMPTY,
        html_template='<div class="examples choices"></div>',
        js_on_load=read_static("choices.js"),
        elem_id="choices",
    )
    page.work_message = _html(_EMPTY, elem_id="work-message")
    with gr.Row():
        for kind, label in (("photo", "PNG"), ("mask", "mask")):
            button = gr.DownloadButton(
                f"Download {label}", visible=False, elem_id=f"download-{kind}"
            )
            setattr(page, f"{kind}_file", button)


def _html(*value: str, **options: Any) -> gr.HTML:
    return gr.HTML(*value, **{"js_on_load": None, "apply_default_css": False} | options)


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


def _in_words(joint: str) -> str:
    """`L_Ankle` as `Left ankle`."""
    side = {"L": "Left ", "R": "Right "}
    first, _, rest = joint.rpartition("_")
    return side[first] + rest.lower() if first else rest


def _editor_js() -> str:
    script = read_static("editor.js")
    for name, values in (
        ("__LABELS__", list(LABELS)),
        ("__PALETTE__", PALETTE.tolist()),
        ("__BONES__", [list(bone) for bone in BONES]),
        ("__JOINTS__", [_in_words(name) for name in JOINTS]),
    ):
        script = script.replace(name, json.dumps(values))
    return script


def _examples_html() -> str:
    buttons = "".join(
        f'<button type="button" aria-label="Example {number}: a synthetic person">'
        f'<img src="{data_url(shrink(photo.rgb(), (129, 86)))}" alt=""></button>'
        for number, photo in enumerate(example_photos(), 1)
    )
    return f'<div class="examples"><span>or an example</span>{buttons}</div>'
