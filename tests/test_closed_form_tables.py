"""One call of the benchmark writes its tables into the page of each language."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def test_both_pages_have_the_tables_of_one_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import closed_form  # type: ignore[import-not-found,unused-ignore]

    pages = {
        name: (ROOT / "docs" / name).read_text(encoding="utf-8") for name in ("samplers.md", "samplers.ko.md")
    }
    for name in pages:
        shutil.copy(ROOT / "docs" / name, tmp_path)
    begin, end = closed_form.MARKS
    report = pages["samplers.md"].split(begin)[1].split(end)[0]
    monkeypatch.setattr(closed_form, "report", lambda samples, chart: report)
    monkeypatch.setattr(sys, "argv", ["closed_form.py", "--write", str(tmp_path / "samplers.md")])
    for name in pages:  # other figures stood there before
        path = tmp_path / name
        path.write_text(path.read_text(encoding="utf-8").replace("0.0841", "0.9999"), encoding="utf-8")
    closed_form.main()
    for name, page in pages.items():
        assert (tmp_path / name).read_text(encoding="utf-8") == page
