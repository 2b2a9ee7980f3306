"""The contract of a denoiser: call `check_denoiser` from a test of yours."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ldmkit.types import Condition, ConditionSpec, Latent, LatentSpec

BATCH, LENGTH = 3, 5
TOLERANCE = 1e-4
"""By how much a result may move with the batch that it is computed in, relative to its largest entry."""

HALF = 0.1
"""By how much half precision may move an output, relative to its norm."""

Build = Callable[[LatentSpec, ConditionSpec, int], Any]
"""Makes a denoiser of (latent, conditions, out_channels), as `ldmkit.build` would."""


def check_denoiser(
    build: Build,
    *,
    latent: LatentSpec | None = None,
    size: tuple[int, int] = (8, 8),
    tokens: int = 24,
    concat: int = 2,
    vector: int = 5,
) -> None:
    """Checks a denoiser as a whole, without a condition and with one: shapes, `bind`, dependence on its
    inputs, gradients and half precision.

    build: returns a small denoiser for a latent, conditions and a number of output channels. latent: by
    default of 4 channels and factor 8. size: the latents' (h, w). tokens, concat, vector: widths of the parts
    of the condition; 0 for a part that the denoiser does not take.

    Raises AssertionError naming the promise of `Denoiser` that is broken.
    """
    latent = latent or LatentSpec(4, 8)
    for spec in (ConditionSpec(()), ConditionSpec((), tokens=tokens, concat=concat, vector=vector)):
        denoiser = trained(build(latent, spec, 2 * latent.channels))
        z, time, condition = inputs(latent, spec, size)
        check_output(denoiser, z, time, condition, 2 * latent.channels)
        check_bind(denoiser, z, time, condition)
        check_independence(denoiser, z, time, condition)
        check_condition(denoiser, z, time, condition)
        check_gradients(denoiser, z, time, condition)
        check_half(denoiser, z, time, condition)
        check_reuse(denoiser, z, time, condition)


def trained(denoiser: Any) -> nn.Module:
    """A copy of the denoiser in evaluation mode with random numbers added to its weights: layers that start
    at zero would hide mistakes."""
    assert isinstance(denoiser, nn.Module), "a denoiser is an nn.Module"
    generator = torch.Generator().manual_seed(0)
    moved = copy.deepcopy(denoiser).eval()
    with torch.no_grad():
        for parameter in moved.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.02)
    return moved


def inputs(
    latent: LatentSpec, spec: ConditionSpec, size: tuple[int, int]
) -> tuple[Latent, Tensor, Condition]:
    """z_t "2 c h w", time "2" and a condition with all parts that `spec` announces, some of whose tokens are
    masked."""
    generator = torch.Generator().manual_seed(1)

    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator)

    condition = Condition(
        tokens=draw(BATCH, LENGTH, spec.tokens) if spec.tokens else None,
        mask=torch.arange(LENGTH) < torch.tensor([[5], [2], [1]]) if spec.tokens else None,
        concat=draw(BATCH, spec.concat, *size) if spec.concat else None,
        vector=draw(BATCH, spec.vector) if spec.vector else None,
    )
    return draw(BATCH, latent.channels, *size), torch.tensor([1.0, 450.0, 999.0]), condition


def check_output(
    denoiser: nn.Module, z: Latent, time: Tensor, condition: Condition, out_channels: int
) -> None:
    """Checks that the output has `out_channels` channels and z_t's type, is finite, and depends on z_t and
    time."""
    with torch.inference_mode():
        raw = denoiser(z, time, condition)
        later, other = denoiser(z, time * 0.5, condition), denoiser(z + 1, time, condition)
    shape = (len(z), out_channels, *z.shape[2:])
    assert raw.shape == shape, f"output: {shape}, not {tuple(raw.shape)}"
    assert raw.dtype == z.dtype, f"output: {z.dtype} as z_t, not {raw.dtype}"
    assert torch.isfinite(raw).all(), "output: not finite"
    assert not torch.allclose(raw, later), "output: does not depend on time"
    assert not torch.allclose(raw, other), "output: does not depend on z_t"


def check_bind(denoiser: Any, z: Latent, time: Tensor, condition: Condition) -> None:
    """Checks that `bind` gives the figures of a plain call at every step."""
    with torch.inference_mode():
        bound = denoiser.bind(condition)
        for step in (time, time * 0.5):
            assert torch.equal(bound(z, step), denoiser(z, step, condition)), (
                "bind: differs from a plain call"
            )


def check_reuse(denoiser: Any, z: Latent, time: Tensor, condition: Condition) -> None:
    """Checks, of a denoiser that has `bind_reusing`, that the first of every `interval` calls is exact and
    those between are finite."""
    if not hasattr(denoiser, "bind_reusing"):
        return
    with torch.inference_mode():
        plain, reusing = denoiser.bind(condition), denoiser.bind_reusing(condition, 2)
        for call, step in enumerate([time, time, time * 0.5, time * 0.5]):
            exact, reused = plain(z, step), reusing(z, step)
            if call in (0, 2):
                assert torch.equal(reused, exact), f"bind_reusing: call {call} is not exact"
            assert reused.shape == exact.shape, f"bind_reusing: {tuple(reused.shape)}"
            assert torch.isfinite(reused).all(), "bind_reusing: not finite"


def check_independence(denoiser: nn.Module, z: Latent, time: Tensor, condition: Condition) -> None:
    """Checks that the output for a picture does not depend on the others in its batch."""
    with torch.inference_mode():
        together = denoiser(z, time, condition)
        alone = torch.cat(
            [denoiser(z[i : i + 1], time[i : i + 1], _one(condition, i)) for i in range(len(z))]
        )
    distance = float((together - alone).abs().max() / together.abs().max())
    assert distance <= TOLERANCE, f"batch: a picture's output moves by {distance:.1e} with its batch"


def check_condition(denoiser: nn.Module, z: Latent, time: Tensor, condition: Condition) -> None:
    """Checks that each part of the condition has an effect, that masked tokens have none, and that a
    condition without one of the parts is refused."""
    parts = {name: getattr(condition, name) for name in ("tokens", "mask", "concat", "vector")}
    with torch.inference_mode():
        raw = denoiser(z, time, condition)
        for name in ("tokens", "concat", "vector"):
            if parts[name] is None:
                continue
            changed = denoiser(z, time, Condition(**{**parts, name: parts[name] + 1}))
            assert not torch.allclose(raw, changed), f"condition: {name} has no effect"
            _check_refusal(denoiser, z, time, Condition(**{**parts, name: None}), name)
        if condition.tokens is not None and condition.mask is not None:
            tokens = condition.tokens.masked_fill(~condition.mask[..., None], 50.0)
            masked = denoiser(z, time, Condition(**{**parts, "tokens": tokens}))
            assert torch.allclose(raw, masked, atol=TOLERANCE), (
                "mask: tokens that do not count have an effect"
            )


def check_gradients(denoiser: nn.Module, z: Latent, time: Tensor, condition: Condition) -> None:
    """Checks that gradients reach every parameter, and the condition, whose encoder may be trained
    jointly."""
    leaf = condition.map(lambda x: x.clone().requires_grad_() if x.is_floating_point() else x)
    denoiser(z, time, leaf).square().mean().backward()
    without = [n for n, p in denoiser.named_parameters() if p.requires_grad and p.grad is None]
    assert not without, f"gradients: none reaches {', '.join(without)}"
    for name in ("tokens", "concat", "vector"):
        part = getattr(leaf, name)
        assert part is None or part.grad is not None, f"gradients: none reaches the condition's {name}"


def _converted(x: Tensor, kind: torch.dtype) -> Tensor:
    """A tensor of floating point in another type; others as they are."""
    return x.to(kind) if x.is_floating_point() else x


def check_half(denoiser: nn.Module, z: Latent, time: Tensor, condition: Condition) -> None:
    """Checks that in bfloat16 and float16 the output is that of float32, as far as the type holds it."""
    whole = denoiser(z, time, condition).detach()
    for kind in (torch.bfloat16, torch.float16):
        half = copy.deepcopy(denoiser).to(kind)
        half_condition = condition.map(partial(_converted, kind=kind))
        with torch.inference_mode():
            raw = half(z.to(kind), time, half_condition)
        assert raw.dtype == kind, f"half precision: {kind} expected, not {raw.dtype}"
        distance = float((raw.float() - whole).norm() / whole.norm())
        assert distance < HALF, f"half precision: the output moves by {distance:.1e} in {kind}"


def _one(condition: Condition, i: int) -> Condition:
    """The condition of one picture."""
    return condition.map(lambda x: x[i : i + 1])


def _check_refusal(denoiser: nn.Module, z: Latent, time: Tensor, condition: Condition, name: str) -> None:
    """ValueError that names the missing part."""
    message = None
    try:
        denoiser(z, time, condition)
    except ValueError as error:
        message = str(error)
    assert message is not None, f"condition without {name}: ValueError expected"
    assert name in message, f"condition without {name}: the error must name it, not '{message}'"
