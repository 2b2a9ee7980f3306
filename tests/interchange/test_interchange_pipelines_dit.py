"""Diffusion transformers of classes compute what diffusers' own classes compute."""

from __future__ import annotations

import diffusers
import pytest
import torch
from safetensors.torch import load_file
from tiny_pipelines import (
    SCALE,
    SCHEDULERS,
    autoencoder,
    dit,
    imported,
    quiet,
)

from ldmkit.errors import UserError
from ldmkit.interchange import export_model, import_model

pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]


@torch.no_grad()
def test_a_diffusion_transformer_of_classes(noise, tmp_path, error):
    parts = {"transformer": dit(), "vae": autoencoder(), "scheduler": SCHEDULERS["DDIM"]}
    pipeline = quiet(diffusers.DiTPipeline(**parts))
    model, notes = imported(pipeline, tmp_path)
    condition = model.condition({"label": [207]})
    expected = pipeline.transformer(noise, torch.tensor([801]), torch.tensor([207])).sample
    assert error(model.denoise(noise, torch.tensor([801.0]), condition), expected) < 2e-5
    scheduler, z = pipeline.scheduler, noise
    scheduler.set_timesteps(10)
    for t in scheduler.timesteps:
        said = pipeline.transformer(torch.cat([z, z]), t.expand(2), torch.tensor([207, 1000])).sample[:, :4]
        wanted, null = said.chunk(2)
        z = scheduler.step(null + SCALE * (wanted - null), t, z).prev_sample
    guidance = [{"name": "classifier-free", "scale": SCALE}]
    assert error(model.sample_latent(condition, noise=noise, steps=10, guidance=guidance), z) < 1e-4
    assert any("variance" in note for note in notes)


def test_a_diffusion_transformer_is_written_again_bit_for_bit(tmp_path):
    parts = {"transformer": dit(), "vae": autoencoder(), "scheduler": SCHEDULERS["DDIM"]}
    model, _ = imported(diffusers.DiTPipeline(**parts), tmp_path)
    export_model(model, tmp_path / "again", "diffusers")
    for name in ("transformer", "vae"):
        file = f"{name}/diffusion_pytorch_model.safetensors"
        before, after = (load_file(tmp_path / folder / file) for folder in ("pipeline", "again"))
        assert before.keys() == after.keys()
        assert all(torch.equal(before[key], after[key]) for key in before)
    pipeline = quiet(diffusers.DiTPipeline.from_pretrained(tmp_path / "again"))
    assert pipeline([207], num_inference_steps=2).images[0].size == (16, 16)


def test_a_diffusion_transformer_whose_blocks_differ_in_their_embedders_is_refused(tmp_path):
    model = dit()
    model.transformer_blocks[1].norm1.emb.class_embedder.embedding_table.weight.data += 1
    parts = {"transformer": model, "vae": autoencoder(), "scheduler": SCHEDULERS["DDIM"]}
    diffusers.DiTPipeline(**parts).save_pretrained(tmp_path / "pipeline")
    with pytest.raises(UserError, match=r"left over: transformer_blocks\.1\.norm1\.emb\.class_embedder"):
        import_model(tmp_path / "pipeline", tmp_path / "out", None, None, print)
