"""AdamW (Loshchilov and Hutter 2019) and Muon (Jordan et al. 2024; Liu et al. 2025), both torch's own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fnmatch import fnmatch
from typing import Annotated, Any, Literal

import torch
from pydantic import Field, PositiveFloat
from torch import nn

from ldmkit.interfaces import ParameterGroup

Fraction = Annotated[float, Field(ge=0, lt=1)]
Betas = tuple[float, float]


class AdamW:
    """AdamW with the training stage's betas and weight decay.

    Args:
        eps: added to the root of the second moment.
        amsgrad: divide by the largest second moment so far.
    """

    def __init__(
        self,
        betas: Betas,
        weight_decay: float,
        *,
        eps: PositiveFloat = 1e-8,
        amsgrad: bool = False,
    ) -> None:
        self.options: dict[str, Any] = {
            "betas": betas,
            "weight_decay": weight_decay,
            "eps": eps,
            "amsgrad": amsgrad,
        }

    def __call__(self, groups: Sequence[ParameterGroup]) -> torch.optim.Optimizer:
        """torch's fused AdamW."""
        return torch.optim.AdamW(groups, fused=True, **self.options)


class Muon:
    """Muon for weights of two dimensions or more, AdamW with the stage's betas for all others.

    Muon replaces a matrix's momentum by the nearest orthogonal matrix, by Newton-Schulz iterations. A
    convolution's kernel counts as the matrix of its output channels by everything else. Learning rate and
    weight decay are the stage's for both.

    Args:
        momentum: factor of the Nesterov momentum.
        scale: adamw gives an update the root mean square that AdamW's has, by 0.2 sqrt(max(rows, columns)),
            so that one learning rate fits both; aspect scales by sqrt(max(1, rows / columns)), as published.
        iterations: Newton-Schulz iterations of each update.
        others: names of weights that AdamW trains all the same, as patterns; first and last layers are
            often among them, as "denoiser.conv_in.*".
    """

    def __init__(
        self,
        betas: Betas,
        weight_decay: float,
        *,
        momentum: Fraction = 0.95,
        scale: Literal["adamw", "aspect"] = "adamw",
        iterations: Annotated[int, Field(gt=0, lt=100)] = 5,
        others: tuple[str, ...] = ("*embedding*",),
    ) -> None:
        self.adamw = AdamW(betas, weight_decay)
        self.others = others
        self.options: dict[str, Any] = {
            "momentum": momentum,
            "weight_decay": weight_decay,
            "ns_steps": iterations,
            "adjust_lr_fn": {"adamw": "match_rms_adamw", "aspect": "original"}[scale],
        }

    def __call__(self, groups: Sequence[ParameterGroup]) -> torch.optim.Optimizer:
        """One optimizer around torch's Muon and AdamW."""
        return MatricesAndRest(groups, self.is_matrix, self.options, self.adamw)

    def is_matrix(self, name: str, parameter: nn.Parameter) -> bool:
        """Whether Muon trains this weight."""
        shaped = parameter.ndim > 1 and min(len(parameter), parameter[0].numel()) > 1
        return shaped and not any(fnmatch(name, pattern) for pattern in self.others)


class MatricesAndRest(torch.optim.Optimizer):
    """torch.optim.Muon on the parameters that `is_matrix` chooses, AdamW on the others.

    Each matrix is handed to Muon as a parameter of two dimensions that shares its memory. `state` and the
    learning rates of `param_groups` are those of the two optimizers.
    """

    def __init__(
        self,
        groups: Sequence[ParameterGroup],
        is_matrix: Callable[[str, nn.Parameter], bool],
        options: dict[str, Any],
        adamw: AdamW,
    ) -> None:
        chosen = [[is_matrix(name, p) for name, p in group["params"]] for group in groups]
        matrices = _selected(groups, chosen)
        rest = _selected(groups, [[not one for one in flags] for flags in chosen])
        super().__init__([dict(group) for group in (*matrices, *rest)], {})  # which changes its groups
        self._flat = {p: nn.Parameter(p.detach().flatten(1)) for g in matrices for _, p in g["params"]}
        self._inner: list[torch.optim.Optimizer] = []
        if matrices:
            flat = [{**g, "params": [(n, self._flat[p]) for n, p in g["params"]]} for g in matrices]
            self._inner.append(torch.optim.Muon(flat, **options))
        if rest:
            self._inner.append(adamw([dict(group) for group in rest]))
        # The inner optimizers' own dictionaries, so that checkpoints read and write their state here.
        for p in (p for group in self.param_groups for p in group["params"]):
            optimizer = self._inner[0 if p in self._flat else -1]
            self.state[p] = optimizer.state[self._flat.get(p, p)]

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]  # torch overloads it
        """One update of every parameter that has a gradient."""
        if closure is not None:
            raise ValueError("a closure is not supported")
        groups = [group for optimizer in self._inner for group in optimizer.param_groups]
        for own, group in zip(self.param_groups, groups, strict=True):
            group["lr"] = own["lr"]
        for p, flat in self._flat.items():
            flat.data = p.detach().flatten(1)
            flat.grad = None if p.grad is None else p.grad.flatten(1)
        for optimizer in self._inner:
            optimizer.step()
        for p, flat in self._flat.items():
            if flat.data_ptr() != p.data_ptr():  # in another memory format, flattening copied it
                p.copy_(flat.view_as(p))


def _selected(groups: Sequence[ParameterGroup], chosen: Sequence[Sequence[bool]]) -> list[ParameterGroup]:
    """The groups with the chosen parameters alone; those that have any."""
    pairs = zip(groups, chosen, strict=True)
    left = [
        {**group, "params": [one for one, take in zip(group["params"], flags, strict=True) if take]}
        for group, flags in pairs
    ]
    return [group for group in left if group["params"]]
