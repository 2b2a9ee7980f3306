"""Class labels as one token or one vector."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
from jaxtyping import Int
from pydantic import NonNegativeInt, PositiveInt
from torch import Tensor, nn
from torch.nn.functional import one_hot

from ldmkit.errors import did_you_mean
from ldmkit.types import Condition, ConditionSpec, Prepared
from ldmkit_text.wordpieces import first_of

NAMED = 20
"""How many names an error lists."""


class ClassEmbedding(nn.Module):
    """A learned vector for each class, by default as a single token "b 1 width" for cross-attention.

    Source: Rombach et al. 2022, the published code of the class-conditional ImageNet model.

    Args:
        field: the batch field that holds the class ids (integers "b"), or names of `names`.
        classes: how many classes there are, the unconditional one included; by default one more than `names`,
            or 1000 without names.
        width: channels of the token or vector.
        names: what the classes are called, in the order of their ids: inputs may be names then.
        unconditional: the class that stands for "any", for dropout and guidance (1000 of 1001 in the
            published v2 model); by default the one after `names`; without names the null condition is zeros.
        to: "tokens" for cross-attention, "vector" for the time embedding, "one-hot" for a vector of `classes`
            zeros and a one, which a denoiser embeds itself; `width` is not used then.
    """

    def __init__(
        self,
        *,
        field: str = "label",
        classes: PositiveInt | None = None,
        width: PositiveInt = 512,
        names: tuple[str, ...] = (),
        unconditional: NonNegativeInt | None = None,
        to: Literal["tokens", "vector", "one-hot"] = "tokens",
    ) -> None:
        super().__init__()
        if len(set(names)) < len(names):
            raise ValueError(f"names has one twice: {', '.join(names)}")
        if classes is None:
            classes = len(names) + 1 if names else 1000
        if names and unconditional is None and len(names) < classes:
            unconditional = len(names)
        if len(names) > classes:
            raise ValueError(f"{len(names)} names for {classes} classes")
        if unconditional is not None and unconditional >= classes:
            raise ValueError(f"unconditional {unconditional} is none of the {classes} classes")
        self.field, self.unconditional, self.target = field, unconditional, to
        self._ids = {name: i for i, name in enumerate(names)}
        self.classes, self.names = classes, names
        vector = {"tokens": 0, "vector": width, "one-hot": classes}[to]
        tokens = width if to == "tokens" else 0
        self.spec = ConditionSpec((field,), tokens=tokens, vector=vector, kinds={field: "label"})
        self.embedding = None if to == "one-hot" else nn.Embedding(classes, width)

    def prepare(self, raw: Mapping[str, Any]) -> Prepared:
        """Class ids or names to a tensor "b"; ValueError says what is expected."""
        expected = f"{self.field}: expects class ids from 0 to {self.classes - 1}, one a picture"
        classes = self._numbers(raw.get(self.field))
        try:
            labels = torch.as_tensor(classes)
        except (KeyError, TypeError, ValueError, RuntimeError, OverflowError):
            raise ValueError(f"{expected}; not {first_of(classes)}") from None
        if labels.ndim != 1 or not _whole(labels):
            raise ValueError(f"{expected}; not {first_of(classes)}")
        labels = labels.long()
        if labels.numel() and not 0 <= int(labels.min()) <= int(labels.max()) < self.classes:
            raise ValueError(f"{expected}; found {int(labels.min())} to {int(labels.max())}")
        return {self.field: labels}

    def _numbers(self, labels: Any) -> Any:
        """Names as ids; what is no list of names is left as it is."""
        if not self._ids or not isinstance(labels, list | tuple):
            return labels
        for label in labels:
            if isinstance(label, str) and label not in self._ids:
                known, near = ", ".join(list(self._ids)[:NAMED]), did_you_mean(label, self._ids)
                raise ValueError(f"{self.field}: no class '{label}'{near}; names: {known}")
        return [self._ids[label] if isinstance(label, str) else label for label in labels]

    def encode(self, prepared: Prepared, generator: torch.Generator | None = None) -> Condition:
        """Tokens "b 1 width", or a vector "b width"."""
        return self._condition(prepared[self.field])

    def null(self, like: Condition) -> Condition:
        """The unconditional class for each picture of `like`; zeros without one."""
        if self.unconditional is None:
            return like.map(torch.zeros_like)
        held = like.tokens if like.tokens is not None else like.vector
        assert held is not None
        return self._condition(torch.full((held.shape[0],), self.unconditional, device=held.device))

    def _condition(self, labels: Int[Tensor, " b"]) -> Condition:
        if self.embedding is None:
            return Condition(vector=one_hot(labels, self.classes).to(torch.get_default_dtype()))
        states = self.embedding(labels)
        return Condition(vector=states) if self.target == "vector" else Condition(tokens=states.unsqueeze(1))


def _whole(labels: Tensor) -> bool:
    return not (labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool)
