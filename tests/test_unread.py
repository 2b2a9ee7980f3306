"""The end of a caption that no network reads is said, at sampling and before a training."""

from __future__ import annotations

from pathlib import Path

import conditioned
import pytest
from PIL import Image

import ldmkit
from ldmkit.errors import Note

FITS = "a b c d e f"
"""Six word pieces, which the conditioner below reads with a start and an end."""
CAPTION = {"caption": {"name": "text-transformer", "width": 16, "layers": 1, "length": 8, "dropout": 0.1}}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Twenty captioned pictures, five of them with a caption that is too long, and a recipe."""
    (tmp_path / "pictures").mkdir()
    for i in range(20):
        Image.new("RGB", (16, 16), (i, 0, 0)).save(tmp_path / "pictures" / f"{i}.png")
        (tmp_path / "pictures" / f"{i}.txt").write_text(f"{FITS} {i} more" if i % 4 == 0 else FITS)
    monkeypatch.chdir(tmp_path)
    guidance = [{"name": "classifier-free", "scale": 2}]
    conditioned.write(tmp_path, "cut", conditioners=CAPTION, guidance=guidance)
    return tmp_path


def test_captions_of_the_data_that_are_cut_are_counted(place: Path) -> None:
    result = conditioned.call("check", "cut.yaml", "--data")
    assert result.exit_code == 0, result.output
    told = [line for line in result.output.splitlines() if "read" in line]
    assert all("data: caption: only the first 8 tokens are read of 'a b c d e f" in line for line in told[:3])
    assert len(told) == 4
    assert "data: 2 more examples are not read whole" in told[3]


def test_prompts_that_are_cut_are_named(place: Path) -> None:
    made = conditioned.call("run", "cut.yaml", "--prompt", FITS, "--prompt", f"{FITS} g", "--out", "out")
    assert made.exit_code == 0, made.output
    said = f"note: caption: only the first 8 tokens are read of '{FITS} g'"
    assert [line for line in made.stderr.splitlines() if line.startswith("note")] == [said]
    system = ldmkit.build("cut.yaml")
    with pytest.warns(Note, match="read of 'a b c d e f g h'"):
        system.sample([FITS], negative=f"{FITS} g h", count=2, size=(16, 16))


def test_a_prompt_that_is_read_whole_says_nothing(place: Path, recwarn: pytest.WarningsRecorder) -> None:
    conditioned.call("run", "cut.yaml", "--prompt", FITS, "--out", "out")
    ldmkit.build("cut.yaml").sample([FITS], size=(16, 16))
    assert not [w for w in recwarn if issubclass(w.category, Note)]
