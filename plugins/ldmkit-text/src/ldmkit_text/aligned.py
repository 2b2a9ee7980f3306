"""A pretrained English text encoder that reads captions in other languages too."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor
from torch.nn import functional as F

from ldmkit.frozen import keep_out_of_checkpoints
from ldmkit.types import Condition, Prepared
from ldmkit_text.aligner import load_aligner
from ldmkit_text.multilingual import MultilingualText
from ldmkit_text.pretrained import PretrainedText
from ldmkit_text.sentence_encoder import PAD
from ldmkit_text.wordpieces import is_text

SHIPPED = Path(__file__).parent / "data" / "all-minilm-l6-v2-ko.safetensors"
"""The alignment from Korean to all-MiniLM-L6-v2."""


class AlignedText(PretrainedText):
    """A pretrained English text encoder that also reads captions in other languages.

    A denoiser trained with `pretrained-text` is used unchanged. Captions in Latin letters are encoded as by
    `pretrained-text`. Captions in other letters are encoded by `multilingual-text`, and a small network, the
    alignment, maps its states to those that the English encoder has for the translation (Qin et al. 2023,
    "GlueGen"). All parts are frozen and left out of checkpoints. Null: the encoded empty string.

    Args:
        alignment: a file that plugins/ldmkit-text/scripts/train_aligner.py wrote for this encoder; default:
            the shipped one, from Korean to all-MiniLM-L6-v2, trained on the names of emoji.
    """

    def __init__(self, *, alignment: Path | None = None, **encoder: Any) -> None:
        super().__init__(**encoder)
        if self.tune:
            raise ValueError("tune: the alignment belongs to the encoder as it is; leave tune out")
        if not self.masked:
            raise ValueError("masked: the alignment needs an encoder whose padding is hidden")
        self.aligner = load_aligner(alignment or SHIPPED)
        width, reads = self.spec.tokens, self.aligner.leave.out_features
        if width != reads:
            raise ValueError(f"the alignment makes states of {reads} numbers, this encoder's have {width}")
        self.foreign = MultilingualText(
            field=self.field, length=min(self.length, self.aligner.length), vector=True
        )
        keep_out_of_checkpoints(self, "aligner")
        self.train()

    def train(self, mode: bool = True) -> AlignedText:
        """Stays in eval: all of it is frozen."""
        super().train(False)
        return self

    def prepare(self, raw: Mapping[str, Any]) -> Prepared:
        """Captions (strings, or ids) to ids "b length"; ValueError says what is expected.

        Ids from the encoder's vocabulary size on are those of `multilingual-text`.
        """
        value = raw.get(self.field)
        if value is None or not is_text(value) or not any(map(is_foreign, value)):
            return super().prepare(raw)
        rows = [self._foreign_ids(text) if is_foreign(text) else self._ids([text]) for text in value]
        return {self.field: torch.cat(rows)}

    def unread(self, raw: Mapping[str, Any]) -> list[str]:
        """A line for each caption that is cut, by the encoder that reads it."""
        texts = raw[self.field] if is_text(raw[self.field]) else []
        foreign = [text for text in texts if is_foreign(text)]
        own = [text for text in texts if not is_foreign(text)]
        return [*super().unread({self.field: own}), *self.foreign.unread({self.field: foreign})]

    def encode(self, prepared: Prepared, generator: torch.Generator | None = None) -> Condition:
        """Tokens "b length width", their mask and, with `vector`, the mean state."""
        ids = prepared[self.field]
        foreign = (ids >= self._own).any(1)
        if not foreign.any():
            return self._read(ids)
        condition = self._read(ids.masked_fill(foreign.unsqueeze(1), self._pad))
        aligned = self._aligned(ids[foreign])
        for part in ("tokens", "mask", "vector"):
            if (rows := getattr(aligned, part)) is not None:
                getattr(condition, part)[foreign] = rows
        return condition

    @torch.no_grad()
    def _aligned(self, ids: Int[Tensor, "b l"]) -> Condition:
        """What the encoder would say of translations of captions, given by the other encoder's ids."""
        pieces = torch.where(ids < self._own, PAD, ids - self._own)
        there = self.foreign.encode({self.field: pieces[:, : self.foreign.length]})
        states, mask = self.aligner(there.tokens, there.mask, there.vector)
        beyond = self.length - states.shape[1]
        return self._condition(F.pad(states, (0, 0, 0, beyond)), F.pad(mask, (0, beyond)))

    def _foreign_ids(self, text: str) -> Int[Tensor, "1 l"]:
        ids = self.foreign.prepare({self.field: [text]})[self.field]
        return F.pad(ids, (0, self.length - ids.shape[1]), value=PAD) + self._own

    @property
    def _own(self) -> int:
        """Size of the encoder's own vocabulary."""
        return super()._vocabulary

    @property
    def _vocabulary(self) -> int:
        return self._own + PAD + 1


def is_foreign(text: str) -> bool:
    """Whether a text has letters that are not Latin."""
    return any(x.isalpha() and not unicodedata.name(x, "").startswith("LATIN") for x in text)
