"""A training whose gradients, optimizer state and averages the processes share out: FSDP2 of torch."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard

from ldmkit.errors import UserError
from ldmkit.recipe.stages import AdapterTraining, DiffusionTraining, TrainingSettings
from ldmkit.training.collectives import place, sum_over_processes
from ldmkit.training.shared_tensors import part_of, whole
from ldmkit.training.stage import Learner, Losses


def shares(options: TrainingSettings) -> bool:
    """Whether several processes share the training out; UserError for settings that this excludes."""
    if not (isinstance(options, DiffusionTraining) and options.fsdp):
        return False
    others = {
        "compile": options.compile,
        "precision fp16": options.precision == "fp16",
        "the training of an adapter": isinstance(options, AdapterTraining),
    }
    for name in (name for name, setting in others.items() if setting):
        raise UserError(f"fsdp does not go with {name}: leave one of them out")
    return True


class Reached(nn.Module):
    """A TrainingStep in which all processes have gradients of the same weights in a pass, as FSDP2 needs.

    A weight that this process's rows do not reach and another's do gets a gradient of zeros; one that none
    reaches gets none, so that the optimizer leaves it alone as it does in one process.
    """

    def __init__(self, step: nn.Module, every_weight: bool) -> None:
        super().__init__()
        self.step, self._every = step, every_weight

    def forward(self, batch: Mapping[str, Any], draws: Any) -> tuple[Losses, dict[str, Tensor]]:
        """As the TrainingStep's."""
        losses, handed = self.step(batch, draws)
        if self._every:
            return losses, handed
        weights = [p for p in self.step.parameters() if p.requires_grad]
        here = _reached(losses["loss"])
        anywhere = sum_over_processes([float(id(p) in here) for p in weights])
        absent = [p for p, n in zip(weights, anywhere, strict=True) if n and id(p) not in here]
        zeros = [0 * p.flatten()[0] for p in absent]
        return {
            **losses,
            "loss": torch.stack([losses["loss"], *zeros]).sum() if zeros else losses["loss"],
        }, handed


def _reached(loss: Tensor) -> set[int]:
    """The ids of the weights that a loss was computed from, by a walk through its graph."""
    leaves, seen, left = set(), set(), [loss.grad_fn]
    while left:
        node = left.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if hasattr(node, "variable"):
            leaves.add(id(node.variable))
        left.extend(following for following, _ in node.next_functions)
    return leaves


class Sharded:
    """A learner's TrainingStep twice: whole, for validation, pictures, files, and shared out, which learns.

    Its parameters and optimizer are of the shared-out copy afterwards. Weights that do not learn are
    the same tensors in both. During a pass each process has the learning weights whole; gradients, optimizer
    state and averages it keeps only its part of. Raises UserError for an optimizer that is not Adam or AdamW:
    others may need a matrix as a whole.
    """

    def __init__(self, learner: Learner, device: torch.device) -> None:
        if not isinstance(learner.optimizer, torch.optim.Adam | torch.optim.AdamW):
            raise UserError(
                f"fsdp: optimizer {type(learner.optimizer).__name__} is not known to learn from parts of a "
                "weight; take AdamW, or leave fsdp out"
            )
        self._whole = learner.step
        fixed = {id(p): p for p in learner.step.parameters() if not p.requires_grad}
        learner.step = deepcopy(learner.step, dict(fixed))
        self.module = Reached(learner.step, learner.every_weight)
        mesh = init_device_mesh(device.type, (place()[1],))
        fully_shard(self.module, mesh=mesh, ignored_params=set(fixed.values()))
        learner.__post_init__()
        self._copy = learner.step

    def synced(self, last: bool) -> None:
        """Gradients are averaged over processes in a step's last pass alone."""
        assert isinstance(self.module, FSDPModule)
        self.module.set_requires_gradient_sync(last)

    @torch.no_grad()
    def gather(self) -> None:
        """The whole step gets the weights and buffers of the shared-out one; by all processes."""
        own = _tensors(self._whole)
        for name, value in _tensors(self._copy).items():
            if own[name] is not value:
                own[name].copy_(whole(value))

    @torch.no_grad()
    def scatter(self) -> None:
        """The reverse."""
        own = _tensors(self._whole)
        for name, value in _tensors(self._copy).items():
            if own[name] is not value:
                value.copy_(part_of(own[name], value))


def _tensors(module: nn.Module) -> dict[str, Tensor]:
    return dict(module.named_parameters()) | dict(module.named_buffers())
