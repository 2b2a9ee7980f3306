"""Large pictures are decoded one after another, so that their memory is bounded."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from PIL import Image

from ldmkit.pictures import (
    decode,
)
from ldmkit.pictures.files import _Room


def test_large_pictures_wait_for_each_other(tmp_path, monkeypatch):
    monkeypatch.setattr("ldmkit.pictures.files._room", _Room(3 * 100))
    Image.new("L", (10, 10)).save(tmp_path / "a.png")
    at_once, most, lock = 0, 0, threading.Lock()

    def use(picture):
        nonlocal at_once, most
        with lock:
            at_once += 1
            most = max(most, at_once)
        time.sleep(0.01)
        with lock:
            at_once -= 1

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: decode(tmp_path / "a.png", use), range(24)))
    assert 1 <= most <= 3


PEAK = """
import re, sys
from pathlib import Path
from concurrent.futures import ThreadPoolExecutor
from ldmkit.pictures import decode, files, flatten
files._room = files._Room(1)
copies = lambda picture: len([flatten(picture).convert("L").tobytes() for _ in range(2)])
# Not ru_maxrss, which begins at the peak of the process that started this one.
peak = lambda: int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
before = peak()
for threads in (1, 6):
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(lambda _: decode(sys.argv[1], copies), range(threads)))
    print(peak() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="what is measured is the memory of glibc's threads")
def test_threads_that_decode_one_after_another_hold_one_picture(tmp_path):
    Image.new("RGB", (5000, 4000)).save(tmp_path / "large.png")
    said = subprocess.run(
        [sys.executable, "-c", PEAK, str(tmp_path / "large.png")], check=True, capture_output=True, text=True
    )
    one, six = map(int, said.stdout.split())
    assert 0 < six < 1.5 * one
