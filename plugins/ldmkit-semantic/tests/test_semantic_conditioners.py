"""Semantic maps as conditions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from ldmkit_semantic.backbone import SmpEncoder
from ldmkit_semantic.keymap import CompvisSpatialRescaler
from ldmkit_semantic.rescaler import SpatialRescaler
from PIL import Image as Pillow
from safetensors.torch import save_file
from torch.nn.functional import conv2d, interpolate, one_hot

from ldmkit.errors import UserError
from ldmkit.testing.conditioner import check_conditioner
from ldmkit.types import LatentSpec

F4 = LatentSpec(channels=3, factor=4)
CLASSES = 7
PUBLISHED = {"n_stages": 2, "in_channels": CLASSES, "out_channels": 3}


def maps(size=64):
    return torch.randint(0, CLASSES, (2, size, size), generator=torch.Generator().manual_seed(0))


def test_contract():
    check_conditioner(SpatialRescaler(F4, classes=CLASSES), {"segmentation": maps()})
    for to in ("concat", "tokens"):
        module = SmpEncoder(F4, classes=CLASSES, channels=5, to=to)
        check_conditioner(module, {"segmentation": maps()})


@pytest.mark.parametrize("method", ["nearest", "bilinear", "bicubic", "area"])
@pytest.mark.parametrize("bias", [False, True])
def test_rescaler_is_the_published_formula(method, bias):
    module = SpatialRescaler(F4, classes=CLASSES, method=method, bias=bias)
    x = one_hot(maps(), CLASSES).permute(0, 3, 1, 2).float()
    for _ in range(2):
        x = interpolate(x, scale_factor=0.5, mode=method)
    expected = conv2d(x, module.channel_mapper.weight, module.channel_mapper.bias)
    concat = module.encode(module.prepare({"segmentation": maps()})).concat
    assert concat.shape == (2, 3, 16, 16)
    assert ((concat - expected).norm() / expected.norm()).item() < 2e-6


def test_rescaler_learns():
    module = SpatialRescaler(F4, classes=CLASSES)
    module.encode(module.prepare({"segmentation": maps()})).concat.sum().backward()
    assert module.channel_mapper.weight.grad.abs().sum() > 0


def test_stages_must_fit_the_compression_model():
    with pytest.raises(ValueError, match="stages 3: maps shrink by 8, pictures by 4"):
        SpatialRescaler(F4, stages=3)


def test_maps_may_be_arrays_or_palette_pictures():
    module = SpatialRescaler(F4, classes=CLASSES)
    expected = module.prepare({"segmentation": maps()})["segmentation"]
    arrays = [m.numpy().astype(np.uint8) for m in maps()]
    palette = [Pillow.fromarray(a) for a in arrays]
    for picture in palette:
        picture.putpalette(list(range(256)) * 3)
    for given in (arrays, palette, maps().to(torch.uint8)):
        assert torch.equal(module.prepare({"segmentation": given})["segmentation"], expected)


def test_files_hold_class_ids_as_grey_values(tmp_path):
    module = SpatialRescaler(F4, classes=CLASSES)
    files = [tmp_path / f"{i}.png" for i in range(2)]
    for file, one in zip(files, maps(), strict=True):
        Pillow.fromarray(one.numpy().astype(np.uint8)).save(file)
    assert torch.equal(module.prepare({"segmentation": files})["segmentation"], maps())
    Pillow.new("RGB", (8, 8), (1, 2, 3)).save(files[0])
    with pytest.raises(ValueError, match="is in colour"):
        module.prepare({"segmentation": [str(files[0])]})
    with pytest.raises(UserError, match="no such file"):
        module.prepare({"segmentation": ["nowhere.png"]})


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (torch.full((1, 8, 8), CLASSES), "segmentation: expects maps of class ids 0 to 6, .*; found 7 to 7"),
        (torch.zeros(1, 8, 8), "float32"),
        (torch.zeros(8, 8, dtype=torch.long), r"\(8, 8\)"),
        ([Pillow.new("RGB", (8, 8))], "mode RGB"),
        (None, "segmentation: expects maps"),
    ],
)
def test_what_is_no_map_is_refused(given, message):
    with pytest.raises(ValueError, match=message):
        SpatialRescaler(F4, classes=CLASSES).prepare({"segmentation": given})


def test_backbone_reads_local_weights_and_trains_whole(tmp_path):
    first = SmpEncoder(F4, classes=CLASSES, channels=4)
    save_file(first.backbone.state_dict(), tmp_path / "backbone.safetensors")
    second = SmpEncoder(F4, classes=CLASSES, channels=4, weights=str(tmp_path / "backbone.safetensors"))
    state = second.backbone.state_dict()
    assert all(torch.equal(state[n], x) for n, x in first.backbone.state_dict().items())
    first.encode(first.prepare({"segmentation": maps()})).concat.square().sum().backward()
    assert all(p.grad is not None for p in first.parameters())


def test_tokens_are_the_positions_of_the_map():
    torch.manual_seed(0)
    spatial = SmpEncoder(F4, classes=CLASSES, channels=4).eval()
    tokens = SmpEncoder(F4, classes=CLASSES, channels=4, to="tokens").eval()
    tokens.load_state_dict(spatial.state_dict())
    prepared = spatial.prepare({"segmentation": maps()})
    with torch.no_grad():
        concat, sequence = spatial.encode(prepared).concat, tokens.encode(prepared).tokens
    assert torch.equal(sequence[:, 16 + 3], concat[:, :, 1, 3])


def test_backbones_and_weights_that_are_not_there_are_refused(tmp_path):
    with pytest.raises(ValueError, match="no backbone 'resnet7'; there are: "):
        SmpEncoder(F4, backbone="resnet7")
    with pytest.raises(UserError, match=r"nowhere\.safetensors: no such file"):
        SmpEncoder(F4, weights=str(tmp_path / "nowhere.safetensors"))
    save_file({"conv1.weight": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match="Missing key"):
        SmpEncoder(F4, weights=str(tmp_path / "other.safetensors"))


def test_published_configuration_and_tensors_both_ways():
    keymap = CompvisSpatialRescaler()
    parameters = keymap.parameters(PUBLISHED)
    module = SpatialRescaler(F4, **parameters)
    tensors = {"channel_mapper.weight": torch.randn(3, CLASSES, 1, 1)}
    module.load_state_dict(keymap.load(tensors, module))
    assert torch.equal(keymap.save(module)["channel_mapper.weight"], tensors["channel_mapper.weight"])
    assert keymap.parameters(keymap.config(parameters)) == parameters
    with pytest.raises(ValueError, match=r"left over: channel_mapper\.bias"):
        keymap.load({**tensors, "channel_mapper.bias": torch.zeros(3)}, module)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_stage": 2}, "did you mean 'n_stages'"),
        ({"multiplier": 0.25}, "multiplier: 0.25"),
        ({"out_channels": None}, "out_channels: missing"),
    ],
)
def test_a_published_configuration_that_does_not_fit_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        CompvisSpatialRescaler().parameters({**PUBLISHED, **change})


def test_a_map_that_halving_would_leave_nothing_of_is_refused():
    with pytest.raises(ValueError, match="segmentation: a map of 3x8; each side needs 4 pixels at least"):
        SpatialRescaler(F4, classes=CLASSES).prepare({"segmentation": torch.zeros(1, 3, 8, dtype=torch.long)})


def test_a_map_whose_picture_would_be_cut_is_refused():
    with pytest.raises(ValueError, match="segmentation: 8x10 maps; each side must be a multiple of 4"):
        SpatialRescaler(F4, classes=CLASSES).prepare(
            {"segmentation": torch.zeros(1, 8, 10, dtype=torch.long)}
        )
