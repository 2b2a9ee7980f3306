"""The page in a real browser: pictures of ours dropped on it, hostile files, two visitors at once."""

from __future__ import annotations

import hashlib
import json
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from served_pages import draw, fill_in, newest, painted

from ldmkit.pictures.png import read_about, save_picture


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
