"""The page in a real browser: every kind of control, hostile files, two visitors at once."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from ldmkit_serve.drawing import Step
from ldmkit_serve.painter import read_boxes, read_map
from small_recipes import PIXELS, UNET

import ldmkit
from ldmkit.pictures.png import read_about, save_picture

gradio = pytest.importorskip("gradio")
playwright = pytest.importorskip("playwright.sync_api")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
OPTIONS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
RECIPE = {**PIXELS,
"name": "everything",
"conditioners": {
        "caption": {"name": "text-transformer", "width": 32, "layers": 1, "length": 8},
        "label": {"name": "class-embedding", "classes": 4, "width": 32},
        "layout": {"name": "text-transformer", "field": "layout", "tokenizer": "boxes", "width": 32,
                   "layers": 1, "length": 11, "vocabulary": 66},
        "map": {"name": "spatial-rescaler", "classes": 3, "channels": 3, "stages": 0},
        "hole": {"name": "masked-image"},
        "small": {"name": "low-res", "field": "low_res", "factor": 1},
    },
"denoiser": {**UNET, "attention": [1], "heads": 2},
"objective": {"name": "v"},
"sampler": {"name": "ddim", "steps": 4},
"sample": {"size": [32, 32], "prompts": ["a red fox", "빨간 여우"]},}  # fmt: skip


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    return tmp_path_factory.mktemp("served")


@pytest.fixture(scope="module")
def address(out):
    """The page of a system that reads every kind of field; its weights are random, its pictures noise."""
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    from ldmkit_serve.app import launch

    with pytest.warns(UserWarning, match="no weights"):
        system = ldmkit.build(RECIPE)
    page = launch(system, out, host="127.0.0.1", port=0, share=False, queue=4, block=False)
    yield page.local_url
    page.close()


@pytest.fixture(scope="module")
def browser():
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


def png(colour, size=(32, 32)):
    stream = io.BytesIO()
    PIL.Image.new("RGB", size, colour).save(stream, "PNG")
    return {"name": "picture.png", "mimeType": "image/png", "buffer": stream.getvalue()}


def drag(page, canvas, start, end):
    page.locator(canvas).hover()  # which waits until the page stands still
    box = page.locator(canvas).bounding_box()
    points = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in (start, end)]
    page.mouse.move(*points[0])
    page.mouse.down()
    page.mouse.move(*points[1], steps=4)
    page.mouse.up()
    field = canvas.split()[0].removeprefix("#paint-")
    page.wait_for_function(f"window.painters['paint-{field}']()")


def painted(page, field):
    """What the painter would hand to the server."""
    return page.evaluate(f"window.painters['paint-{field}']()")


def fill_in(page, colour="red"):
    """Everything that the recipe reads."""
    drag(page, "#paint-segmentation canvas", (0.2, 0.2), (0.8, 0.8))
    drag(page, "#paint-layout canvas", (0.25, 0.25), (0.75, 0.5))
    for upload in page.locator("input[type=file][accept*='image']").all()[:2]:
        upload.set_input_files(png(colour))
    page.wait_for_function("document.querySelectorAll('img[src*=\"/file=\"]').length >= 2", timeout=60_000)
    page.wait_for_function("window.backgrounds['paint-mask']()", timeout=60_000)
    drag(page, "#paint-mask canvas", (0.4, 0.4), (0.6, 0.6))


def draw(page):
    page.click("#draw")
    page.wait_for_selector("#history img, .toast-body", timeout=60_000)
    assert page.locator(".toast-body").all_inner_texts() == []


def newest(out):
    return max(out.glob("*.png"), key=lambda path: path.stat().st_mtime_ns)


def test_a_picture_is_drawn_from_every_kind_of_control_and_tells_its_settings(page, out):
    page.get_by_label("caption").first.fill("a blue fox")
    fill_in(page)
    draw(page)
    about = read_about(newest(out))
    assert about["prompt"] == "a blue fox"
    assert json.loads(about["inputs"])["label"] == 0
    assert about["steps"] == "4"
    history, shown = (page.locator(place).bounding_box() for place in ("#history", "#history img"))
    assert shown["height"] < history["height"]  # the whole picture is seen


def test_a_class_is_painted_filled_and_taken_back(page):
    page.locator("#paint-segmentation .palette button").nth(2).click()
    page.locator("#paint-segmentation .fill").click()
    page.locator("#paint-segmentation canvas").click()
    assert (read_map(painted(page, "segmentation"), 3) == 2).all()
    page.locator("#paint-segmentation .brush").click()
    page.locator("#paint-segmentation .palette button").nth(1).click()
    drag(page, "#paint-segmentation canvas", (0.5, 0.5), (0.5, 0.5))
    labels = read_map(painted(page, "segmentation"), 3)
    assert labels[16, 16] == 1
    assert labels[0, 0] == 2
    page.locator("#paint-segmentation .undo").click()
    assert (read_map(painted(page, "segmentation"), 3) == 2).all()


def test_a_map_is_widened_by_its_mirror_image(page):
    page.locator("#paint-segmentation .palette button").nth(1).click()
    drag(page, "#paint-segmentation canvas", (0.1, 0.5), (0.2, 0.5))
    before = read_map(painted(page, "segmentation"), 3)
    page.locator("#paint-segmentation .widen").click()
    after = read_map(painted(page, "segmentation"), 3)
    assert (after == np.concatenate([before, before[:, ::-1]], 1)).all()


def test_a_box_is_drawn_where_the_mouse_goes(page):
    drag(page, "#paint-layout canvas", (0.25, 0.5), (0.75, 0.75))
    ((_, *box),) = read_boxes(painted(page, "layout"), 16)
    assert box == pytest.approx([0.25, 0.5, 0.5, 0.25], abs=0.02)


def test_what_is_missing_is_told_on_the_page(page, out):
    before = len(list(out.glob("*.png")))
    page.click("#draw")
    page.wait_for_selector(".toast-body", timeout=20_000)
    assert "paint" in page.locator(".toast-body").inner_text()
    assert len(list(out.glob("*.png"))) == before


def test_a_seed_out_of_range_is_told_in_words_and_covers_nothing(page):
    fill_in(page)
    page.get_by_role("button", name="Settings").click()  # some time before a value is written into them
    draw(page)
    page.get_by_label("seed").first.fill("-5")
    page.keyboard.press("Tab")
    page.click("#draw")
    page.wait_for_function("document.querySelector('#words').innerText.includes('seeds go from 0')")
    assert "Error" not in page.locator("#picture").inner_text()
    assert page.locator("#history img").count() == 1


def test_a_press_before_a_picture_has_quite_ended_draws_the_next(page, monkeypatch):
    from ldmkit_serve import answering

    seen, quick = threading.Event(), answering.draw

    def lingering(*given):
        """A drawing that ends only after its picture has been seen."""
        yield from quick(*given)
        seen.wait(60)

    monkeypatch.setattr(answering, "draw", lingering)
    fill_in(page)
    draw(page)
    page.click("#draw")
    seen.set()
    page.wait_for_function("document.querySelectorAll('#history img').length == 2")


def slow(*_):
    """A drawing that takes too long for anybody."""
    for step in range(10_000):
        time.sleep(0.05)
        yield Step(step / 10_000, None)


def test_a_picture_that_forms_or_waits_is_cancelled_and_the_next_is_drawn(
    page, browser, address, monkeypatch
):
    from ldmkit_serve import answering

    other = browser.new_context(viewport={"width": 1300, "height": 2400}).new_page()
    other.goto(address)
    said = "document.querySelector('#words').innerText.includes({!r})"
    with monkeypatch.context() as patched:
        patched.setattr(answering, "draw", slow)
        for visitor in (page, other):
            fill_in(visitor)
            visitor.click("#draw")
        page.wait_for_function(said.format("%"))
        other.click("#cancel")
        page.click("#cancel")
        for visitor in (page, other):
            visitor.wait_for_function(said.format("cancelled"))
            assert "Error" not in visitor.locator("#picture").inner_text()
    draw(page)
    assert "cancelled" not in page.locator("#words").inner_text()
    assert other.locator("#history img").count() == 0
    other.context.close()


def drop(page, written):
    upload = page.locator("input[type=file][accept*='.png']").last
    upload.set_input_files({"name": "ours.png", "mimeType": "image/png", "buffer": written})
    page.wait_for_function("document.querySelector('#words').innerText.includes('settings taken')")


def test_a_picture_that_is_dropped_brings_everything_back_to_another_visitor(page, browser, address, out):
    page.get_by_label("caption").first.fill("a purple bear")
    page.locator("#paint-segmentation .palette button").nth(2).click()
    fill_in(page, "green")
    fields = ("segmentation", "layout", "mask")
    drawn_from = {field: json.loads(painted(page, field)) for field in fields}
    draw(page)
    written = newest(out)
    other = browser.new_context(viewport={"width": 1300, "height": 2400}).new_page()
    other.goto(address)
    other.wait_for_selector("#paint-segmentation canvas")
    drop(other, written.read_bytes())
    for field in fields:
        other.wait_for_function(f"window.painters['paint-{field}']()")
        assert json.loads(painted(other, field)) == drawn_from[field]
    other.wait_for_function("window.backgrounds['paint-mask']()")
    draw(other)
    again = newest(out)
    assert again != written
    assert np.array_equal(*(np.asarray(PIL.Image.open(path)) for path in (written, again)))
    assert read_about(again) == read_about(written)
    other.context.close()


def test_what_a_dropped_picture_does_not_hold_is_told_and_no_path_in_it_is_opened(page, tmp_path):
    secret = tmp_path / "secret.png"
    PIL.Image.new("L", (32, 32), 1).save(secret)
    record = {"file": str(secret), "sha256": hashlib.sha256(secret.read_bytes()).hexdigest()}
    about = {"prompt": "a yellow cat", "inputs": json.dumps({"segmentation": record, "layout": [[99, 0]]})}
    save_picture(PIL.Image.new("RGB", (8, 8)), tmp_path / "theirs.png", about)
    drop(page, (tmp_path / "theirs.png").read_bytes())
    assert "segmentation: its file is not among those" in page.locator("#words").inner_text()
    assert "layout: a box is (class" in page.locator("#words").inner_text()
    assert page.get_by_label("caption").first.input_value() == "a yellow cat"
    assert not painted(page, "segmentation")


def test_a_hostile_file_is_refused_in_words(page):
    upload = page.locator("input[type=file][accept*='.png']").last
    upload.set_input_files({"name": "x.png", "mimeType": "image/png", "buffer": b"<script>alert(1)</script>"})
    page.wait_for_selector(".toast-body", timeout=20_000)
    assert "not a picture of ours" in page.locator(".toast-body").inner_text()


def test_files_outside_of_the_pages_own_folder_cannot_be_read(address):
    for path in ("/etc/passwd", str(Path(__file__).resolve()), str(Path("pyproject.toml").resolve())):
        with pytest.raises(urllib.error.HTTPError) as error:
            urllib.request.urlopen(f"{address}gradio_api/file={path}")
        assert error.value.code in (403, 404)


def test_two_visitors_draw_at_once_and_see_their_own_pictures(browser, address, out):
    visitors = [browser.new_context(viewport={"width": 1300, "height": 2400}).new_page() for _ in range(2)]
    for visitor, words in zip(visitors, ("first words", "second words"), strict=True):
        visitor.goto(address)
        visitor.wait_for_selector("#paint-segmentation canvas")
        visitor.get_by_label("caption").first.fill(words)
        fill_in(visitor)
    for visitor in visitors:
        visitor.click("#draw")
    for visitor, words in zip(visitors, ("first words", "second words"), strict=True):
        visitor.wait_for_selector("#history img", timeout=60_000)
        visitor.wait_for_function(f"document.querySelector('#words').innerText.includes('{words}')")
    prompts = {read_about(path).get("prompt") for path in out.glob("*.png")}
    assert {"first words", "second words"} <= prompts
    for visitor in visitors:
        visitor.context.close()


def test_an_example_of_the_data_is_filled_in_and_waiting_for_it_is_told(browser, tmp_path, monkeypatch):
    from ldmkit_serve import app

    for i in range(40):
        PIL.Image.new("RGB", (16, 16), (6 * i, 0, 0)).save(tmp_path / f"{i}.png")
        (tmp_path / f"{i}.txt").write_text(f"red {i}")
    read, find = threading.Event(), app.random_example
    monkeypatch.setattr(app, "random_example", lambda *given: read.wait(60) and find(*given))
    caption = {"caption": RECIPE["conditioners"]["caption"]}
    data = {"name": "image-folder", "path": str(tmp_path), "size": 16}
    with pytest.warns(UserWarning, match="no weights"):
        system = ldmkit.build({**RECIPE, "conditioners": caption, "data": data})
    served = app.launch(system, tmp_path / "out", host="127.0.0.1", port=0, share=False, queue=4, block=False)
    visitor = browser.new_page()
    visitor.goto(served.local_url)
    visitor.click("#example")
    visitor.wait_for_function("document.querySelector('#words').innerText.includes('may take minutes')")
    read.set()
    visitor.wait_for_function("!document.querySelector('#words').innerText")
    assert visitor.get_by_label("caption").first.input_value().startswith("red ")
    visitor.close()
    served.close()
