"""`ldmkit encode` and `ldmkit decode`: a folder of pictures into latents and back."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from ldmkit.checkpoint.files import write_tensors
from ldmkit.cli import main
from ldmkit.engine.system import assemble
from ldmkit.engine.weights import stage_state
from ldmkit.host.plugins import host
from ldmkit.pictures import normalize, open_picture, to_pictures, to_tensor
from ldmkit.recipe import load, resolve
from ldmkit.verbs.encode import decode_any, encode_any

RECIPE = """
recipe: 1
name: {name}
compression: {{name: kl-autoencoder, factor: 4, channels: 3, width: 32, multipliers: [1, 1, 1], blocks: 1}}
denoiser: {{name: unet, width: 32, multipliers: [1], scale_shift: true, blocks: 1}}
weights: .
"""
"""A whole model of which only the first stage has weights: more is not needed."""


def made(folder, name="toy", seed=0):
    """A recipe with random weights of its compression stage."""
    folder.mkdir()
    path = folder / "recipe.yaml"
    path.write_text(RECIPE.format(name=name))
    torch.manual_seed(seed)
    registry = host().registry
    system = assemble(resolve(load(path), registry), registry).eval()
    write_tensors(folder / "compression.safetensors", stage_state(system, "compression"))
    return path, system


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    return made(tmp_path_factory.mktemp("models") / "toy")


@pytest.fixture
def pictures(tmp_path):
    """Sizes that are and are not multiples of the factor, formats, sub-folders, and what is no picture."""
    folder = tmp_path / "pictures"
    (folder / "more").mkdir(parents=True)
    pixels = np.random.default_rng(0)
    for name, size in {"a.png": (16, 12), "more/b.jpg": (17, 9), "c.v2.webp": (5, 22)}.items():
        Image.fromarray(pixels.integers(0, 256, (*size[::-1], 3), dtype=np.uint8)).save(folder / name)
    (folder / "broken.png").write_bytes(b"\x89PNG no more")
    (folder / "notes.txt").write_text("not a picture")
    (folder / ".hidden.png").write_bytes(b"")
    return folder


def run(verb, *paths):
    return CliRunner().invoke(main, [verb, *map(str, paths)])


def names(folder: Path):
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def test_there_and_back(toy, pictures, tmp_path):
    recipe, system = toy
    result = run("encode", recipe, pictures, tmp_path / "latents")
    assert result.exit_code == 0, result.output
    assert "broken.png" in result.stderr
    assert "hidden" not in result.stderr
    assert names(tmp_path / "latents") == ["a.safetensors", "c.v2.safetensors", "more/b.safetensors"]
    latent = load_file(tmp_path / "latents" / "more/b.safetensors")["latent"]
    assert latent.shape == (3, 3, 5)
    with safe_open(tmp_path / "latents" / "more/b.safetensors", "pt") as file:
        about = file.metadata()
    assert (about["recipe"], about["width"], about["height"]) == ("toy", "17", "9")

    result = run("decode", recipe, tmp_path / "latents", tmp_path / "again")
    assert result.exit_code == 0, result.output
    assert names(tmp_path / "again") == ["a.png", "c.v2.png", "more/b.png"]
    for name, old in {"a.png": "a.png", "c.v2.png": "c.v2.webp", "more/b.png": "more/b.jpg"}.items():
        assert open_picture(tmp_path / "again" / name).size == open_picture(pictures / old).size
    with torch.no_grad():
        image = normalize(to_tensor(open_picture(pictures / "a.png"))[None])
        expected = to_pictures(system.compression.decode(system.compression.encode(image)))[0]
    assert np.array_equal(np.asarray(expected), np.asarray(open_picture(tmp_path / "again" / "a.png")))


def test_links_out_of_the_folder_are_named_and_not_followed(toy, pictures, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (pictures / "a.png").rename(tmp_path / "elsewhere/a.png")
    (pictures / "a.png").symlink_to(tmp_path / "elsewhere/a.png")
    (pictures / "all").symlink_to(tmp_path / "elsewhere")
    (pictures / "twin.jpg").symlink_to(pictures / "more/b.jpg")
    result = run("encode", toy[0], pictures, tmp_path / "latents")
    assert result.exit_code == 0, result.output
    assert names(tmp_path / "latents") == ["c.v2.safetensors", "more/b.safetensors", "twin.safetensors"]
    assert f"{pictures / 'a.png'}: a link that leads out of {pictures}" in result.stderr
    assert f"{pictures / 'all'}: a link to a folder, which is not followed" in result.stderr
    (tmp_path / "latents/linked.safetensors").symlink_to(tmp_path / "elsewhere/a.png")
    decoded = run("decode", toy[0], tmp_path / "latents", tmp_path / "again")
    assert "linked.safetensors: a link that leads out of" in decoded.stderr


def test_edges_are_continued(toy):
    """A picture that stops inside a cell gives the latent of the picture continued to the cell's end."""
    model = toy[1].compression
    image = torch.rand(1, 3, 6, 7)
    longer = torch.cat([image, image[..., -1:]], -1)
    longer = torch.cat([longer, longer[..., -1:, :], longer[..., -1:, :]], -2)
    with torch.no_grad():
        assert torch.equal(encode_any(model, image), model.encode(longer))


