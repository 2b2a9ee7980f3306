"""The contract of a plugin's registration: call `check_registration` from a test of yours."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

from ldmkit.errors import UserError
from ldmkit.host.parameters import parameters_of
from ldmkit.host.plugins import host
from ldmkit.host.registry import Entry

LOADS_TORCH = """
import sys
from importlib.metadata import distribution
for point in distribution(sys.argv[1]).entry_points:
    if point.group == "ldmkit":
        point.load()
sys.exit("torch" in sys.modules)
"""


def check_registration(distribution: str) -> None:
    """AssertionError lists what is wrong with the entries of an installed distribution.

    Each must be importable, its parameters derivable and documented under "Args:", its summary one line; the
    module of the hook must not import torch.
    """
    loaded = host()
    problems = [b.error for b in loaded.broken if b.distribution == distribution]
    entries = [e for e in loaded.registry if e.distribution == distribution]
    if not entries and not problems:
        problems.append("registers nothing (is it installed?)")
    for entry in entries:
        problems += [f"{entry.kind} '{entry.name}': {said}" for said in _problems(entry)]
    if entries and subprocess.run([sys.executable, "-c", LOADS_TORCH, distribution]).returncode:
        problems.append("its hook's module imports torch: name components by reference")
    assert not problems, f"{distribution}: " + "; ".join(problems)


def _problems(entry: Entry) -> Iterator[str]:
    if not entry.summary.strip() or "\n" in entry.summary:
        yield "its summary is not one line"
    if entry.kind == "weights":  # a file, not a component
        return
    try:
        fields = parameters_of(entry).model.model_fields
    except UserError as error:
        yield str(error)
        return
    silent = [name for name, field in fields.items() if not field.description]
    if silent:
        yield f"its docstring's Args: section says nothing of {', '.join(silent)}"
