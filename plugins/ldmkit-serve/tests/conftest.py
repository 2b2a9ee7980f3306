"""The page of a small system, a browser, and a visitor who has the page open."""

from __future__ import annotations

import os
import shutil

import pytest
from served_pages import RECIPE

import ldmkit

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
OPTIONS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    return tmp_path_factory.mktemp("served")


@pytest.fixture(scope="module")
def address(out):
    """The page of a system that reads every kind of field; its weights are random, its pictures noise."""
    pytest.importorskip("gradio")
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    from ldmkit_serve.app import launch

    with pytest.warns(UserWarning, match="no weights"):
        system = ldmkit.build(RECIPE)
    page = launch(system, out, host="127.0.0.1", port=0, share=False, queue=4, block=False)
    yield page.local_url
    page.close()


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api")
    if CHROMIUM is None:
        pytest.skip("needs Chromium")
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser, address):
    """A visitor with the page open; requests to anywhere else fail the test."""
    context = browser.new_context(viewport={"width": 1300, "height": 2400})
    context.set_default_timeout(90_000)  # a busy machine is no fault of the page
    visitor = context.new_page()
    asked = []
    visitor.on("request", lambda request: asked.append(request.url))
    visitor.goto(address)
    visitor.wait_for_selector("#paint-segmentation canvas")
    yield visitor
    assert [url for url in asked if not url.startswith((address.rstrip("/"), "data:", "blob:"))] == []
    context.close()
