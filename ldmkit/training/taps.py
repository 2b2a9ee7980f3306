"""Taps: intermediate outputs of a network, through forward hooks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from ldmkit.errors import UserError
from ldmkit.interfaces import Module

Seen = Callable[[nn.Module, Any], None]


@contextmanager
def tapped(modules: Iterable[nn.Module], seen: Seen) -> Iterator[None]:
    """A context in which `seen(module, output)` is called after each forward pass of one of the modules."""
    hooks = [m.register_forward_hook(lambda module, _, output: seen(module, output)) for m in modules]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


@torch.no_grad()
def last_weight(model: Module, run: Callable[[], Any]) -> nn.Parameter:
    """The trainable matrix or kernel of the layer that `run`, a pass through the model, reaches last.

    Raises UserError where no layer that it reaches has one.
    """
    reached: list[nn.Module] = []
    was_training = model.training
    model.eval()
    with tapped(model.modules(), lambda module, _: reached.append(module)):
        run()
    model.train(was_training)
    # A hook of a module fires after those of its children: layers without children come first.
    layers = [m for m in reached if not any(m.children())] or reached
    weights = [p for m in reversed(layers) for p in m.parameters(recurse=False)]
    weight = next((p for p in weights if p.requires_grad and p.ndim > 1), None)
    if weight is None:
        raise UserError("train.compression: the decoder has no weights to train; leave the adversary out")
    return weight
