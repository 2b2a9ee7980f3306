"""Metrics on generators whose score is known beforehand, and formulas against their libraries."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from ldmkit_metrics.accuracy import CaptionAccuracy
from ldmkit_metrics.frechet import Frechet, frechet_distance
from ldmkit_metrics.reconstruction import Reconstruction
from torch.nn import functional as F
from torchmetrics.functional.image import peak_signal_noise_ratio, structural_similarity_index_measure

from ldmkit.errors import UserError
from ldmkit.evaluation import Evaluation
from ldmkit.pictures import to_pictures
from ldmkit.recipe import Component
from ldmkit.testing.metric import check_metric

CONCEPTS = 20
HELD_OUT = 6


class Patterns:
    """Random pictures: 20 concepts in two styles that resemble each other; six held-out (concept, style)
    pairs."""

    fields = ("caption", "concept", "style")

    def __init__(self, language: str = "en") -> None:
        draws = torch.Generator().manual_seed(0)
        base = torch.randint(60, 200, (CONCEPTS, 3, 16, 16), generator=draws)
        shift = torch.randint(-50, 50, (2, CONCEPTS, 3, 16, 16), generator=draws)
        self.rows = [
            {
                "image": (base[c] + shift[s, c]).to(torch.uint8),
                "caption": f"{language} {style} {c}",
                "concept": f"c{c}",
                "style": style,
                "split": "pairs" if style == "b" and c < HELD_OUT else "train",
            }
            for s, style in enumerate("ab")
            for c in range(CONCEPTS)
        ]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index):
        return self.rows[index]

    def split(self, name):
        if name not in ("train", "pairs"):
            raise ValueError(f"no split '{name}'")
        part = Patterns.__new__(type(self))
        part.rows = [row for row in self.rows if row["split"] == name]
        return part


class Pooled:
    """A feature network: the picture in 4 x 4 patches' means."""

    def __call__(self, image):
        return [image]

    def embed(self, image):
        return F.adaptive_avg_pool2d(image, 4).flatten(1)


class Halved:
    """A compression model that keeps half the resolution."""

    def encode(self, image):
        return F.avg_pool2d(image, 2)

    def decode(self, latent):
        return latent.repeat_interleave(2, 2).repeat_interleave(2, 3)


class Exact(Halved):
    def encode(self, image):
        return image

    def decode(self, latent):
        return latent


class Drawn(Evaluation):
    """An evaluation whose generator is a function from a caption to bytes; blind pictures are noise."""

    condition_fields = ("caption",)

    def draw(self, fields, seeds):
        pixels = torch.stack([self.system.generator(caption) for caption in fields["caption"]])
        yield to_pictures(pixels.float() / 127.5 - 1)

    def draw_unconditional(self, fields, seeds):
        draws = [torch.Generator().manual_seed(seed) for seed in seeds]
        yield to_pictures(torch.stack([torch.rand(3, 16, 16, generator=g) * 2 - 1 for g in draws]))


def evaluation(generator=None, compression=None, data=None, **parameters) -> Drawn:
    system = SimpleNamespace(
        generator=generator,
        compression=compression,
        device="cpu",
        recipe=SimpleNamespace(sample=SimpleNamespace(batch=7)),
    )
    component = Component(
        name="metric", parameters={"features": {"name": "pooled", "resize": None}, **parameters}
    )
    held = {("data", "{}"): data or Patterns(), ("data", '{"language": "ko"}'): Patterns("ko")}
    return Drawn(system, component, held=held)


def picture_of(style: str, concept: int):
    return next(r["image"] for r in Patterns().rows if (r["style"], r["concept"]) == (style, f"c{concept}"))


def faithful(caption: str):
    _, style, concept = caption.split()
    return picture_of(style, int(concept))


def off_by_one(caption: str):
    _, style, concept = caption.split()
    return picture_of(style, (int(concept) + 1) % CONCEPTS)


def copying(caption: str):
    _, style, concept = caption.split()
    return picture_of("ab".replace(style, ""), int(concept))


def accuracy(generator, **settings):
    metric = CaptionAccuracy(features=Pooled(), splits=("train", "pairs"), **settings)
    return metric(evaluation(generator))


