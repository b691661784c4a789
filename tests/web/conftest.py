"""A page served by the command line, and a Chromium to look at it."""

import importlib.util
import os
import pathlib
import shutil
import subprocess
import sys

import pytest

CHROMIUM = shutil.which("chromium") or "/usr/bin/chromium"
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def _missing() -> list[str]:
    missing = [
        f"{name} (pip install 'portrait-tf[{extra}]')"
        for name, extra in (("gradio", "web"), ("playwright", "dev"))
        if importlib.util.find_spec(name) is None
    ]
    if not pathlib.Path(CHROMIUM).exists():
        missing.append("chromium (Debian's package)")
    return missing


@pytest.fixture(scope="session")
def browser():
    """Debian's Chromium; CI sets a variable so that its absence fails there."""
    if missing := _missing():
        message = f"the page's tests need {', '.join(missing)}"
        if os.environ.get("PORTRAIT_TF_BROWSER_TESTS") == "required":
            pytest.fail(message)
        pytest.skip(message)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=CHROMIUM, args=FLAGS, timeout=300_000
        )
        yield chromium
        chromium.close()


@pytest.fixture(scope="session")
def site(browser, tmp_path_factory):
    """The address of a page with the bundled weights, and its temporary folder."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "portrait_tf", "web", "--port", "0"]
    with open(folder / "stderr", "w") as errors:
        server = subprocess.Popen(
            [*command, "--max-megapixels", "2", "--max-megabytes", "4"],
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env=os.environ | {"TMPDIR": str(folder)},
        )
    try:
        line = server.stdout.readline()
        assert "http://" in line, (folder / "stderr").read_text()
        (root,) = folder.glob("portrait-tf-web-*")
        yield line.split()[4], root
    finally:
        server.terminate()
        server.wait(60)
        server.stdout.close()
    assert not root.exists()


@pytest.fixture
def page(browser, site):
    """The page, wide; it may ask no other machine for anything."""
    yield from _open(browser, site[0], viewport={"width": 1280, "height": 900})


@pytest.fixture
def phone(browser, site):
    """The page on a phone."""
    size = {"width": 390, "height": 844}
    yield from _open(browser, site[0], viewport=size, has_touch=True)


def _open(browser, address, **options):
    context = browser.new_context(accept_downloads=True, **options)
    page = context.new_page()
    page.set_default_timeout(300_000)
    requests, errors = [], []
    page.on("request", lambda request: requests.append(request.url))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(address)
    page.wait_for_selector("#editor .editor")
    page.wait_for_selector("#examples button")
    yield page
    context.close()
    assert not errors
    own = (address, "data:", "blob:")
    assert not [url for url in requests if not url.startswith(own)]
