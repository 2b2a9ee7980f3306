"""The page in a real browser: every kind of control, presses, pictures that wait."""

from __future__ import annotations

import json
import threading
import time

import numpy as np
import PIL.Image
import pytest
from ldmkit_serve.drawing import Step
from ldmkit_serve.painter import read_boxes, read_map
from served_pages import RECIPE, drag, draw, fill_in, newest, painted

import ldmkit
from ldmkit.pictures.png import read_about


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
