"""From a painted map to its picture, in a browser: seconds on the page with its default settings.

    python benchmarks/painted_map.py semantic2img --pictures 10

Chromium paints a stroke over an example and presses "Draw"; the clock stops when the finished picture is
decoded in the page. The sampling alone is timed in between, in a thread as the page's is. Needs Chromium and
playwright.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import torch

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"

from ldmkit_serve.app import launch
from ldmkit_serve.painter import read_map
from playwright.sync_api import Page, sync_playwright

import ldmkit

OPTIONS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
PAINTER = "#paint-segmentation canvas"
WATCH = """(name) => { window.seen = 0; const begun = performance.now(); let at = "";
  new MutationObserver((_, observer) => {
    const picture = document.querySelector("#picture img");
    if (!picture || picture.src === at || !picture.src.includes(name)) return;
    at = picture.src;
    picture.decode().then(() => { window.seen = performance.now() - begun; observer.disconnect(); });
  }).observe(document.body, { subtree: true, childList: true, attributes: true });
  document.querySelector("#draw").click(); }"""


def painted(page: Page, stroke: int) -> str:
    """Paints a stroke of another class over the map; what the painter hands over."""
    page.locator("#paint-segmentation .palette button").nth(1 + stroke % 4).click()
    box = page.locator(PAINTER).bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] * 0.3, box["y"] + box["height"] * (0.2 + 0.05 * stroke))
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.7, box["y"] + box["height"] * 0.5, steps=4)
    page.mouse.up()
    return str(page.evaluate("window.painters['paint-segmentation']()"))


def seen(page: Page, file: str) -> float:
    """Seconds from the press of the button until the finished picture of that name is decoded."""
    page.evaluate(WATCH, file)
    page.wait_for_function("window.seen > 0", timeout=120_000)
    return float(page.evaluate("window.seen")) / 1000


def alone(system: ldmkit.System, text: str) -> tuple[float, float]:
    """Seconds, by the clock and of the processor, of the sampling of a painted map."""
    labels = torch.from_numpy(read_map(text, 256).astype("int64"))
    thread = threading.Thread(target=lambda: system.sample(fields={"segmentation": [labels]}))
    clock, processor = time.perf_counter(), time.process_time()
    thread.start()
    thread.join()
    return time.perf_counter() - clock, time.process_time() - processor


def measure(recipe: str, pictures: int, out: Path) -> list[tuple[float, float, float]]:
    """(page, sampling alone, its processor time) of each picture, in seconds."""
    system = ldmkit.build(recipe)
    served = launch(system, out, host="127.0.0.1", port=0, share=False, queue=4, block=False)
    rows = []
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=OPTIONS)
        page = browser.new_page(viewport={"width": 1300, "height": 1400})
        page.goto(str(served.local_url))
        page.wait_for_selector(PAINTER)
        page.click("#example")
        page.wait_for_function("window.painters['paint-segmentation']()")
        for i in range(pictures):
            text = painted(page, i)
            rows.append((seen(page, f"{i:05d}-"), *alone(system, text)))
            print(
                "page {:.2f} s, sampling alone {:.2f} s, of the processor {:.2f} s".format(*rows[-1]),
                flush=True,
            )
        browser.close()
    served.close()
    return rows


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints each picture's seconds, and their median and range without the first."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recipe")
    parser.add_argument("--pictures", type=int, default=10)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as out:
        rows = measure(options.recipe, options.pictures, Path(out))
    for name, column in zip(("page", "sampling", "processor"), zip(*rows, strict=True), strict=True):
        first, *rest = column
        middle = statistics.median(rest)
        print(f"{name}: first {first:.2f} s, then {middle:.2f} s ({min(rest):.2f} to {max(rest):.2f})")
    print(f"{torch.get_num_threads()} threads")


if __name__ == "__main__":
    main()
