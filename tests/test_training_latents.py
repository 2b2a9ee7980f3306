"""Latents of training: cached by content, in shards, read where memory is short; on toy components."""

from __future__ import annotations

import subprocess
import sys

import torch
import training_toy
from safetensors.torch import load_file
from training_toy import Pictures, toy

from ldmkit.checkpoint.files import write_tensors
from ldmkit.training.diffusion import DiffusionStage
from ldmkit.training.latents import cached_latents
from ldmkit.training.shards import SHARD


def test_latents_are_cached_by_content(tmp_path, monkeypatch):
    system = toy()
    options = system.recipe.train.diffusion
    DiffusionStage(system, options, Pictures(), tmp_path)
    assert len(list(tmp_path.glob("latents-*"))) == 2
    monkeypatch.setattr(training_toy.Autoencoder, "posterior", None)
    DiffusionStage(system, options, Pictures(), tmp_path)  # reads the files
    monkeypatch.undo()
    with torch.no_grad():
        system.compression.encoder.weight.add_(0.1)
    DiffusionStage(system, options, Pictures(), tmp_path)
    assert len(list(tmp_path.glob("latents-*"))) == 4


def test_mirrored_pictures_have_latents_of_their_own(tmp_path):
    system = toy()
    stage = DiffusionStage(system, system.recipe.train.diffusion, Pictures(), tmp_path)
    image = Pictures().split("train")[3]["image"][None].float() / 127.5 - 1
    found = stage._train.latents.posterior([3, 3], torch.tensor([False, True]))
    torch.testing.assert_close(found.mode[:1], system.compression.encode(image))
    torch.testing.assert_close(found.mode[1:], system.compression.encode(image.flip(-1)))


def test_latents_in_shards_are_those_of_one_file(tmp_path, monkeypatch):
    system = toy()
    data = Pictures().split("train")
    whole = cached_latents(system.compression, data, tmp_path / "whole", True)
    monkeypatch.setattr("ldmkit.training.shards.SHARD", 5)
    shards = cached_latents(system.compression, data, tmp_path / "shards", True)
    assert [len(part.shards[0].paths) for part in (whole, shards)] == [1, 4]
    assert shards.size() == whole.size() == (4, 4)
    chosen, flip = [17, 0, 4, 5, 5], torch.tensor([False, True, False, False, True])
    monkeypatch.undo()
    expected = whole.posterior(chosen, flip)
    monkeypatch.setattr("ldmkit.training.shards.SHARD", 5)
    found = shards.posterior(chosen, flip)
    assert torch.equal(found.mode, expected.mode)
    assert torch.equal(found.std, expected.std)


def test_after_an_interruption_only_missing_and_damaged_shards_are_encoded(tmp_path, monkeypatch):
    monkeypatch.setattr("ldmkit.training.shards.SHARD", 5)
    system, data = toy(), Pictures().split("train")
    shards = cached_latents(system.compression, data, tmp_path, False).shards[0].paths
    before = [path.read_bytes() for path in shards]
    tensors = [{n: x.clone() for n, x in load_file(path).items()} for path in shards]
    shards[1].unlink()
    shards[2].write_bytes(before[2][:-40] + bytes(40))  # its header is whole
    shards[3].write_bytes(before[3][:30])
    data.read.clear()
    cached_latents(system.compression, data, tmp_path, False)
    assert sorted(set(data.read) - {0}) == list(range(5, 18))
    for path, expected in zip(shards, tensors, strict=True):
        assert all(torch.equal(x, expected[name]) for name, x in load_file(path).items())


READ_LIMITED = """
import resource, sys
from pathlib import Path
import torch
from ldmkit.training.latents import Latents
from ldmkit.training.shards import SHARD, Shards
shards = Shards(Path(sys.argv[1]), 12 * SHARD)
latents = Latents([shards], [range(12 * SHARD)])
latents.posterior([0], None)
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 48 * 2**20,) * 2)
count = 12 * SHARD
for step in range(40):
    rows = torch.randint(count, (32,), generator=torch.Generator().manual_seed(step)).tolist()
    assert latents.posterior(rows, None).mode[:, 0, 0, 0].tolist() == [float(r) for r in rows]
try:
    torch.zeros(64 * 2**20, dtype=torch.uint8)
except RuntimeError:
    print("read")
"""


def test_latents_larger_than_the_memory_allowed_are_read(tmp_path):
    for number in range(12):  # 8 MB each, of which 48 MB are allowed together
        mode = torch.zeros(SHARD, 8, 16, 16)
        mode[:, 0, 0, 0] = torch.arange(SHARD) + number * SHARD
        write_tensors(tmp_path / f"{number:06}.safetensors", {"mode": mode})
    command = [sys.executable, "-c", READ_LIMITED, str(tmp_path)]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.stdout == "read\n", result.stderr
