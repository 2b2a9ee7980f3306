"""Text and token ids: bert-base-uncased's word pieces, and what a batch of ids must look like."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib.resources import as_file, files
from itertools import compress
from typing import Any

import torch
from jaxtyping import Int
from tokenizers import BertWordPieceTokenizer
from torch import Tensor

from ldmkit.errors import shortened

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
    """Whether it is a list of strings."""
    return isinstance(raw, list | tuple) and len(raw) > 0 and all(isinstance(x, str) for x in raw)


def encode_text(texts: list[str], length: int) -> Int[Tensor, "b l"]:
    """Ids of each text; a row does not depend on the others."""
    return torch.tensor([e.ids for e in word_pieces(length).encode_batch(list(texts))])


def cut_texts(texts: list[str], length: int) -> list[str]:
    """Those of the texts that `encode_text` cuts."""
    return list(compress(texts, (one.overflowing for one in word_pieces(length).encode_batch(texts))))


def unread_lines(field: str, texts: Sequence[str], length: int) -> list[str]:
    """A line for each text that is cut at `length` tokens."""
    return [f"{field}: only the first {length} tokens are read of '{shortened(x, 120)}'" for x in texts]


def check_ids(raw: Any, field: str, vocabulary: int, expects: str) -> Int[Tensor, "b l"]:
    """Ids as a tensor; ValueError where they are not integers "b l" of the vocabulary."""
    try:
        ids = raw if isinstance(raw, Tensor) else torch.as_tensor(raw)
    except (TypeError, ValueError, RuntimeError):
        raise ValueError(f"{field}: expects {expects}; not {first_of(raw)}") from None
    if ids.ndim != 2 or ids.is_floating_point() or ids.is_complex() or ids.dtype == torch.bool:
        raise ValueError(f"{field}: expects {expects}; not {first_of(ids)}")
    if ids.numel() and not 0 <= int(ids.min()) <= int(ids.max()) < vocabulary:
        description = f"{int(ids.min())} to {int(ids.max())}"
        raise ValueError(f"{field}: ids from {description}; the vocabulary has 0 to {vocabulary - 1}")
    return ids.long()


def first_of(raw: Any) -> str:
    """A value as messages show it: the first of a list, the type and shape of an array."""
    if isinstance(raw, list | tuple) and raw:
        return shortened(repr(raw[0]), 60)
    if hasattr(raw, "shape"):
        return f"{raw.dtype} of shape {tuple(raw.shape)}".removeprefix("torch.")
    return shortened(repr(raw), 60)


def fill(ids: Int[Tensor, "b l"], field: str, length: int, pad: int | None) -> Int[Tensor, "b l"]:
    """Ids filled up to `length` with `pad`; ValueError where they are too many (pad None: or too few)."""
    missing = length - ids.shape[1]
    if missing < 0 or (missing and pad is None):
        raise ValueError(
            f"{field}: {ids.shape[1]} ids; {'at most ' if pad is not None else ''}{length} are read"
        )
    return torch.nn.functional.pad(ids, (0, missing), value=pad or 0)
