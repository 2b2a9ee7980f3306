"""A denoiser in an exported file that another runtime than torch runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import torch
from torch import Tensor, nn

from ldmkit.hookspecs import Reads
from ldmkit.types import Condition, ConditionSpec, Latent, LatentSpec, PerPicture
from ldmkit_runtimes.programs import Runtime, program

PARTS = ("tokens", "mask", "concat", "vector")


class Exported(nn.Module):
    """Runs what `ldmkit export --format onnx` (or `openvino`) wrote, on the CPU; it has no weights itself.

    It is for sampling: it has no gradients, so that neither training nor guidance through the network can use
    it. The latents' size is that of the export, their number is free. Raises ValueError for a file that
    cannot be loaded, or whose runtime is not installed.

    Args:
        file: the exported file, denoiser.onnx or denoiser.xml.
        runtime: the program that runs it; onnxruntime for .onnx, openvino for .xml and .onnx.
    """

    def __init__(
        self,
        latent: LatentSpec,
        conditions: ConditionSpec,
        out_channels: int,
        *,
        file: Annotated[Path, Reads(beside=("{stem}.bin", "{stem}.onnx.data"))],
        runtime: Runtime = "onnxruntime",
    ) -> None:
        super().__init__()
        self.latent, self.conditions, self.out_channels = latent, conditions, out_channels
        self._inputs, self._run = program(runtime, file)

    def forward(self, z: Latent, time: PerPicture, condition: Condition) -> Latent:
        """The raw output."""
        return self.bind(condition)(z, time)

    def bind(self, condition: Condition) -> Callable[[Latent, PerPicture], Latent]:
        """The network on one condition; ValueError where the file takes other parts of a condition."""
        inputs = self._given(condition)

        def bound(z: Latent, time: PerPicture) -> Latent:
            if torch.is_grad_enabled() and z.requires_grad:
                raise ValueError("an exported network has no gradients")
            arrays = {"z": z.float(), "time": time.float().expand(len(z)), **inputs}
            output = self._run({name: x.detach().cpu().contiguous().numpy() for name, x in arrays.items()})
            return torch.from_numpy(output.copy()).to(z)

        return bound

    def _given(self, condition: Condition) -> dict[str, Tensor]:
        """The parts that the file takes; a mask that it takes and the condition has not lets all count."""
        tensors = {part: getattr(condition, part) for part in PARTS if getattr(condition, part) is not None}
        tokens, mask = condition.tokens, condition.mask
        if mask is not None and mask.is_meta and "mask" not in self._inputs:
            del tensors["mask"]  # of a rehearsal, where every condition has one
        if "mask" in self._inputs and "mask" not in tensors and tokens is not None:
            tensors["mask"] = torch.ones(tokens.shape[:2], dtype=torch.bool)
        if set(tensors) != set(self._inputs) - {"z", "time"}:
            raise ValueError(
                f"the file takes {', '.join(self._inputs)}; given are z, time, {', '.join(tensors)}"
            )
        return tensors
