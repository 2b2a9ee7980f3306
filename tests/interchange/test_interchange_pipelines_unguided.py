"""Pipelines of latent diffusion and of pixels, without text, compute what diffusers' own classes compute."""

from __future__ import annotations

import diffusers
import pytest
import torch
from tiny_pipelines import (
    SCHEDULERS,
    imported,
    quiet,
    unconditional_unet,
    vq,
)

pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]


@torch.no_grad()
def test_latent_diffusion_without_conditions(tmp_path, error):
    pipeline = quiet(
        diffusers.LDMPipeline(vqvae=vq(), unet=unconditional_unet(), scheduler=SCHEDULERS["DDIM"])
    )
    model, _ = imported(pipeline, tmp_path)
    start = torch.randn(1, 3, 8, 8, generator=torch.Generator().manual_seed(5))
    theirs = pipeline(1, torch.Generator().manual_seed(5), num_inference_steps=10, output_type="np").images
    own = model.compression.decode(model.sample_latent({}, noise=start, steps=10)) / 2 + 0.5
    assert torch.allclose(torch.from_numpy(theirs).permute(0, 3, 1, 2), own.clamp(0, 1), atol=1e-4)


@torch.no_grad()
def test_latent_diffusion_of_a_low_resolution_picture(tmp_path, error):
    parts = {"vqvae": vq(), "unet": unconditional_unet(6, 3), "scheduler": SCHEDULERS["DDIM"]}
    pipeline = quiet(diffusers.LDMSuperResolutionPipeline(**parts))
    model, _ = imported(pipeline, tmp_path)
    small = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(2)) * 2 - 1
    start = torch.randn(1, 3, 8, 8, generator=torch.Generator().manual_seed(5))
    generator = torch.Generator().manual_seed(5)
    theirs = pipeline(small, 1, 10, generator=generator, output_type="np").images
    own = model.sample_latent(model.condition({"low_res": small}), noise=start, steps=10)
    decoded = (model.compression.decode(own) / 2 + 0.5).clamp(0, 1)
    assert torch.allclose(torch.from_numpy(theirs).permute(0, 3, 1, 2), decoded, atol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("kind", ["DDPM", "DDIM"])
def test_diffusion_of_pixels(kind, tmp_path, error, monkeypatch):
    """With clipping, as published: the schedulers' default."""
    scheduler = getattr(diffusers, f"{kind}Scheduler")()
    pipeline = getattr(diffusers, f"{kind}Pipeline")(unet=unconditional_unet(), scheduler=scheduler)
    model, _ = imported(quiet(pipeline), tmp_path)
    assert model.recipe.compression.name == "identity"
    assert [guide.name for guide in model.recipe.guidance] == ["clamp"]
    start = torch.randn(1, 3, 8, 8, generator=torch.Generator().manual_seed(5))
    expected = pipeline.unet(start, 401).sample
    assert error(model.denoise(start, torch.tensor([401.0]), {}), expected) < 2e-5
    draws = [torch.randn(1, 3, 8, 8) for _ in range(10)]
    scheduler = pipeline.scheduler
    scheduler.set_timesteps(10)
    module = __import__(type(scheduler).__module__, fromlist=["x"])
    taken = iter(draws)
    monkeypatch.setattr(module, "randn_tensor", lambda *_, **__: next(taken))
    z = start
    for t in scheduler.timesteps:
        z = scheduler.step(pipeline.unet(z, t).sample, t, z).prev_sample
    monkeypatch.setattr("ldmkit.engine.sampling.step_noise", lambda *_: lambda i: draws[i])
    assert error(model.sample_latent({}, noise=start, steps=10), z) < 1e-4
