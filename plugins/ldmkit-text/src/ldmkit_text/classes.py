"""Class labels as one token or one vector."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import torch
from jaxtyping import Int
from pydantic import Field
from torch import Tensor, nn

from ldmkit.types import Condition, ConditionSpec, Prepared

Size = Annotated[int, Field(gt=0)]


class ClassEmbedding(nn.Module):
    """A learned vector a class: a single token for cross-attention, as the paper's class-conditional models.

    Args:
        field: the batch field that holds the class ids (integers "b").
        classes: how many classes there are, the unconditional one included.
        width: channels of the token or vector.
        unconditional: the class that stands for "any", for dropout and guidance (1000 of 1001 in the
            published v2 model); without one, the null condition is zeros.
        to: "tokens" for cross-attention, "vector" for the time embedding.
    """

    def __init__(
        self,
        *,
        field: str = "label",
        classes: Size = 1000,
        width: Size = 512,
        unconditional: Annotated[int, Field(ge=0)] | None = None,
        to: Literal["tokens", "vector"] = "tokens",
    ) -> None:
        super().__init__()
        if unconditional is not None and unconditional >= classes:
            raise ValueError(f"unconditional {unconditional} is none of the {classes} classes")
        self.field, self.unconditional, self.target = field, unconditional, to
        self.spec = ConditionSpec(
            fields=(field,), tokens=width if to == "tokens" else 0, vector=width if to == "vector" else 0
        )
        self.embedding = nn.Embedding(classes, width)

    def prepare(self, raw: Mapping[str, Any]) -> Prepared:
        """Class ids to a tensor "b"; ValueError says what is expected."""
        expected = (
            f"{self.field}: expects class ids from 0 to {self.embedding.num_embeddings - 1}, one a picture"
        )
        try:
            labels = torch.as_tensor(raw[self.field])
        except (KeyError, TypeError, ValueError, RuntimeError):
            raise ValueError(expected) from None
        if labels.ndim != 1 or labels.is_floating_point() or labels.dtype == torch.bool:
            raise ValueError(expected)
        if labels.numel() and not 0 <= int(labels.min()) <= int(labels.max()) < self.embedding.num_embeddings:
            raise ValueError(f"{expected}; found {int(labels.min())} to {int(labels.max())}")
        return {self.field: labels.long()}

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
        states = self.embedding(labels)
        return Condition(vector=states) if self.target == "vector" else Condition(tokens=states.unsqueeze(1))
