"""Masks and low-resolution pictures drawn from the pictures of another data set."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ldmkit_image.low_res import LowRes
from ldmkit_image.low_res_data import WithLowRes
from ldmkit_image.map_data import COLOURS, WithMaps
from ldmkit_image.mask_data import HOLES, WithMasks
from PIL import Image

from ldmkit.engine.components import build
from ldmkit.host.plugins import host
from ldmkit.recipe import Component
from ldmkit.testing.conditioner import check_conditioner
from ldmkit.types import LatentSpec


class Pictures:
    """Random pictures, numbered so that a split is recognized."""

    fields: tuple[str, ...] = ("caption",)
    skipped: tuple[Path, ...] = ()

    def __init__(self, count: int = 6, first: int = 0) -> None:
        self.count, self.first, self.digest = count, first, f"pictures {count} {first}"

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Mapping[str, Any]:
        draws = torch.Generator().manual_seed(self.first + index)
        pixels = torch.randint(0, 256, (3, 32, 48), generator=draws, dtype=torch.uint8)
        return {"image": pixels, "caption": str(self.first + index)}

    def split(self, name: str) -> Pictures:
        if name != "validation":
            raise ValueError(f"no split '{name}'")
        return Pictures(2, 100)


def test_every_picture_gets_a_mask_and_many_to_choose_from() -> None:
    data = WithMasks(of=Pictures())
    example = data[3]
    assert data.fields == ("caption", "mask", "masks")
    assert (example["caption"], example["mask"].shape, example["mask"].dtype) == ("3", (32, 48), torch.bool)
    assert torch.equal(example["mask"], example["masks"][0])
    assert len({example["masks"][i].numpy().tobytes() for i in range(50)}) > 45


def test_masks_follow_from_seed_and_place() -> None:
    one, same, other = WithMasks(of=Pictures()), WithMasks(of=Pictures()), WithMasks(of=Pictures(), seed=1)
    assert all(torch.equal(one[i]["masks"][7], same[i]["masks"][7]) for i in range(6))
    assert not all(torch.equal(one[i]["masks"][7], other[i]["masks"][7]) for i in range(6))
    assert one.digest == same.digest != other.digest


@pytest.mark.parametrize("kind", HOLES)
def test_a_hole_covers_a_part_of_the_picture(kind: str) -> None:
    shares = [HOLES[kind](32, 48, np.random.default_rng(i)).mean() for i in range(200)]  # type: ignore[index]
    low, high = {"boxes": (0.02, 0.8), "strokes": (0.02, 0.95), "half": (0.37, 0.63), "border": (0.35, 0.76)}[
        kind
    ]
    assert low <= min(shares) < max(shares) <= high
    assert max(shares) - min(shares) > 0.15


def test_half_comes_from_all_four_sides() -> None:
    held = [HOLES["half"](20, 20, np.random.default_rng(i)) for i in range(60)]
    corners = {tuple(h[[0, 0, -1, -1], [0, -1, 0, -1]].tolist()) for h in held}
    assert corners == {
        (True, True, False, False),
        (False, False, True, True),
        (True, False, True, False),
        (False, True, False, True),
    }


def test_a_border_keeps_a_rectangle() -> None:
    known = ~HOLES["border"](32, 48, np.random.default_rng(5))
    rows, columns = known.any(1).nonzero()[0], known.any(0).nonzero()[0]
    assert known[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].all()


def test_only_the_kinds_that_are_asked_for_are_drawn() -> None:
    masks = WithMasks(of=Pictures(), kinds=("half",))[0]["masks"]
    assert all(0.37 <= masks[i].float().mean() <= 0.63 for i in range(40))


def test_a_copy_that_is_only_reduced_is_pillows_bicubic() -> None:
    example = WithLowRes(of=Pictures(), factor=4)[1]
    picture = Image.fromarray(example["image"].permute(1, 2, 0).numpy())
    small = np.asarray(picture.resize((12, 8), Image.Resampling.BICUBIC))
    assert np.array_equal(example["low_res"].permute(1, 2, 0).numpy(), small)
    assert torch.equal(example["low_res"], example["low_ress"][99])


def test_each_degradation_changes_the_copy_as_it_should() -> None:
    plain = WithLowRes(of=Pictures(), factor=2)[0]["low_res"].float()

    def copy(**settings: Any) -> torch.Tensor:
        return WithLowRes(of=Pictures(), factor=2, **settings)[0]["low_res"].float()

    assert copy(blur=(2.0, 2.0)).std() < 0.6 * plain.std()
    noisy = torch.stack(
        [
            WithLowRes(of=Pictures(), factor=2, noise=(0.05, 0.05), seed=i)[0]["low_res"].float()
            for i in range(20)
        ]
    )
    inner = (plain > 60) & (plain < 195)
    assert (noisy - plain).std(0)[inner].mean() == pytest.approx(0.05 * 255, rel=0.1)
    file = io.BytesIO()
    Image.fromarray(plain.byte().permute(1, 2, 0).numpy()).save(file, format="JPEG", quality=30)
    decoded = np.asarray(Image.open(file))
    assert np.array_equal(copy(jpeg=(30, 30)).byte().permute(1, 2, 0).numpy(), decoded)


def test_splits_are_those_of_the_data_within() -> None:
    data = WithLowRes(of=WithMasks(of=Pictures()))
    part = data.split("validation")
    assert (len(part), part[0]["caption"]) == (2, "100")
    assert part.digest != data.digest
    assert set(part[0]) == {"image", "caption", "mask", "masks", "low_res", "low_ress"}
    with pytest.raises(ValueError, match="no split"):
        data.split("test")


def test_a_factor_that_does_not_divide_and_a_field_that_is_there_are_refused() -> None:
    with pytest.raises(ValueError, match="factor 5: does not divide the pictures' size 32x48"):
        WithLowRes(of=Pictures(), factor=5)
    with pytest.raises(ValueError, match="field 'caption': the data set within has it already"):
        WithMasks(of=Pictures(), field="caption")


def test_a_recipe_wraps_a_folder(tmp_path: Path) -> None:
    for i in range(4):
        Image.new("RGB", (16, 16), (i * 40, 0, 0)).save(tmp_path / f"{i}.png")
    slot = {"name": "with-masks", "of": {"name": "image-folder", "path": str(tmp_path), "size": 16}}
    data = build(host().registry, "data", Component(name=slot.pop("name"), parameters=slot))
    assert data[0]["mask"].shape == (16, 16)


def test_a_larger_low_res_picture_is_folded_to_the_latents_size() -> None:
    module = LowRes(LatentSpec(channels=4, factor=8), factor=4)
    small = torch.rand(2, 3, 8, 12) * 2 - 1
    concat = module.encode(module.prepare({"low_res": small})).concat
    assert concat is not None
    assert concat.shape == (2, 12, 4, 6)
    assert torch.equal(concat[1, :, 2, 3].reshape(3, 2, 2), small[1, :, 4:6, 6:8])
    check_conditioner(module, {"low_res": small})


def test_a_smaller_low_res_picture_is_enlarged_to_nearest() -> None:
    module = LowRes(LatentSpec(channels=4, factor=4), factor=8)
    small = torch.rand(1, 3, 3, 2)
    concat = module.encode(module.prepare({"low_res": small})).concat
    assert torch.equal(concat, small.repeat_interleave(2, 2).repeat_interleave(2, 3))


def test_sides_that_cannot_be_folded_are_refused() -> None:
    with pytest.raises(ValueError, match="7x8 pictures; each side must be a multiple of 2"):
        LowRes(LatentSpec(4, 8), factor=4).prepare({"low_res": torch.zeros(1, 3, 7, 8)})
    with pytest.raises(ValueError, match="factor 3"):
        LowRes(LatentSpec(4, 8), factor=3)


def test_noise_is_drawn_in_training_and_its_level_told() -> None:
    module = LowRes(LatentSpec(4, 4), noise=0.5)
    small = torch.zeros(400, 3, 8, 8)
    trained = module.encode({"low_res": small}, torch.Generator().manual_seed(0)).concat
    sampled = module.encode({"low_res": small}).concat
    assert trained is not None
    assert sampled is not None
    assert trained.shape == (400, 4, 8, 8)
    assert module.spec.concat == 4
    told, found = trained[:, 3, 0, 0], trained[:, :3].flatten(1).std(1)
    assert (told >= 0.0).all()
    assert (told <= 0.5).all()
    assert told.std() > 0.1
    assert torch.allclose(told, found, rtol=0.3, atol=1e-3)
    assert not sampled.any()


def test_what_the_folder_within_leaves_out_is_said(tmp_path: Path) -> None:
    for i in range(8):
        (tmp_path / f"{i % 2}").mkdir(exist_ok=True)
        Image.new("RGB", (16, 16), (i, 0, 0)).save(tmp_path / f"{i % 2}/{i}.png")
    (tmp_path / "0/8.png").write_bytes(b"no picture")
    (tmp_path / "0/9.txt").write_text("beside nothing")
    folder = {"name": "image-folder", "path": str(tmp_path), "size": 16, "max_broken": 0.5}
    data = build(host().registry, "data", Component.model_validate({"name": "with-maps", "of": folder}))
    assert data.notes == ["caption files without a picture beside them: 1, such as 0/9.txt"]
    assert [path.name for path in data.problems] == ["8.png"]
    assert data.class_names == {"label": ("0", "1"), "segmentation": tuple(COLOURS)}
    assert data.name(0) == str(tmp_path / "0/0.png")
    plain = WithMasks(of=Pictures())
    assert (plain.name(3), plain.notes, plain.problems, plain.class_names) == ("example 3", (), {}, {})


class Halves(Pictures):
    """Pictures whose left half is nearly red and whose right half is nearly blue."""

    def __getitem__(self, index: int) -> Mapping[str, Any]:
        pixels = torch.empty(3, 32, 48, dtype=torch.uint8)
        pixels[:, :, :24] = torch.tensor([225, 30, 50], dtype=torch.uint8)[:, None, None]
        pixels[:, :, 24:] = torch.tensor([40, 90, 215], dtype=torch.uint8)[:, None, None]
        return {"image": pixels, "caption": str(index)}


def test_a_map_names_the_colours_of_a_picture() -> None:
    data = WithMaps(of=Halves())
    one, names = data[0]["segmentation"], list(COLOURS)
    assert data.fields == ("caption", "segmentation", "segmentations")
    assert data.class_names == {"segmentation": tuple(names)}
    assert one.shape == (32, 48)
    assert (one[:, :20] == names.index("red")).all()
    assert (one[:, 28:] == names.index("blue")).all()
    assert torch.equal(one, WithMaps(of=Halves())[0]["segmentation"])


def test_a_range_of_blurs_is_in_order() -> None:
    with pytest.raises(ValueError, match="the first must not be above the second"):
        WithMaps(of=Halves(), blur=(0.2, 0.1))


def test_what_lacks_a_field_is_left_to_the_data_set_within() -> None:
    class Partly(Pictures):
        def reading(self, fields: Any) -> Pictures:
            return Pictures(4) if "caption" in fields else self

    data = WithMasks(of=Partly())
    assert (len(data.reading(["mask"])), len(data.reading(["caption"]))) == (6, 4)
    assert torch.equal(data.reading(["caption"])[3]["mask"], data[3]["mask"])
    assert WithMasks(of=Pictures()).reading(["caption"])[3]["caption"] == "3"
