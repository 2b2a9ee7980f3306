"""Auxiliary losses of the diffusion stage: the recipe's components, and what they see of the denoiser."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, cast

from torch import Tensor, nn

from ldmkit.engine.components import build
from ldmkit.errors import UserError, did_you_mean
from ldmkit.host.registry import Registry
from ldmkit.interfaces import Auxiliary, Denoiser
from ldmkit.recipe.components import Component
from ldmkit.training.taps import tapped
from ldmkit.types import Image, Level


class Auxiliaries(nn.Module):
    """The auxiliary losses by name, and the taps on the denoiser's layers that they read.

    Raises UserError for a layer that the denoiser does not have, and for a list of layers: nothing calls it.
    """

    def __init__(self, losses: Mapping[str, Auxiliary], denoiser: Denoiser) -> None:
        super().__init__()
        # Casts: a Protocol cannot inherit from nn.Module, and a ModuleDict does not say what it holds.
        self.losses = nn.ModuleDict(cast(dict[str, nn.Module], losses))
        self._layers: dict[nn.Module, str] = {}
        known = dict(denoiser.named_modules())
        for name, loss in losses.items():
            for layer in loss.layers:
                if layer not in known:
                    raise UserError(f"auxiliary ({name}): no layer '{layer}'{did_you_mean(layer, known)}")
                if type(known[layer]).forward is nn.Module.forward:
                    raise UserError(
                        f"auxiliary ({name}): '{layer}' is a list of layers; name one, as '{layer}.0'"
                    )
                self._layers[known[layer]] = layer

    def features(self, features_by_layer: dict[str, Any]) -> AbstractContextManager[None]:
        """Within, `features_by_layer` is filled by the outputs of the tapped layers, by name."""

        def seen(module: nn.Module, output: Any) -> None:
            features_by_layer[self._layers[module]] = output

        return tapped(self._layers, seen)

    def each(self) -> list[Auxiliary]:
        """The losses in the recipe's order."""
        return cast(list[Auxiliary], [*self.losses.values()])

    def forward(self, features: Mapping[str, Any], image: Image, level: Level) -> dict[str, Tensor]:
        """The mean of each loss, by name."""
        values: dict[str, Tensor] = {}
        for name, loss in zip(self.losses, self.each(), strict=True):
            own = {layer: features[layer] for layer in loss.layers}
            values[name] = loss(own, image, level).mean()
        return values

    def state(self) -> dict[str, Tensor]:
        """Trainable weights and buffers, live: what a checkpoint holds."""
        tensors = self.state_dict(prefix="auxiliary.", keep_vars=True).items()
        return {n: x for n, x in tensors if x.requires_grad or not isinstance(x, nn.Parameter)}


def named_losses(registry: Registry, slots: Sequence[Component]) -> dict[str, Auxiliary]:
    """The components of the slots by name, a repeated one with its number."""
    losses: dict[str, Auxiliary] = {}
    for i, slot in enumerate(slots):
        name = slot.name.replace(".", "-")
        losses[f"{name}-{i}" if name in losses else name] = build(registry, "auxiliary", slot)
    return losses
