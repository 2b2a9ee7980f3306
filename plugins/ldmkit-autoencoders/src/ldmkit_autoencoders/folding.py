"""Scale and shift of each channel as part of the 1x1 convolutions at the latent."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor


def fold(
    tensors: Mapping[str, Tensor], scale: Float[Tensor, " c"], shift: Float[Tensor, " c"]
) -> dict[str, Tensor]:
    """A KL autoencoder's published tensors, with (raw - shift) * scale at the end of the encoder and its
    reverse at the start of the decoder. The posterior is that of the scaled latent."""
    names = [f"{conv}.{kind}" for conv in ("quant_conv", "post_quant_conv") for kind in ("weight", "bias")]
    weight, bias, back, back_bias = (tensors[name].double() for name in names)
    scale, shift = scale.double(), shift.double()
    mean, log_variance = weight.chunk(2)
    mean_bias, log_variance_bias = bias.chunk(2)
    columns = (
        torch.cat([mean * scale.view(-1, 1, 1, 1), log_variance]),
        torch.cat([(mean_bias - shift) * scale, log_variance_bias + 2 * scale.log()]),
        back / scale.view(1, -1, 1, 1),
        back_bias + back[:, :, 0, 0] @ shift,
    )
    folded = {name: x.to(tensors[name].dtype) for name, x in zip(names, columns, strict=True)}
    return {**tensors, **folded}
