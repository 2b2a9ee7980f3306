"""How the network is run while pictures are sampled: precision, compiled code, reuse of deep features."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal

import torch
from torch import nn

from ldmkit.engine.compiling import Compiler
from ldmkit.errors import UserError
from ldmkit.interfaces import BoundNetwork, Denoiser
from ldmkit.types import Condition, Latent, PerPicture, Say

Precision = Literal["no", "bf16", "auto"]


class Running:
    """Binds a denoiser to a condition and runs it as a recipe's `sample` section says.

    precision: "bf16" computes products and convolutions in bfloat16 (autocast: weights, norms and what the
    sampler adds up stay in float32), "auto" only where the device has instructions for it. compile: by
    torch.compile, for batches of the first one's size.
    """

    def __init__(self, precision: Precision = "no", compile: bool = False, say: Say | None = None) -> None:
        self._precision, self._say = precision, say or _nothing
        self._compiler = Compiler(self._say) if compile else None
        self._warned = False

    def bind(self, network: Denoiser, condition: Condition, steps: int, reuse: int = 1) -> BoundNetwork:
        """The network on one condition, for about `steps` calls; its deep features are computed at every
        `reuse`-th call.

        Raises UserError for a network that cannot reuse any, and for code that cannot be compiled.
        """
        check_reuse(network, reuse, compiled=self._compiler is not None)
        device = _device_of(network)
        with self._within(device):
            bound = network.bind(condition) if reuse == 1 else reusing(network, condition, reuse)
        if self._compiler is not None:
            bound = self._compiler.compiled(network, bound, steps)

        def run(z: Latent, time: PerPicture) -> Latent:
            with self._within(device):
                return bound(z, time)

        return run if self._low(device) else bound

    def _within(self, device: torch.device) -> AbstractContextManager[Any]:
        low = self._low(device)
        return torch.autocast(device.type, torch.bfloat16) if low else nullcontext()

    def _low(self, device: torch.device) -> bool:
        """Whether to use bfloat16. Warns once where the recipe sets it on a device without such
        instructions."""
        if self._precision == "bf16" and not has_bfloat16(device) and not self._warned:
            self._warned = True
            self._say(
                f"precision bf16: this {device.type} has no instructions for bfloat16, so that float32 is "
                "likely faster; `auto` takes bf16 only where there are"
            )
        return self._precision == "bf16" or (self._precision == "auto" and has_bfloat16(device))


def _device_of(network: Denoiser) -> torch.device:
    """Where its weights are; the CPU for one that has none."""
    assert isinstance(network, nn.Module)
    return next((p.device for p in network.parameters()), torch.device("cpu"))


def has_bfloat16(device: torch.device) -> bool:
    """Has the device instructions that compute in bfloat16? On x86: AVX-512 at the least."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type == "cpu":
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    return False


def reusing(network: Denoiser, condition: Condition, reuse: int) -> BoundNetwork:
    """The network on one condition by its optional `bind_reusing`, which the Protocol does not declare."""
    bind: Callable[[Condition, int], BoundNetwork] | None = getattr(network, "bind_reusing", None)
    assert bind is not None  # see check_reuse
    return bind(condition, reuse)


def check_reuse(network: nn.Module | Denoiser | None, reuse: int, *, compiled: bool) -> None:
    """UserError where deep features are to be reused that the network does not have, or by compiled code."""
    if reuse == 1 or network is None:
        return
    if getattr(network, "bind_reusing", None) is None:
        raise UserError(
            f"sampler.reuse: the denoiser ({type(network).__name__}) has no deep features to reuse; "
            "set it to 1"
        )
    if compiled:
        raise UserError("sample.compile and sampler.reuse exclude each other: leave one out")


def _nothing(line: str) -> None:
    """A `Say` that keeps silent."""
