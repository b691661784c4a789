"""Takes the picture of docs/web.md: the page with the bundled weights, in Chromium.

python tools/web_screenshot.py docs/web.png
"""

import io
import pathlib
import sys

from PIL import Image
from playwright.sync_api import sync_playwright

from portrait_tf.apps.web.page import running_page
from portrait_tf.files import write_result
from portrait_tf.portrait import Portrait

FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"]


def take(address: str) -> bytes:
    """An example with a painted hole, its body, and the result; PNG."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path="/usr/bin/chromium", args=FLAGS
        )
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.set_default_timeout(300_000)
        page.goto(address)
        page.click("#examples button >> nth=0")
        page.wait_for_selector('.editor[data-empty="false"]')
        page.wait_for_timeout(500)
        box = page.locator("#editor canvas").bounding_box()
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        page.mouse.move(x - 40, y)
        page.mouse.down()
        page.mouse.move(x + 40, y + 60, steps=4)
        page.mouse.up()
        page.click("#complete")
        page.wait_for_selector(".compare[data-turn]")
        page.click("#find-body")
        page.wait_for_selector('.editor[data-body="2"]')
        page.mouse.move(0, 0)
        page.wait_for_timeout(1000)
        shot = page.screenshot(full_page=True)
        browser.close()
    return shot


def small(shot: bytes, most: int = 290_000) -> bytes:
    """In true colors, as large as a file of so many bytes can be."""
    with Image.open(io.BytesIO(shot)) as image:
        picture = image.convert("RGB")
    for percent in range(100, 30, -5):
        size = [round(percent / 100 * side) for side in picture.size]
        file = io.BytesIO()
        picture.resize(size, Image.Resampling.LANCZOS).save(file, "PNG", optimize=True)
        if len(file.getvalue()) <= most:
            break
    return file.getvalue()


if __name__ == "__main__":
    with running_page(Portrait.load(), port=0) as where:
        write_result(pathlib.Path(sys.argv[1]), small(take(where)))
