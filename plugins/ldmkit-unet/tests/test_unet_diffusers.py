"""Agreement with diffusers' UNets on random weights, and the tensors back bit for bit."""

from __future__ import annotations

import pytest
import torch
from diffusers import UNet2DConditionModel, UNet2DModel
from ldmkit_unet.diffusers import DiffusersUNet
from ldmkit_unet.unet import UNet

from ldmkit.types import Condition, ConditionSpec, LatentSpec

SMALL = {"sample_size": 8, "in_channels": 4, "out_channels": 4, "layers_per_block": 1}
CROSS, PLAIN = "CrossAttnDownBlock2D", "DownBlock2D"
CROSS_UP, PLAIN_UP = "CrossAttnUpBlock2D", "UpBlock2D"
CONDITIONAL = {
    "heads by count": {
        "block_out_channels": (32, 64),
        "down_block_types": (CROSS, PLAIN),
        "up_block_types": (PLAIN_UP, CROSS_UP),
        "attention_head_dim": 4,
    },
    "heads a level, deep": {
        "block_out_channels": (32, 64),
        "down_block_types": (CROSS, CROSS),
        "up_block_types": (CROSS_UP, CROSS_UP),
        "attention_head_dim": (2, 4),
        "transformer_layers_per_block": 2,
        "use_linear_projection": True,
    },
    "scale-shift, classes, three levels": {
        "block_out_channels": (32, 64, 96),
        "down_block_types": (PLAIN, CROSS, PLAIN),
        "up_block_types": (PLAIN_UP, CROSS_UP, PLAIN_UP),
        "attention_head_dim": 8,
        "layers_per_block": 2,
        "resnet_time_scale_shift": "scale_shift",
        "num_class_embeds": 7,
    },
    "residual resampling, attention in the middle": {
        "block_out_channels": (32, 64),
        "down_block_types": ("ResnetDownsampleBlock2D",) * 2,
        "up_block_types": ("ResnetUpsampleBlock2D",) * 2,
        "attention_head_dim": 1,
    },
}
UNCONDITIONAL = {
    "plain attention": {
        "block_out_channels": (32, 64),
        "down_block_types": (PLAIN, "AttnDownBlock2D"),
        "up_block_types": ("AttnUpBlock2D", PLAIN_UP),
        "attention_head_dim": 16,
    },
    "one head, classes": {
        "block_out_channels": (32, 32),
        "down_block_types": ("AttnDownBlock2D", PLAIN),
        "up_block_types": (PLAIN_UP, "AttnUpBlock2D"),
        "attention_head_dim": None,
        "num_class_embeds": 5,
    },
    "residual resampling, scale-shift": {
        "block_out_channels": (32, 64, 64),
        "down_block_types": ("ResnetDownsampleBlock2D", "AttnDownBlock2D", "AttnDownBlock2D"),
        "up_block_types": ("AttnUpBlock2D", "AttnUpBlock2D", "ResnetUpsampleBlock2D"),
        "attention_head_dim": 8,
        "downsample_type": "resnet",
        "upsample_type": "resnet",
        "resnet_time_scale_shift": "scale_shift",
        "attn_norm_num_groups": 32,
    },
}


def randomized(model):
    torch.manual_seed(0)
    for parameter in model.parameters():
        torch.nn.init.normal_(
            parameter, std=0.1 if parameter.ndim == 1 else 0.8 / parameter[0].numel() ** 0.5
        )
    return model.eval()


def ours(config, tensors):
    """The UNet that an importer would build of a folder's configuration and tensors."""
    classes = config.get("num_class_embeds") or 0
    spec = ConditionSpec((), tokens=config.get("cross_attention_dim") or 0, vector=classes)
    unet = UNet(LatentSpec(4, 8), spec, 4, **DiffusersUNet().parameters(config)).eval()
    unet.load_state_dict(DiffusersUNet().load(tensors, unet))
    return unet


def agree(unet, theirs, condition, extra):
    z, time = torch.randn(3, 4, 8, 8), torch.tensor([0, 401, 999])
    with torch.inference_mode():
        expected = theirs(z, time, **extra).sample
        given = unet(z, time.float(), condition)
    return float((given - expected).norm() / expected.norm())


def same_again(theirs, unet):
    """What we export computes in diffusers what it did; its tensors come back as they were."""
    keymap = DiffusersUNet()
    arguments = {"latent": unet.latent, "conditions": unet.conditions, "out_channels": 4}
    arguments |= {name: getattr(unet, name) for name in keymap.parameters(theirs.config)}
    again = type(theirs).from_config(keymap.config(arguments))
    exported = keymap.save(unet)
    again.load_state_dict(exported)
    back = keymap.load(exported, unet)
    assert all(torch.equal(tensor, back[name]) for name, tensor in unet.state_dict().items())
    return again.eval()


