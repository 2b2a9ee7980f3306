"""Weights that no stage holds: those of pretrained encoders, and of networks that guidance asks."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

from torch import Tensor, nn

from ldmkit.checkpoint.files import tensors_digest
from ldmkit.engine.parts import Parts
from ldmkit.engine.plans import Plan
from ldmkit.engine.stage_state import stage_state
from ldmkit.engine.weights import stages_of


def encoders(system: Parts) -> dict[str, str]:
    """A digest of the weights that each conditioner's constructor brings, by the recipe's id; of those alone
    that bring any. Nothing for a system without numbers, on the "meta" device."""
    held = {id(x) for stage in stages_of(system.recipe) for x in stage_state(system, stage).values()}
    found: dict[str, str] = {}
    for name, module in system.conditioners.items():
        tensors = {key: x for key, x in _tensors(module).items() if id(x) not in held and not x.requires_grad}
        if tensors and not any(x.is_meta for x in tensors.values()):
            found[name] = tensors_digest(tensors)
    return found


def digest(system: Parts, plan: Plan) -> str | None:
    """A digest of all weights that pictures depend on and no stage holds; None where there are none."""
    found = {f"condition {name}": one for name, one in encoders(system).items()}
    for name, guide in plan.guidance:
        networks = {key: x for key, x in vars(guide).items() if isinstance(x, nn.Module)}
        found |= {f"guidance {name}.{key}": tensors_digest(_tensors(x)) for key, x in networks.items()}
    return hashlib.sha256(json.dumps(found, sort_keys=True).encode()).hexdigest() if found else None


def _tensors(module: nn.Module) -> Mapping[str, Tensor]:
    return {**dict(module.named_parameters()), **dict(module.named_buffers())}
