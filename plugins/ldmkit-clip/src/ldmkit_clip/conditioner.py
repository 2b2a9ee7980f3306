"""The text tower of a CLIP network as tau_theta."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from ldmkit.errors import shortened
from ldmkit.frozen import keep_out_of_checkpoints
from ldmkit.types import Condition, ConditionSpec, Prepared
from ldmkit_clip.network import load_clip
from ldmkit_clip.sources import Network


class ClipText(nn.Module):
    """Token states of a CLIP network's text tower, frozen and left out of checkpoints.

    The states are those after the tower's last norm, masked up to the text's end where the network pools
    there. Null: the encoded empty string. Source: Radford et al. 2021; Rombach et al. 2022, section 3.3.

    Args:
        network: the CLIP network; by default the small one that ldmkit-clip ships, trained on emoji.
        field: the batch field that holds the texts.
        vector: hand the pooled vector, times the root of its width, to the time embedding as well.
    """

    def __init__(
        self,
        *,
        network: Network = Network(),  # noqa: B008 (frozen)
        field: str = "caption",
        vector: bool = False,
    ) -> None:
        super().__init__()
        clip = load_clip(network)
        self.clip = clip
        self.field, self.vector = field, vector
        self.expected = f"{field}: expects a list of strings, or ids as integers 'b {clip.length}'"
        self.spec = ConditionSpec(fields=(field,), tokens=clip.width, vector=clip.embedding if vector else 0)
        keep_out_of_checkpoints(self, "clip")

    def prepare(self, raw: Mapping[str, Any]) -> Prepared:
        """Texts (strings, or the network's ids) to ids "b length"; ValueError says what is expected."""
        if self.field not in raw:
            raise ValueError(f"{self.field}: missing; {self.expected}")
        value = raw[self.field]
        if _is_text(value):
            return {self.field: self.clip.ids(value)}
        try:
            ids = torch.as_tensor(value)
        except (TypeError, ValueError, RuntimeError):
            raise ValueError(self.expected) from None
        if ids.ndim != 2 or ids.shape[1] != self.clip.length or ids.dtype not in (torch.int32, torch.int64):
            raise ValueError(self.expected)
        return {self.field: ids.long()}

    def unread(self, raw: Mapping[str, Any]) -> list[str]:
        """A line for each text that is cut."""
        texts = raw[self.field]
        cut = self.clip.cut(texts) if _is_text(texts) else []
        return [
            f"{self.field}: only the first {self.clip.length} tokens are read of '{shortened(text, 120)}'"
            for text in cut
        ]

    @torch.no_grad()
    def encode(self, prepared: Prepared, generator: torch.Generator | None = None) -> Condition:
        """Tokens "b length width" with their mask, and the pooled vector where one is asked for."""
        ids = prepared[self.field]
        vector = self.clip.pooled(ids) if self.vector else None
        scaled = None if vector is None else vector * vector.shape[1] ** 0.5
        return Condition(tokens=self.clip.token_states(ids), mask=self.clip.mask(ids), vector=scaled)

    def null(self, like: Condition) -> Condition:
        """The encoded empty string for each picture of `like`."""
        assert like.tokens is not None
        n, device = like.tokens.shape[0], like.tokens.device
        ids = self.prepare({self.field: [""]})[self.field].to(device)
        return self.encode({self.field: ids}).map(lambda x: x.expand(n, *x.shape[1:]))


def _is_text(value: Any) -> bool:
    """Is it a list of strings?"""
    return isinstance(value, list | tuple) and len(value) > 0 and all(isinstance(x, str) for x in value)
