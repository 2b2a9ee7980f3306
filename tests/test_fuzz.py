"""Generated input of every kind: refused in few words or taken, never a traceback, never without end.

`LDMKIT_FUZZ=1000 pytest tests/test_fuzz.py` tries a thousand inputs of each kind instead of a few.
"""

from __future__ import annotations

import json
import os
import random
import resource
import shutil
import signal
import struct
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from safetensors.torch import save_file
from small_recipes import AUTOENCODER, LATENTS, UNET

from ldmkit.checkpoint import RunStore
from ldmkit.checkpoint.files import read_tensors
from ldmkit.checkpoint.origin import read_origin
from ldmkit.checkpoint.sums import Sums
from ldmkit.engine.components import build
from ldmkit.engine.data import aligned, view
from ldmkit.errors import UserError
from ldmkit.host.plugins import host
from ldmkit.interchange import import_model
from ldmkit.pictures.png import read_about
from ldmkit.recipe import Component, load, resolve
from ldmkit.verbs import records
from ldmkit.verbs.check import inspect, try_out

TRIES = int(os.environ.get("LDMKIT_FUZZ", "25"))
GIGABYTE, SECONDS = 2**30, 10
LONGEST = 1500
UNSAFE = (
    "weights_only",
    "allow_pickle",
    "trust_remote_code",
    "allow_dangerous",
    "unsafe",
    "verify=false",
    "sudo",
)
"""What no message may advise, as those of the libraries below do."""
fuzzed = settings(
    max_examples=TRIES,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
    derandomize="LDMKIT_FUZZ" not in os.environ,
    print_blob=True,
)
RECIPE = {**LATENTS,
"name": "small",
"data": {"name": "fluent-emoji", "size": 32},
"compression": {**AUTOENCODER, "factor": 8, "multipliers": [1, 1, 1, 1]},
"conditioners": {"label": {"name": "class-embedding", "classes": 10, "width": 16, "dropout": 0.1}},
"denoiser": {**UNET, "attention": [1]},
"schedule": {"name": "scaled-linear", "steps": 100},
"objective": {"name": "v"},
"train": {"compression": {"steps": 1, "batch": 1, "lr": 0.1, "loss": [{"name": "pixel"}]},
              "diffusion": {"steps": 1, "batch": 1, "lr": 0.1, "ema": 0.9}},
"sampler": {"name": "ddim", "spacing": "leading", "steps": 3},
"guidance": [{"name": "classifier-free", "scale": 2}],
"sample": {"size": [64, 64], "seed": 0, "count": 2},}  # fmt: skip


def paths(value, at=()):
    """The path of every value of nested mappings and lists."""
    yield at
    children = (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    )
    for key, inner in children:
        yield from paths(inner, (*at, key))


def changed(value, at, new):
    """A copy with the value at a path replaced."""
    if not at:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[at[0]] = changed(value[at[0]], at[1:], new)
    return copy


texts = st.text(max_size=12) | st.sampled_from(
    ["", "ddim", "unet", "../x", "nan", "0x" + "f" * 5000, "\ud800"]
)
numbers = st.integers(-3, 70) | st.sampled_from([2**31, 2**63, 10**30, -1, 0]) | st.floats(width=32)
values = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)


def tried(function, *arguments):
    """Calls it; a refusal must be of few words. In no more than a gigabyte and ten seconds of its own."""
    said = None
    try:
        with bounded():
            function(*arguments)
    except UserError as error:
        said = str(error)
    assert said is None or 0 < len(said) <= LONGEST
    assert not [advice for advice in UNSAFE if advice in (said or "").lower()], said


@contextmanager
def bounded():
    """Within, the system gives out a gigabyte more of memory, and after ten seconds of computing the test
    is interrupted: a hang fails, and does not hang."""
    pages = int(Path("/proc/self/statm").read_text().split()[0]) if Path("/proc").is_dir() else 0
    limits = resource.getrlimit(resource.RLIMIT_AS)
    before = signal.signal(signal.SIGVTALRM, _too_long)
    signal.setitimer(signal.ITIMER_VIRTUAL, SECONDS)
    try:
        if pages:
            resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + GIGABYTE, limits[1]))
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)
        resource.setrlimit(resource.RLIMIT_AS, limits)


