"""LoRA (Hu et al. 2022) on the layers of a system, by peft."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from fnmatch import fnmatch
from typing import Annotated

import torch
from peft import LoraConfig, get_peft_model_state_dict, inject_adapter_in_model
from peft.tuners.lora import Linear
from pydantic import Field, PositiveFloat, PositiveInt
from torch import Tensor, nn

INPUTS = tuple(f"denoiser.*.{name}" for name in ("q", "k", "v", "kv", "qkv", "to_q", "to_k", "to_v"))
OUTPUTS = tuple(f"denoiser.*.{name}.out" for name in ("attn?", "attention", "cross"))


class Lora:
    """A low-rank update beside each chosen linear layer: W x + (alpha / rank) B A x, B zero at first.

    Several adapters of one system add up. The file holds A and B alone.

    Args:
        rank: rows of A, columns of B.
        alpha: the update's factor times rank; default: rank.
        layers: the linear layers to adapt, patterns of their names in the system; default: the queries, keys,
            values and outputs of the denoiser's attention. A layer whose weight the network reads without
            calling the layer cannot be adapted.
        dropout: rate of dropout on the update's input in training.
    """

    def __init__(
        self,
        *,
        rank: PositiveInt = 4,
        alpha: PositiveFloat | None = None,
        layers: tuple[str, ...] = INPUTS + OUTPUTS,
        dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0,
    ) -> None:
        self.rank, self.alpha, self.layers, self.dropout = rank, alpha, layers, dropout
        self.name = ""
        self.system: nn.Module = nn.Identity()

    def attach(self, system: nn.Module, name: str) -> None:
        """Raises ValueError where no linear layer has a name that `layers` match."""
        targets = [n for n, m in _linear_layers(system) if any(fnmatch(n, p) for p in self.layers)]
        if not targets:
            raise ValueError(f"no linear layer of the system is called {' or '.join(self.layers)}")
        config = LoraConfig(
            r=self.rank,
            # peft declares a whole number and divides by the rank, so that a fraction serves as well.
            lora_alpha=self.rank if self.alpha is None else self.alpha,  # type: ignore[arg-type]
            target_modules=targets,
            lora_dropout=self.dropout,
        )
        trained = {p: p.requires_grad for p in system.parameters()}
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Already found a `peft_config`")  # several are meant
            inject_adapter_in_model(config, system, name)
        self.system, self.name = system, name
        for layer in self._adapted():
            layer.set_adapter([*layer.lora_A])  # all of them together
            layer.train(layer.get_base_layer().training)
        for parameter, flag in trained.items():  # peft freezes all but its own
            parameter.requires_grad_(flag)

    def state(self) -> Mapping[str, Tensor]:
        """A and B of each layer under peft's names, as in the files of its users."""
        named = dict(self.system.named_parameters())
        kept = get_peft_model_state_dict(self.system, adapter_name=self.name)
        return {key: named[self._place(key)] for key in kept}

    def set_strength(self, strength: float) -> None:
        """Scales the update."""
        for layer in self._adapted():
            layer.set_scale(self.name, strength)

    @torch.no_grad()
    def merge(self) -> None:
        """W becomes W + strength (alpha / rank) B A; layers that no other adapter needs are as before."""
        for path, layer in list(_lora_layers(self.system)):
            if self.name not in layer.lora_A:
                continue
            base = layer.get_base_layer()
            weight = base.get_parameter("weight")
            weight.add_(layer.get_delta_weight(self.name).to(weight))
            layer.delete_adapter(self.name)
            if not layer.lora_A:
                self.system.set_submodule(path, base)

    def _adapted(self) -> Iterator[Linear]:
        return (layer for _, layer in _lora_layers(self.system) if self.name in layer.lora_A)

    def _place(self, key: str) -> str:
        """The parameter's name in the system, which has the adapter's between the layer's and `weight`."""
        return f"{key.removesuffix('.weight')}.{self.name}.weight"


def _linear_layers(system: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Linear layers by the names that they have without adapters."""
    for name, module in system.named_modules():
        inside = ".base_layer" in name or ".lora_" in name
        if not inside and isinstance(module, nn.Linear | Linear):
            yield name, module


def _lora_layers(system: nn.Module) -> Iterator[tuple[str, Linear]]:
    for name, module in system.named_modules():
        if isinstance(module, Linear):
            yield name, module
