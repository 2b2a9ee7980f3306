"""Contracts of compression models, regularisers, losses, adversaries and key maps, for your tests.

Each check raises AssertionError naming the promise of `ldmkit.interfaces` that is broken.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ldmkit.interfaces import Adversary, CompressionModel, KeyMap, Loss, Regulariser
from ldmkit.training.taps import last_weight
from ldmkit.types import Image

TOLERANCE = 1e-4
"""Relative error that float32 may make of the same picture by another way."""
HALF = 0.1
"""By how much half precision may move a latent, relative to its norm."""


def pictures(size: int, count: int = 2) -> Image:
    """Random pictures "count 3 size size" with values in [-1, 1], the same at every call."""
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(0)) * 2 - 1


def check_compression(model: CompressionModel, size: int = 64) -> None:
    """Checks that shapes follow from `latent`, that scale and shift act as the interface says, and that
    decoding is differentiable.

    size: height and width in pixels of the pictures that it is tried on, a multiple of the factor.
    """
    assert isinstance(model, nn.Module), "a compression model is an nn.Module"
    was_training = model.training
    state = {name: x.clone() for name, x in model.state_dict().items()}
    assert {"scale", "shift"} <= state.keys(), "scale and shift are saved buffers"
    model.eval()
    try:
        _check_shapes(model, pictures(size))
        _check_scaling(model, pictures(size))
        _check_gradient(model, pictures(size))
        _check_half(model, pictures(size))
    finally:
        model.load_state_dict(state)
        model.train(was_training)


@torch.no_grad()
def _check_shapes(model: CompressionModel, image: Image) -> None:
    spec, side = model.latent, image.shape[-1]
    expected = (len(image), spec.channels, side // spec.factor, side // spec.factor)
    latent, posterior = model.encode(image), model.posterior(image)
    assert latent.shape == expected, f"encode: {tuple(latent.shape)}, not {expected} as `latent` says"
    assert _near(posterior.mode, latent), "posterior: its mode is what encode gives"
    assert posterior.std is None or posterior.std.shape == expected, "posterior: std has the latent's shape"
    assert posterior.penalty.shape == (len(image),), "posterior: one penalty a picture"
    assert all(x.ndim == 0 for x in posterior.metrics.values()), "posterior: metrics are scalars"
    assert model.decode(latent).shape == image.shape, "decode: a picture of the size that was encoded"
    assert _near(model.encode(image[:1]), latent[:1]), "encode: a picture does not depend on its batch"


@torch.no_grad()
def _check_half(model: CompressionModel, image: Image) -> None:
    """In half precision the latent is that of single precision, as far as the type holds it."""
    latent = model.encode(image)
    for kind in (torch.bfloat16, torch.float16):
        half: Any = copy.deepcopy(_module(model)).to(kind)
        half_latent = half.encode(image.to(kind)).float()
        distance = float((half_latent - latent).norm() / latent.norm())
        assert distance < HALF, f"half precision: the latent moves by {distance:.1e} in {kind}"
        assert half.decode(latent.to(kind)).isfinite().all(), (
            f"half precision: decode is not finite in {kind}"
        )


@torch.no_grad()
def _check_scaling(model: CompressionModel, image: Image) -> None:
    plain, decoded = model.posterior(image), model.decode(model.encode(image))
    old_scale, old_shift = model.scale.clone(), model.shift.clone()
    model.scale.copy_(old_scale * torch.linspace(0.5, 0.9, len(old_scale)))
    model.shift.add_(0.25)
    raw = plain.mode / _spread(old_scale) + _spread(old_shift)
    scaled, scale = model.posterior(image), _spread(model.scale)
    expected = (raw - _spread(model.shift)) * scale
    assert _near(scaled.mode, expected), "posterior: the mode is (raw - shift) * scale"
    if plain.std is not None and scaled.std is not None:
        assert _near(scaled.std, plain.std / _spread(old_scale) * scale), "posterior: std is scaled too"
    assert _near(scaled.penalty, plain.penalty), "posterior: the penalty is that of the unscaled latent"
    assert _near(model.decode(model.encode(image)), decoded), "decode: undoes scale and shift"


def _check_gradient(model: CompressionModel, image: Image) -> None:
    with torch.enable_grad():
        latent = model.encode(image).detach().requires_grad_()
        (gradient,) = torch.autograd.grad(model.decode(latent).square().mean(), latent)
        assert gradient.abs().sum() > 0, "decode: a gradient reaches the latent"
        if any(p.requires_grad for p in _module(model).parameters()):
            last = last_weight(_module(model), lambda: model.decode(latent))
            loss = model.decode(model.encode(image)).square().mean()
            (gradient,) = torch.autograd.grad(loss, last)
            assert gradient.abs().sum() > 0, "decode: a gradient reaches its last layer"


def check_regulariser(regulariser: Regulariser, channels: int = 4) -> None:
    """Checks the sizes of mode and posterior for a latent of `channels` channels, and that a gradient passes
    through `restore`, whose result the decoder reads."""
    count = regulariser.moments(channels)
    moments = torch.randn(2, count, 6, 5, generator=torch.Generator().manual_seed(0))
    mode, posterior = regulariser.mode(moments), regulariser.posterior(moments)
    assert mode.shape == (2, channels, 6, 5), f"mode: {tuple(mode.shape)} for {channels} channels"
    assert torch.equal(posterior.mode, mode), "posterior: its mode is what mode gives"
    assert posterior.penalty.shape == (2,), "posterior: one penalty a picture"
    latent = mode.detach().requires_grad_()
    restored = regulariser.restore(latent)
    assert restored.shape == mode.shape, "restore: of the latent's shape"
    (gradient,) = torch.autograd.grad(restored.sum(), latent)
    assert gradient.abs().sum() > 0, "restore: a gradient passes (straight-through)"


def check_loss(loss: Loss, size: int = 64) -> None:
    """Checks that a loss broadcasts to the elements of a picture, is 0 for equal pictures, and has a finite
    gradient with respect to the reconstruction.

    size: height and width of the pictures in pixels.
    """
    image, reconstruction = pictures(size), (pictures(size) * 0.5).requires_grad_()
    value = loss(reconstruction, image)
    fits = value.ndim == 4 and all(n in (1, m) for n, m in zip(value.shape, image.shape, strict=True))
    assert fits, f"a loss is per element or broadcasts to it, which {tuple(value.shape)} does not"
    assert len(value) == len(image), "a loss keeps pictures apart"
    assert loss(image, image).abs().max() < 1e-5, "equal pictures have no loss"
    assert value.mean() > 0, "different pictures have a loss"
    (gradient,) = torch.autograd.grad(value.mean(), reconstruction)
    assert torch.isfinite(gradient).all(), "the gradient is finite"
    assert gradient.abs().sum() > 0, "the gradient reaches the reconstruction"


def check_adversary(adversary: Adversary, size: int = 64, horizon: int = 1_000_000) -> None:
    """Checks that both losses of an adversary are scalars that teach their own learner, and that it learns at
    least from the step on at which it counts.

    size: height and width of the pictures in pixels. horizon: the step by which its weight must be above 0.
    """
    started = next((n for n in (0, *(2**i for i in range(40))) if adversary.weight(n) > 0), None)
    assert started is not None, "weight: above 0 at some step"
    assert started <= horizon, f"weight: above 0 within {horizon} steps"
    assert adversary.trains(started), "trains: while it has weight, it learns"
    assert all(adversary.weight(n) >= 0 for n in range(started)[:1000]), "weight: never below 0"
    image, reconstruction = pictures(size), (pictures(size) * 0.5).requires_grad_()
    verdict = adversary.generator_loss(reconstruction)
    assert verdict.shape == (), "generator_loss: a scalar"
    (gradient,) = torch.autograd.grad(verdict, reconstruction)
    assert gradient.abs().sum() > 0, "generator_loss: a gradient reaches the reconstruction"
    loss = adversary.discriminator_loss(image, reconstruction.detach())
    assert loss.shape == (), "discriminator_loss: a scalar"
    _check_balance(adversary, reconstruction)
    own = [p for p in _module(adversary).parameters() if p.requires_grad]
    assert own, "an adversary has weights of its own"
    gradients = torch.autograd.grad(loss, own, allow_unused=True)
    assert any(g is not None and g.abs().sum() > 0 for g in gradients), "discriminator_loss: teaches it"


def _check_balance(adversary: Adversary, reconstruction: Tensor) -> None:
    """A finite factor, at least 0, that no gradient passes."""

    def gradient(loss: Tensor) -> Tensor:
        return torch.autograd.grad(loss, reconstruction, retain_graph=True)[0]

    verdict = adversary.generator_loss(reconstruction)
    factor = adversary.balance(reconstruction.square().mean(), verdict, gradient)
    assert factor.shape == (), "balance: a scalar"
    assert torch.isfinite(factor), "balance: finite"
    assert factor >= 0, "balance: at least 0"
    assert not factor.requires_grad, "balance: detached"


def check_keymap(
    keymap: KeyMap, component: Callable[..., nn.Module], parameters: Mapping[str, Any], *args: Any
) -> None:
    """Checks that configuration and tensors can be written and read back bit for bit, and that the error for
    a key that is left over or missing names it.

    component: the component's class. parameters: what a recipe would set. args: what build would supply.
    """
    back = keymap.parameters(keymap.config(parameters))
    module, again = component(*args, **parameters), component(*args, **back)
    published = keymap.save(module)
    again.load_state_dict(keymap.load(published, again))
    for name, x in module.named_parameters():
        assert torch.equal(again.get_parameter(name), x), f"load: {name} comes back bit for bit"
    key = sorted(published)[0]
    _check_named({n: x for n, x in published.items() if n != key}, key, "missing", keymap, again)
    _check_named({**published, "no.such.key": torch.zeros(1)}, "no.such.key", "left over", keymap, again)


def _check_named(
    tensors: Mapping[str, Tensor], key: str, what: str, keymap: KeyMap, module: nn.Module
) -> None:
    message = None
    try:
        keymap.load(tensors, module)
    except ValueError as error:
        message = str(error)
    assert message is not None, f"load: a key that is {what} is an error"
    assert key in message, f"load: the error names the key that is {what}, {key}"


def _module(component: Any) -> nn.Module:
    assert isinstance(component, nn.Module), "a component with weights is an nn.Module"
    return component


def _spread(vector: Tensor) -> Tensor:
    return vector[:, None, None]


def _near(a: Tensor, b: Tensor) -> bool:
    return bool((a - b).norm() <= TOLERANCE * b.norm() + 1e-6)
