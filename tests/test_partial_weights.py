"""A weights file that leaves to a neighbour's what both have."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor

from ldmkit.checkpoint.files import read_safetensors, write_tensors
from ldmkit.checkpoint.partial import REST, read_whole, write_partial
from ldmkit.errors import UserError

SHARED = {"encoder": torch.arange(4.0), "scale": torch.tensor(2.0)}
WHOLE: dict[str, Tensor] = {**SHARED, "decoder": torch.ones(3)}


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """The partial file and its neighbour, whose decoder is another and who has more."""
    neighbour, partial = tmp_path / "first" / "stage.safetensors", tmp_path / "light" / "stage.safetensors"
    for path in (neighbour, partial):
        path.parent.mkdir()
    write_tensors(neighbour, {**SHARED, "decoder": torch.zeros(5), "more": torch.ones(1)})
    write_partial(partial, WHOLE, neighbour)
    return partial, neighbour


def test_each_tensor_is_kept_once(files: tuple[Path, Path]) -> None:
    partial, _ = files
    assert read_safetensors(partial).keys() == {"decoder"}
    whole = read_whole(partial)
    assert whole.keys() == WHOLE.keys()
    assert all(torch.equal(whole[name], tensor) for name, tensor in WHOLE.items())


def test_another_file_in_the_neighbours_place_is_refused(files: tuple[Path, Path]) -> None:
    partial, neighbour = files
    write_tensors(neighbour, {"encoder": torch.zeros(4), "scale": torch.tensor(2.0)})
    with pytest.raises(UserError, match="is not the file that the rest of its weights is in"):
        read_whole(partial)
    neighbour.unlink()
    with pytest.raises(UserError, match="is not the file"):
        read_whole(partial)


@pytest.mark.parametrize("file", ["/etc/passwd", "../stage.safetensors", "a/b/stage.safetensors", "x"])
def test_it_leads_nowhere_else(files: tuple[Path, Path], file: str) -> None:
    partial, _ = files
    write_tensors(partial, {}, {REST: json.dumps({"file": file, "sha256": "", "tensors": []})})
    with pytest.raises(UserError, match="in no folder beside its own"):
        read_whole(partial)


@pytest.mark.parametrize("said", ["", "{}", "[1]", "[" * 100_000, '{"file": 3, "sha256": 0, "tensors": 1}'])
def test_what_cannot_be_read_is_one_line(files: tuple[Path, Path], said: str) -> None:
    partial, _ = files
    write_tensors(partial, {}, {REST: said})
    with pytest.raises(UserError, match="what it says of the rest of its weights cannot be read"):
        read_whole(partial)
