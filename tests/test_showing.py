"""What people see while pictures form, or with --quiet; systems and pictures in notebooks."""

from __future__ import annotations

import io
import json
import os
import re
import warnings
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from PIL import Image
from rich.console import Console
from small_recipes import PIXELS, UNET

import ldmkit
from ldmkit.cli import main
from ldmkit.pictures import Pictures

RECIPE: dict[str, Any] = {
    **PIXELS,
    "name": "small",
    "denoiser": {**UNET, "attention": [1]},
    "sampler": {"name": "ddim", "steps": 4},
    "sample": {"size": [16, 16]},
}


@pytest.fixture
def system():
    with pytest.warns(UserWarning, match="no weights"):
        return ldmkit.build({**RECIPE})


def test_a_callback_sees_the_shares_and_the_clean_latents(system):
    seen = []
    system.sample(count=3, batch=2, callback=lambda share, clean: seen.append((share, tuple(clean.shape))))
    assert len(seen) == 2 * 4  # evaluations of each of the two batches
    assert [share for share, _ in seen[:4]] == sorted({share for share, _ in seen})
    assert sorted(shape[0] for _, shape in seen) == [1] * 4 + [2] * 4


def test_a_callback_that_raises_stops_the_sampling(system):
    seen = []

    def stop(share, clean):
        seen.append(share)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        system.sample(count=4, callback=stop)
    assert len(seen) == 1


def test_progress_is_told_when_it_is_asked_for(system, capsys, monkeypatch):
    monkeypatch.setattr("ldmkit.progress.LINE_EVERY", 0.0)
    system.sample(count=2)
    assert capsys.readouterr().err == ""
    system.sample(count=2, progress=True)
    assert "samples: 1 of 2, about" in capsys.readouterr().err
    monkeypatch.setenv("LDMKIT_QUIET", "1")
    system.sample(count=2, progress=True)
    assert capsys.readouterr().err == ""


def test_a_notebook_has_a_bar_without_widgets(system, capsys, monkeypatch):
    monkeypatch.setattr("rich.console.Console", partial(Console, force_jupyter=True))
    monkeypatch.setattr("ldmkit.progress.find_spec", lambda name: None)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # rich's bars ask for ipywidgets
        system.sample(count=2, progress=True)
    drawn = capsys.readouterr().err
    assert "samples:" in drawn
    assert "2/2" in drawn.split("\r")[-1]
    monkeypatch.setenv("LDMKIT_QUIET", "1")
    system.sample(count=2, progress=True)
    assert capsys.readouterr().err == ""


def test_pictures_show_themselves_as_a_grid(system):
    pictures = system.sample(count=4)
    shown = Image.open(io.BytesIO(pictures._repr_png_()))
    assert shown.size == (2 * 20 + 4, 2 * 20 + 4)
    assert shown.getpixel((4, 4)) == pictures[0].getpixel((0, 0))
    assert Pictures()._repr_png_() is None
    with pytest.raises(ValueError, match="no picture"):
        Pictures().grid()


def test_a_system_shows_its_parts(system):
    parameters = sum(p.numel() for p in system.denoiser.parameters())
    assert f"denoiser unet ({parameters:,})" in repr(system)
    system.recipe = system.recipe.model_copy(update={"name": "<b>"})
    assert f"<td>unet</td><td>{parameters:,}</td>" in system._repr_html_()
    assert "<b>&lt;b&gt;</b>" in system._repr_html_()


