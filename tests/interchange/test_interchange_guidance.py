"""An imported model draws with the guidance by which it draws where it was published."""

from __future__ import annotations

import inspect

import diffusers
import pytest
import torch
from ldmkit_formats.diffusers.layout import GUIDANCE, PIPELINES
from tiny_pipelines import PROMPT, imported, large, stable_diffusion, unit

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")


def test_every_pipeline_has_its_own_scale():
    default = {}
    for name in PIPELINES:
        parameters = inspect.signature(getattr(diffusers, name).__call__).parameters
        default |= {name: parameters["guidance_scale"].default} if "guidance_scale" in parameters else {}
    assert default == GUIDANCE


@torch.no_grad()
@pytest.mark.parametrize("kind", [stable_diffusion, large])
def test_a_prompt_alone_draws_what_the_pipeline_draws(kind, noise, tmp_path, error):
    pipeline = kind()
    model, notes = imported(pipeline, tmp_path)
    theirs = pipeline(PROMPT, latents=noise, output_type="latent", num_inference_steps=10).images
    first = unit(pipeline, noise)
    assert (
        error(model.sample_latent(model.condition({"caption": [PROMPT]}), noise=first, steps=10), theirs)
        < 1e-4
    )
    scale = GUIDANCE[type(pipeline).__name__]
    assert f"guidance: scale {scale:g}, as {type(pipeline).__name__} draws by default" in notes[-1]


@pytest.mark.parametrize(("name", "scale"), [("txt2img-1p4B", 5.0), ("cin256-v2", 3.0), ("bsr-sr", None)])
def test_a_single_file_has_the_scale_of_the_published_programs(name, scale, system):
    """scripts/txt2img.py of the paper's code; its notebook of ImageNet's classes."""
    guidance = system(name, "raw").recipe.guidance
    assert [guide.parameters["scale"] for guide in guidance] == ([] if scale is None else [scale])
