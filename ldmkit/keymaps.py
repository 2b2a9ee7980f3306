"""Key maps: how a component's tensors and parameters correspond to published ones.

An architecture lists rules, one a tensor, and `load` and `save` read them in both directions: every published
tensor is accounted for, and what was loaded is saved again bit for bit. `check_entries` does the same for
configurations. Nothing here knows a format or a component.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ldmkit.errors import did_you_mean
from ldmkit.host.signatures import defaults_of as defaults_of


@dataclass(frozen=True)
class Rule:
    """One of a module's tensors and the published ones that make it up.

    own: the name in the module's state dict. published: one name, or several whose rows follow each other in
    ours. interleave: number of heads whose rows alternate between the published tensors (0: none do).
    order: ours is the published tensor with its axes permuted so ((1, 0): transposed). axes: how many axes
    the published tensor has, the last ones of length 1 where it has more than ours (a 1x1 convolution for a
    linear layer) and without such axes where it has fewer; None: as many as ours. Loading takes any number.
    """

    own: str
    published: tuple[str, ...]
    interleave: int = 0
    order: tuple[int, ...] | None = None
    axes: int | None = None

    def join(self, tensors: Sequence[Tensor], own: Tensor) -> Tensor:
        """Our tensor of the published ones; `own` gives its shape."""
        pieces = [x.reshape(like.shape) for x, like in zip(tensors, self._pieces(own), strict=True)]
        if self.interleave:
            heads = [x.reshape(self.interleave, -1, *x.shape[1:]) for x in pieces]
            return torch.stack(heads, 1).flatten(0, 2)
        joined = torch.cat(pieces) if len(pieces) > 1 else pieces[0]
        return joined if self.order is None else joined.permute(self.order).contiguous()

    def split(self, own: Tensor) -> list[Tensor]:
        """The published tensors of ours, each with its own memory."""
        pieces = [x if self.axes is None else with_axes(x, self.axes) for x in self._pieces(own)]
        return [x.clone(memory_format=torch.contiguous_format) for x in pieces]

    def _pieces(self, own: Tensor) -> list[Tensor]:
        """The published tensors with as many axes as ours."""
        count = len(self.published)
        if self.order is not None:
            own = own.permute([self.order.index(i) for i in range(own.ndim)])
        if self.interleave:
            heads = own.reshape(self.interleave, count, -1, *own.shape[1:])
            return [x.flatten(0, 1) for x in heads.unbind(1)]
        return list(own.chunk(count)) if count > 1 else [own]


def load(rules: Iterable[Rule], tensors: Mapping[str, Tensor], module: nn.Module) -> dict[str, Tensor]:
    """Published tensors under the module's names; ValueError names the first keys that do not fit.

    A tensor left over, missing, of another shape or not of floating point does not fit. What no rule names
    (a fresh buffer) is not in the result.
    """
    rules, own = list(rules), module.state_dict()
    expected = {
        name: part
        for rule in rules
        for name, part in zip(rule.published, rule.split(own[rule.own].to("meta")), strict=True)
    }
    refuse(
        _listed("missing", (name for name in expected if name not in tensors)),
        _listed("left over", sorted(tensors.keys() - expected.keys())),
        _listed("wrong shape", _misfits(tensors, expected)),
        _listed("not of floating point", (n for n, x in tensors.items() if not x.is_floating_point())),
    )
    return {rule.own: rule.join([tensors[n] for n in rule.published], own[rule.own]) for rule in rules}


def save(rules: Iterable[Rule], module: nn.Module) -> dict[str, Tensor]:
    """The module's tensors under published names; the reverse of `load`, bit for bit."""
    own = module.state_dict()
    return {n: x for rule in rules for n, x in zip(rule.published, rule.split(own[rule.own]), strict=True)}


class WithoutTensors:
    """What key maps of components without tensors share; by itself, of one without parameters too."""

    classes: ClassVar[tuple[str, ...]] = ()

    def parameters(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """No parameters, whatever those of the published class are."""
        return {}

    def config(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """No entries."""
        return {}

    def load(self, tensors: Mapping[str, Tensor], module: nn.Module) -> dict[str, Tensor]:
        """Nothing; ValueError names tensors where there are any."""
        return load((), tensors, module)

    def save(self, module: nn.Module) -> dict[str, Tensor]:
        """Nothing."""
        return {}


def with_axes(tensor: Tensor, axes: int) -> Tensor:
    """The tensor with so many axes: ones of length 1 added behind, or taken away there."""
    shape = _stripped(tensor.shape)
    return tensor.reshape(*shape, *(1 for _ in range(axes - len(shape))))


def check_entries(
    config: Mapping[str, Any],
    understood: Collection[str],
    *,
    fixed: Mapping[str, Sequence[Any]] | None = None,
    harmless: Collection[str] = (),
    required: Collection[str] = (),
) -> None:
    """ValueError that names each entry of a published configuration that cannot be held.

    understood: entries that the caller reads. fixed: the values that an entry may have, ours first. harmless:
    entries without effect on what is computed. required: entries that must be there.
    """
    fixed, problems = fixed or {}, []
    known = {*understood, *harmless, *fixed}
    for name, value in config.items():
        if name in fixed:
            if not any(value == allowed and type(value) is type(allowed) for allowed in fixed[name]):
                problems.append(f"{name}: {short(value)} is not supported; only {fixed[name][0]!r}")
        elif name not in known:
            problems.append(f"unknown key '{name}'{did_you_mean(str(name), known)}")
    problems += [f"missing key '{name}'" for name in required if name not in config]
    refuse(*problems)


def refuse(*problems: str) -> None:
    """ValueError of those problems that are not empty, the first five; none where there are none."""
    messages = [problem for problem in problems if problem]
    if messages:
        raise ValueError(
            "; ".join(messages[:5]) + (f"; and {len(messages) - 5} more" if len(messages) > 5 else "")
        )


def some(names: Iterable[str], most: int = 5) -> str:
    """The first few names, and how many more there are."""
    listed = [short(name, 100) for name in names]
    return ", ".join(listed[:most]) + (f" and {len(listed) - most} more" if len(listed) > most else "")


def short(value: Any, most: int = 60) -> str:
    """A foreign value as it may stand in a message."""
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= most else f"{text[: most - 3]}..."


def _listed(what: str, names: Iterable[str]) -> str:
    listed = some(names)
    return f"{what}: {listed}" if listed else ""


def _misfits(tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> list[str]:
    return [
        f"{name} is {list(tensors[name].shape)}, not {list(like.shape)}"
        for name, like in expected.items()
        if name in tensors and _stripped(tensors[name].shape) != _stripped(like.shape)
    ]


def _stripped(shape: Sequence[int]) -> tuple[int, ...]:
    """A shape without its last axes of length 1, down to two axes, which linear layers have."""
    shape = tuple(shape)
    while len(shape) > 2 and shape[-1] == 1:
        shape = shape[:-1]
    return shape
