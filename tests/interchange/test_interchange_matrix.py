"""Every kind of pipeline with every kind of scheduler: ten guided steps as diffusers takes them, or one line.

The network's pass agrees within 2e-5, the ten steps within 1e-4 (relative, in the L2 norm). In the suite each
kind of pipeline meets some schedulers and each scheduler some pipelines; `LDMKIT_MATRIX=all` tries all pairs.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import diffusers
import pytest
import torch
from tiny_pipelines import (
    BETAS,
    LEADING,
    NEGATIVE,
    PROMPT,
    SCALE,
    autoencoder,
    conditional_unet,
    dit,
    large,
    quiet,
    stable_diffusion,
    text_encoder,
    unconditional_unet,
    vq,
)

import ldmkit
from ldmkit.errors import UserError
from ldmkit.interchange import import_model

pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]
SCHEDULERS: Mapping[str, Callable[..., Any]] = {
    "DDIM": lambda **v: diffusers.DDIMScheduler(**LEADING, clip_sample=False, set_alpha_to_one=False, **v),
    "DDPM": lambda **more: diffusers.DDPMScheduler(**{**BETAS, "clip_sample": False, **more}),
    "PNDM": lambda **v: diffusers.PNDMScheduler(**LEADING, skip_prk_steps=True, **v),
    "DPM++": lambda **v: diffusers.DPMSolverMultistepScheduler(**LEADING, **v),
    "DPM++ Karras": lambda **v: diffusers.DPMSolverMultistepScheduler(**BETAS, use_karras_sigmas=True, **v),
    "Euler": lambda **v: diffusers.EulerDiscreteScheduler(**LEADING, **v),
    "Euler ancestral": lambda **v: diffusers.EulerAncestralDiscreteScheduler(**LEADING, **v),
    "Heun": lambda **v: diffusers.HeunDiscreteScheduler(**LEADING, **v),
    "UniPC": lambda **v: diffusers.UniPCMultistepScheduler(**LEADING, **v),
    "flow": lambda **v: diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0),
    "EDM": lambda **v: diffusers.EDMEulerScheduler(**v),
}
Network = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


@dataclass
class Case:
    """A pipeline; its network's pass with the condition, and without it; what ldmkit is given for both."""

    pipeline: Any
    network: Network
    null: Network | None = None
    raw: Mapping[str, Any] = field(default_factory=dict)
    negative: Mapping[str, Any] | None = None
    channels: int = 4
    init: torch.Tensor | None = None

    def guided(self, z: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        """What guidance makes of both; of a variance the one with the condition."""
        wanted = self.network(z, t)
        if self.null is None:
            return wanted
        null, own = self.null(z, t)[:, : self.channels], wanted[:, : self.channels]
        return torch.cat([null + SCALE * (own - null), wanted[:, self.channels :]], 1)


def random(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def of_text(pipeline: Any, concat: torch.Tensor | None = None, raw=None, **more: Any) -> Case:
    """A UNet that reads text, and channels beside the latent."""
    wanted, unwanted = pipeline.encode_prompt(PROMPT, "cpu", 1, True, NEGATIVE)[:2]

    def network(states):
        def computed(z, t):
            shown = z if concat is None else torch.cat([z, concat], 1)
            return pipeline.unet(shown, t, encoder_hidden_states=states, **more).sample

        return computed

    raw = raw or {}
    words, without = {"caption": [PROMPT], **raw}, {"caption": [NEGATIVE], **raw}
    return Case(pipeline, network(wanted), network(unwanted), words, without)


def latent_diffusion(scheduler):
    unet = unconditional_unet()
    pipeline = diffusers.LDMPipeline(vqvae=vq(), unet=unet, scheduler=scheduler)
    return Case(pipeline, lambda z, t: unet(z, t).sample, channels=3)


def super_resolution(scheduler):
    unet, small = unconditional_unet(6, 3), random(1, 3, 8, 8, seed=2).tanh()
    pipeline = diffusers.LDMSuperResolutionPipeline(vqvae=vq(), unet=unet, scheduler=scheduler)
    return Case(
        pipeline, lambda z, t: unet(torch.cat([z, small], 1), t).sample, raw={"low_res": small}, channels=3
    )


def first(scheduler):
    return of_text(with_scheduler(stable_diffusion(), scheduler))


def second(scheduler):
    return of_text(with_scheduler(stable_diffusion(use_linear_projection=True), scheduler))


def from_picture(scheduler):
    case = of_text(with_scheduler(stable_diffusion(kind="StableDiffusionImg2ImgPipeline"), scheduler))
    case.init = random(1, 4, 8, 8, seed=7)
    return case


def inpainting(scheduler):
    pipeline = stable_diffusion(kind="StableDiffusionInpaintPipeline", channels=9)
    image, mask = random(1, 3, 16, 16, seed=2).tanh(), torch.zeros(1, 1, 16, 16)
    mask[..., 4:10, 6:16] = 1
    with torch.no_grad():
        masked = pipeline.vae.encode(image * (mask < 0.5)).latent_dist.mode() * 0.18215
    concat = torch.cat([mask[..., ::2, ::2], masked], 1)
    return of_text(with_scheduler(pipeline, scheduler), concat, {"image": image, "mask": mask})


def upscaler(scheduler):
    low = diffusers.DDPMScheduler(beta_schedule="scaled_linear", beta_start=1e-4, beta_end=0.02)
    pipeline = diffusers.StableDiffusionUpscalePipeline(
        vae=autoencoder(3, scaling_factor=0.08333),
        unet=conditional_unet(7, num_class_embeds=1000, only_cross_attention=[True, False]),
        **text_encoder(),
        scheduler=scheduler,
        low_res_scheduler=low,
        max_noise_level=350,
    )
    small = random(1, 3, 8, 8, seed=2).tanh()
    noised = low.add_noise(small, random(3, 8, 8, seed=0)[None], torch.tensor([20]))
    return of_text(pipeline, noised, {"low_res": small}, class_labels=torch.tensor([20]))


def xl(scheduler):
    pipeline = with_scheduler(large(), scheduler)
    states, unwanted, text, other = pipeline.encode_prompt(PROMPT, negative_prompt=NEGATIVE)
    sizes = torch.tensor([[16, 16, 0, 0, 16, 16]])

    def network(states, text):
        added = {"text_embeds": text, "time_ids": sizes}
        return lambda z, t: pipeline.unet(z, t, encoder_hidden_states=states, added_cond_kwargs=added).sample

    words, without = {"caption": [PROMPT]}, {"caption": [NEGATIVE]}
    return Case(pipeline, network(states, text), network(unwanted, other), words, without)


def transformer(scheduler):
    """Its learned variance is what DDPM draws with, as it was trained to; the others have no use for it."""
    model = dit()
    learned = isinstance(scheduler, diffusers.DDPMScheduler)
    if learned:
        scheduler = SCHEDULERS["DDPM"](variance_type="learned_range")
    pipeline = diffusers.DiTPipeline(transformer=model, vae=autoencoder(), scheduler=scheduler)

    def network(label):
        def computed(z, t):
            said = model(z, torch.as_tensor(t).expand(1), torch.tensor([label])).sample
            return said if learned else said[:, :4]

        return computed

    return Case(pipeline, network(207), network(1000), {"label": [207]})


def pixels(scheduler):
    unet = unconditional_unet()
    return Case(
        diffusers.DDPMPipeline(unet=unet, scheduler=scheduler), lambda z, t: unet(z, t).sample, channels=3
    )


def with_scheduler(pipeline, scheduler):
    pipeline.scheduler = scheduler
    pipeline.register_modules(scheduler=scheduler)
    return pipeline


PIPELINES = {
    "LDM": latent_diffusion,
    "LDM super-resolution": super_resolution,
    "SD 1": first,
    "SD 2 v": second,
    "img2img": from_picture,
    "inpaint": inpainting,
    "upscaler": upscaler,
    "SDXL": xl,
    "DiT": transformer,
    "pixels": pixels,
}
V = ("SD 2 v", "upscaler")
REFUSED = {
    **{(pipeline, "EDM"): "v_prediction" for pipeline in V},
    **{("DiT", scheduler): "has no place for the variance" for scheduler in ("flow", "EDM")},
}
"""Pairs without counterpart, and what the line names."""
CHOSEN = [
    (p, s)
    for i, p in enumerate(PIPELINES)
    for j, s in enumerate(SCHEDULERS)
    if (i + j) % 4 == 0 or os.environ.get("LDMKIT_MATRIX") == "all"
]


def theirs(case, start, draws, monkeypatch):
    """Ten steps of the scheduler, and what its network is shown first."""
    scheduler, taken = case.pipeline.scheduler, iter(draws)
    module = sys.modules[type(scheduler).__module__]
    if hasattr(module, "randn_tensor"):
        monkeypatch.setattr(module, "randn_tensor", lambda *_, **__: next(taken))
    scheduler.set_timesteps(10)
    times, z = scheduler.timesteps, start * getattr(scheduler, "init_noise_sigma", 1.0)
    if case.init is not None:
        times = times[5 * scheduler.order :]  # as the pipeline does for half of the strength
        if isinstance(scheduler, diffusers.PNDMScheduler):  # it takes its second step twice, from any start
            left = times[1:]
            times = torch.cat([left[:2], left[1:2], left[2:]])
        if hasattr(scheduler, "set_begin_index"):
            scheduler.set_begin_index(len(scheduler.timesteps) - len(times))
        noised = getattr(scheduler, "add_noise", None) or scheduler.scale_noise
        z = (
            noised(case.init, start, times[:1])
            if noised.__name__ == "add_noise"
            else noised(case.init, times[:1], start)
        )
    scale, shown = getattr(scheduler, "scale_model_input", lambda z, t: z), None
    for t in times:
        seen = scale(z, t)
        shown = seen if shown is None else shown
        z = scheduler.step(case.guided(seen, t), t, z).prev_sample
    return z, shown


def imported(case, place):
    quiet(case.pipeline).save_pretrained(place / "pipeline")
    return ldmkit.build(import_model(place / "pipeline", place / "out", None, None, lambda line: None))


@torch.no_grad()
@pytest.mark.parametrize(("kind", "scheduler"), CHOSEN)
def test_ten_guided_steps(kind, scheduler, tmp_path, error, monkeypatch):
    prediction = {"prediction_type": "v_prediction"} if kind in V else {}
    case = PIPELINES[kind](SCHEDULERS[scheduler](**prediction))
    if (kind, scheduler) in REFUSED:
        with pytest.raises(UserError, match=REFUSED[kind, scheduler]) as refused:
            imported(case, tmp_path)
        assert "\n" not in str(refused.value)
        return
    model = imported(case, tmp_path)
    start = random(1, case.channels, 8, 8, seed=5)
    conditions = model.condition(case.raw)
    seen = model.denoise(start, torch.tensor([401.0]), conditions)
    expected = case.network(start, torch.tensor(401))
    assert error(seen[:, : expected.shape[1]], expected) < 2e-5
    draws = [random(1, case.channels, 8, 8, seed=100 + i) for i in range(25)]
    expected, shown = theirs(case, start, draws, monkeypatch)
    monkeypatch.setattr("ldmkit.engine.sampling.step_noise", lambda *_: lambda i: draws[i])
    clipping = [{"name": g.name, **g.parameters} for g in model.recipe.guidance if g.name == "clamp"]
    guides = [{"name": "classifier-free", "scale": SCALE}] if case.null else []
    made = model.sample_latent(
        conditions,
        noise=shown if case.init is None else start,
        steps=10,
        guidance=[*guides, *clipping],
        null=None if case.negative is None else model.condition(case.negative),
        init=case.init,
        strength=1.0 if case.init is None else 0.5,
    )
    assert error(made, expected) < 1e-4
