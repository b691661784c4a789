"""The page in a real Chromium: what a visitor does, and what comes of it."""

import contextlib
import json
import time

import numpy as np
import pytest
from command_line import run
from PIL import Image

from portrait_tf.apps.web import sessions
from portrait_tf.apps.web.examples import example_photos
from portrait_tf.data.synthetic import synthesize
from portrait_tf.photos import open_photo, write_png

pytestmark = pytest.mark.long


def open_example(page, number=1):
    page.click(f"#examples button >> nth={number - 1}")
    page.wait_for_selector('.editor[data-empty="false"]')
    # The canvas has its size from the next frame on.
    page.wait_for_function("document.querySelector('#editor canvas').width > 300")


def open_file(page, path):
    page.set_input_files("#source-row input[type=file]", path)


def choose(page, text):
    page.click(f".modes >> text={text}")


def at(page, across, down):
    """Where a place in the photo, in parts of it, is on the screen."""
    canvas = page.locator("#editor canvas")
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    return box["x"] + across * box["width"], box["y"] + down * box["height"]


def drag(page, start, stop):
    page.mouse.move(*at(page, *start))
    page.mouse.down()
    page.mouse.move(*at(page, *stop), steps=4)
    page.mouse.up()


def wait_for_picture(page, act):
    """What is done leads to a new picture, and, where joints move, to a body before."""
    before = page.locator(".compare").get_attribute("data-turn")
    act()
    page.wait_for_function(
        "before => { const now = document.querySelector('.compare').dataset.turn;"
        " return now && now !== before; }",
        arg=before,
    )


def complete(page):
    wait_for_picture(page, lambda: page.click("#complete"))
    page.wait_for_selector("#download-photo", state="visible")


def download(page, name, folder):
    with page.expect_download() as waiting:
        page.click(f"#download-{name}")
    path = folder / waiting.value.suggested_filename
    waiting.value.save_as(path)
    return path


def painting(page):
    return json.loads(page.evaluate("window.portraitPainting()"))


def message(page, where):
    box = page.locator(f"#{where} .message")
    box.wait_for()
    return box


def test_an_example_is_completed_inside_the_hole_alone(page, tmp_path):
    open_example(page)
    drag(page, (0.4, 0.5), (0.6, 0.65))
    complete(page)
    photo, mask = (download(page, name, tmp_path) for name in ("photo", "mask"))
    assert (photo.name, mask.name) == ("example-1-whole.png", "example-1-mask.png")
    done, hole = open_photo(photo).pixels, open_photo(mask).pixels[..., 0]
    before = example_photos()[0].pixels
    assert 0.005 < np.count_nonzero(hole) / hole.size < 0.2
    assert (done[hole == 0] == before[hole == 0]).all()
    changed = (done[hole > 0] != before[hole > 0]).any(-1)
    assert np.count_nonzero(changed) > 0.5 * changed.size

    path = tmp_path / "photo.png"
    write_png(path, before)
    assert run("complete", path, "--mask", mask, "-o", tmp_path / "whole.png")[0] == 0
    np.testing.assert_array_equal(open_photo(tmp_path / "whole.png").pixels, done)


def test_a_file_is_completed_as_by_the_command_line(page, tmp_path):
    """A photo larger than the preview, with a text chunk: the same bytes."""
    path = tmp_path / "my photo.png"
    pixels = synthesize(5, (1300, 900)).photo
    Image.fromarray(pixels).save(path, dpi=(300, 300))
    open_file(page, path)
    status = message(page, "photo-message")
    assert "900 x 1300 pixels" in status.inner_text()
    page.wait_for_selector('.editor[data-empty="false"]')
    page.wait_for_timeout(300)
    drag(page, (0.3, 0.7), (0.6, 0.7))
    complete(page)
    photo, mask = (download(page, name, tmp_path) for name in ("photo", "mask"))
    assert open_photo(mask).size == (1300, 900)
    assert run("complete", path, "--mask", mask, "-o", tmp_path / "whole.png")[0] == 0
    assert photo.read_bytes() == (tmp_path / "whole.png").read_bytes()


