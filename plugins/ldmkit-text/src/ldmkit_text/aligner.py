"""From the token states of one text encoder to those of another.

So a denoiser that was trained with one encoder can be asked through another. Source: Qin et al. 2023,
"GlueGen: Plug and Play Multi-modal Encoders for X-to-image Generation".
"""

from __future__ import annotations

from pathlib import Path

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from ldmkit.artifacts import read_tensors
from ldmkit.types import Tokens

HEAD = 64
"""Channels of an attention head."""
Mask = Bool[Tensor, "b l"]


class Aligner(nn.Module):
    """A small transformer that reads the source's token states and sentence vector, and writes the target's
    token states.

    It writes all tokens at once. A classifier says first how many there are, 1 to `length` (Gu et al. 2018,
    "Non-Autoregressive Neural Machine Translation").

    Args:
        source: channels of a source state, and of the sentence's vector.
        target: channels of a target state.
        width: channels inside, a multiple of 64.
        layers: of the decoder; the encoder has one.
        length: tokens at most, of source and target.
        dropout: rate in training.
    """

    mean: Tensor
    std: Tensor
    length: int

    def __init__(
        self, source: int, target: int, width: int, layers: int, length: int, dropout: float = 0.1
    ) -> None:
        super().__init__()
        self.length = length
        self.enter, self.sentence = nn.Linear(source, width), nn.Linear(source, width)
        self.positions = nn.Parameter(torch.randn(length, width) * 0.02)
        self.queries = nn.Parameter(torch.randn(length, width) * 0.02)
        sizes = (width, width // HEAD, 4 * width, dropout, "gelu")
        self.encoder = nn.TransformerEncoderLayer(*sizes, batch_first=True, norm_first=True)
        layer = nn.TransformerDecoderLayer(*sizes, batch_first=True, norm_first=True)
        self.decoder = nn.TransformerDecoder(layer, layers, nn.LayerNorm(width))
        self.count, self.leave = nn.Linear(width, length), nn.Linear(width, target)
        self.register_buffer("mean", torch.zeros(target))
        self.register_buffer("std", torch.ones(target))

    def forward(self, states: Tokens, mask: Mask, sentence: Float[Tensor, "b d"]) -> tuple[Tokens, Mask]:
        """The target's states "b n d", n the largest number of tokens in the batch, and their mask."""
        memory, hidden = self.read(states, mask, sentence)
        count = self.count(memory[:, 0]).argmax(1) + 1
        return self.write(memory, hidden, count)

    def read(self, states: Tokens, mask: Mask, sentence: Float[Tensor, "b d"]) -> tuple[Tokens, Mask]:
        """The memory that target tokens look at, its first entry the sentence's, and where it is padding."""
        tokens = self.enter(states) + self.positions[: states.shape[1]]
        memory = torch.cat([self.sentence(sentence).unsqueeze(1), tokens], 1)
        padding = torch.cat([mask.new_zeros(len(mask), 1), ~mask], 1)
        return self.encoder(memory, src_key_padding_mask=padding), padding

    def write(self, memory: Tokens, padding: Mask, count: Int[Tensor, " b"]) -> tuple[Tokens, Mask]:
        """The states of `count` target tokens of each row, and their mask; other states are zero."""
        n = int(count.max())
        mask = torch.arange(n, device=memory.device) < count.unsqueeze(1)
        x = self.decoder(
            self.queries[:n].expand(len(memory), -1, -1),
            memory,
            tgt_key_padding_mask=~mask,
            memory_key_padding_mask=padding,
        )
        return (self.leave(x) * self.std + self.mean) * mask.unsqueeze(2), mask


def load_aligner(file: Path) -> Aligner:
    """The aligner in a file, in evaluation mode; on the "meta" default device its structure without weights.

    Raises ValueError where the file holds no aligner.
    """
    device = torch.get_default_device()
    tensors = {name: tensor.to(device, torch.float32) for name, tensor in read_tensors(file).items()}
    try:
        aligner = Aligner(
            source=tensors["enter.weight"].shape[1],
            target=tensors["leave.weight"].shape[0],
            width=tensors["enter.weight"].shape[0],
            layers=len({name.split(".")[2] for name in tensors if name.startswith("decoder.layers.")}),
            length=tensors["queries"].shape[0],
        )
        aligner.load_state_dict(tensors)
    except (KeyError, IndexError, RuntimeError):
        raise ValueError(f"{file} holds no aligner of text states") from None
    return aligner.eval().requires_grad_(False)
