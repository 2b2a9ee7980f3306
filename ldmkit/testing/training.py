"""Contracts of optimizers, auxiliary losses and callbacks, for your tests."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import PIL.Image
import torch
from torch import nn

from ldmkit.interfaces import Auxiliary, Callback, Optimizer
from ldmkit.recipe.stages import TrainingSettings
from ldmkit.training.optim import groups_of, optimizer_numbers, optimizer_state, restore_optimizer, set_rate
from ldmkit.types import Image, Level, Outcome, TrainingRun

STEPS = 4


def _network() -> nn.Module:
    """A convolution, a matrix and an embedding with their biases; always the same."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layers = nn.Sequential(nn.Conv2d(2, 6, 3), nn.Flatten(), nn.Linear(6 * 9, 5), nn.LayerNorm(5))
        return nn.ModuleDict({"layers": layers, "embedding": nn.Embedding(7, 5)})


def _loss(network: nn.Module, step: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(step)
    x, ids = torch.randn(4, 2, 5, 5, generator=generator), torch.tensor([0, 3, step % 7, 1])
    parts = dict(network.named_children())
    return (parts["layers"](x) - parts["embedding"](ids)).square().mean()


def _trained(network: nn.Module, optimizer: torch.optim.Optimizer, steps: range, lr: float) -> None:
    for step in steps:
        set_rate(optimizer, lr)
        optimizer.zero_grad(set_to_none=True)
        _loss(network, step).backward()
        optimizer.step()


def check_optimizer(make: Optimizer, lr: float = 1e-2) -> None:
    """Checks that an optimizer trains every parameter, obeys the learning rate and its factors, and resumes
    bit for bit.

    lr: a learning rate with which a few steps lower the loss of a small network.

    Raises AssertionError naming the promise of `Optimizer` that is broken.
    """
    options = TrainingSettings(steps=1, batch=1, lr=lr, lr_factors={"embedding": 0.0})
    network = _network()
    before = {n: p.detach().clone() for n, p in network.named_parameters()}
    optimizer = make(groups_of(dict(network.named_parameters()), options))
    assert isinstance(optimizer, torch.optim.Optimizer), "an optimizer makes a torch.optim.Optimizer"
    assert all("factor" in group for group in optimizer.param_groups), "param_groups keep their factor"
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    missing = [n for n, p in network.named_parameters() if id(p) not in held]
    assert not missing, f"param_groups: {', '.join(missing)} is in no group"
    _trained(network, optimizer, range(STEPS), lr)
    for name, parameter in network.named_parameters():
        moved = not torch.equal(parameter, before[name])
        message = f"{name} is trained although its factor is 0" if moved else f"{name} is not trained"
        assert moved != name.startswith("embedding"), message
    assert _loss(network, 0) < _loss(_changed(before), 0), "the loss falls"
    _check_resume(make, lr)


def _changed(tensors: Mapping[str, torch.Tensor]) -> nn.Module:
    network = _network()
    network.load_state_dict(dict(tensors))
    return network


def _check_resume(make: Optimizer, lr: float) -> None:
    """Steps, a checkpoint, and steps of another process equal steps without a break."""
    options = TrainingSettings(steps=1, batch=1, lr=lr)
    whole, first = _network(), _network()
    _trained(whole, make(groups_of(dict(whole.named_parameters()), options)), range(2 * STEPS), lr)
    optimizer = make(groups_of(dict(first.named_parameters()), options))
    _trained(first, optimizer, range(STEPS), lr)
    named = dict(first.named_parameters())
    tensors = {k: v.clone() for k, v in optimizer_state(optimizer, named)}
    numbers = optimizer_numbers(optimizer, named)
    second = _changed({n: p.detach().clone() for n, p in named.items()})
    named = dict(second.named_parameters())
    again = make(groups_of(named, options))
    restore_optimizer(again, named, tensors, numbers)
    _trained(second, again, range(STEPS, 2 * STEPS), lr)
    for name, parameter in whole.named_parameters():
        assert torch.equal(parameter, second.get_parameter(name)), f"resume: {name} is not what it would be"


def check_auxiliary(
    auxiliary: Auxiliary, features: Mapping[str, torch.Tensor], image: Image, level: Level | None = None
) -> None:
    """Checks that there is one finite loss for each picture, whose gradients reach the features and the
    loss's own trained weights, if it has any.

    features: outputs of the layers that it reads, by name, as a denoiser would give them. image: the
    pictures, "b 3 H W" in [-1, 1]. level: their noise level, by default one of alpha 0.8.

    Raises AssertionError naming the promise of `Auxiliary` that is broken.
    """
    assert isinstance(auxiliary, nn.Module), "an auxiliary loss is an nn.Module"
    assert set(auxiliary.layers) == set(features), f"layers: {tuple(auxiliary.layers)}"
    level = level or Level(torch.tensor(0.8), torch.tensor(0.6), torch.tensor(300.0))
    auxiliary(features, image, level)  # lazy modules take their shapes
    leaves = {name: x.detach().clone().requires_grad_() for name, x in features.items()}
    loss = auxiliary(leaves, image, level)
    assert loss.shape == (len(image),), f"one loss a picture, not {tuple(loss.shape)}"
    assert torch.isfinite(loss).all(), "the loss is finite"
    loss.sum().backward()
    assert all(x.grad is not None and x.grad.abs().sum() > 0 for x in leaves.values()), (
        "a gradient reaches every layer"
    )
    without = [n for n, p in auxiliary.named_parameters() if p.requires_grad and p.grad is None]
    assert not without, f"gradients: none reaches {', '.join(without)}"


def check_callback(make: Callable[[], Callback], folder: Path) -> None:
    """Sends a callback the events of a training that stops and goes on, as the loop does; none may raise.

    make: returns a new callback, as a recipe would build it. folder: an empty folder for the run's files.
    """
    recipe = {"recipe": 1, "name": "toy", "train": {"compression": {"loss": ({"name": "toy"},)}}}
    parts: tuple[tuple[int, int, Outcome], ...] = ((0, 20, "stopped"), (10, 30, "finished"))
    for first, last, outcome in parts:
        callback = make()
        callback.begin(TrainingRun(recipe, "compression", folder, first, 30))
        for step in range(first + 10, last + 1, 10):
            callback.figures(step, {"loss": 1 / step, "lr": 1e-3})
        callback.figures(last, {"validation_loss": 0.5})
        callback.picture(last, PIL.Image.new("RGB", (12, 8), (255, 0, 0)))
        callback.end(outcome)
