"""Metrics of obedience on generators that follow their condition, ignore it, or follow it in part."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from ldmkit_metrics.agreement import MapAgreement, compared
from ldmkit_metrics.attributes import AttributeAccuracy
from ldmkit_metrics.kernel import KernelDistance, PrecisionRecall, covered, kernel_distances
from ldmkit_metrics.layout import LayoutAccuracy, cut_out, mean_over_classes
from ldmkit_metrics.probes import shuffled
from ldmkit_metrics.restoration import Inpainting, SuperResolution, psnr, smooth_fill
from torch.nn import functional as F

from ldmkit.errors import UserError
from ldmkit.evaluation import Evaluation
from ldmkit.pictures import to_pictures
from ldmkit.recipe import Component
from ldmkit.testing.metric import check_metric

COLOURS = torch.tensor([[220, 30, 30], [30, 220, 30], [30, 30, 220], [200, 200, 40]], dtype=torch.uint8)
SIDE = 32


class Tiles:
    """Pictures of four coloured quarters: a map of classes, its boxes, the first quarter as attribute."""

    fields = ("segmentation", "layout", "attributes", "label", "low_res", "mask")
    digest = "tiles"

    def __init__(self, first: int = 0, count: int = 120) -> None:
        self.rows = [self.example(first + i) for i in range(count)]

    def example(self, seed: int) -> Mapping[str, Any]:
        draws = torch.Generator().manual_seed(seed)
        classes = torch.randint(len(COLOURS), (4,), generator=draws)
        half = SIDE // 2
        tiles = classes.reshape(2, 2).repeat_interleave(half, 0).repeat_interleave(half, 1)
        noise = torch.randint(-25, 25, (3, SIDE, SIDE), generator=draws)
        image = (COLOURS[tiles].permute(2, 0, 1).int() + noise).clamp(0, 255).to(torch.uint8)
        mask = torch.zeros(SIDE, SIDE, dtype=torch.bool)
        mask[8:20, 10:26] = True
        boxes = [(int(c), 0.5 * (i % 2), 0.5 * (i // 2), 0.5, 0.5) for i, c in enumerate(classes)]
        reduced = F.interpolate(image[None].float(), SIDE // 4, mode="bicubic", antialias=True)[0]
        return {
            "image": image,
            "segmentation": tiles.to(torch.uint8),
            "layout": tuple(boxes),
            "attributes": {"first": str(int(classes[0])), "same": "always"}
            | ({"last": str(int(classes[3]))} if seed % 3 else {}),
            "label": int(classes[0]),
            "low_res": reduced.round().clamp(0, 255).to(torch.uint8),
            "mask": mask,
        }

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Mapping[str, Any]:
        return self.rows[index]

    def split(self, name: str) -> Tiles:
        return Tiles(1000, 40) if name == "validation" else self


class Means:
    """A feature network: the picture, and its halves and quarters' means."""

    def __call__(self, image: torch.Tensor) -> list[torch.Tensor]:
        return [image, F.avg_pool2d(image, 2), F.avg_pool2d(image, 4)]

    def embed(self, image: torch.Tensor) -> torch.Tensor:
        return F.adaptive_avg_pool2d(image, 4).flatten(1)


Draw = Callable[[Mapping[str, Any]], torch.Tensor]


def evaluation(draw: Draw, fields: Sequence[str], cache: Path | None = None, **parameters: Any) -> Evaluation:
    """An evaluation of a model that draws each picture from its condition fields."""

    class Drawn(Evaluation):
        condition_fields = tuple(fields)  # type: ignore[assignment]

        def draw(self, fields: Mapping[str, Sequence[Any]], seeds: Sequence[int]) -> Any:
            rows = [{f: values[i] for f, values in fields.items()} for i in range(len(seeds))]
            yield to_pictures(torch.stack([draw(row) for row in rows]).float() / 127.5 - 1)

    component = Component(name="metric", parameters={"features": {"name": "means"}, **parameters})
    recipe = SimpleNamespace(sample=SimpleNamespace(batch=7))
    system: Any = SimpleNamespace(recipe=recipe, named_conditioners=list)
    return Drawn(system, component, held={("data", "{}"): Tiles()}, cache=cache)


def painted(row: Mapping[str, Any]) -> torch.Tensor:
    return COLOURS[row["segmentation"].long()].permute(2, 0, 1)


def red(row: Mapping[str, Any]) -> torch.Tensor:
    return COLOURS[:1, :, None].expand(1, 3, SIDE * SIDE).reshape(3, SIDE, SIDE)


