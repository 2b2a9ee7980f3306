"""The learners' modules as several processes train them together."""

from __future__ import annotations

from accelerate import Accelerator, DistributedDataParallelKwargs
from torch import nn

from ldmkit.training.collectives import sum_over_processes
from ldmkit.training.sharding import Sharded, shares
from ldmkit.training.stage import Learner, TrainingStage


def joined(
    stage: TrainingStage, accelerator: Accelerator, rows: slice
) -> tuple[list[nn.Module], list[Sharded]]:
    """Each learner's TrainingStep, whose gradients are averaged over processes; what of them is shared out.

    Some weights may have no gradient in some steps, or in none: a learned null condition that is never drawn,
    for one. To find them costs torch a walk through the graph in every step, which is left out where all have
    one.
    """
    if shares(stage.options) and accelerator.num_processes > 1:
        sharded = [Sharded(learner, accelerator.device) for learner in stage.learners]
        return [s.module for s in sharded], sharded
    modules = []
    for learner in stage.learners:
        search = accelerator.num_processes > 1 and _searched(learner, stage, rows)
        accelerator.ddp_handler = DistributedDataParallelKwargs(find_unused_parameters=search)
        modules.append(accelerator.prepare_model(learner.step))
    return modules, []


def _searched(learner: Learner, stage: TrainingStage, rows: slice) -> bool:
    """Whether each step must look for weights without a gradient; found by a pass of the first batch."""
    if not learner.every_weight:
        return True
    learner.step.eval()  # statistics of batches are left as they are
    losses, _ = learner.step(*stage.batch(0, rows))
    losses["loss"].backward()
    left_out = any(p.grad is None for p in learner.parameters.values())
    learner.optimizer.zero_grad(set_to_none=True)
    return bool(sum_over_processes([float(left_out)])[0])
