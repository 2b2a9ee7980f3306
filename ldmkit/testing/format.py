"""The contract of a published format: call `check_format` from a test of yours."""

from __future__ import annotations

from pathlib import Path

import torch

from ldmkit.engine.opening import build
from ldmkit.engine.system import System
from ldmkit.engine.weights import stage_state, stages_of
from ldmkit.errors import LONGEST, UserError
from ldmkit.interchange import export_model, import_model


def check_format(name: str, system: System, folder: Path, source: str, config: str | None = None) -> None:
    """AssertionError says which promise of `Format` is broken; `name` is a registered one.

    system: a small model that the format holds. folder: an empty one to work in. source and config: of the
    files that the format writes, what `ldmkit import` and its --config are given; "" for their folder.
    """
    out = folder / "out"
    export_model(system, out, name)
    settings = None if config is None else out / config
    again = build(import_model(out / source, folder / "in", settings, None, _nothing, format=name))
    for stage in stages_of(system.recipe):
        ours, theirs = stage_state(system, stage), stage_state(again, stage)
        assert ours.keys() == theirs.keys(), f"{stage}: the same tensors come back"
        for key, tensor in ours.items():
            assert torch.equal(theirs[key], tensor), f"{stage}: {key} comes back bit for bit"
    if source:
        (out / source).write_bytes(b"no model")
        _check_refused(name, out / source, settings, folder / "nothing")


def _check_refused(name: str, source: Path, config: Path | None, out: Path) -> None:
    """What is no model is refused in a line, and nothing is written."""
    message = None
    try:
        import_model(source, out, config, None, _nothing, format=name)
    except UserError as error:
        message = str(error)
    assert message is not None, "read: UserError for a file that is no model"
    assert len(message) <= LONGEST, f"read: a refusal has {LONGEST} characters at most"
    assert not out.exists(), "read: nothing is written of what is refused"


def _nothing(line: str) -> None:
    """Tells nobody."""