def test_a_generator_that_returns_the_pictures_themselves_is_always_right():
    figures = accuracy(faithful)
    for split, captions in (("train", 2 * CONCEPTS - HELD_OUT), ("pairs", HELD_OUT)):
        assert figures[split]["captions"] == captions
        assert figures[split]["sample"]["first"] == figures[split]["sample"]["within_5"] == 1
    assert figures["train"]["sample"]["distance_to_training"] == pytest.approx(0, abs=1e-6)
    assert figures["pairs"]["sample"]["distance_to_training"] > 1e-4, "held-out pictures are not in training"
    assert figures["pairs"]["real"] == {
        "distance_to_training": pytest.approx(figures["pairs"]["sample"]["distance_to_training"])
    }


def test_a_generator_that_shows_other_concepts_is_never_first():
    figures = accuracy(off_by_one)
    assert figures["train"]["sample"]["first"] == figures["pairs"]["sample"]["first"] == 0


def test_held_out_pictures_compete_with_the_training_pictures_of_their_style_only():
    assert accuracy(faithful)["pairs"]["reference_pictures"] == {"a": CONCEPTS, "b": CONCEPTS}
    assert accuracy(faithful)["train"]["reference_pictures"] == {"a": CONCEPTS, "b": CONCEPTS - HELD_OUT}


def test_copying_the_other_style_scores_what_the_control_says():
    figures = accuracy(copying)["pairs"]
    control = figures["other_style"]
    assert control["captions"] == HELD_OUT
    assert {k: figures["sample"][k] for k in ("first", "within_5")} == {
        k: control[k] for k in ("first", "within_5")
    }
    assert figures["sample"]["distance_to_training"] == pytest.approx(0, abs=1e-6)


def test_blind_pictures_score_chance():
    """Each blind picture ranks each caption's concept once: 1 of n first, 5 of n within five, exactly."""
    figures = accuracy(faithful)["train"]["unconditional"]
    sizes = {"a": CONCEPTS, "b": CONCEPTS - HELD_OUT}
    captions = sum(sizes.values())
    assert figures["first"] == pytest.approx(sum(n / captions / n for n in sizes.values()))
    assert figures["within_5"] == pytest.approx(sum(5 / captions for _ in sizes))


def test_the_share_of_a_style_is_that_of_its_captions():
    def half_right(caption):
        return faithful(caption) if " a " in caption else off_by_one(caption)

    figures = accuracy(half_right)["train"]
    assert figures["sample/a"] == {"first": 1.0, "within_5": 1.0, "captions": CONCEPTS}
    assert figures["sample/b"]["first"] == 0
    assert figures["sample"]["first"] == pytest.approx(CONCEPTS / (2 * CONCEPTS - HELD_OUT))


def test_of_identical_pictures_none_counts_against_the_other():
    data = Patterns()
    for row in data.rows:
        row["image"] = data.rows[0]["image"] if row["concept"] in ("c9", "c10") else row["image"]
    pictures = {row["caption"]: row["image"] for row in data.rows}
    figures = check_metric(CaptionAccuracy(features=Pooled()), evaluation(pictures.__getitem__, data=data))
    assert figures["train"]["sample"]["first"] == 1


def test_captions_in_another_language_are_drawn_against_the_same_pictures():
    asked = []

    def speaks_korean(caption):
        asked.append(caption)
        return faithful(caption)

    figures = accuracy(speaks_korean, language="ko")
    assert figures["language"] == "ko"
    assert all(caption.startswith("ko ") for caption in asked)
    assert figures["pairs"]["sample"]["first"] == 1


def test_data_in_another_language_of_other_concepts_are_refused():
    wrong = evaluation(faithful)
    wrong.held["data", '{"language": "ko"}'].rows.reverse()
    with pytest.raises(UserError, match="other concepts"):
        CaptionAccuracy(features=Pooled(), language="ko")(wrong)


def test_the_contact_sheet_shows_sample_picture_and_nearest_training_picture():
    shared = evaluation(copying)
    CaptionAccuracy(features=Pooled(), splits=("pairs",), shown=2)(shared)
    (section,) = shared.sections
    assert len(section.rows) == 2
    for row in section.rows:
        sample, own, nearest = (p.tobytes() for p in row.pictures)
        assert sample == nearest != own


