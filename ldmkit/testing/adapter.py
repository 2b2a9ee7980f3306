"""The contract of an adapter: call `check_adapter` from a test of yours."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn

from ldmkit.interfaces import Adapter

TOLERANCE = 1e-4
"""Relative error that float32 may make of merged weights."""


def check_adapter(make: Callable[[], Adapter], system: nn.Module, run: Callable[[nn.Module], Tensor]) -> None:
    """Checks that an adapter changes nothing before it is trained, learns, and can be switched off and
    merged.

    make: returns a new adapter, as a recipe would build it. system: a small module with the layers that it
    adapts; it is copied. run: returns an output of the system, in evaluation mode, that depends on those
    layers.

    Raises AssertionError naming the promise of `Adapter` that is broken.
    """
    adapted, own = copy.deepcopy(system).eval(), dict(system.state_dict())
    flags = [p.requires_grad for p in adapted.parameters()]
    kept = list(adapted.parameters())
    plain = run(adapted)
    first, second = make(), make()
    first.attach(adapted, "first")
    assert torch.equal(run(adapted), plain), "attach: no figure changes before the adapter is trained"
    assert [p.requires_grad for p in kept] == flags, "attach: the system's own weights train or not as before"
    _check_training(first, adapted, run, kept)
    changed = run(adapted)
    assert not torch.equal(changed, plain), "its weights have an effect"
    first.set_strength(0.0)
    assert torch.allclose(run(adapted), plain, atol=1e-6), "set_strength: at 0 it does not count"
    second.attach(adapted, "second")
    first.set_strength(1.0)
    assert torch.allclose(run(adapted), changed, atol=1e-6), "attach: a second one changes nothing at first"
    _move(second)
    both = run(adapted)
    for adapter in (first, second):
        adapter.merge()
        assert _near(run(adapted), both), "merge: changes no figure"
    assert adapted.state_dict().keys() == own.keys(), "merge: leaves the system's own weights alone"


def _check_training(
    adapter: Adapter, system: nn.Module, run: Callable[[nn.Module], Tensor], kept: list[nn.Parameter]
) -> None:
    """Gradients reach its weights, which are none of the system's, live and loadable."""
    state = adapter.state()
    assert state, "state: it has weights"
    own = {id(p) for p in kept}
    assert not any(id(x) in own for x in state.values()), "state: none of the system's own weights"
    parts = {id(p) for p in system.parameters()} | {id(b) for b in system.buffers()}
    assert all(id(x) in parts for x in state.values()), "state: live parameters and buffers, no copies"
    _move(adapter)
    for x in state.values():
        x.requires_grad_(x.is_floating_point())
    run(system).square().mean().backward()
    assert any(x.grad is not None and x.grad.abs().sum() > 0 for x in state.values()), "gradients reach it"


@torch.no_grad()
def _move(adapter: Adapter) -> None:
    """Random weights, by the live tensors, as a checkpoint would put them back."""
    generator = torch.Generator().manual_seed(0)
    for x in adapter.state().values():
        x.add_(torch.randn(x.shape, generator=generator), alpha=0.2)


def _near(a: Tensor, b: Tensor) -> bool:
    return bool((a - b).norm() <= TOLERANCE * b.norm())
