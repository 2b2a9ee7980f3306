"""`sample.decoder`: another compression model whose decoder paints sampled latents."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import torch
from torch import nn

from ldmkit.engine.components import build
from ldmkit.engine.parts import Parts
from ldmkit.engine.stage_state import load_stage
from ldmkit.engine.weights import named_file
from ldmkit.errors import UserError
from ldmkit.host.registry import Registry
from ldmkit.interfaces import CompressionModel
from ldmkit.recipe import Recipe, load, resolve
from ldmkit.recipe.kept import RECIPE
from ldmkit.recipe.names import nothing

CELLS = 8
"""Side of the latent of the picture by which two latent spaces are compared."""
NEAR = 0.01
"""How far, relative to its norm, the latent of the same picture may be by weights in half precision."""


def give_decoder(system: Parts) -> None:
    """Gives the system the decoder that its recipe names in `sample.decoder`, with its weights.

    Raises UserError where there are no weights of a first stage, where no recipe beside them says what model
    they are of, and where its latents are not those of the system's compression model.
    """
    path = decoder_file(system.recipe, system.registry)
    if path is not None:
        model = _opened(system, path).to(system.device, system.compression.scale.dtype).eval()
        system.decoder = cast(CompressionModel, model)
        _check_latents(system, path)


def decoder_file(recipe: Recipe, registry: Registry) -> Path | None:
    """The weights that `sample.decoder` names; None where it names none. UserError as `give_decoder`."""
    named = recipe.sample.decoder
    if named is None:
        return None
    try:
        path = named_file(named, recipe, registry, "compression")
    except UserError as error:
        raise UserError(f"sample.decoder: {str(error).removeprefix('weights: ')}") from error
    if path is None:
        raise UserError("sample.decoder: there is no compression.safetensors; name a model that has one")
    if not path.with_name(RECIPE).is_file():
        raise UserError(f"sample.decoder: no {RECIPE} beside {path} says what model it is of")
    return path


def _opened(system: Parts, path: Path) -> nn.Module:
    recipe = resolve(load(path.with_name(RECIPE), (), system.registry), system.registry, tell=nothing)
    model: nn.Module = build(system.registry, "compression", recipe.compression)
    load_stage(nn.ModuleDict({"compression": model}), "compression", path)
    return model


@torch.no_grad()
def _check_latents(system: Parts, path: Path) -> None:
    """UserError where one picture has another latent by the decoder's own encoder."""
    own, other = system.compression, system.painter
    if own.latent != other.latent:
        raise UserError(f"sample.decoder: {path} is of {_space(other)}; this recipe's are of {_space(own)}")
    side = CELLS * own.latent.factor
    image = torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(0)) * 2 - 1
    latents = [model.encode(system.like_weights(image)) for model in (own, other)]
    off = float((latents[1] - latents[0]).norm() / latents[0].norm())
    if off > NEAR:
        raise UserError(
            f"sample.decoder: {path} is of other latents than this recipe's: those of one picture differ by "
            f"{off:.0%}"
        )


def _space(model: CompressionModel) -> str:
    return f"latents of {model.latent.channels} channels at 1/{model.latent.factor} of the size"
