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
    """Checks that a format writes a system, reads the same tensors back, and refuses a file that is no model
    in one line, without writing anything.

    name: of a registered format. system: a small model that the format can hold. folder: an empty folder to
    work in. source, config: which of the written files `ldmkit import` and its --config are given; "" for the
    folder itself.

    Raises AssertionError naming the promise of `Format` that is broken.
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
