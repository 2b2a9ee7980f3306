"""Generated published files: headers of tensors, configurations of pipelines and of single files."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import torch
import yaml
from fuzzing import changed, fuzzed, paths, tried, values
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

from ldmkit.checkpoint.files import read_safetensors
from ldmkit.interchange import import_model


@fuzzed
@given(
    header=values.map(lambda v: json.dumps({"x": v, "__metadata__": v}).encode()) | st.binary(max_size=80),
    size=st.integers(-(2**63), 2**63 - 1) | st.none(),
)
def test_safetensors_headers(tmp_path_factory, header, size):
    path = tmp_path_factory.mktemp("tensors") / "x.safetensors"
    path.write_bytes(struct.pack("<q", len(header) if size is None else size) + header + b"\0" * 16)
    tried(read_safetensors, path)


PIPELINE = {
    "model_index.json": {"_class_name": "LDMPipeline", "unet": ["diffusers", "UNet2DModel"],
                         "vqvae": ["diffusers", "VQModel"], "scheduler": ["diffusers", "DDIMScheduler"]},
    "unet/config.json": {"_class_name": "UNet2DModel", "sample_size": 16, "in_channels": 3, "out_channels": 3,
                         "block_out_channels": [32], "layers_per_block": 1, "attention_head_dim": 8,
                         "down_block_types": ["DownBlock2D"], "up_block_types": ["UpBlock2D"]},
    "vqvae/config.json": {"_class_name": "VQModel", "block_out_channels": [32], "latent_channels": 3,
                          "num_vq_embeddings": 16, "down_block_types": ["DownEncoderBlock2D"],
                          "up_block_types": ["UpDecoderBlock2D"], "sample_size": 32},
    "scheduler/scheduler_config.json": {"_class_name": "DDIMScheduler", "beta_start": 0.001, "beta_end": 0.02,
                                        "beta_schedule": "scaled_linear", "num_train_timesteps": 1000},
}  # fmt: skip


@fuzzed
@given(
    place=st.sampled_from([(f, p) for f, config in PIPELINE.items() for p in paths(config)]),
    new=values | st.sampled_from([[[]] * 3, "[" * 3000]),
)
def test_pipeline_configurations(tmp_path_factory, place, new):
    folder = tmp_path_factory.mktemp("pipeline")
    for name, config in PIPELINE.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(json.dumps(changed(config, place[1], new) if name == place[0] else config))
    tried(import_model, folder, folder / "out", None, None, lambda _: None)


PUBLISHED = {
    name: yaml.safe_load(
        (Path(__file__).parents[1] / "fixtures/reference" / name / "config.yaml").read_text()
    )
    for name in ("bsr-sr", "celebahq-vq4", "cin256-v2", "txt2img-1p4B")
}


@fuzzed
@given(place=st.sampled_from([(n, p) for n, config in PUBLISHED.items() for p in paths(config)]), new=values)
def test_published_configurations(tmp_path_factory, place, new):
    folder = tmp_path_factory.mktemp("published")
    config = changed(PUBLISHED[place[0]], place[1], new)
    (folder / "x.yaml").write_bytes(yaml.safe_dump(config, sort_keys=False).encode("utf-8", "replace"))
    save_file({"model.diffusion_model.out.2.bias": torch.zeros(3)}, folder / "x.safetensors")
    tried(import_model, folder / "x.safetensors", folder / "out", folder / "x.yaml", None, lambda _: None)
