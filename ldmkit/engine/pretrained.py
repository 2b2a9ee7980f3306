"""Digests of weights that are in no stage: of pretrained encoders, and of networks that guidance uses."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Hashable, Mapping
from weakref import WeakKeyDictionary

from torch import Tensor, nn

from ldmkit.checkpoint.files import tensors_digest
from ldmkit.engine.parts import Parts
from ldmkit.engine.plans import Plan
from ldmkit.engine.stage_state import stage_state
from ldmkit.engine.weights import stages_of
from ldmkit.interfaces import Module


def encoders(system: Parts) -> dict[str, str]:
    """By the recipe's id, a digest of the frozen weights that a conditioner's constructor loads.

    Conditioners without such weights are left out; empty for a system on the "meta" device.
    """
    held = {id(x) for stage in stages_of(system.recipe) for x in stage_state(system, stage).values()}
    found: dict[str, str] = {}
    for name, module in system.conditioners.items():
        tensors = {
            key: x for key, x in tensors_of(module).items() if id(x) not in held and not x.requires_grad
        }
        if tensors and not any(x.is_meta for x in tensors.values()):
            found[name] = digest_once(module, tensors)
    return found


def digest(system: Parts, plan: Plan) -> str | None:
    """A digest of all weights that pictures depend on and no stage holds; None where there are none."""
    found = {f"condition {name}": one for name, one in encoders(system).items()}
    for name, guide in plan.guidance:
        networks = {key: x for key, x in vars(guide).items() if isinstance(x, nn.Module)}
        found |= {f"guidance {name}.{key}": digest_once(x, tensors_of(x)) for key, x in networks.items()}
    return hashlib.sha256(json.dumps(found, sort_keys=True).encode()).hexdigest() if found else None


def digest_once(module: Module, tensors: Mapping[str, Tensor]) -> str:
    """The digest of a module's tensors, computed again only after they have changed."""
    if any(x.is_inference() for x in tensors.values()):  # torch does not count their changes
        return tensors_digest(tensors)
    state = tuple((name, x.data_ptr(), x._version, x.dtype) for name, x in tensors.items())
    known = _digests.get(module)
    if known is None or known[0] != state:
        known = _digests[module] = state, tensors_digest(tensors)
    return known[1]


_digests: WeakKeyDictionary[Module, tuple[Hashable, str]] = WeakKeyDictionary()
"""By module, where its tensors were and how often each had been changed in place, and their digest then."""


def tensors_of(module: Module) -> Mapping[str, Tensor]:
    """All parameters and buffers by name."""
    return {**dict(module.named_parameters()), **dict(module.named_buffers())}
