"""A first stage whose decoder alone is trained: the encoder is another model's, and stays."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from ldmkit.artifacts import check_numbers
from ldmkit.engine.parts import Parts
from ldmkit.engine.stage_state import some, stage_state
from ldmkit.errors import UserError
from ldmkit.recipe import Recipe
from ldmkit.recipe.stages import StageName

CELLS = 4
"""Side of the latent of the picture that tells which weights the posterior reads."""


def keeps_encoder(recipe: Recipe, stage: StageName) -> bool:
    """Whether the recipe trains the decoder alone (`train.compression.only`)."""
    training = recipe.train.compression
    return stage == "compression" and training is not None and training.only == "decoder"


def keep_encoder(system: Parts, tensors: Mapping[str, Tensor], where: str) -> str:
    """Copies the `tensors` that fit into the compression model and freezes the weights that its posterior
    reads; returns a line about what it did.

    UserError where one of these, or a buffer such as the scale, is not among the tensors: the latents
    would be others.
    """
    state, kept = stage_state(system, "compression"), encoder_names(system)
    fitting = {n: t for n, t in tensors.items() if n in state and t.shape == state[n].shape}
    if lacking := sorted(kept - fitting.keys()):
        raise UserError(
            f"{where}: train.compression.only keeps the encoder, and this one is of another shape than the "
            f"recipe's: {some(lacking)}"
        )
    check_numbers({n: t for n, t in fitting.items() if t.is_floating_point()}, where)
    for name, tensor in fitting.items():
        state[name].detach().copy_(tensor)
        state[name].requires_grad_(state[name].requires_grad and name not in kept)
    new = sorted(state.keys() - fitting.keys())
    begun = f"; {len(new)} weights of it begin new ({some(new)})" if new else ""
    return f"starts from {where}; the decoder alone learns{begun}"


def encoder_names(system: Parts) -> set[str]:
    """The names, in the stage's state, of the weights that a posterior depends on, and of buffers."""
    model, module = system.compression, system.get_submodule("compression")
    side = CELLS * model.latent.factor
    image = torch.linspace(-1, 1, 3 * side * side, device=system.device).view(1, 3, side, side)
    named = {n: p for n, p in module.named_parameters() if p.requires_grad}
    was_training = model.training
    module.eval()
    with torch.enable_grad():
        posterior = model.posterior(image.to(model.scale.dtype))
        total = posterior.mode.sum() + posterior.penalty.sum()
        reached = (
            torch.autograd.grad(total, [*named.values()], allow_unused=True) if total.requires_grad else []
        )
    module.train(was_training)
    read = [n for n, gradient in zip(named, reached, strict=False) if gradient is not None]
    return {f"compression.{n}" for n in (*read, *_saved_buffers(module))}


def _saved_buffers(module: nn.Module) -> set[str]:
    return module.state_dict().keys() - dict(module.named_parameters()).keys()
