"""What the UNet promises to whoever builds, trains and samples with it."""

from __future__ import annotations

import warnings
from dataclasses import replace

import pytest
import torch
from ldmkit_unet.compvis import CompVisUNet
from ldmkit_unet.unet import UNet
from torch.nn import functional as F

from ldmkit.errors import Note
from ldmkit.types import Condition, ConditionSpec, LatentSpec

LATENT = LatentSpec(4, 8)
EVERYTHING = ConditionSpec((), tokens=24, concat=2, vector=5)


def tiny(conditions=EVERYTHING, **parameters):
    torch.manual_seed(0)
    return UNet(LATENT, conditions, 4, **{"width": 32, "multipliers": (1, 2), "blocks": 1, **parameters})


def awake(unet):
    """The UNet without its zeros, as after some training."""
    for parameter in unet.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.05)
    return unet


def inputs(batch=3):
    torch.manual_seed(1)
    condition = Condition(
        tokens=torch.randn(batch, 6, 24),
        mask=torch.arange(6)[None] < torch.arange(2, 2 + batch)[:, None],
        concat=torch.randn(batch, 2, 8, 8),
        vector=torch.randn(batch, 5),
    )
    return torch.randn(batch, 4, 8, 8), torch.tensor([0.0, 500.0, 999.0])[:batch], condition


def gradients(unet):
    z, time, condition = inputs()
    unet.zero_grad()
    unet(z, time, condition).square().mean().backward()
    return {name: parameter.grad for name, parameter in unet.named_parameters()}


CONFIGURATIONS = [
    {},
    {"scale_shift": True, "resample": "residual", "head_channels": 8, "depth": 2},
    {"heads": 2, "attention": (2,), "dropout": 0.1},
    {"patch": 2},
]


@pytest.mark.parametrize("parameters", CONFIGURATIONS)
def test_a_bound_condition_gives_the_same(parameters):
    unet = awake(tiny(**parameters)).eval()
    z, time, condition = inputs()
    bound = unet.bind(condition)
    for step in (time, time / 2):
        expected = unet(z, step, condition)
        assert torch.equal(bound(z, step), expected)
        with torch.no_grad():  # where maps are computed in place
            torch.testing.assert_close(bound(z, step), expected)
            assert torch.equal(bound(z, step), unet(z, step, condition))


@pytest.mark.parametrize("parameters", CONFIGURATIONS)
def test_every_parameter_learns(parameters):
    assert all(grad is not None and grad.any() for grad in gradients(awake(tiny(**parameters))).values())


def test_it_starts_at_zero_and_the_last_layer_learns_first():
    unet = tiny()
    z, time, condition = inputs()
    assert not unet(z, time, condition).any()
    (unet(z, time, condition) - 1).square().mean().backward()
    assert unet.conv_out.weight.grad.any()


def test_a_patch_joins_the_channels_of_its_positions():
    """The network on squares of 2 x 2 is the one without patch on four times the channels."""
    unet, (z, time, condition) = awake(tiny(patch=2)).eval(), inputs()
    wide = ConditionSpec((), tokens=24, concat=8, vector=5)
    plain = UNet(LatentSpec(16, 16), wide, 16, width=32, multipliers=(1, 2), blocks=1).eval()
    plain.load_state_dict(unet.state_dict())
    joined = replace(condition, concat=F.pixel_unshuffle(condition.concat, 2))
    expected = F.pixel_shuffle(plain(F.pixel_unshuffle(z, 2), time, joined), 2)
    assert torch.equal(unet(z, time, condition), expected)
    with pytest.raises(ValueError, match="latent size 6x6: the UNet's levels need multiples of 4, as 4x4"):
        unet(z[..., :6, :6], time, replace(condition, concat=condition.concat[..., :6, :6]))


def test_checkpointing_changes_no_figure():
    plain = gradients(awake(tiny()))
    kept = gradients(awake(tiny(checkpoint=True)))
    assert all(torch.equal(plain[name], kept[name]) for name in plain)


def test_masked_tokens_do_not_count():
    unet = awake(tiny()).eval()
    z, time, condition = inputs()
    tokens = condition.tokens.masked_fill(~condition.mask[..., None], 1e3)
    other = Condition(tokens, condition.mask, condition.concat, condition.vector)
    torch.testing.assert_close(unet(z, time, other), unet(z, time, condition))


def test_each_part_of_the_condition_counts():
    unet = awake(tiny()).eval()
    z, time, condition = inputs()
    base = unet(z, time, condition)
    for part in ("tokens", "concat", "vector"):
        values = {name: getattr(condition, name) for name in ("tokens", "mask", "concat", "vector")}
        other = Condition(**{**values, part: values[part] + 1})
        assert not torch.allclose(unet(z, time, other), base)


def changes_with_time(unet):
    z, time, condition = inputs()
    with torch.no_grad():
        return not torch.allclose(unet(z, time, condition), unet(z, time + 300, condition), atol=1e-5)


def test_a_network_that_cannot_see_the_timestep_is_told_of():
    with pytest.warns(Note, match=r"sees neither the timestep nor a vector.*width: 64 or scale_shift: true"):
        blind = awake(tiny(multipliers=(1, 1)))
    assert not changes_with_time(blind)


