"""The diffusion transformer (Peebles and Xie 2023)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from einops import rearrange
from pydantic import PositiveInt
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint as recompute

from ldmkit.types import Condition, ConditionSpec, Latent, LatentSpec, PerPicture, Tokens
from ldmkit_dit.layers import Block, CrossAttention, Memory, Modulation, grid_positions, modulated, waves

TIME_WAVES = 256


class DiT(nn.Module):
    """Diffusion transformer: patches of z_t as tokens, modulated by time and vector (adaLN-zero).

    Input z_t "b c h w" with h and w divisible by the patch, `time` "b", and a merged condition: tokens enter
    by cross-attention in every block, concat channels are joined to z_t as [z_t, concat], a vector is added
    to the time embedding by a linear layer without bias (on one-hot vectors: a class embedding). Output
    "b out_channels h w". Any size: positions are computed from it.

    Raises ValueError where width and heads do not fit each other. Source: Peebles and Xie 2023, section 3.

    Args:
        width: channels of a token, a multiple of 4 and of heads.
        depth: transformer blocks.
        heads: attention heads of every block.
        patch: side of a patch in latent positions.
        checkpoint: compute activations again in the backward pass: less memory, slower.
        closed_frequencies: the time embedding's frequencies end on 1e-4, as those of the Hugging Face
            implementation, and not one step before it, as the paper's.
    """

    def __init__(
        self,
        latent: LatentSpec,
        conditions: ConditionSpec,
        out_channels: int,
        *,
        width: PositiveInt = 384,
        depth: PositiveInt = 12,
        heads: PositiveInt = 6,
        patch: PositiveInt = 2,
        checkpoint: bool = False,
        closed_frequencies: bool = False,
    ) -> None:
        super().__init__()
        if width % heads or width % 4:
            raise ValueError(f"width {width} is not a multiple of 4 and of heads, {heads}")
        self.latent, self.conditions = latent, conditions
        self.width, self.patch, self.checkpoint = width, patch, checkpoint
        self.closed = closed_frequencies
        self.patch_embed = nn.Linear((latent.channels + conditions.concat) * patch**2, width)
        self.time_embed = nn.Sequential(nn.Linear(TIME_WAVES, width), nn.SiLU(), nn.Linear(width, width))
        vector = conditions.vector
        self.vector_embed = nn.Linear(vector, width, bias=False) if vector else None
        self.blocks = nn.ModuleList(Block(width, heads, conditions.tokens) for _ in range(depth))
        self.modulation_out = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, out_channels * patch**2)
        self._initialize()

    def forward(self, z: Latent, time: PerPicture, condition: Condition) -> Latent:
        """The raw output "b out_channels h w"; ValueError where the condition does not fit `conditions`."""
        return self.bind(condition)(z, time)

    def bind(self, condition: Condition) -> Callable[[Latent, PerPicture], Latent]:
        """The network on one condition, whose keys, values and vector embedding are computed here, once."""
        self.conditions.check(condition)
        memory = self._memory(condition)
        vector = None
        if self.vector_embed is not None and condition.vector is not None:
            vector = self.vector_embed(condition.vector)

        def bound(z: Latent, time: PerPicture) -> Latent:
            _check_size(z, self.patch)
            emb = self.time_embed(waves(time, TIME_WAVES, self.closed).to(z))
            emb = F.silu(emb if vector is None else emb + vector)
            joined = z if condition.concat is None else torch.cat([z, condition.concat], 1)
            return self._run(joined, emb, memory)

        return bound

    def _memory(self, condition: Condition) -> Memory:
        """Keys and values of every block."""
        tokens, mask = condition.tokens, condition.mask
        if tokens is None:
            return Memory()
        layers = [layer for layer in self.modules() if isinstance(layer, CrossAttention)]
        keys_values = {layer: layer.keys_values(tokens) for layer in layers}
        return Memory(keys_values, None if mask is None else mask[:, None, None, :])

    def _run(self, z: Latent, emb: Modulation, memory: Memory) -> Latent:
        rows, columns = (n // self.patch for n in z.shape[2:])
        patches = rearrange(z, "b c (i p) (j q) -> b (i j) (c p q)", p=self.patch, q=self.patch)
        x = self.patch_embed(patches) + grid_positions(rows, columns, self.width, z.device).to(z)
        for block in self.blocks:
            x = self._block(block, x, emb, memory)
        shift, scale = self.modulation_out(emb).chunk(2, dim=1)
        out = self.out(modulated(x, shift, scale))
        return rearrange(out, "b (i j) (p q c) -> b c (i p) (j q)", i=rows, p=self.patch, q=self.patch)

    def _block(self, block: nn.Module, x: Tokens, emb: Modulation, memory: Memory) -> Tokens:
        if self.checkpoint and torch.is_grad_enabled():
            return recompute(block, x, emb, memory, use_reentrant=False)
        return block(x, emb, memory)

    def _initialize(self) -> None:
        """As the paper's: Xavier, except that gates, cross-attention and the output start at zero."""
        for layer in self.modules():
            if isinstance(layer, nn.Linear):
                nn.init.xavier_uniform_(layer.weight)
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)
        for name, parameter in self.named_parameters():
            owner = name.removesuffix(".weight")
            if owner in ("time_embed.0", "time_embed.2", "vector_embed"):
                nn.init.normal_(parameter, std=0.02)
            elif owner.endswith(("modulation", "modulation_out", "cross.out")) or owner == "out":
                nn.init.zeros_(parameter)


def _check_size(z: Latent, patch: int) -> None:
    h, w = z.shape[2:]
    if h % patch or w % patch:
        raise ValueError(f"latent size {h}x{w}: patches of {patch} need multiples of {patch}")
