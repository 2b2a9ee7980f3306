"""The latent's scale and shift in formats that hold one scale and no shift."""

from __future__ import annotations

import torch
from torch import Tensor

from ldmkit.engine.system import System
from ldmkit.errors import UserError
from ldmkit.interchange.model import Tensors, save_part


def first_stage_of(system: System, style: str) -> tuple[Tensors, float]:
    """The first stage's published tensors and its one scale.

    A scale and a shift for each channel become part of a KL autoencoder's 1x1 convolutions, which then put
    out and read scaled latents; the scale is 1 then. UserError for VQ: its nearest codes would be others.
    """
    name = system.recipe.compression.name
    tensors = {} if name == "identity" else save_part(system, "compression", style)
    scale, shift = system.compression.scale, system.compression.shift
    if not bool((shift != 0).any()) and not bool((scale != scale[0]).any()):
        return tensors, float(scale[0])
    if name != "kl-autoencoder":
        raise UserError(
            f"compression ({name}): the latent is scaled and shifted by channel, and cannot be held in the "
            f"{style} format: one scale and no shift"
        )
    return tensors | _folded(tensors, scale, shift), 1.0


def _folded(tensors: Tensors, scale: Tensor, shift: Tensor) -> Tensors:
    """(raw - shift) * scale at the end of the encoder, and its reverse at the start of the decoder."""
    names = [f"{conv}.{kind}" for conv in ("quant_conv", "post_quant_conv") for kind in ("weight", "bias")]
    weight, bias, back, back_bias = (tensors[name].double() for name in names)
    scale, shift = scale.double(), shift.double()
    mean, log_variance = weight.chunk(2)
    mean_bias, log_variance_bias = bias.chunk(2)
    made = (
        torch.cat([mean * scale.view(-1, 1, 1, 1), log_variance]),
        torch.cat([(mean_bias - shift) * scale, log_variance_bias + 2 * scale.log()]),
        back / scale.view(1, -1, 1, 1),
        back_bias + back[:, :, 0, 0] @ shift,
    )
    return {name: x.to(tensors[name].dtype) for name, x in zip(names, made, strict=True)}