def test_quiet_leaves_the_results(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for i in range(4):
        Path("pictures").mkdir(exist_ok=True)
        Image.new("RGB", (16, 16), (60 * i, 0, 0)).save(f"pictures/{i}.png")
    data = {"name": "image-folder", "path": "pictures", "size": 16}
    train = {"diffusion": {"steps": 1, "batch": 2, "lr": 1e-3}}
    Path("small.yaml").write_text(json.dumps({**RECIPE, "data": data, "train": train}))
    done = CliRunner().invoke(main, ["--quiet", "run", "small.yaml", "--count", "1"])
    assert done.exit_code == 0, done.output
    assert [line.partition(":")[0] for line in done.stdout.splitlines()] == ["grid"]
    assert Path("runs/small/samples/grid.png").exists()
    assert "samples: 1 reused" in CliRunner().invoke(main, ["run", "small.yaml", "--count", "1"]).stdout


def test_lists_are_json_for_programs(tmp_path):
    (tmp_path / "small.yaml").write_text("# A small one.\n" + json.dumps({**RECIPE}))
    listed = json.loads(CliRunner().invoke(main, ["recipes", str(tmp_path), "--json"]).stdout)
    mine = {"name": "small", "place": str(tmp_path / "small.yaml"), "comment": "A small one."}
    assert mine in listed


def test_figures_are_json_for_programs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("pictures").mkdir()
    for i in range(4):
        Image.new("RGB", (16, 16), (60 * i, 0, 0)).save(f"pictures/{i}.png")
    data = {"name": "image-folder", "path": "pictures", "size": 16}
    metrics = {"metrics": ["reconstruction"]}
    first = {k: RECIPE[k] for k in ("recipe", "name", "compression")}
    Path("small.yaml").write_text(json.dumps({**first, "data": data, "evaluate": metrics}))
    done = CliRunner().invoke(main, ["evaluate", "small.yaml", "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["metrics"][0]["name"] == "reconstruction"


def test_quiet_and_verbose_stand_before_a_verb_or_behind_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("pictures").mkdir()
    for i in range(4):
        Image.new("RGB", (16, 16), (60 * i, 0, 0)).save(f"pictures/{i}.png")
    data = {"name": "image-folder", "path": "pictures", "size": 16}
    train = {"diffusion": {"steps": 3, "batch": 2, "lr": 1e-3}}
    Path("small.yaml").write_text(json.dumps({**RECIPE, "data": data, "train": train}))
    call = CliRunner().invoke
    told = call(main, ["train", "small.yaml", "--verbose"]).stdout.splitlines()
    assert all(re.match(r"\[ *\d+\.\d s\] ", line) for line in told)
    assert [line for line in told if "step 3 of 3" in line]
    assert call(main, ["train", "small.yaml", "--restart", "-q"]).stdout == ""
    usual = call(main, ["train", "small.yaml", "--restart"]).stdout
    assert usual
    assert "step 3 of 3" not in usual
    assert call(main, ["-v", "train", "small.yaml", "--restart"]).stdout.startswith("[")
    assert call(main, ["plugins", "-q", "sampler"]).stdout == call(main, ["plugins", "sampler"]).stdout
    assert {"LDMKIT_QUIET", "LDMKIT_VERBOSE"}.isdisjoint(os.environ)


def test_every_list_is_one_json_value(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("small.yaml").write_text(json.dumps({**RECIPE}))

    def read(*arguments: str):
        return json.loads(CliRunner().invoke(main, [*arguments, "--json"]).stdout)

    checked = read("check", "small.yaml", "-s", "sampler.steps=7")
    assert checked["recipe"]["sampler"]["steps"] == 7
    assert checked["latent"] == {"channels": 3, "factor": 1}
    (denoiser,) = [one for one in checked["parameters"] if one["part"] == "denoiser"]
    assert checked["bytes"]["sampling"] >= 4 * denoiser["parameters"] > 0
    explained = {one["path"]: one for one in read("check", "small.yaml", "--explain")["recipe"]}
    assert explained["sampler.eta"]["origin"] == "default"
    Path("other.yaml").write_text(json.dumps({**RECIPE, "name": "other"}))
    assert read("diff", "small.yaml", "other.yaml") == {"name": ["small", "other"]}
    assert {"python", "torch"} <= {one["what"] for one in read("doctor")}
    assert read("runs") == []
    assert read("plugins", "sampler", "ddim")[0]["parameters"][0]["name"] == "eta"