def test_a_model_that_follows_its_map_has_its_attributes_and_one_that_does_not_those_of_chance() -> None:
    metric = AttributeAccuracy(features=Means(), pictures=40)
    good = metric(evaluation(painted, ["segmentation"]))["validation"]
    blind = metric(evaluation(red, ["segmentation"]))["validation"]
    assert good["first"]["sample"] == good["first"]["real"] == 1.0
    assert good["sample"] == 1.0
    assert good["shuffled"] < 0.5
    assert blind["sample"] == pytest.approx(blind["shuffled"], abs=0.15)
    assert good["last"]["sample"] == 1.0, "of the pictures that have the attribute"
    assert "same" not in good, "an attribute of one value says nothing"


def test_a_class_is_one_attribute() -> None:
    metric = AttributeAccuracy(features=Means(), field="label", pictures=40)
    figures = check_metric(metric, evaluation(painted, ["segmentation"]))["validation"]
    assert figures.keys() == {"pictures", "sample", "shuffled", "real"}
    assert figures["sample"] == 1.0


def test_the_controls_condition_is_always_another_examples() -> None:
    for count in (2, 3, 10, 11):
        assert sorted(shuffled(count)) == list(range(count))
        assert all(i != j for i, j in enumerate(shuffled(count)))


def test_agreement_of_maps_is_counted_by_hand() -> None:
    maps = torch.tensor([[[0, 0], [1, 1]]])
    predicted = torch.tensor([[[0, 1], [1, 1]]])
    figures = compared(predicted, maps, 3)
    assert figures["agreement"] == pytest.approx(3 / 4)
    assert figures["mean_iou"] == pytest.approx((1 / 2 + 2 / 3) / 2)


def test_the_segmenter_finds_the_map_in_samples_and_is_kept(tmp_path: Path) -> None:
    metric = MapAgreement(features=Means(), classes=4, pictures=20, examples=60, steps=150)
    figures = check_metric(metric, evaluation(painted, ["segmentation"], tmp_path))["validation"]
    assert figures["real"]["agreement"] > 0.95
    assert figures["sample"]["agreement"] > 0.95
    assert figures["shuffled"]["agreement"] < 0.5
    (kept,) = tmp_path.glob("segmenter-*.safetensors")
    time = kept.stat().st_mtime_ns
    assert metric(evaluation(painted, ["segmentation"], tmp_path))["validation"] == figures
    assert kept.stat().st_mtime_ns == time


def test_the_parts_within_boxes_are_of_their_class() -> None:
    metric = LayoutAccuracy(features=Means(), pictures=30, examples=200, crop=16)
    good = check_metric(metric, evaluation(painted, ["layout", "segmentation"]))
    blind = metric(evaluation(red, ["layout"]))
    assert (good["sample"], good["boxes"]) == (1.0, 120)
    assert good["shuffled"] < 0.5
    assert blind["sample"] < 0.5
    assert good["by_class"]["sample"] == 1.0


def test_each_class_of_boxes_counts_alike() -> None:
    found = torch.tensor([1.0, 1.0, 0.0, 1.0, 0.0])
    assert mean_over_classes(found, ["head", "head", "head", "head", "pot"]) == pytest.approx((3 / 4 + 0) / 2)
    assert np.isnan(mean_over_classes(torch.zeros(0), []))


def test_the_sheet_shows_the_control_beside_the_sample() -> None:
    about = evaluation(painted, ["layout", "segmentation"])
    LayoutAccuracy(features=Means(), pictures=30, examples=200, crop=16)(about)
    (section,) = about.sections
    assert section.columns[-3:] == ("sample", "control", "real")
    samples, controls, real = (
        [np.asarray(row.pictures[column], int) for row in section.rows] for column in (-3, -2, -1)
    )
    for sample, control, picture in zip(samples, controls, real, strict=True):
        assert abs(sample - picture).max() <= 25, "this model paints what it is asked for, without noise"
        assert abs(control - picture).max() > 100


def test_a_box_is_cut_where_it_lies() -> None:
    picture = torch.arange(3 * 8 * 8, dtype=torch.uint8).reshape(3, 8, 8)
    assert torch.equal(cut_out(picture, (0.25, 0.5, 0.5, 0.25)), picture[:, 4:6, 2:6])


def enlarged(row: Mapping[str, Any]) -> torch.Tensor:
    large = F.interpolate(row["low_res"][None].float(), SIDE, mode="bicubic", align_corners=False)
    return large[0].round().clamp(0, 255).to(torch.uint8)


