"""Frozen networks inside components: their weights come with the constructor and are in no checkpoint."""

from __future__ import annotations

from functools import partial
from typing import Any

from torch import nn

__all__ = ["keep_out_of_checkpoints"]


def keep_out_of_checkpoints(module: nn.Module, part: str = "encoder") -> None:
    """Leaves the tensors of a submodule out of the state dict of `module`; loading keeps those there.

    part: the submodule's name below `module`. Call it once, when the constructor has set the submodule.
    """
    module.register_state_dict_post_hook(partial(_leave_out, part))
    module.register_load_state_dict_pre_hook(partial(_fill_in, part))


def _leave_out(part: str, module: nn.Module, state: dict[str, Any], prefix: str, _: Any) -> None:
    for name in [n for n in state if n.startswith(f"{prefix}{part}.")]:
        del state[name]


def _fill_in(part: str, module: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    for name, tensor in module.get_submodule(part).state_dict().items():
        state.setdefault(f"{prefix}{part}.{name}", tensor)
