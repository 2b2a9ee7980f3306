"""Frechet distance and reconstruction against closed forms and their libraries."""

from __future__ import annotations

import pytest
import torch
from known_generators import (
    CONCEPTS,
    HELD_OUT,
    Exact,
    Halved,
    Patterns,
    Pooled,
    evaluation,
    faithful,
    picture_of,
)
from ldmkit_metrics.frechet import Frechet, frechet_distance
from ldmkit_metrics.reconstruction import Reconstruction
from torch.nn import functional as F
from torchmetrics.functional.image import peak_signal_noise_ratio, structural_similarity_index_measure

from ldmkit.testing.metric import check_metric


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