@pytest.mark.parametrize("name", CONDITIONAL)
def test_conditional_model(name):
    theirs = randomized(UNet2DConditionModel(**{**SMALL, **CONDITIONAL[name]}, cross_attention_dim=24))
    unet = ours(theirs.config, theirs.state_dict())
    tokens, labels = torch.randn(3, 5, 24), torch.tensor([0, 3, 6])
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0], [1, 0, 0, 0, 0]]).bool()
    extra = {"encoder_hidden_states": tokens, "encoder_attention_mask": mask}
    vector = None
    if theirs.config.num_class_embeds:
        extra["class_labels"], vector = labels, torch.eye(7)[labels]
    condition = Condition(tokens=tokens, mask=mask, vector=vector)
    assert agree(unet, theirs, condition, extra) < 1e-5
    assert agree(unet, same_again(theirs, unet), condition, extra) < 1e-5


@pytest.mark.parametrize("name", UNCONDITIONAL)
def test_unconditional_model(name):
    theirs = randomized(UNet2DModel(**SMALL, **UNCONDITIONAL[name]))
    unet = ours(theirs.config, theirs.state_dict())
    labels = torch.tensor([0, 2, 4])
    classes = theirs.config.num_class_embeds
    extra = {"class_labels": labels} if classes else {}
    condition = Condition(vector=torch.eye(5)[labels]) if classes else Condition()
    assert agree(unet, theirs, condition, extra) < 1e-5
    assert agree(unet, same_again(theirs, unet), condition, extra) < 1e-5


def test_heads_are_not_read_as_channels_of_a_head():
    shared = {"block_out_channels": (64, 128), "attention_head_dim": 8}
    conditional = {**shared, "down_block_types": (CROSS, PLAIN), "up_block_types": (PLAIN_UP, CROSS_UP)}
    plain = {**shared, "down_block_types": (PLAIN, PLAIN), "up_block_types": (PLAIN_UP, PLAIN_UP)}
    keymap = DiffusersUNet()
    assert keymap.parameters({"_class_name": "UNet2DConditionModel", **conditional})["heads"] == 8
    assert keymap.parameters({"_class_name": "UNet2DModel", **plain})["head_channels"] == 8


def test_names_of_early_versions_are_read():
    theirs = randomized(UNet2DModel(**SMALL, **UNCONDITIONAL["plain attention"]))
    old = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    tensors = theirs.state_dict()
    for new, name in old.items():
        tensors = {key.replace(f".{new}.", f".{name}."): tensor for key, tensor in tensors.items()}
    assert any("proj_attn" in key for key in tensors)
    assert agree(ours(theirs.config, tensors), theirs, Condition(), {}) < 1e-5


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"addition_embed_type": "image"}, "addition_embed_type"),
        ({"block_out_channels": (64, 96)}, "block_out_channels"),
        ({"act_fn": "gelu", "norm_num_groups": 16}, "act_fn.*norm_num_groups"),
        ({"made_up": 1}, "made_up"),
        ({"down_block_types": ("KDownBlock2D", PLAIN)}, "KDownBlock2D"),
        (
            {"attention_head_dim": (4, 4), "transformer_layers_per_block": (1, 2, 3)},
            "transformer_layers_per_block",
        ),
        ({"_class_name": "UNet3DModel"}, "UNet3DModel"),
    ],
)
def test_a_configuration_that_does_not_fit_is_refused_by_name(change, named):
    config = {
        "_class_name": "UNet2DConditionModel",
        "block_out_channels": (32, 64),
        "down_block_types": (CROSS, PLAIN),
        "up_block_types": (PLAIN_UP, CROSS_UP),
    }
    DiffusersUNet().parameters(config)
    with pytest.raises(ValueError, match=named):
        DiffusersUNet().parameters({**config, **change})


def test_what_the_format_cannot_hold_is_refused():
    arguments = {"latent": LatentSpec(4, 8), "conditions": ConditionSpec((), tokens=24), "out_channels": 4}
    with pytest.raises(ValueError, match="residual"):
        DiffusersUNet().config({**arguments, "resample": "residual"})
    with pytest.raises(ValueError, match="heads"):
        DiffusersUNet().config({**arguments, "conditions": ConditionSpec(()), "heads": 8})
    with pytest.raises(ValueError, match="latent"):
        DiffusersUNet().config({"width": 32})
    with pytest.raises(ValueError, match="patch: 2 "):
        DiffusersUNet().config({**arguments, "patch": 2})
