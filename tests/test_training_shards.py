"""Latents and text states: written by all processes, shared between recipes, larger than memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from forks import Fork
from training_toy import Pictures, toy, train

from ldmkit.checkpoint.files import write_tensors
from ldmkit.errors import UserError
from ldmkit.training.diffusion import DiffusionStage
from ldmkit.training.draws import LISTED, Batches, Order
from ldmkit.training.latents import cached_latents
from ldmkit.training.shards import Shards
from ldmkit.training.stored_rows import StoredRows

SHORT = ["train.compression.steps=2", "train.diffusion.steps=2"]
TOGETHER = """
import sys
from pathlib import Path
import torch
from torch import distributed as dist
rank, world, place = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
dist.init_process_group("gloo", init_method=f"file://{place}/meet{world}", rank=rank, world_size=world)
from training_toy import Pictures, toy
import ldmkit.training.shards as shards
from ldmkit.training.diffusion import DiffusionStage
shards.SHARD = 5
wrote, write = [], shards.write
shards.write = lambda path, *rest: (wrote.append(path), write(path, *rest))
torch.manual_seed(0)
system = toy("compression.dropout=0")
stage = DiffusionStage(system, system.recipe.train.diffusion, Pictures(), place / str(world))
rows = slice(rank * 4 // world, (rank + 1) * 4 // world)
batch, _ = stage.batch(3, rows)
print([str(p.relative_to(place)) for p in wrote])
for x in (batch["clean"], batch["conditions"].encoded["frozen"].tokens):
    print(x.flatten().tolist())
"""


def together(place: Path, world: int) -> list[list[list[object]]]:
    """Of each process: the files that it wrote, its latents, its conditions."""
    forks = [Fork(TOGETHER, str(rank), str(world), str(place)) for rank in range(world)]
    outputs = [fork.done().stdout for fork in forks]
    return [[json.loads(line.replace("'", '"')) for line in text.splitlines()] for text in outputs]


def test_processes_share_the_encoding_and_read_the_same(tmp_path):
    one, two = together(tmp_path, 1), together(tmp_path, 2)
    wrote = [{str(name).split("/", 1)[1] for name in files} for files, _, _ in (*one, *two)]
    assert wrote[1] | wrote[2] == wrote[0]
    assert not wrote[1] & wrote[2]
    assert min(len(wrote[1]), len(wrote[2])) > 5
    for what in (1, 2):
        assert two[0][what] + two[1][what] == one[0][what]


def test_recipes_with_the_same_pictures_and_first_stage_share_latents(tmp_path):
    system = train(tmp_path, *SHORT)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").glob("latents-*/*")}
    assert before
    train(tmp_path, *SHORT, "train.diffusion.lr=0.5", stages=["compression", "diffusion"])
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "cache").glob("latents-*/*")} == before
    assert not list((tmp_path / "toy").glob("cache"))
    assert system is not None


def test_latents_of_older_trainings_are_read_where_they_are(tmp_path):
    system, data = toy(), Pictures().split("train")
    older = cached_latents(system.compression, data, tmp_path / "older", False)
    found = cached_latents(system.compression, data, tmp_path / "new", False, older=tmp_path / "older")
    assert found.shards[0].paths == older.shards[0].paths
    assert not (tmp_path / "new").exists()


def test_a_file_that_another_machine_keeps_to_itself_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr("ldmkit.training.shards.SHARD", 5)
    monkeypatch.setattr("ldmkit.training.shards.place", lambda: (0, 2))
    with pytest.raises(UserError, match=r"000001\.safetensors was written by another process .* one folder"):
        Shards(tmp_path, 10).fill("latents", lambda rows: ({"x": torch.zeros(5)}, {}), print)


class Broken(Pictures):
    """Its fourth picture turns out broken when it is read: the next stands in."""

    def shown(self, index):
        return index + 1 if index == 3 else index

    def view(self, index, fields=None, key=None):
        example = self[self.shown(index)]
        return example if fields is None else {f: v for f, v in example.items() if f in fields}

    def split(self, name):
        part = super().split(name)
        part.__class__ = Broken
        return part


def test_a_caption_goes_with_the_picture_that_stands_in(tmp_path):
    system = toy("compression.dropout=0")
    stage = DiffusionStage(system, system.recipe.train.diffusion, Broken(), tmp_path)
    again = DiffusionStage(system, system.recipe.train.diffusion, Broken(), tmp_path)
    for one in (stage, again):  # encoded now, and from the disk
        assert one._train.latents.stand_ins == {3: 4}
        draws = replace(one._draw_step(0).rows(slice(0, 2)), flip=None)
        posterior, given = one._train.read([3, 4], draws, True, torch.device("cpu"))
        assert torch.equal(posterior.mode[0], posterior.mode[1])
        ids = given.prepared["text"]["ids"]
        assert torch.equal(ids[0], ids[1])


LIMITED = """
import re, resource, sys, threading
from pathlib import Path
sys.path.insert(0, sys.argv[1])
threading.stack_size(2**18)  # of the readers: they would count as 8 MB each
import torch
import training_toy, training_toy_stages
import ldmkit.training.latents as latents
import ldmkit.training.shards as shards
shards.SHARD, latents.BATCH, training_toy_stages.SIZE = 64, 8, 256  # latents of 98 KB
changes = ["data={name: toy, count: 1700}", "train.diffusion.flip=false", "train.diffusion.steps=4"]
training_toy.train(sys.argv[2], *changes[1:], stages=("diffusion",))  # all that is imported late is there
used = int(re.search(r"VmData:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) * 1024
resource.setrlimit(resource.RLIMIT_DATA, (used + 100 * 2**20,) * 2)
training_toy.train(sys.argv[2] + "/limited", *changes, stages=("diffusion",))
room = sum(p.stat().st_size for p in Path(sys.argv[2], "limited", "cache").glob("latents-*/*.safetensors"))
try:
    torch.zeros(room, dtype=torch.uint8)
except RuntimeError:
    print("latents", room // 2**20, "MB, more than is allowed")
"""


def test_latents_larger_than_the_memory_allowed_are_trained_on(tmp_path):
    command = [sys.executable, "-c", LIMITED, str(Path(__file__).parent), str(tmp_path)]
    # what is freed goes back to the system at once, so that the limit counts what is in use
    environment = {"OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_THRESHOLD_": "65536"}
    found = subprocess.run(
        command, capture_output=True, text=True, timeout=600, env={**os.environ, **environment}
    )
    assert found.stdout.splitlines()[-1] == "latents 159 MB, more than is allowed", found.stderr[-2000:]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.bool])
def test_a_row_is_read_without_the_rest_of_its_file(tmp_path, dtype):
    table = torch.arange(24).view(4, 2, 3).remainder(5).to(dtype)
    write_tensors(tmp_path / "a.safetensors", {"other": torch.ones(7), "table": table})
    with StoredRows(tmp_path / "a.safetensors") as file:
        assert torch.equal(file.row("table", 2), table[2])
        assert file.row("absent", 0) is None


def test_a_file_of_rows_that_is_cut_is_named(tmp_path):
    path = tmp_path / "a.safetensors"
    write_tensors(path, {"table": torch.ones(4, 100)})
    for left in (1500, 40, 3, 0):
        path.write_bytes(path.read_bytes()[:left])
        with pytest.raises(UserError, match=r"a\.safetensors: cannot be read"), StoredRows(path) as file:
            file.row("table", 3)


def test_the_order_of_many_examples_is_a_permutation_that_is_not_listed():
    count = LISTED + 5
    order = Order(count, 0, "diffusion")
    assert torch.equal(order.take(0, count).sort().values, torch.arange(count))
    assert torch.equal(order.take(count - 3, count + 4)[3:], order.take(count, count + 4))
    assert order.take(0, 50).tolist() != order.take(count, count + 50).tolist()


def test_buckets_are_served_in_proportion_and_a_resume_needs_the_step_alone():
    counts = [600, 310, 83, 7]
    batches = Batches(counts, 10, 0, "diffusion")
    seen = [torch.zeros(count) for count in counts]
    for step in range(1000):  # ten epochs
        bucket = batches.bucket(step)
        for place in batches.places(step, slice(0, 10)):
            seen[bucket][place] += 1
    assert sum(x.sum() for x in seen) == 10_000
    for x, count in zip(seen, counts, strict=True):
        assert abs(x.sum() / 10 - count) < 3
        assert x.max() - x.min() <= 1
    later = Batches(counts, 10, 0, "diffusion")
    assert later.places(999, slice(2, 5)) == batches.places(999, slice(0, 10))[2:5]
