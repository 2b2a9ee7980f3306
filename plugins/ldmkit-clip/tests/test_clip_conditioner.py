"""The text tower as a conditioner."""

from __future__ import annotations

import pytest
import torch
from ldmkit_clip.conditioner import ClipText
from ldmkit_clip.network import load_clip
from ldmkit_clip.sources import Network
from torch import nn

from ldmkit.engine.components import build
from ldmkit.host.plugins import host
from ldmkit.recipe import Component
from ldmkit.recipe.resolve import resolve_component
from ldmkit.testing.conditioner import check_conditioner

TEXTS = ["a red fox", "", "an umbrella with rain drops"]


def test_contract(tiny):
    network = Network(path=str(tiny))
    check_conditioner(ClipText(network=network, vector=True), {"caption": TEXTS})
    check_conditioner(ClipText(network=network, field="words"), {"words": TEXTS})


def test_a_relative_path_starts_at_the_recipe_s_folder(tiny):
    component = Component(name="clip-text", parameters={"network": {"path": tiny.name}})
    registry = host().registry
    resolved = resolve_component("conditioner", component, registry, tiny.parent)
    assert build(registry, "conditioner", resolved).spec.tokens == 8


@pytest.mark.parametrize("custom", [False, True])
def test_the_state_at_a_text_s_end_is_what_the_network_pools(write_clip, custom):
    """Both of open_clip's classes, which keep the text tower in different places."""
    network = Network(path=str(write_clip("clip", custom=custom)))
    clip, module = load_clip(network), ClipText(network=network)
    condition = module.encode(module.prepare({"caption": TEXTS}))
    ends = condition.mask.sum(1) - 1
    states = condition.tokens[torch.arange(len(TEXTS)), ends]
    tower = clip.model.text if custom else clip.model
    pooled = nn.functional.normalize(states @ tower.text_projection, dim=1)
    assert torch.allclose(pooled, clip.texts(TEXTS), atol=1e-6)


def test_the_mask_ends_at_the_text_s_end(write_clip):
    first, last = (
        ClipText(network=Network(path=str(write_clip(pooling, text={"pool_type": pooling, "eos_id": 49407}))))
        for pooling in ("eos", "last")
    )
    masks = [m.encode(m.prepare({"caption": TEXTS})).mask for m in (first, last)]
    assert masks[0].sum(1).tolist() == [5, 2, 7]
    assert masks[1].all()


def test_texts_that_are_cut_are_named(tiny):
    """The network reads 12 tokens; start and end are two of them."""
    module = ClipText(network=Network(path=str(tiny)))
    fits, cut = "fox " * 10, "fox " * 11
    assert module.unread({"caption": [fits, cut, ""]}) == [
        f"caption: only the first 12 tokens are read of '{cut}'"
    ]


def test_it_stays_frozen_and_out_of_checkpoints(tiny):
    system = nn.ModuleDict({"caption": ClipText(network=Network(path=str(tiny))), "other": nn.Linear(1, 1)})
    assert set(system.state_dict()) == {"other.weight", "other.bias"}
    assert not any(p.requires_grad for p in system["caption"].parameters())
    system.load_state_dict(system.state_dict(), strict=True)
    assert not any(m.training for m in system.train()["caption"].clip.modules())


@pytest.mark.parametrize("wrong", ["a red fox", [[1.5] * 12], [[1, 2]], 3, []])
def test_what_is_no_text_is_refused_by_name(tiny, wrong):
    with pytest.raises(ValueError, match="caption: expects"):
        ClipText(network=Network(path=str(tiny))).prepare({"caption": wrong})