def test_borders_are_extended_by_sliders_and_by_dragging(page, tmp_path):
    open_example(page, 2)
    choose(page, "Extend borders")
    page.locator('[data-side="bottom"]').fill("30")
    page.locator('[data-side="left"]').press("ArrowRight")
    assert painting(page)["margins"] == {
        "top": 0, "bottom": 0.3, "left": 0.01, "right": 0,
    }  # fmt: skip
    page.wait_for_timeout(300)
    size = page.evaluate(
        "[document.querySelector('#editor canvas').width,"
        " document.querySelector('#editor canvas').height]"
    )
    # The frame's right border is 0.22 of the photo's longer side within the canvas.
    right, middle = (size[0] - 0.22 * 600) / size[0], 0.5
    drag(page, (right, middle), (right + 80 / size[0], middle))
    margins = painting(page)["margins"]
    assert margins["right"] == pytest.approx(0.2, abs=0.02)
    assert page.locator('[data-side="right"] + output').inner_text() == (
        f"{round(100 * margins['right'])} %"
    )
    complete(page)
    done = open_photo(download(page, "photo", tmp_path)).pixels
    assert not page.locator("#download-mask").is_visible()
    write_png(tmp_path / "photo.png", example_photos()[1].pixels)
    sides = [
        part
        for side, value in margins.items()
        if value
        for part in (f"--{side}", value)
    ]
    out = tmp_path / "whole.png"
    assert run("extrapolate", tmp_path / "photo.png", *sides, "-o", out)[0] == 0
    np.testing.assert_array_equal(open_photo(out).pixels, done)


def test_the_body_is_shown_and_corrected(page, tmp_path):
    open_example(page)
    drag(page, (0.4, 0.5), (0.6, 0.65))
    complete(page)
    free = open_photo(download(page, "photo", tmp_path)).pixels
    page.click("#find-body")
    page.wait_for_selector('.editor[data-body="2"]')
    assert page.locator(".legend").inner_text().strip()
    shown = page.locator("#editor canvas").screenshot()
    page.uncheck(".show-map")
    page.uncheck(".show-pose")
    page.wait_for_timeout(300)
    assert page.locator("#editor canvas").screenshot() != shown
    page.check(".show-map")
    choose(page, "Correct the body")
    page.select_option(".label", label="Skirt")
    drag(page, (0.4, 0.5), (0.6, 0.65))
    assert painting(page)["own"] and "Skirt" in page.locator(".legend").inner_text()
    complete(page)
    done = open_photo(download(page, "photo", tmp_path)).pixels
    hole = open_photo(download(page, "mask", tmp_path)).pixels[..., 0]
    before = example_photos()[0].pixels
    assert (done[hole == 0] == before[hole == 0]).all()
    assert (done != free).any()
    page.click(".clear")
    assert painting(page)["own"] is None


def joints_of(page):
    return painting(page)["joints"]


