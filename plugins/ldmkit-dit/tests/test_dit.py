"""The diffusion transformer: the contract of a denoiser, the paper's sizes and figures."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from diffusers import DiTTransformer2DModel
from einops import rearrange
from ldmkit_dit.dit import DiT

from ldmkit.testing.denoiser import check_denoiser
from ldmkit.types import Condition, ConditionSpec, LatentSpec

LATENT = LatentSpec(4, 8)
SMALL = {"width": 32, "depth": 2, "heads": 4}


@pytest.mark.parametrize("parameters", [{}, {"patch": 1, "checkpoint": True}])
def test_it_keeps_the_contract(parameters):
    check_denoiser(partial(DiT, **SMALL, **parameters), size=(4, 6))


@pytest.mark.parametrize(
    ("millions", "parameters"),
    [
        (33, {"width": 384, "depth": 12, "heads": 6}),
        (130, {"width": 768, "depth": 12, "heads": 12}),
        (458, {"width": 1024, "depth": 24, "heads": 16}),
        (675, {"width": 1152, "depth": 28, "heads": 16}),
    ],
    ids=["S/2", "B/2", "L/2", "XL/2"],
)
def test_published_parameter_counts(millions, parameters):
    """The paper's sizes, for 1000 classes and the null class, with learned variance."""
    with torch.device("meta"):
        dit = DiT(LATENT, ConditionSpec((), vector=1001), 8, **parameters)
    assert abs(sum(p.numel() for p in dit.parameters()) / 1e6 - millions) < 1


def test_agrees_with_diffusers():
    """At time 0, where its other choice of frequencies makes no difference."""
    torch.manual_seed(0)
    theirs = DiTTransformer2DModel(
        num_attention_heads=4, attention_head_dim=8, in_channels=4, num_layers=2, sample_size=8,
        norm_num_groups=4, num_embeds_ada_norm=5,
    ).eval()  # fmt: skip
    for parameter in theirs.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    first = theirs.transformer_blocks[0].norm1.emb
    theirs.transformer_blocks[1].norm1.emb.load_state_dict(first.state_dict())
    ours = DiT(LATENT, ConditionSpec((), vector=6), 4, **SMALL).eval()
    ours.load_state_dict(renamed(theirs.state_dict()))
    z, labels = torch.randn(3, 4, 8, 8), torch.tensor([0, 2, 4])
    with torch.inference_mode():
        expected = theirs(z, torch.zeros(3, dtype=torch.long), class_labels=labels).sample
        given = ours(z, torch.zeros(3), Condition(vector=torch.eye(6)[labels]))
    assert float((given - expected).norm() / expected.norm()) < 1e-5


def renamed(theirs):
    """Their tensors as our state dict."""
    first = "transformer_blocks.0.norm1.emb"
    names = {
        "time_embed.0": f"{first}.timestep_embedder.linear_1",
        "time_embed.2": f"{first}.timestep_embedder.linear_2",
        "patch_embed": "pos_embed.proj",
        "modulation_out": "proj_out_1",
        "out": "proj_out_2",
    }
    for i in range(2):
        block = f"transformer_blocks.{i}"
        names[f"blocks.{i}.modulation"] = f"{block}.norm1.linear"
        names[f"blocks.{i}.attention.out"] = f"{block}.attn1.to_out.0"
        names[f"blocks.{i}.feed_forward.0"] = f"{block}.ff.net.0.proj"
        names[f"blocks.{i}.feed_forward.2"] = f"{block}.ff.net.2"
    state = {f"{a}.{kind}": theirs[f"{b}.{kind}"] for a, b in names.items() for kind in ("weight", "bias")}
    for i in range(2):
        for kind in ("weight", "bias"):
            parts = [theirs[f"transformer_blocks.{i}.attn1.to_{x}.{kind}"] for x in "qkv"]
            state[f"blocks.{i}.attention.qkv.{kind}"] = torch.cat(parts)
    state["patch_embed.weight"] = rearrange(state["patch_embed.weight"], "m c p q -> m (c p q)")
    state["vector_embed.weight"] = theirs[f"{first}.class_embedder.embedding_table.weight"].T
    return state


def test_a_condition_that_it_was_not_built_for_is_refused():
    dit = DiT(LATENT, ConditionSpec((), tokens=8), 4, **SMALL)
    z, time = torch.randn(2, 4, 8, 8), torch.ones(2)
    with pytest.raises(ValueError, match=r"condition\.tokens: width 0 given, .*built for 8"):
        dit(z, time, Condition())
    with pytest.raises(ValueError, match=r"condition\.vector: width 5 given, .*built for 0"):
        dit(z, time, Condition(tokens=torch.randn(2, 3, 8), vector=torch.randn(2, 5)))


def test_it_starts_as_zero_whatever_the_condition():
    dit = DiT(LATENT, ConditionSpec((), tokens=8), 4, **SMALL)
    z, condition = torch.randn(2, 4, 8, 8), Condition(tokens=torch.randn(2, 3, 8))
    assert not dit(z, torch.ones(2), condition).any()


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match=r"width 30.*heads, 4"):
        DiT(LATENT, ConditionSpec(()), 4, width=30, depth=1, heads=4)
    dit = DiT(LATENT, ConditionSpec(()), 4, **SMALL)
    with pytest.raises(ValueError, match=r"5x4.*multiples of 2"):
        dit(torch.randn(1, 4, 5, 4), torch.zeros(1), Condition())
