"""Low-resolution and masked pictures as conditions."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from ldmkit_image.low_res import LowRes
from ldmkit_image.masked import MaskedImage
from ldmkit_image.sizes import SizeEmbedding
from PIL import Image as Pillow
from safetensors.torch import load_file
from torch import nn
from torch.nn.functional import avg_pool2d

from ldmkit.errors import UserError
from ldmkit.testing.conditioner import check_conditioner
from ldmkit.types import LatentSpec


class Averages(nn.Module):
    """A compression model of factor 4 whose raw latent is the mean of each square."""

    latent = LatentSpec(channels=3, factor=4)

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))
        self.register_buffer("scale", torch.tensor([2.0, 3.0, 0.5]))
        self.register_buffer("shift", torch.tensor([0.1, -0.2, 0.3]))

    def encode(self, image):
        raw = avg_pool2d(image, 4) * self.weight
        return (raw - self.shift.view(-1, 1, 1)) * self.scale.view(-1, 1, 1)


def inputs():
    torch.manual_seed(0)
    mask = torch.zeros(2, 1, 16, 16)
    mask[0, :, 4:8, 8:16] = 1
    return {"image": torch.rand(2, 3, 16, 16) * 2 - 1, "mask": mask}


def test_contract():
    check_conditioner(LowRes(), {"low_res": torch.rand(2, 3, 8, 8)})
    check_conditioner(MaskedImage(Averages()), inputs())
    check_conditioner(SizeEmbedding(width=8), {"size": [[40, 24, 3, 5, 16, 16], [16, 16, 0, 0, 16, 16]]})


@pytest.mark.parametrize("sizes", [[[1, 2]], [[0.5] * 6], "six", [[2**70] * 6]], ids=str)
def test_sizes_that_are_no_six_numbers_are_refused(sizes):
    with pytest.raises(ValueError, match="size: expects six whole numbers"):
        SizeEmbedding().prepare({"size": sizes})


def test_low_res_passes_through_as_published():
    io = load_file(Path(__file__).parent / "fixtures" / "bsr-sr" / "io.safetensors")
    module = LowRes()
    assert torch.equal(module.encode(module.prepare({"low_res": io["low_res"]})).concat, io["cond"])


def test_low_res_reads_pictures_and_bytes():
    module = LowRes()
    picture = Pillow.new("RGB", (6, 4), (255, 0, 51))
    read = module.prepare({"low_res": [picture, picture]})["low_res"]
    assert read.shape == (2, 3, 4, 6)
    assert torch.allclose(read[0, :, 0, 0], torch.tensor([1.0, -1.0, -0.6]))
    from_bytes = torch.tensor([255, 0, 51], dtype=torch.uint8).view(3, 1, 1).expand(3, 4, 6)
    assert torch.equal(module.prepare({"low_res": [from_bytes, from_bytes]})["low_res"], read)
    assert torch.equal(module.prepare({"low_res": picture})["low_res"], read[:1])


def test_masked_image_is_the_unscaled_latent_and_the_mask():
    module, raw = MaskedImage(Averages()), inputs()
    concat = module.encode(module.prepare(raw)).concat
    blackened = torch.where(raw["mask"] > 0, -torch.ones(()), raw["image"])
    assert torch.allclose(concat[:, :3], avg_pool2d(blackened, 4), atol=1e-6)
    hole = -torch.ones(2, 4, 4)
    hole[0, 1, 2:] = 1
    assert torch.equal(concat[:, 3], hole)


def test_what_is_in_the_hole_does_not_matter():
    module, raw = MaskedImage(Averages()), inputs()
    other = {**raw, "image": torch.where(raw["mask"] > 0, torch.rand(2, 3, 16, 16), raw["image"])}
    assert torch.equal(module.encode(module.prepare(raw)).concat, module.encode(module.prepare(other)).concat)


def test_masks_may_be_pictures_bytes_or_bools():
    module, raw = MaskedImage(Averages()), inputs()
    expected = module.prepare(raw)["mask"]
    grey = [Pillow.fromarray((m[0] * 255).byte().numpy()) for m in raw["mask"]]
    for given in (grey, (raw["mask"] * 255).byte(), raw["mask"].bool(), raw["mask"][:, 0]):
        assert torch.equal(module.prepare({**raw, "mask": given})["mask"], expected)


def test_the_compression_model_belongs_to_the_system():
    module = MaskedImage(Averages())
    assert not list(module.parameters())
    assert not module.state_dict()
    assert not module.encode(module.prepare(inputs())).concat.requires_grad


def test_files_are_opened(tmp_path):
    Pillow.new("RGB", (16, 16), (255, 0, 51)).save(tmp_path / "image.png")
    Pillow.new("L", (16, 16), 255).save(tmp_path / "mask.png")
    module = MaskedImage(Averages())
    raw = {"image": [str(tmp_path / "image.png")], "mask": [tmp_path / "mask.png"]}
    prepared = module.prepare(raw)
    assert torch.allclose(prepared["image"][0, :, 3, 3], torch.tensor([1.0, -1.0, -0.6]))
    assert prepared["mask"].min() == 1
    with pytest.raises(UserError, match=r"nowhere\.png: no such file"):
        module.prepare({**raw, "image": ["nowhere.png"]})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mask": torch.zeros(2, 1, 8, 8)}, "mask: 2 of 8x8 masks for 2 of 16x16 pictures"),
        ({"mask": torch.zeros(2, 3, 16, 16)}, "mask: expects masks 'b 1 H W'"),
        ({"image": torch.zeros(2, 1, 16, 16)}, "image: expects pictures 'b 3 H W'"),
        ({"image": "photo.png"}, "image: expects a list of pictures or a tensor, not str"),
        ({"image": [Pillow.new("RGB", (16, 16)), Pillow.new("RGB", (8, 8))]}, "image: pictures of one batch"),
    ],
)
def test_what_is_no_picture_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        MaskedImage(Averages()).prepare({**inputs(), **change})