def test_captions_are_drawn_once_for_all_metrics():
    asked = []

    def counted(caption):
        asked.append(caption)
        return faithful(caption)

    shared = evaluation(counted)
    CaptionAccuracy(features=Pooled(), captions=8)(shared)
    Frechet(features=Pooled(), captions=8)(shared)
    assert len(asked) == len(set(asked)) == 8


def test_data_without_captions_are_refused():
    data = Patterns()
    data.fields = ("concept",)
    part = data.split
    data.split = lambda name: (lambda p: setattr(p, "fields", ("concept",)) or p)(part(name))
    with pytest.raises(UserError, match="no captions"):
        CaptionAccuracy(features=Pooled())(evaluation(faithful, data=data))


def test_an_unknown_split_is_the_users_error():
    with pytest.raises(UserError, match="no split 'held-out'"):
        CaptionAccuracy(features=Pooled(), splits=("held-out",))(evaluation(faithful))


def test_frechet_distance_of_two_gaussians_is_the_closed_form():
    draws = torch.Generator().manual_seed(1)
    reference = torch.randn(4000, 3, generator=draws, dtype=torch.float64)
    other = 2 * torch.randn(4000, 3, generator=draws, dtype=torch.float64) + torch.tensor([1.0, 0, 0])
    # |mu|^2 = 1 and tr(I + 4 I - 2 * 2 I) = 3
    assert frechet_distance(reference, other) == pytest.approx(4, rel=0.05)
    assert frechet_distance(reference, reference) == pytest.approx(0, abs=1e-8)


def test_frechet_is_named_by_its_network_and_has_its_floor_beside_it():
    figures = check_metric(Frechet(features=Pooled(), captions=30), evaluation(faithful))
    assert figures["frechet_pooled"] == pytest.approx(figures["frechet_pooled_of_real_pictures"], rel=1e-4)
    assert (figures["pictures"], figures["reference_pictures"]) == (30, 2 * CONCEPTS - HELD_OUT)
    worse = Frechet(features=Pooled(), captions=30)(evaluation(lambda _: picture_of("a", 0)))
    assert worse["frechet_pooled"] > 2 * figures["frechet_pooled"]


def test_reconstruction_agrees_with_torchmetrics():
    shared = evaluation(compression=Halved())
    figures = Reconstruction(splits=("pairs",), features=Pooled())(shared)["pairs"]
    pixels, made = (x.float() / 255 for x in (shared.pixels("pairs"), shared.reconstructions("pairs")))
    each = peak_signal_noise_ratio(made, pixels, data_range=1.0, dim=(1, 2, 3), reduction="none")
    assert figures["pictures"] == HELD_OUT
    assert figures["psnr"] == pytest.approx(float(each.mean()), abs=1e-3)
    assert figures["psnr_pooled"] == pytest.approx(
        float(peak_signal_noise_ratio(made, pixels, data_range=1.0)), abs=1e-3
    )
    assert figures["ssim"] == pytest.approx(
        float(structural_similarity_index_measure(made, pixels, data_range=1.0)), abs=1e-4
    )
    assert 0 <= figures["feature_distance_pooled"] < 0.05


def test_white_pixels_count_in_no_figure_over_non_white_ones():
    data = Patterns()
    plain = Reconstruction(splits=("train",))(evaluation(compression=Halved(), data=data))["train"]
    padded = Patterns()
    for row in padded.rows:
        row["image"] = F.pad(row["image"], (16, 0, 0, 0), value=255)
    wide = Reconstruction(splits=("train",))(evaluation(compression=Halved(), data=padded))["train"]
    assert wide["psnr_non_white"] == pytest.approx(plain["psnr"], abs=1e-3)
    assert wide["psnr_pooled_non_white"] == pytest.approx(plain["psnr_pooled"], abs=1e-3)
    assert wide["psnr"] == pytest.approx(plain["psnr"] + 3.01, abs=0.01), "half of it is white and exact"


def test_a_lossless_model_has_infinite_psnr_and_ssim_one():
    figures = check_metric(Reconstruction(splits=("train",)), evaluation(compression=Exact()))["train/a"]
    assert figures["psnr"] == float("inf")
    assert figures["ssim"] == pytest.approx(1)