@pytest.mark.parametrize("parameters", [{"multipliers": (1, 2)}, {"scale_shift": True}, {"width": 64}])
def test_a_network_that_sees_it_is_built_without_a_word(parameters):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        seeing = awake(tiny(**{"multipliers": (1, 1), **parameters}))
    assert changes_with_time(seeing)


def test_any_size_that_the_levels_divide():
    unet = tiny(ConditionSpec(()))
    time = torch.zeros(1)
    assert unet(torch.randn(1, 4, 6, 14), time, Condition()).shape == (1, 4, 6, 14)
    with pytest.raises(ValueError, match=r"7x8.*multiples of 2"):
        unet(torch.randn(1, 4, 7, 8), time, Condition())


@pytest.mark.parametrize(
    ("parameters", "named"),
    [
        ({"width": 40}, "width 40.*multiple of 32.*try 32"),
        ({"heads": 4, "head_channels": 8}, "heads and head_channels"),
        ({"heads": 5}, "heads 5.*32 channels"),
        ({"head_channels": 24}, "head_channels 24.*32 channels"),
        ({"multipliers": ()}, "multipliers"),
    ],
)
def test_parameters_that_do_not_fit_are_refused(parameters, named):
    with pytest.raises(ValueError, match=named):
        tiny(**parameters)


def test_a_condition_of_another_shape_is_refused():
    z, time, condition = inputs()
    with pytest.raises(ValueError, match=r"tokens: width 0 given.*built for 24"):
        tiny()(z, time, Condition(concat=condition.concat, vector=condition.vector))
    with pytest.raises(ValueError, match=r"concat: width 2 given.*built for 0"):
        tiny(ConditionSpec(()))(z, time, Condition(concat=condition.concat))


PUBLISHED = {
    "image_size": 32,
    "in_channels": 4,
    "out_channels": 4,
    "model_channels": 32,
    "num_res_blocks": 1,
    "attention_resolutions": [2, 1],
    "channel_mult": [1, 2],
    "num_heads": 4,
}
VARIANTS = [
    {},
    {"num_heads": -1, "num_head_channels": 16, "resblock_updown": True, "use_scale_shift_norm": True},
    {"use_new_attention_order": True, "num_classes": 5},
    {"use_spatial_transformer": True, "context_dim": 24, "transformer_depth": 2, "legacy": False},
]


@pytest.mark.parametrize("change", VARIANTS)
def test_published_files_go_out_as_they_came_in(change):
    config, keymap = {**PUBLISHED, **change}, CompVisUNet()
    parameters = keymap.parameters(config)
    spec = ConditionSpec((), tokens=config.get("context_dim", 0), vector=config.get("num_classes", 0))
    unet = awake(UNet(LATENT, spec, 4, **parameters))
    back = keymap.load(keymap.save(unet), unet)
    assert all(torch.equal(tensor, back[name]) for name, tensor in unet.state_dict().items())
    written = keymap.config({**parameters, "latent": LATENT, "conditions": spec, "out_channels": 4})
    assert keymap.parameters(written) == parameters
    assert all(written.get(name, value) == value for name, value in config.items())


def test_head_orders_are_the_same_network_with_rows_in_another_order():
    spec, heads, d = ConditionSpec(()), 4, 8
    legacy = awake(tiny(spec, heads=heads, multipliers=(1,), attention=(1,)))
    split = tiny(spec, heads=heads, multipliers=(1,), attention=(1,), head_order="split")
    state = legacy.state_dict()
    for name in [name for name in state if ".qkv." in name]:
        rows = state[name].reshape(heads, 3, d, -1).transpose(0, 1)
        state[name] = rows.reshape(state[name].shape)
    split.load_state_dict(state)
    z, time = torch.randn(2, 4, 4, 4), torch.tensor([1.0, 900.0])
    torch.testing.assert_close(split(z, time, Condition()), legacy(z, time, Condition()))


def test_every_key_that_does_not_fit_is_named():
    unet, keymap = tiny(), CompVisUNet()
    tensors = keymap.save(unet)
    tensors["stray.weight"] = tensors.pop("out.2.weight")
    del tensors["time_embed.0.bias"]
    with pytest.raises(
        ValueError, match=r"missing: time_embed.0.bias, out.2.weight; left over: stray.weight"
    ):
        keymap.load(tensors, unet)
    tensors = keymap.save(unet)
    tensors["out.2.bias"] = torch.zeros(8)
    with pytest.raises(ValueError, match=r"wrong shape: out.2.bias is \[8\], not \[4\]"):
        keymap.load(tensors, unet)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"conv_resample": False, "dims": 3}, "conv_resample.*dims"),
        ({"made_up": 1}, "made_up"),
        ({"num_heads": -1}, "num_heads"),
        ({"num_res_blocks": [1, 2]}, "num_res_blocks"),
        ({"n_embed": 512}, "n_embed"),
    ],
)
def test_published_entries_that_do_not_fit_are_named(change, named):
    with pytest.raises(ValueError, match=named):
        CompVisUNet().parameters({**PUBLISHED, **change})


def test_legacy_rounds_the_number_of_heads_down():
    change = {"use_spatial_transformer": True, "context_dim": 24, "num_head_channels": 48}
    config = {**PUBLISHED, **change, "channel_mult": [2, 2]}
    assert CompVisUNet().parameters(config)["heads"] == 1
    with pytest.raises(ValueError, match="head_channels 48"):
        tiny(EVERYTHING, **CompVisUNet().parameters({**config, "legacy": False}))