def drag_joint(page, name, across, down):
    """By parts of the canvas."""
    handle = page.locator(f'.handles [aria-label="{name}"]').bounding_box()
    canvas = page.locator("#editor canvas").bounding_box()
    x, y = handle["x"] + handle["width"] / 2, handle["y"] + handle["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    x, y = x + across * canvas["width"], y + down * canvas["height"]
    page.mouse.move(x, y, steps=4)
    page.mouse.up()


def test_a_joint_is_dragged_and_the_picture_follows(page, tmp_path):
    """An ankle, by a fifth of the height, in a hole below the knees."""
    open_example(page)
    page.locator(".brush-size").fill("200")
    for _ in range(2):
        drag(page, (0.05, 0.85), (0.95, 0.85))
    complete(page)
    free = open_photo(download(page, "photo", tmp_path)).pixels
    page.click("#find-body")
    page.wait_for_selector('.editor[data-body="2"]')
    choose(page, "Move joints")
    assert joints_of(page) == {}
    wait_for_picture(page, lambda: drag_joint(page, "Left ankle", 0.3, 0))
    (place,) = joints_of(page).values()
    done = open_photo(download(page, "photo", tmp_path)).pixels
    hole = open_photo(download(page, "mask", tmp_path)).pixels[..., 0]
    np.testing.assert_array_equal(done[hole == 0], free[hole == 0])
    # About the new place, which is in the hole, another picture is painted.
    column, row = (round(one) for one in place)
    region = np.zeros(hole.shape, bool)
    region[row - 30 : row + 60, max(0, column - 30) : column + 30] = True
    region &= hole > 0
    changed = np.abs(done.astype(int) - free).max(-1) > 25
    assert region.any() and changed[region].mean() > 0.05
    page.locator('.handles [aria-label="Left ankle"]').focus()
    wait_for_picture(page, lambda: page.keyboard.press("Shift+ArrowLeft"))
    (moved,) = joints_of(page).values()
    assert place[0] - moved[0] == pytest.approx(30, abs=1) and moved[1] == place[1]
    wait_for_picture(page, lambda: page.click(".undo"))
    assert joints_of(page) == {"5": place}
    wait_for_picture(page, lambda: page.click(".clear"))
    assert joints_of(page) == {}
    again = open_photo(download(page, "photo", tmp_path)).pixels
    np.testing.assert_array_equal(again, free)


def test_a_joint_is_dragged_past_the_border(page, tmp_path):
    open_example(page, 2)
    choose(page, "Extend borders")
    page.locator('[data-side="bottom"]').fill("30")
    complete(page)
    free = open_photo(download(page, "photo", tmp_path)).pixels
    page.click("#find-body")
    page.wait_for_selector('.editor[data-body="2"]')
    page.wait_for_timeout(300)
    wait_for_picture(page, lambda: drag_joint(page, "Left ankle", 0.1, 0.1))
    assert joints_of(page)["5"][1] > 600
    done = open_photo(download(page, "photo", tmp_path)).pixels
    np.testing.assert_array_equal(done[:600], example_photos()[1].pixels)
    assert (done[600:] != free[600:]).any(-1).mean() > 0.01


def test_four_poses_are_shown_and_one_is_chosen(page, tmp_path):
    open_example(page)
    page.locator(".brush-size").fill("200")
    drag(page, (0.05, 0.85), (0.95, 0.85))
    page.click("#several")
    page.wait_for_selector(".choices button >> nth=3")
    first = open_photo(download(page, "photo", tmp_path)).pixels
    page.click('.choices [aria-label="Pose 3"]')
    for _ in range(20):
        path = download(page, "photo", tmp_path)
        if path.name.endswith("-3.png"):
            break
        page.wait_for_timeout(500)
    assert path.name == "example-1-whole-3.png"
    assert (open_photo(path).pixels != first).any()
    complete(page)
    assert not page.locator(".choices button").count()


def test_a_pose_of_a_forgotten_photo_cannot_be_chosen(page, site, browser):
    open_example(page)
    drag(page, (0.4, 0.5), (0.6, 0.65))
    page.click("#several")
    page.wait_for_selector(".choices button >> nth=3")
    with contextlib.ExitStack() as others:
        for _ in range(sessions.MOST_SESSIONS):
            other = others.enter_context(browser.new_page())
            other.goto(site[0])
            other.wait_for_selector("#examples button")
            open_example(other)
        page.click('.choices [aria-label="Pose 3"]')
        page.wait_for_selector("#work-message >> text=Please open one", timeout=60_000)


def test_mistakes_get_messages(page, tmp_path):
    page.click("#complete")
    assert "please open one" in message(page, "work-message").inner_text()
    open_example(page)
    page.click("#complete")
    page.wait_for_selector("#work-message >> text=Nothing is painted yet")
    scene = page.locator(".editor").get_attribute("data-scene")
    (tmp_path / "notes.jpg").write_text("no photo")
    (tmp_path / "notes.txt").write_text("no photo either")
    write_png(tmp_path / "vast.png", np.zeros((1500, 1500), np.uint8))
    (tmp_path / "heavy.jpg").write_bytes(bytes(5_000_000))
    for name, said in (
        ("notes.jpg", "cannot decode"),
        ("notes.txt", "cannot decode"),
        ("vast.png", "at most 2 megapixels, received 2.2"),
        ("heavy.jpg", "at most 4 MB, received 5.0 MB"),
    ):
        open_file(page, tmp_path / name)
        page.wait_for_selector(f"#photo-message >> text={name}: expected")
        box = message(page, "photo-message")
        assert said in box.inner_text() and "/" not in box.inner_text()
        assert box.get_attribute("role") == "alert"
    # What was open still is.
    assert page.locator(".editor").get_attribute("data-scene") == scene


def test_undo_eraser_and_clear(page):
    open_example(page)
    empty = painting(page)["hole"]
    drag(page, (0.4, 0.5), (0.6, 0.65))
    one = painting(page)["hole"]
    drag(page, (0.2, 0.2), (0.3, 0.2))
    assert len({empty, one, painting(page)["hole"]}) == 3
    page.click(".undo")
    assert painting(page)["hole"] == one
    page.click(".pair >> text=Eraser")
    page.locator(".brush-size").fill("200")
    drag(page, (0.4, 0.5), (0.6, 0.65))
    assert painting(page)["hole"] == empty
    page.click(".undo")
    page.click(".clear")
    assert painting(page)["hole"] == empty


def test_it_goes_by_keyboard_alone(page):
    """From the top: example, mode, brush, canvas, button, before / after."""

    def tab_to(selector):
        for _ in range(40):
            page.keyboard.press("Tab")
            if page.evaluate("s => document.activeElement.matches(s)", selector):
                return
        raise AssertionError(f"Tab does not reach {selector}")

    tab_to("#examples button")
    page.keyboard.press("Enter")
    page.wait_for_selector('.editor[data-empty="false"]')
    tab_to('[name="mode"]')
    tab_to("#editor canvas")
    empty = painting(page)["hole"]
    page.keyboard.press("Space")
    for _ in range(3):
        page.keyboard.press("Shift+ArrowDown")
    assert painting(page)["hole"] != empty
    tab_to("#complete")
    page.keyboard.press("Enter")
    page.wait_for_selector(".compare[data-turn]")
    tab_to(".compare input")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    assert page.locator(".compare .line").get_attribute("style") == "left: 52%;"


def test_everything_to_touch_has_a_name(page):
    open_example(page)
    nameless = page.evaluate(
        """() => [...document.querySelectorAll('button, input, select, canvas')]
        .filter((one) => one.offsetParent && one.type !== 'file')
        .filter((one) => !(one.getAttribute('aria-label') || one.innerText
                           || (one.labels && [...one.labels].some((l) => l.innerText))))
        .map((one) => one.outerHTML.slice(0, 120))"""
    )
    assert not nameless


def test_it_fits_wide_and_on_a_phone(page, phone, tmp_path):
    """Nothing to scroll sideways; pictures of it in the test's folder."""
    for name, one in (("wide", page), ("phone", phone)):
        open_example(one)
        drag(one, (0.4, 0.5), (0.6, 0.65))
        for mode in ("Extend borders", "Correct the body", "Fill a hole"):
            choose(one, mode)
            one.wait_for_timeout(200)
            width = one.evaluate("document.documentElement.scrollWidth")
            assert width <= one.viewport_size["width"]
            path = tmp_path / f"{name}-{mode.split()[0].lower()}.png"
            one.screenshot(path=path, full_page=True)
            with Image.open(path) as shot:
                assert shot.width == one.viewport_size["width"]


def test_no_file_is_kept_after_the_session(browser, site, tmp_path):
    address, root = site
    context = browser.new_context()
    page = context.new_page()
    page.set_default_timeout(300_000)
    page.goto(address)
    page.wait_for_selector("#examples button")
    path = tmp_path / "photo.png"
    write_png(path, example_photos()[2].pixels)
    open_file(page, path)
    page.wait_for_selector('.editor[data-empty="false"]')
    page.wait_for_timeout(300)
    assert not [one for one in root.rglob("*") if one.is_file()]
    drag(page, (0.4, 0.5), (0.6, 0.65))
    complete(page)
    kept = {one.name for one in root.rglob("*") if one.is_file()}
    assert kept == {"photo-whole.png", "photo-mask.png"}
    context.close()
    limit = time.monotonic() + 120
    while [one for one in root.rglob("*") if one.is_file()]:
        assert time.monotonic() < limit
        time.sleep(0.5)
