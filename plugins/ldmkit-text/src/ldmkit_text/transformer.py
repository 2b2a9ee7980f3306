"""The bidirectional transformer over tokens that is trained jointly with the denoiser (section 3.3)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
from einops import rearrange
from jaxtyping import Float, Int
from pydantic import PositiveInt
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from ldmkit.types import Condition, ConditionSpec, FieldKind, Prepared, Tokens
from ldmkit_text.boxes import capacity, encode_layouts, is_layout
from ldmkit_text.wordpieces import VOCABULARY, check_ids, cut_texts, encode_text, fill, is_text, unread_lines


class SelfAttention(nn.Module):
    """softmax(Q K^T / sqrt(head_channels)) V; every token sees every other, padding included.

    Q, K and V are one product without bias; the inner width is heads * head_channels whatever the width.
    """

    def __init__(self, width: int, heads: int, head_channels: int) -> None:
        super().__init__()
        self.heads = heads
        self.to_qkv = nn.Linear(width, 3 * heads * head_channels, bias=False)
        self.to_out = nn.Linear(heads * head_channels, width)

    def forward(self, x: Tokens) -> Tokens:
        """Attention output, before any residual."""
        q, k, v = rearrange(self.to_qkv(x), "b l (three h d) -> three b h l d", three=3, h=self.heads)
        return self.to_out(rearrange(scaled_dot_product_attention(q, k, v), "b h l d -> b l (h d)"))


class Block(nn.Module):
    """Pre-norm self-attention, then a pre-norm feed-forward of four times the width with exact GELU."""

    def __init__(self, width: int, heads: int, head_channels: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attention = SelfAttention(width, heads, head_channels)
        self.norm2 = nn.LayerNorm(width)
        self.feed_forward = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Tokens) -> Tokens:
        """The tokens after both layers and their residuals."""
        x = x + self.attention(self.norm1(x))
        return x + self.feed_forward(self.norm2(x))


class _Kept(nn.Module):
    """A linear layer that nobody applies: its tensors are buffers, so that checkpoints have them and no
    training does."""

    def __init__(self, width: int, out: int) -> None:
        super().__init__()
        self.register_buffer("weight", torch.zeros(out, width))
        self.register_buffer("bias", torch.zeros(out))


class TokenTransformer(nn.Module):
    """Ids to states: token plus learned position embeddings, `layers` blocks, a final LayerNorm.

    logits: keep the published models' projection onto the vocabulary. Nothing reads it and nothing trains it;
    with it an imported checkpoint can be exported again with every tensor.
    """

    def __init__(
        self,
        width: int,
        layers: int,
        heads: int,
        head_channels: int,
        length: int,
        vocabulary: int,
        logits: bool,
    ) -> None:
        super().__init__()
        self.token_embedding = nn.Embedding(vocabulary, width)
        self.position_embedding = nn.Embedding(length, width)
        self.blocks = nn.ModuleList(Block(width, heads, head_channels) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.to_logits = _Kept(width, vocabulary) if logits else None
        for embedding in (self.token_embedding, self.position_embedding):
            nn.init.normal_(embedding.weight, std=0.02)

    def forward(self, ids: Int[Tensor, "b l"]) -> Float[Tensor, "b l d"]:
        """The state of each token; ids are those of the vocabulary, at most `length` of them."""
        x = self.token_embedding(ids) + self.position_embedding.weight[: ids.shape[1]]
        for block in self.blocks:
            x = block(x)
        return self.norm(x)


class TextTransformer(nn.Module):
    """A transformer over the tokens of a caption or layout, trained jointly with the denoiser.

    Reads a list of strings, or ids "b l", which are taken as they are; gives tokens "b l width". There is no
    padding mask, as published: the denoiser attends to padding too. Null: the encoded empty string (of a
    layout: no object; of ids: all 0). Source: Rombach et al. 2022, section 3.3 and supplement E.2.1.

    Args:
        field: the batch field that holds the captions (or layouts).
        width: channels of a token, d_tau; the denoiser's cross-attention takes them from here.
        layers: blocks of attention and feed-forward.
        heads: attention heads.
        head_channels: channels of one head.
        length: tokens a caption is cut at or filled up to; a layout has 3 an object and 2 for the crop.
        vocabulary: entries of the embedding; ids run from 0 to vocabulary - 1.
        tokenizer: "bert" reads text as bert-base-uncased's 30522 word pieces; "boxes" reads a list of objects
            (class, x, y, width, height) in [0, 1] for each picture; "ids" reads ids alone.
        logits: keep the published models' projection onto the vocabulary, which nothing reads or trains, so
            that an imported checkpoint exports with every tensor.
    """

    def __init__(
        self,
        *,
        field: str = "caption",
        width: PositiveInt = 1280,
        layers: PositiveInt = 32,
        heads: PositiveInt = 8,
        head_channels: PositiveInt = 64,
        length: PositiveInt = 77,
        vocabulary: PositiveInt = VOCABULARY,
        tokenizer: Literal["bert", "boxes", "ids"] = "bert",
        logits: bool = False,
    ) -> None:
        super().__init__()
        self.field, self.length, self.vocabulary, self.tokenizer = field, length, vocabulary, tokenizer
        self._check()
        kinds: dict[str, FieldKind] = {"bert": "text", "boxes": "boxes", "ids": "other"}
        self.spec = ConditionSpec(fields=(field,), tokens=width, kinds={field: kinds[tokenizer]})
        self.transformer = TokenTransformer(width, layers, heads, head_channels, length, vocabulary, logits)

    def prepare(self, raw: Mapping[str, Any]) -> Prepared:
        """Captions, layouts or ids to ids "b l"; ValueError says what the field expects."""
        if self.field not in raw:
            raise ValueError(f"{self.field}: missing; expects {self._expects}")
        value = raw[self.field]
        if self.tokenizer == "bert" and is_text(value):
            value = encode_text(value, self.length)
        elif self.tokenizer == "boxes" and is_layout(value):
            value = encode_layouts(value, self.field, self.length, self.vocabulary)
        ids = check_ids(value, self.field, self.vocabulary, self._expects)
        return {self.field: fill(ids, self.field, self.length, None if self.tokenizer == "boxes" else 0)}

    def unread(self, raw: Mapping[str, Any]) -> list[str]:
        """A line for each caption that is cut."""
        texts = raw[self.field]
        if self.tokenizer != "bert" or not is_text(texts):
            return []
        return unread_lines(self.field, cut_texts(texts, self.length), self.length)

    def encode(self, prepared: Prepared, generator: torch.Generator | None = None) -> Condition:
        """tau_theta(y): tokens "b l width"."""
        return Condition(tokens=self.transformer(prepared[self.field]))

    def null(self, like: Condition) -> Condition:
        """What says nothing, encoded, for each picture of `like`."""
        assert like.tokens is not None
        nothing: dict[str, Any] = {"bert": [""], "boxes": [[]], "ids": [[0]]}
        ids = self.prepare({self.field: nothing[self.tokenizer]})[self.field].to(like.tokens.device)
        return Condition(tokens=self.transformer(ids).expand(like.tokens.shape[0], -1, -1))

    @property
    def _expects(self) -> str:
        forms = {
            "bert": "a list of strings, or ",
            "boxes": "a list of objects [class, x, y, width, height] for each picture, or ",
            "ids": "",
        }
        return forms[self.tokenizer] + "ids as integers 'b l'"

    def _check(self) -> None:
        """ValueError for a length that the tokenizer cannot work with."""
        if self.tokenizer == "bert" and self.length < 2:
            raise ValueError("length must hold [CLS] and [SEP]: 2 at least")
        if self.tokenizer == "boxes":
            capacity(self.length)
