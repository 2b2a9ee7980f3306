"""A frozen encoder is no part of a checkpoint: the conditioner's constructor brings its weights."""

from __future__ import annotations

from typing import Any

from torch import nn


def keep_out_of_checkpoints(module: Any) -> None:
    """Leaves the tensors of `module.encoder` out of the module's state dict; loading keeps those in place."""
    module.register_state_dict_post_hook(_leave_out)
    module.register_load_state_dict_pre_hook(_fill_in)


def _leave_out(module: nn.Module, state: dict[str, Any], prefix: str, _: Any) -> None:
    for name in [n for n in state if n.startswith(f"{prefix}encoder.")]:
        del state[name]


def _fill_in(module: Any, state: dict[str, Any], prefix: str, *_: Any) -> None:
    for name, tensor in module.encoder.state_dict().items():
        state.setdefault(f"{prefix}encoder.{name}", tensor)