def _too_long(number, frame):
    raise AssertionError(f"over {SECONDS} seconds of computing")


def check(source, overrides=()):
    registry = host().registry
    try_out(inspect(resolve(load(source, overrides, registry), registry), registry), any_size=False)


@fuzzed
@given(at=st.sampled_from([p for p in paths(RECIPE) if p]), new=values)
def test_recipes_with_any_value_in_any_place(at, new):
    tried(check, changed(RECIPE, at, new))


def nested(depth, kind):
    """Mappings or lists, one in another."""
    value = 1
    for _ in range(depth):
        value = {"a": value} if kind is dict else [value]
    return value


@pytest.mark.parametrize("kind", [dict, list])
@pytest.mark.parametrize("at", [("compression", "width"), ("sample", "seed"), ("name",), ("guidance", 0)])
def test_deep_nesting_is_refused_in_a_line(tmp_path, kind, at):
    deep = changed(RECIPE, at, nested(100_000, kind))
    with pytest.raises(UserError, match="nested deeper"):
        load(deep)
    text = '{"a":' * 100_000 if kind is dict else "[" * 100_000
    (tmp_path / "deep.yaml").write_text(f"recipe: 1\nname: {text}")
    for call in (lambda: load(tmp_path / "deep.yaml"), lambda: load(RECIPE, [f"sampler.steps={text}"])):
        with pytest.raises(UserError) as refused:
            call()
        assert len(str(refused.value)) < LONGEST


@fuzzed
@given(text=st.text(max_size=200), at=st.integers(0, 2000), length=st.integers(0, 50))
def test_recipe_files_with_any_text_anywhere(tmp_path_factory, text, at, length):
    whole = yaml.safe_dump(RECIPE, sort_keys=False)
    path = tmp_path_factory.mktemp("recipe") / "r.yaml"
    at %= len(whole)
    path.write_bytes((whole[:at] + text + whole[at + length :]).encode("utf-8", "surrogatepass"))
    tried(check, path)


@fuzzed
@given(
    path=st.lists(st.sampled_from(["train", "sampler", "steps", "guidance", "0", "é", ""]), max_size=4),
    value=st.text(max_size=30) | numbers.map(str),
)
def test_overrides_of_any_kind(path, value):
    tried(check, RECIPE, [f"{'.'.join(path)}={value}"])


@fuzzed
@given(at=st.sampled_from([p for p in paths(RECIPE) if p]), value=texts | values.map(json.dumps))
def test_overrides_of_what_is_there(at, value):
    tried(check, RECIPE, [f"{'.'.join(map(str, at))}={value}"])


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """A folder of three."""
    folder = tmp_path_factory.mktemp("pictures")
    for i in range(3):
        Image.new("RGB", (16, 16), (80 * i, 0, 0)).save(folder / f"{i}.png")
    return folder


FIELDS = ["file_name", "caption", "captions", "label", "mask", "layout", "\u2028", ""]
KINDS = {"caption": "text", "mask": "mask", "layout": "boxes"}


@fuzzed
@given(rows=st.lists(
    st.tuples(
        st.sampled_from(["0.png", "1.png", "2.png", "../0.png", ".", "0.txt", "\0"]) | values,
        st.dictionaries(st.sampled_from(FIELDS), values | st.sampled_from(["9" * 5000, "1.png"]), max_size=4),
    ) | st.binary(max_size=40) | st.sampled_from([b"[" * 5000, b'{"file_name": 0x' + b"f" * 5000]),
    max_size=4,
))  # fmt: skip
def test_metadata_of_any_kind(pictures, rows):
    lines = [
        row if isinstance(row, bytes) else json.dumps({"file_name": row[0], **row[1]}).encode()
        for row in rows
    ]
    (pictures / "metadata.jsonl").write_bytes(b"\n".join(lines))
    slot = {"name": "image-folder", "path": str(pictures), "size": 16, "max_broken": 1}

    def look():
        data = build(host().registry, "data", Component.model_validate(slot))
        whole = aligned(data, {f: kind for f, kind in KINDS.items() if f in data.fields})
        for part in (whole, whole.split("train")):
            assert part.digest
            assert [view(part, i) for i in range(len(part))]

    tried(look)


