"""Two CLIP text encoders side by side, as Stable Diffusion XL reads them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from jaxtyping import Int
from pydantic import PositiveInt
from torch import Tensor, nn

from ldmkit.frozen import keep_out_of_checkpoints
from ldmkit.hookspecs import Reads
from ldmkit.types import Condition, ConditionSpec, Prepared
from ldmkit_text.loading import load_encoder, load_tokenizer, longer_than
from ldmkit_text.wordpieces import check_ids, fill, is_text, unread_lines

ENCODERS, TOKENIZERS = ("text_encoder", "text_encoder_2"), ("tokenizer", "tokenizer_2")
EXPECTS = "a list of strings, or ids as integers 'b l' or 'b 2 l'"


class PairedText(nn.Module):
    """Two CLIP text encoders side by side, as in Stable Diffusion XL.

    Tokens are the states before each encoder's last layer, joined on channels; the vector is the second
    encoder's projected embedding of the text.
    Tokens "b l d1+d2"; vector "b p": the second encoder's embedding of the whole text. Both encoders are
    frozen and left out of the state dict. Source: Podell et al. 2023, "SDXL", section 2.1.

    Args:
        field: the batch field that holds the captions.
        path: a folder with text_encoder/, tokenizer/, text_encoder_2/ and tokenizer_2/.
        length: tokens that a caption is cut at or filled up to.
        null: the null condition: "zeros", as the published model was trained, or the "empty" string.
    """

    encoder: Any

    def __init__(
        self,
        *,
        path: Annotated[Path, Reads(within=(*ENCODERS, *TOKENIZERS))],
        field: str = "caption",
        length: PositiveInt = 77,
        null: Literal["zeros", "empty"] = "zeros",
    ) -> None:
        super().__init__()
        self.field, self.length, self.empty = field, length, null == "empty"
        self.folders = {name: path / name for name in (*ENCODERS, *TOKENIZERS)}
        for folder in self.folders.values():
            if not folder.is_dir():
                raise ValueError(f"no folder {folder}: path names one that holds {', '.join(self.folders)}")
        self.tokenizers = [load_tokenizer(self.folders[name]) for name in TOKENIZERS]
        encoders = [load_encoder(self.folders[name], projected=i == 1) for i, name in enumerate(ENCODERS)]
        self.encoder = nn.ModuleList(encoders)
        self._check(length)
        tokens = sum(int(one.config.hidden_size) for one in encoders)
        vector = int(encoders[1].config.projection_dim)
        self.spec = ConditionSpec(fields=(field,), tokens=tokens, vector=vector, kinds={field: "text"})
        self.encoder.requires_grad_(False)
        keep_out_of_checkpoints(self)
        self.train(self.training)

    def train(self, mode: bool = True) -> PairedText:
        """As in nn.Module, but the encoders stay in evaluation mode."""
        super().train(mode)
        self.encoder.eval()
        return self

    def prepare(self, raw: Mapping[str, Any]) -> Prepared:
        """Captions, or ids, to ids "b 2 length", a row an encoder; ValueError says what is expected."""
        if self.field not in raw:
            raise ValueError(f"{self.field}: missing; expects {EXPECTS}")
        value = raw[self.field]
        ids = self._words(value) if is_text(value) else _both(value)
        size = min(one.get_input_embeddings().num_embeddings for one in self.encoder)
        pads = [tokenizer.pad_token_id or 0 for tokenizer in self.tokenizers]
        filled = [
            fill(check_ids(row, self.field, size, EXPECTS), self.field, self.length, pad)
            for row, pad in zip(ids, pads, strict=True)
        ]
        return {self.field: torch.stack(filled, 1)}

    def unread(self, raw: Mapping[str, Any]) -> list[str]:
        """A line for each caption that is cut."""
        texts = raw[self.field]
        if not is_text(texts):
            return []
        return unread_lines(self.field, longer_than(self.length, self.tokenizers[0], texts), self.length)

    def _words(self, texts: Any) -> list[Tensor]:
        options = {"padding": "max_length", "truncation": True, "max_length": self.length}
        return [t(list(texts), return_tensors="pt", **options)["input_ids"] for t in self.tokenizers]

    @torch.no_grad()
    def encode(self, prepared: Prepared, generator: torch.Generator | None = None) -> Condition:
        """Tokens "b length d1+d2" and a vector "b p"."""
        ids: Int[Tensor, "b 2 l"] = prepared[self.field]
        outputs = [one(input_ids=ids[:, i], output_hidden_states=True) for i, one in enumerate(self.encoder)]
        states = torch.cat([one.hidden_states[-2] for one in outputs], dim=-1)
        return Condition(tokens=states, vector=outputs[1].text_embeds)

    def null(self, like: Condition) -> Condition:
        """Zeros, or the encoded empty string for each picture of `like`."""
        if not self.empty:
            return like.map(torch.zeros_like)
        assert like.tokens is not None
        ids = self.prepare({self.field: [""]})[self.field].to(like.tokens.device)
        n = like.tokens.shape[0]
        return self.encode({self.field: ids}).map(lambda x: x.expand(n, *x.shape[1:]))

    def _check(self, length: int) -> None:
        for one, folder in zip(self.encoder, ENCODERS, strict=True):
            limit = one.config.max_position_embeddings
            if length > limit:
                raise ValueError(f"length {length}: the encoder in {folder} reads {limit} tokens")


def _both(ids: Any) -> list[Any]:
    """Ids for each of the two encoders: "b 2 l" are theirs, others are for both."""
    if isinstance(ids, Tensor) and ids.ndim == 3 and ids.shape[1] == 2:
        return list(ids.unbind(1))
    return [ids, ids]
