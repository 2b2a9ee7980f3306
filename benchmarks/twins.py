"""Models as recipes build them, and diffusers' models with the same weights."""

from __future__ import annotations

import warnings
from typing import Any

import diffusers
import torch
from diffusers import UNet2DConditionModel
from ldmkit_unet.diffusers import DiffusersUNet
from ldmkit_unet.unet import UNet
from torch import nn

import ldmkit
from ldmkit.engine.system import System
from ldmkit.host.plugins import host
from ldmkit.types import Condition, ConditionSpec, LatentSpec

TOKENS, LENGTH = 384, 24
RECIPE: dict[str, Any] = {
    "recipe": 1,
    "name": "twins",
    "conditioners": {"caption": {"name": "text-transformer", "width": TOKENS, "layers": 1, "length": LENGTH}},
    "schedule": {"name": "scaled-linear", "start": 0.00085, "end": 0.012},
    "sampler": {"name": "ddim", "spacing": "leading", "steps": 20},
    "guidance": [{"name": "classifier-free", "scale": 3}],
}
"""The text encoder is small: benchmarks give its output, since it runs once for all steps."""


def system_of(denoiser: dict[str, Any], compression: dict[str, Any], size: int) -> System:
    """An untrained system for pictures of this size; no weight of its denoiser is zero."""
    torch.manual_seed(0)
    recipe = {**RECIPE, "denoiser": denoiser, "compression": compression, "sample": {"size": [size, size]}}
    with warnings.catch_warnings(action="ignore"):  # that the weights are initial ones
        system = ldmkit.build(recipe)
    stir(network_of(system))
    return system


def network_of(system: System) -> UNet:
    """The system's UNet."""
    assert isinstance(system.network, UNet)
    return system.network


def stir(module: nn.Module) -> None:
    """Small random numbers in place of weights that start at zero."""
    for parameter in module.parameters():
        if not parameter.any():
            nn.init.normal_(parameter, std=0.02)


def unet_of(latent: LatentSpec, arguments: dict[str, Any]) -> UNet:
    """Our UNet on text tokens."""
    torch.manual_seed(0)
    unet = UNet(latent, ConditionSpec((), tokens=TOKENS), latent.channels, **arguments)
    stir(unet)
    return unet


def twin(ours: UNet, arguments: dict[str, Any]) -> Any:
    """diffusers' UNet with the same weights; `arguments` are the recipe's parameters of ours."""
    keymap = DiffusersUNet()
    derived = {"latent": ours.latent, "conditions": ours.conditions, "out_channels": ours.latent.channels}
    theirs: Any = UNet2DConditionModel.from_config(keymap.config({**derived, **arguments}))
    theirs.load_state_dict(keymap.save(ours))
    return theirs


def autoencoders(name: str, parameters: dict[str, Any]) -> tuple[Any, Any]:
    """An untrained autoencoder of ours and diffusers' with its weights."""
    torch.manual_seed(0)
    registry = host().registry
    ours: Any = registry.get("compression", name).load()(**parameters).eval()
    keymap: Any = registry.get("keymap", f"diffusers/{name}").load()()
    config = keymap.config(parameters)
    theirs: Any = getattr(diffusers, config["_class_name"]).from_config(config)
    theirs.load_state_dict(keymap.save(ours))
    return ours, theirs.eval()


def condition(batch: int) -> Condition:
    """Random text tokens."""
    return Condition(tokens=torch.randn(batch, LENGTH, TOKENS))
