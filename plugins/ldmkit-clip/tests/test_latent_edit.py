"""A picture moved towards a text, by a compression model and guidance alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from ldmkit_clip.edit import latent_edit
from ldmkit_clip.network import load_clip
from ldmkit_clip.sources import Network
from PIL import Image

import ldmkit
from ldmkit.cli import main
from ldmkit.errors import UserError
from ldmkit.pictures import normalize, to_tensor
from ldmkit.types import Estimate, Level

LEVELS = Level(*(torch.linspace(1, 0, 201, dtype=torch.float64) for _ in range(3)))


def towards(target):
    """Guidance that is the gradient of -|z - target|^2 / 2."""
    return lambda z, level: Estimate(z + (target - z), torch.zeros_like(z))


def start():
    return torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))


def test_it_climbs_to_the_maximum_of_what_guidance_follows():
    target = start().flip(0)
    found = latent_edit(towards(target), start(), LEVELS, lambda i: start(), rate=0.05, keep=0.0)
    assert float((found - target).abs().max()) < 0.05


def test_what_is_kept_stays_between_the_start_and_the_maximum():
    target = start() + 2.0
    found = latent_edit(towards(target), start(), LEVELS, lambda i: start(), rate=0.05, keep=0.5)
    # At rest (target - z) + 0.5 rms (start - z) = 0, where rms = 2: z is half way.
    assert torch.allclose(found, start() + 1.0, atol=0.05)


def test_a_picture_does_not_depend_on_its_batch():
    target = start().flip(0)
    together = latent_edit(towards(target), start(), LEVELS, lambda i: start())
    alone = latent_edit(towards(target[1:]), start()[1:], LEVELS, lambda i: start())
    assert torch.allclose(together[1:], alone, atol=1e-6)


@pytest.fixture
def recipe(tiny, tmp_path):
    """Pixels as latents, moved by the tiny network."""
    path = tmp_path / "edit.yaml"
    path.write_text(
        f"""
recipe: 1
name: edit
compression: identity
sampler: {{name: latent-edit, spacing: leading, steps: 12, keep: 0}}
guidance: [{{name: clip, network: {{path: {tiny}}}, cutouts: 0}}]
sample: {{size: [16, 16]}}
"""
    )
    return path


def cosine(tiny, picture: Image.Image) -> float:
    clip = load_clip(Network(path=str(tiny)))
    return float((clip.images(normalize(to_tensor(picture)[None])) * clip.texts(["a red fox"])).sum())


@pytest.fixture
def picture(tmp_path):
    pixels = np.random.default_rng(1).integers(60, 190, (16, 16, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "start.png")
    return tmp_path / "start.png"


@pytest.mark.filterwarnings("ignore:recipe 'edit'")
def test_a_picture_comes_nearer_to_a_text(recipe, tiny, picture):
    (edited,) = ldmkit.build(recipe).sample(["a red fox"], init=str(picture))
    assert cosine(tiny, edited) > cosine(tiny, Image.open(picture)) + 0.05


@pytest.mark.filterwarnings("ignore:recipe 'edit'")
def test_without_a_picture_to_start_from_it_is_refused(recipe):
    with pytest.raises(UserError, match="give a picture to start from"):
        ldmkit.build(recipe).sample(["a red fox"])


def test_the_command_line_edits_a_picture(recipe, tiny, picture, tmp_path):
    out = tmp_path / "out"
    options = ["--init", str(picture), "--prompt", "a red fox", "--out", str(out)]
    ran = CliRunner().invoke(main, ["run", str(recipe), *options, "--runs", str(tmp_path / "runs")])
    assert ran.exit_code == 0, ran.output
    (made,) = [path for path in out.glob("*.png") if path.name != "grid.png"]
    assert cosine(tiny, Image.open(made)) > cosine(tiny, Image.open(picture)) + 0.05
