"""How the UNet's tensors correspond to published ones: a list of rules that is read in both directions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ldmkit_unet.conv import Conv3x3


@dataclass(frozen=True)
class Rule:
    """One of our tensors and the published ones that make it up.

    published: one name, or several whose rows follow each other in ours. interleave: number of heads whose
    rows alternate between the published tensors (0: none do). transposed: published with its axes swapped.
    trailing: published with that many axes of length 1 behind (1x1 convolutions); without them is read too.
    channels_last: a 3x3 convolution, published with its input channels second.
    """

    own: str
    published: tuple[str, ...]
    interleave: int = 0
    transposed: bool = False
    trailing: int = 0
    channels_last: bool = False

    def join(self, tensors: list[Tensor]) -> Tensor:
        """Our tensor of the published ones."""
        parts = [x.flatten(2).squeeze(2) if self.trailing and x.ndim > 2 else x for x in tensors]
        if self.transposed:
            return parts[0].T.contiguous()
        if self.channels_last:
            return parts[0].permute(0, 2, 3, 1).contiguous()
        if self.interleave:
            return torch.stack([x.reshape(self.interleave, -1, *x.shape[1:]) for x in parts], 1).flatten(0, 2)
        return torch.cat(parts) if len(parts) > 1 else parts[0]

    def split(self, tensor: Tensor) -> list[Tensor]:
        """The published tensors of ours, each with its own memory."""
        count = len(self.published)
        if self.transposed:
            parts = [tensor.T]
        elif self.channels_last:
            parts = [tensor.permute(0, 3, 1, 2)]
        elif self.interleave:
            heads = tensor.reshape(self.interleave, count, -1, *tensor.shape[1:])
            parts = [x.flatten(0, 1) for x in heads.unbind(1)]
        else:
            parts = list(tensor.chunk(count))
        return [
            x[(...,) + (None,) * self.trailing].clone(memory_format=torch.contiguous_format) for x in parts
        ]


@dataclass(frozen=True)
class Part:
    """A layer under published names; its weight and, where it has one, its bias become rules."""

    layer: nn.Module
    own: str
    published: tuple[str, ...]
    interleave: int = 0
    trailing: int = 0

    def rules(self) -> Iterator[Rule]:
        """One rule a tensor."""
        for kind, _ in self.layer.named_parameters(recurse=False):
            names = tuple(f"{name}.{kind}" for name in self.published)
            own, weight = f"{self.own}.{kind}", kind == "weight"
            convolution = weight and isinstance(self.layer, Conv3x3)
            trailing = self.trailing if weight else 0
            yield Rule(own, names, self.interleave, trailing=trailing, channels_last=convolution)


def load(rules: list[Rule], tensors: Mapping[str, Tensor], module: nn.Module) -> dict[str, Tensor]:
    """Published tensors as `module`'s state dict; ValueError names every key that does not fit."""
    wanted = [name for rule in rules for name in rule.published]
    problems = [
        _listed("missing", [name for name in wanted if name not in tensors]),
        _listed("left over", sorted(set(tensors) - set(wanted))),
    ]
    _refuse(problems)
    own, state, wrong = module.state_dict(), {}, []
    for rule in rules:
        parts = [tensors[name] for name in rule.published]
        expected = [tuple(x.shape) for x in rule.split(torch.empty_like(own[rule.own], device="meta"))]
        for name, part, shape in zip(rule.published, parts, expected, strict=True):
            if tuple(part.shape) not in (shape, shape[: len(shape) - rule.trailing]):
                wrong.append(f"{name} is {list(part.shape)}, not {list(shape)}")
        if not wrong:
            state[rule.own] = rule.join(parts)
    _refuse([_listed("wrong shape", wrong)])
    return state


def save(rules: list[Rule], module: nn.Module) -> dict[str, Tensor]:
    """`module`'s state dict under published names; the reverse of `load`, bit for bit."""
    own = module.state_dict()
    return {n: x for rule in rules for n, x in zip(rule.published, rule.split(own[rule.own]), strict=True)}


def _listed(what: str, names: list[str]) -> str:
    return f"{what}: {', '.join(names)}" if names else ""


def _refuse(problems: list[str]) -> None:
    if any(problems):
        raise ValueError("the UNet's tensors do not fit; " + "; ".join(filter(None, problems)))