@fuzzed
@given(about=st.dictionaries(
    st.sampled_from(["seed", "prompt", "inputs", "init", "strength", "options", "guidance", "x"]),
    st.text(max_size=30) | values.map(json.dumps) | st.sampled_from(["9" * 5000, "[" * 5000, "nan"]),
    max_size=4,
))  # fmt: skip
def test_png_metadata_of_any_kind(tmp_path_factory, about):
    path, info = tmp_path_factory.mktemp("png") / "x.png", PngInfo()
    for key, value in about.items():
        info.add_itxt(f"ldmkit:{key}", value.encode("utf-8", "replace").decode())
    Image.new("RGB", (2, 2)).save(path, pnginfo=info)

    def look():
        read = read_about(path)
        records.read_options(read)
        records.title(read)
        records.example(read)

    tried(look)


@fuzzed
@given(content=st.binary(max_size=200), at=st.integers(0, 5000), length=st.integers(0, 60))
def test_damaged_pictures(tmp_path_factory, content, at, length):
    path = tmp_path_factory.mktemp("png") / "x.png"
    Image.effect_noise((40, 40), 50).save(path)
    whole = path.read_bytes()
    at %= len(whole)
    path.write_bytes(whole[:at] + content + whole[at + length :])
    tried(read_about, path)


@fuzzed
@given(
    header=values.map(lambda v: json.dumps({"x": v, "__metadata__": v}).encode()) | st.binary(max_size=80),
    size=st.integers(-(2**63), 2**63 - 1) | st.none(),
)
def test_safetensors_headers(tmp_path_factory, header, size):
    path = tmp_path_factory.mktemp("tensors") / "x.safetensors"
    path.write_bytes(struct.pack("<q", len(header) if size is None else size) + header + b"\0" * 16)
    tried(read_tensors, path)


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
    name: yaml.safe_load((Path(__file__).parent / "fixtures/reference" / name / "config.yaml").read_text())
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


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The folder of a run with two steps."""
    store = RunStore(tmp_path_factory.mktemp("runs") / "name" / "run", "diffusion")
    store.open("recipe: 1\n", {"torch": "x"})
    for step in (10, 20):
        store.log({"step": step})
        store.save(step, {"model": {"a": torch.ones(3)}}, {"seconds": step})
    return store.folder


@fuzzed
@given(
    seed=st.integers(0, 10**6), content=st.binary(max_size=60) | values.map(lambda v: json.dumps(v).encode())
)
def test_checkpoint_folders_with_anything_in_them(run, tmp_path_factory, seed, content):
    folder = tmp_path_factory.mktemp("runs") / "name" / "run"
    shutil.copytree(run, folder)
    drawn = random.Random(seed)
    for _ in range(drawn.randint(1, 3)):
        _harm(folder, drawn, content)
    store = RunStore(folder, "diffusion")

    def resume():
        store.open("recipe: 1\n", {})
        snapshot = store.load(lambda _: None)
        store.rewind(snapshot.step if snapshot else 0)
        store.log({"step": 30})
        store.save(30, {"model": {"a": torch.ones(3)}}, {})
        assert store.load(lambda _: None).step == 30

    tried(read_origin, folder)
    tried(Sums(folder).of, next(f for f in folder.rglob("*") if f.is_file()))
    tried(resume)


def _harm(folder: Path, drawn: random.Random, content: bytes) -> None:
    """Removes, replaces or adds a file or folder."""
    found = sorted(p for p in folder.rglob("*"))
    victim = drawn.choice(found or [folder / "x"])
    kind = drawn.choice(["remove", "replace", "flip", "add", "folder"])
    if kind in ("remove", "replace", "folder") and victim.exists():
        shutil.rmtree(victim) if victim.is_dir() else victim.unlink()
    if kind == "folder":
        victim.mkdir(parents=True)
    if kind == "replace":
        victim.write_bytes(content)
    if kind == "flip" and victim.is_file() and victim.stat().st_size:
        data = bytearray(victim.read_bytes())
        data[drawn.randrange(len(data))] ^= 1 << drawn.randrange(8)
        victim.write_bytes(data)
    if kind == "add":
        name = drawn.choice(
            ["step-00000030", "step-00000010.bak", "made_from.json", "sums.json", "latest", ".tmp-x"]
        )
        if not (folder / name).is_dir():
            (folder / name).write_bytes(content)