def test_large_pictures_go_in_tiles(toy, monkeypatch):
    model = toy[1].compression
    monkeypatch.setattr("ldmkit.verbs.encode.TILE", 64)
    monkeypatch.setattr("ldmkit.verbs.encode.OVERLAP", 16)
    sides = []
    encode, decode = model.encode, model.decode
    monkeypatch.setattr(model, "encode", lambda x: sides.append(max(x.shape[-2:])) or encode(x))
    monkeypatch.setattr(model, "decode", lambda z: sides.append(4 * max(z.shape[-2:])) or decode(z))
    with torch.no_grad():
        latent = encode_any(model, torch.rand(1, 3, 90, 131))
        assert latent.shape == (1, 3, 23, 33)
        assert decode_any(model, latent).shape == (1, 3, 92, 132)
    assert len(sides) > 2
    assert max(sides) <= 64


def test_latents_of_another_model_are_refused(toy, pictures, tmp_path):
    other, _ = made(tmp_path / "other", "other", seed=1)
    assert run("encode", toy[0], pictures, tmp_path / "latents").exit_code == 0
    result = run("decode", other, tmp_path / "latents", tmp_path / "again")
    assert result.exit_code == 2
    assert "made by recipe 'toy'" in result.stderr
    assert not (tmp_path / "again").exists()


def test_damaged_latents_are_listed(toy, pictures, tmp_path):
    latents = tmp_path / "latents"
    assert run("encode", toy[0], pictures, latents).exit_code == 0
    with safe_open(latents / "a.safetensors", "pt") as file:
        about = file.metadata()
    save_file({"latent": torch.zeros(3, 9, 9)}, latents / "a.safetensors", about)
    save_file({"latent": torch.zeros(3, 3, 4)}, latents / "foreign.safetensors")
    (latents / "cut.safetensors").write_bytes((latents / "more/b.safetensors").read_bytes()[:-8])
    result = run("decode", toy[0], latents, tmp_path / "again")
    assert result.exit_code == 0, result.output
    said = [line for line in result.stderr.splitlines() if line.startswith("skipped")]
    assert len(said) == 3
    assert {name for name in ("a", "foreign", "cut") if any(f"{name}.safetensors" in x for x in said)} == {
        "a",
        "foreign",
        "cut",
    }
    assert names(tmp_path / "again") == ["c.v2.png", "more/b.png"]


