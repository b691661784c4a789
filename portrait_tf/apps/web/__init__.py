"""The page: open a photo, point at what is missing, look, download.

Modules, each using only those before it:
    `examples`: synthetic people to try it with.
    `pictures`: previews and paintings, between arrays and what a browser sends.
    `sessions`: what is kept of a visitor, and how it is put away.
    `actions`: what the buttons do; no Gradio in it.
    `layout`: the page itself, on Gradio (extra `web`).
    `page`: serves it; says so where Gradio is missing.

The browser paints on a preview of at most `pictures.PREVIEW_SIDE` pixels with a plain
canvas (`static/`), which needs no WebGL, goes by keyboard and by touch, and sends exact
masks; the photo itself stays on the server as its file had it, so that what one
downloads is what the command line writes.
"""
