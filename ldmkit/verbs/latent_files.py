"""Files of latents: each holds "latent" (c h w, scaled, the posterior's mode) and says in its metadata which
compression model made it and how large the picture was, so that no other model decodes it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from ldmkit.checkpoint import files
from ldmkit.engine.system import System
from ldmkit.errors import UserError
from ldmkit.interfaces import CompressionModel
from ldmkit.types import Latent

LATENT = ".safetensors"


@dataclass(frozen=True)
class Maker:
    """The compression model that a latent belongs to: the recipe's name, the sha256 of the weights."""

    recipe: str
    weights: str

    @staticmethod
    def of(system: System) -> Maker:
        """The system's own."""
        state = system.get_submodule("compression").state_dict()
        return Maker(system.recipe.name, files.tensors_digest(state))


def write_latent(path: Path, latent: torch.Tensor, maker: Maker, size: tuple[int, int]) -> None:
    """Writes a latent; size: its picture's (height, width)."""
    about = {"recipe": maker.recipe, "compression": maker.weights}
    sides = {"height": str(size[0]), "width": str(size[1])}
    files.write_tensors(path, {"latent": latent}, {**about, **sides})


def size_of_picture(path: Path, maker: Maker, problems: list[str]) -> tuple[int, int] | None:
    """The size of a latent's picture; None, and a problem noted, where the file is none of ours."""
    try:
        with safe_open(path, "pt") as file:
            about = file.metadata() or {}
        size = (int(about["height"]), int(about["width"]))
        origin = Maker(about["recipe"], about["compression"])
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        problems.append(f"{path}: no latent written by `ldmkit encode` ({type(error).__name__}: {error})")
        return None
    if origin.weights != maker.weights:
        raise UserError(
            f"{path} was made by recipe '{origin.recipe}' with compression weights {origin.weights[:12]}; "
            f"those of '{maker.recipe}' are {maker.weights[:12]}"
        )
    return size


def read_latent(path: Path, model: CompressionModel, size: tuple[int, int]) -> Latent:
    """The latent of a picture of that (height, width), one row; UserError where the file holds none."""
    latent = files.read_safetensors(path).get("latent")
    cells = tuple(-(-side // model.latent.factor) for side in size)
    if latent is None or tuple(latent.shape) != (model.latent.channels, *cells) or min(size) < 1:
        raise UserError(f"{path}: holds no latent of a picture of {size[1]} x {size[0]}")
    return latent[None].float()