def test_what_cannot_be_done(toy, pictures, tmp_path):
    recipe, _ = toy
    (tmp_path / "empty").mkdir()
    (tmp_path / "bad").mkdir()
    shutil.copy(pictures / "broken.png", tmp_path / "bad")
    shutil.copy(pictures / "a.png", pictures / "a.jpg")
    for verb, source, said in [
        ("encode", tmp_path / "absent", "no such folder"),
        ("encode", tmp_path / "empty", "holds no picture"),
        ("encode", tmp_path / "bad", "none of 1 pictures opens"),
        ("encode", pictures, "several pictures are called 'a'"),
        ("decode", pictures, "holds no latent"),
    ]:
        result = run(verb, recipe, source, tmp_path / "out")
        assert (result.exit_code, said in result.stderr) == (2, True), result.output
        assert not (tmp_path / "out").exists()
    result = run("encode", recipe, tmp_path / "bad", pictures)
    assert result.exit_code == 2
    assert "exists and is not empty" in result.stderr
    (recipe.parent / "moved").mkdir()
    lonely = shutil.copy(recipe, recipe.parent / "moved")
    assert "compression.safetensors" in run("encode", lonely, pictures, tmp_path / "out").stderr


def test_pictures_of_other_formats_are_named(toy, tmp_path):
    (tmp_path / "in").mkdir()
    for name in ("a.png", "b.bmp", "c.TIFF", "d.gif"):
        Image.new("RGB", (8, 8)).save(tmp_path / "in" / name)
    done = CliRunner().invoke(main, ["encode", str(toy[0]), str(tmp_path / "in"), str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    for name in ("b.bmp", "c.TIFF", "d.gif"):
        assert any(name in line and "not read" in line for line in done.output.splitlines())
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["a.safetensors"]
    (tmp_path / "in" / "a.png").unlink()
    done = CliRunner().invoke(main, ["encode", str(toy[0]), str(tmp_path / "in"), str(tmp_path / "again")])
    assert done.exit_code == 2
    assert "3 of other formats are not read (b.bmp)" in done.stderr


MAPPED = """
recipe: 1
name: mapped
data: {{name: image-folder, path: {folder}, size: 16}}
compression: {{name: kl-autoencoder, factor: 4, channels: 3, width: 32, multipliers: [1, 1, 1], blocks: 1}}
conditioners: {{map: {{name: spatial-rescaler, field: map, classes: 3, channels: 2}}}}
denoiser: {{name: unet, width: 32, multipliers: [1], scale_shift: true, blocks: 1}}
train:
  compression: {{steps: 1, batch: 2, lr: 0.001, loss: [{{name: pixel}}]}}
"""


def test_changed_data_are_told_where_conditions_read_them_too(pictures, tmp_path):
    """The digest of what a training saw depends on the fields that its conditioners read."""
    folder, colours = tmp_path / "data", ("red", "green", "blue", "white")
    (folder / "maps").mkdir(parents=True)
    for name in colours:
        Image.new("RGB", (16, 16), name).save(folder / f"{name}.png")
        Image.new("L", (16, 16), 1).save(folder / "maps" / f"{name}.png")
    rows = [{"file_name": f"{name}.png", "map": f"maps/{name}.png"} for name in colours]
    (folder / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (tmp_path / "mapped.yaml").write_text(MAPPED.format(folder=folder))
    runs = ("--runs", tmp_path / "runs")
    assert run("train", tmp_path / "mapped.yaml", "--stage", "compression", *runs).exit_code == 0
    same = run("encode", tmp_path / "mapped.yaml", pictures, tmp_path / "same", *runs)
    assert same.exit_code == 0, same.output
    assert "data have changed" not in same.output
    for name in colours:
        Image.new("L", (16, 16), 2).save(folder / "maps" / f"{name}.png")
    other = run("encode", tmp_path / "mapped.yaml", pictures, tmp_path / "other", *runs)
    assert other.exit_code == 0, other.output
    assert "its data have changed since it was trained (" in other.output
    assert "cannot be compared" not in other.output
