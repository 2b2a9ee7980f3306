"""The docs run: Python blocks in their order, and the output that a page shows is the one that comes."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[1] / "docs"
BLOCK = re.compile(r"^```(python|output)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def pages():
    return sorted(path for path in DOCS.rglob("*.md") if BLOCK.search(path.read_text(encoding="utf-8")))


@pytest.mark.parametrize("page", pages(), ids=lambda path: path.stem)
def test_the_python_of_a_page_runs_and_prints_what_the_page_shows(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names, printed = {"__name__": "page"}, ""
    for kind, text in BLOCK.findall(page.read_text(encoding="utf-8")):
        if kind == "output":
            assert printed == text
            continue
        stream = io.StringIO()
        with contextlib.redirect_stdout(stream):
            exec(compile(text, str(page), "exec"), names)  # our own pages, run as a reader would run them
        printed = stream.getvalue()


@pytest.mark.parametrize("page", sorted(DOCS.rglob("*.md")), ids=lambda path: path.stem)
def test_links_between_pages_and_to_pictures_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        path, _, _ = target.partition("#")
        if path and "://" not in path:
            assert (page.parent / path).exists(), target
