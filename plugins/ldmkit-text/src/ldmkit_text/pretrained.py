"""A pretrained text encoder, frozen or fine-tuned with the denoiser."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import torch
from jaxtyping import Bool, Int
from pydantic import Field, PositiveInt
from torch import Tensor, nn
from torch.nn import functional as F

from ldmkit.artifacts import check_sha256
from ldmkit.frozen import keep_out_of_checkpoints
from ldmkit.hookspecs import Reads
from ldmkit.types import Condition, ConditionSpec, Prepared, Tokens
from ldmkit_text.folders import locate, weights_file
from ldmkit_text.loading import load_encoder, load_tokenizer, longer_than, subfolder
from ldmkit_text.wordpieces import check_ids, fill, is_text, unread_lines

Revision = Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
EXPECTS = "a list of strings, or ids as integers 'b l'"


class PretrainedText(nn.Module):
    """The last hidden states of a transformers text encoder (BERT, MiniLM, CLIP, T5 and others) as tokens.

    Name the model by exactly one of path, package, hub (with revision). A frozen encoder stays in evaluation
    mode and is left out of checkpoints; one that is tuned is saved in them. Every caption is padded to the
    same length, so that a condition does not depend on its batch. Null: the encoded empty string.

    Args:
        field: the batch field that holds the captions.
        path: a local folder with config.json, weights and tokenizer, or with text_encoder/ and tokenizer/.
        package: an installed distribution that holds such a folder; found through its metadata, not imported.
        hub: a model on the Hugging Face hub; downloaded once.
        revision: the hub commit, 40 hex digits; required with hub.
        sha256: the sha256 that the file of weights must have; by default it is not checked.
        tune: train the encoder jointly with the denoiser.
        length: tokens a caption is cut at or filled up to (77 for Stable Diffusion's CLIP).
        masked: hide padding from the encoder and the denoiser. Default: true, except for CLIP
            (published models attend to padding) and for tokenizers without a padding token.
        vector: hand the mean state to the time embedding as well.
    """

    encoder: Any

    def __init__(
        self,
        *,
        field: str = "caption",
        path: Annotated[Path, Reads(within=("text_encoder", "tokenizer"))] | None = None,
        package: str | None = None,
        hub: str | None = None,
        revision: Revision | None = None,
        sha256: Digest | None = None,
        tune: bool = False,
        length: PositiveInt = 32,
        masked: bool | None = None,
        vector: bool = False,
    ) -> None:
        super().__init__()
        root = locate(path, package, hub, revision)
        folder = subfolder(root, "text_encoder")
        if sha256 is not None:
            _check_weights(folder, sha256)
        self.field, self.length, self.tune, self.vector = field, length, tune, vector
        self.folders = {"text_encoder": folder, "tokenizer": subfolder(root, "tokenizer")}
        self.tokenizer = load_tokenizer(self.folders["tokenizer"])
        self.encoder = load_encoder(folder)
        self.masked = self._masked(masked)
        self._check_length()
        width = int(self.encoder.config.hidden_size)
        self.spec = ConditionSpec(
            fields=(field,), tokens=width, vector=width if vector else 0, kinds={field: "text"}
        )
        if not tune:
            self.encoder.requires_grad_(False)
            keep_out_of_checkpoints(self)
        self.train(self.training)

    def train(self, mode: bool = True) -> PretrainedText:
        """As in nn.Module, but a frozen encoder stays in evaluation mode."""
        super().train(mode)
        self.encoder.train(mode and self.tune)
        return self

    def prepare(self, raw: Mapping[str, Any]) -> Prepared:
        """Captions (strings, or the tokenizer's ids) to ids "b length"; ValueError says what is expected."""
        if self.field not in raw:
            raise ValueError(f"{self.field}: missing; expects {EXPECTS}")
        value = raw[self.field]
        if is_text(value):
            value = self._ids(value)
        ids = check_ids(value, self.field, self._vocabulary, EXPECTS)
        return {self.field: fill(ids, self.field, self.length, self._pad)}

    def unread(self, raw: Mapping[str, Any]) -> list[str]:
        """A line for each caption that is cut."""
        texts = raw[self.field]
        if not is_text(texts):
            return []
        return unread_lines(self.field, longer_than(self.length, self.tokenizer, texts), self.length)

    def encode(self, prepared: Prepared, generator: torch.Generator | None = None) -> Condition:
        """Tokens "b length width", with `masked` their mask and with `vector` the mean state."""
        return self._read(prepared[self.field])

    def _read(self, ids: Int[Tensor, "b l"]) -> Condition:
        """The encoder's last hidden states for its own ids."""
        mask = self._mask(ids)
        with torch.set_grad_enabled(torch.is_grad_enabled() and self.tune):
            if mask is None:
                states = self.encoder(input_ids=ids).last_hidden_state
            else:
                states = self._states(ids, mask)
        return self._condition(states, mask)

    def _states(self, ids: Int[Tensor, "b l"], mask: Bool[Tensor, "b l"]) -> Tokens:
        """The hidden states of a masked encoder, computed up to the longest caption's end; else zeros."""
        places = torch.arange(1, ids.shape[1] + 1, device=ids.device)
        used = ids.shape[1] if ids.is_meta else max(1, int((mask.any(0) * places).max()))
        states = self.encoder(input_ids=ids[:, :used], attention_mask=mask[:, :used]).last_hidden_state
        return F.pad(states * mask[:, :used, None], (0, 0, 0, ids.shape[1] - used))

    def _condition(self, states: Tokens, mask: Bool[Tensor, "b l"] | None) -> Condition:
        """The condition of token states; with `vector`, their mean too."""
        counted = states.new_ones(states.shape[:2]) if mask is None else mask
        weights = counted.unsqueeze(2).to(states)
        mean = (states * weights).sum(1) / weights.sum(1).clamp_min(1) if self.vector else None
        return Condition(tokens=states, mask=mask, vector=mean)

    def null(self, like: Condition) -> Condition:
        """The encoded empty string for each picture of `like`."""
        assert like.tokens is not None
        ids = self._ids([""]).to(like.tokens.device)
        n = like.tokens.shape[0]
        return self._read(ids).map(lambda x: x.expand(n, *x.shape[1:]))

    def _ids(self, texts: Sequence[str]) -> Int[Tensor, "b l"]:
        """The encoder's ids of texts, cut at `length` or filled up to it."""
        full = {"padding": "max_length", "truncation": True, "max_length": self.length}
        ids: Tensor = self.tokenizer(list(texts), **full, return_tensors="pt")["input_ids"]
        return ids

    @property
    def _vocabulary(self) -> int:
        """The number of ids: they run from 0 to one below it."""
        return int(self.encoder.get_input_embeddings().num_embeddings)

    @property
    def _pad(self) -> int:
        pad = self.tokenizer.pad_token_id
        return 0 if pad is None else int(pad)

    def _mask(self, ids: Int[Tensor, "b l"]) -> Bool[Tensor, "b l"] | None:
        return ids != self._pad if self.masked else None

    def _masked(self, masked: bool | None) -> bool:
        own = self.tokenizer.pad_token_id not in (None, self.tokenizer.eos_token_id)
        if masked and not own:
            raise ValueError("masked needs a padding token of its own, which this tokenizer has not")
        return own and not self.encoder.config.model_type.startswith("clip") if masked is None else masked

    def _check_length(self) -> None:
        limit = getattr(self.encoder.config, "max_position_embeddings", None)
        if limit is not None and self.length > limit:
            raise ValueError(f"length {self.length}; this encoder reads {limit} tokens")


def _check_weights(folder: Path, sha256: str) -> None:
    file = weights_file(folder)
    if file is None:
        raise ValueError(f"{folder} holds no weights to check")
    check_sha256(file, sha256, "the recipe names another file")
