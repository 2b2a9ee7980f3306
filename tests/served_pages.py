"""What a visitor of the page of `ldmkit serve` does, in a real browser."""

from __future__ import annotations

import io

import PIL.Image
from small_recipes import PIXELS, UNET

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
"""A recipe that reads every kind of field."""


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
