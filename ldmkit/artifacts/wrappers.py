"""What code that wrapped a model to train it left in the names of its tensors."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from warnings import warn

from torch import Tensor

from ldmkit.errors import Note

INSIDE = re.compile(r"(_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.?")
"""Modules that `torch.compile`, FSDP and checkpointed activations put between a module and its parts.
Names of averages have no dots."""
AROUND = ("module.", "_forward_module.")
"""Prefixes of every name, by DistributedDataParallel and Lightning."""


def without_wrappers(tensors: Mapping[str, Tensor], path: Path) -> dict[str, Tensor]:
    """The tensors under the names that the model itself gives them; a `Note` says what was left off.

    "module." is left off only where all names begin with it: a model may have a part of that name. Nothing is
    changed where two tensors would get one name.
    """
    own = {name: INSIDE.sub("", name) for name in tensors}
    found = {match[1] for name in tensors for match in [INSIDE.search(name)] if match}
    while own and (prefix := next((p for p in AROUND if all(n.startswith(p) for n in own.values())), None)):
        own = {name: short.removeprefix(prefix) for name, short in own.items()}
        found.add(prefix.rstrip("."))
    if not found or len({*own.values()}) < len(own):
        return dict(tensors)
    line = f"{path}: {', '.join(sorted(found))} of a wrapper is left off the tensors' names"
    warn(Note(line), stacklevel=3)
    return {own[name]: tensor for name, tensor in tensors.items()}