def test_super_resolution_is_measured_beside_bicubic() -> None:
    metric = SuperResolution(features=Means(), pictures=20)
    figures = check_metric(metric, evaluation(enlarged, ["low_res"]))
    assert figures["sample"]["psnr"] == pytest.approx(figures["bicubic"]["psnr"], abs=0.05)
    consistency = figures["consistency"]
    assert consistency["real"] > consistency["bicubic"] > 25 > consistency["shuffled"]
    assert consistency["real"] > 50, "the condition was made from the picture"
    with pytest.raises(UserError, match="the recipe does not read low_res"):
        metric(evaluation(red, []))


def test_inpainting_counts_the_hole_alone_and_sees_known_pixels_change() -> None:
    def filled(row: Mapping[str, Any]) -> torch.Tensor:
        return torch.where(row["mask"], torch.tensor(0, dtype=torch.uint8), row["image"])

    metric = Inpainting(pictures=20)
    black = metric(evaluation(filled, ["image", "mask"]))
    perfect = check_metric(metric, evaluation(lambda row: row["image"], ["image", "mask"]))
    assert black["known_pixels_off_by"] == 0
    assert black["holes"] == pytest.approx(12 * 16 / SIDE**2)
    assert perfect["sample"]["psnr"] == 100
    assert black["sample"]["psnr"] < black["smooth_fill"]["psnr"] < 40
    shifted = metric(evaluation(lambda row: row["image"] // 2, ["image", "mask"]))
    assert shifted["known_pixels_off_by"] > 50


def test_psnr_within_a_mask_is_the_definition() -> None:
    one = torch.zeros(1, 3, 4, 4, dtype=torch.uint8)
    other = one.clone()
    other[:, :, 0, 0] = 51
    mask = torch.zeros(1, 1, 4, 4, dtype=torch.bool)
    mask[..., 0, :2] = True
    assert psnr(one, other, mask) == pytest.approx(-10 * torch.tensor(0.2**2 / 2).log10().item(), abs=1e-4)


def test_a_smooth_fill_continues_a_slope() -> None:
    ys, xs = torch.meshgrid(torch.linspace(-1, 1, 32), torch.linspace(-1, 1, 32), indexing="ij")
    slope = (0.3 * ys + 0.5 * xs).expand(1, 3, 32, 32)
    hole = torch.zeros(1, 1, 32, 32, dtype=torch.bool)
    hole[..., 8:22, 5:25] = True
    spoiled = torch.where(hole, torch.tensor(9.0), slope)
    assert torch.allclose(smooth_fill(spoiled, hole), slope, atol=0.02)


def test_kernel_distance_agrees_with_the_definition_and_vanishes_for_equal_sources() -> None:
    draws = torch.Generator().manual_seed(0)
    one, same = (torch.randn(300, 4, generator=draws, dtype=torch.float64) for _ in range(2))
    far = one + 1
    assert abs(float(kernel_distances(one, same, 20, 0).mean())) < 0.05

    def kernel(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return (x @ y.T / 4 + 1) ** 3

    n = len(one)
    within = sum((kernel(x, x).sum() - kernel(x, x).trace()) / (n * (n - 1)) for x in (one, far))
    expected = within - 2 * kernel(one, far).mean()
    assert float(kernel_distances(one, far, 1, 0)[0]) == pytest.approx(float(expected), rel=1e-6)


def test_precision_and_recall_of_one_mode_of_two() -> None:
    draws = torch.Generator().manual_seed(1)
    left = torch.randn(100, 2, generator=draws, dtype=torch.float64)
    right = left.clone()
    right[:, 0] += 100
    both, one = torch.cat([left, right]), left[:50] + 0.001
    assert covered(one, both, 3) == 1.0
    assert 0.35 < covered(both, one, 3) <= 0.5
    assert covered(right, left, 3) == 0.0


def test_the_figures_carry_the_networks_name() -> None:
    shared = evaluation(painted, ["segmentation"])
    kid = check_metric(KernelDistance(features=Means(), pictures=20), shared)
    both = check_metric(PrecisionRecall(features=Means(), pictures=20), shared)
    assert {"kid_means", "kid_means_deviation"} <= kid.keys()
    assert {"precision_means", "recall_means"} <= both.keys()


def test_a_field_that_the_data_lack_is_named() -> None:
    with pytest.raises(UserError, match="the data have no 'colour'; they have segmentation"):
        AttributeAccuracy(features=Means(), field="colour")(evaluation(red, []))


def test_data_without_any_field_are_said_to_have_none(monkeypatch: pytest.MonkeyPatch) -> None:
    measured = evaluation(red, [])
    monkeypatch.setattr(measured, "data", lambda split: SimpleNamespace(fields=()))
    with pytest.raises(UserError, match="the data have no 'colour'; they have no fields"):
        AttributeAccuracy(features=Means(), field="colour")(measured)
