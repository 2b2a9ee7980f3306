"""Text and token ids: bert-base-uncased's word pieces, and what a batch of ids must look like."""

from __future__ import annotations

from functools import cache
from importlib.resources import as_file, files
from typing import Any

import torch
from jaxtyping import Int
from tokenizers.implementations import BertWordPieceTokenizer
from torch import Tensor

VOCABULARY = 30522
"""Entries of bert-base-uncased's vocabulary, which this package ships."""


@cache
def word_pieces(length: int) -> BertWordPieceTokenizer:
    """The tokenizer: lower case, [CLS] words [SEP], cut at `length` and filled up to it with [PAD] (id 0)."""
    with as_file(files("ldmkit_text") / "data" / "bert-base-uncased.txt") as vocabulary:
        tokenizer = BertWordPieceTokenizer(str(vocabulary), lowercase=True)
    tokenizer.enable_truncation(length)
    tokenizer.enable_padding(pad_id=0, pad_token="[PAD]", length=length)
    return tokenizer


def is_text(raw: Any) -> bool:
    """Is this a list of strings?"""
    return isinstance(raw, list | tuple) and len(raw) > 0 and all(isinstance(x, str) for x in raw)


def encode_text(texts: list[str], length: int) -> Int[Tensor, "b l"]:
    """Ids of each text; a row does not depend on the others."""
    return torch.tensor([e.ids for e in word_pieces(length).encode_batch(list(texts))])


def check_ids(raw: Any, field: str, length: int, vocabulary: int, pad: int = 0) -> Int[Tensor, "b l"]:
    """Ids as a tensor filled up to `length` with `pad`.

    Raises ValueError where they are not integers "b l", are too long or are not in the vocabulary.
    """
    ids = _tensor(raw, pad, field)
    if ids.ndim != 2 or ids.is_floating_point() or ids.is_complex() or ids.dtype == torch.bool:
        raise ValueError(f"{field}: expects a list of strings, or ids as integers 'b l'; not {_shape(ids)}")
    if ids.shape[1] > length:
        raise ValueError(f"{field}: {ids.shape[1]} ids; at most {length} are read")
    if ids.numel() and not 0 <= int(ids.min()) <= int(ids.max()) < vocabulary:
        raise ValueError(
            f"{field}: ids from {int(ids.min())} to {int(ids.max())}; the vocabulary has 0 to {vocabulary - 1}"
        )
    return torch.nn.functional.pad(ids.long(), (0, length - ids.shape[1]), value=pad)


def _tensor(raw: Any, pad: int, field: str) -> Tensor:
    """Raw ids as one tensor; rows of unequal length are filled up."""
    if isinstance(raw, Tensor):
        return raw
    try:
        longest = max((len(row) for row in raw), default=0)
        return torch.as_tensor([[*row] + [pad] * (longest - len(row)) for row in raw])
    except (TypeError, ValueError, RuntimeError):
        raise ValueError(f"{field}: expects a list of strings, or ids as integers 'b l'") from None


def _shape(x: Tensor) -> str:
    return f"{x.dtype} of shape {tuple(x.shape)}".removeprefix("torch.")
