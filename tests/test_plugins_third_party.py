"""A stranger's plugin: built into a wheel, installed into an environment of its own, used by a recipe."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from forks import Fork
from safetensors.numpy import load_file

SOURCE = Path(__file__).parent / "third_party" / "weather"
PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check", "-q")
RECIPE = """\
recipe: 1
name: weather
compression: {name: kl-autoencoder, factor: 8, channels: 4, width: 32, multipliers: [1, 1, 1, 1], blocks: 1}
conditioners:
  weather: {name: temperature, width: 16, dropout: 0.1}
denoiser: {name: unet, width: 32, multipliers: [1], scale_shift: true, blocks: 1, attention: [1]}
sampler: {name: breeze, gust: 0.5, spacing: leading, steps: 3}
guidance: [{name: classifier-free, scale: 2}]
sample: {size: [32, 32]}
"""
USE = """
import json, sys, warnings
warnings.simplefilter("ignore")
import torch, ldmkit
torch.manual_seed(0)
system = ldmkit.build("weather.yaml")
conditions = system.condition({"degrees": [-5.0, 30.0]})
noise = torch.randn(2, 4, 4, 4)
def sampled(**options):
    return system.sample_latent(conditions, noise=noise, seeds=[1, 2], **options)
breeze, ddim = sampled(), sampled(sampler="ddim")
pictures = system.sample(fields={"degrees": [12.0]}, seeds=[3])
print(json.dumps({
    "tokens": list(conditions["weather"].tokens.shape),
    "module": sys.modules["weather_parts"].__file__,
    "shape": list(breeze.shape),
    "finite": bool(breeze.isfinite().all()),
    "calm is ddim": bool(torch.allclose(sampled(sampler={"name": "breeze", "steps": 3}), ddim, atol=1e-5)),
    "gust differs": bool((breeze - ddim).abs().max() > 1e-3),
    "repeats": bool(torch.equal(breeze, sampled())),
    "picture": list(pictures[0].size),
}))
"""


def run(folder: Path, *command: str | Path) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PIP_NO_INDEX": "1"}
    return subprocess.run([*map(str, command)], cwd=folder, env=env, capture_output=True, text=True)


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    """A folder with the installed wheel in `site` and the recipe; pip may not ask any index."""
    folder = tmp_path_factory.mktemp("stranger")
    source = shutil.copytree(SOURCE, folder / "source")
    built = run(folder, *PIP, "wheel", "--no-build-isolation", "--no-deps", "-w", folder / "wheels", source)
    assert built.returncode == 0, built.stderr
    (wheel,) = (folder / "wheels").glob("*.whl")
    placed = run(folder, *PIP, "install", "--no-deps", "--target", folder / "site", wheel)
    assert placed.returncode == 0, placed.stderr
    (folder / "weather.yaml").write_text(RECIPE)
    return folder


def python(folder: Path, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`python -c program ...` where the wheel is installed."""
    return Fork(program, *arguments, folder=folder, PYTHONPATH=str(folder / "site")).done()


def ldmkit(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return python(folder, "from ldmkit.cli import main; main()", *arguments)


def test_it_is_listed_with_distribution_and_version(installed):
    listed = ldmkit(installed, "plugins").stdout.splitlines()
    assert "conditioner\ttemperature\tweather-for-ldmkit\t0.3.1\tDegrees as one token." in listed
    shown = ldmkit(installed, "plugins", "conditioner", "temperature").stdout
    assert "warmest\tfloat\t40.0\tthe temperature, in degrees Celsius, that becomes 1." in shown


def test_a_recipe_samples_with_its_conditioner_and_its_sampler(installed):
    done = python(installed, USE)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "tokens": [2, 1, 16],
        "module": str(installed / "site" / "weather_parts.py"),
        "shape": [2, 4, 4, 4],
        "finite": True,
        "calm is ddim": True,
        "gust differs": True,
        "repeats": True,
        "picture": [32, 32],
    }


def test_its_mistakes_are_located_like_ours(installed):
    done = ldmkit(installed, "check", "weather.yaml", "-s", "sampler.gsut=1")
    assert done.returncode == 2
    assert done.stderr == (
        "error: command line: -s sampler.gsut=1: sampler (breeze): unknown key 'gsut'; did you mean 'gust'?\n"
    )


def test_it_keeps_the_contracts(installed):
    code = """
from ldmkit.testing.conditioner import check_conditioner
from ldmkit.testing.registration import check_registration
from weather_parts import Temperature
check_registration("weather-for-ldmkit")
check_conditioner(Temperature(), {"degrees": [1.0, 2.0]})
"""
    done = python(installed, code)
    assert done.returncode == 0, done.stderr


SKIES = "weather-for-ldmkit:skies"


def trained(folder: Path, runs: str) -> dict[str, bytes]:
    """The finished weights of a run by file and name."""
    files = sorted((folder / runs).glob("skies/*-*/*.safetensors"))
    return {f"{f.name}:{n}": x.tobytes() for f in files for n, x in load_file(f).items()}


def test_its_verb_and_its_recipe_are_at_hand(installed):
    assert "Say what degrees mean. (weather-for-ldmkit)" in ldmkit(installed, "--help").stdout
    assert ldmkit(installed, "forecast", "20").stdout == "warm\n"
    lines = [line.split(None, 3) for line in ldmkit(installed, "recipes").stdout.splitlines()]
    assert [SKIES, "weather-for-ldmkit", "0.3.1", "Skies by temperature."] in lines


def test_its_recipe_trains_by_its_own_parts_resumes_bit_for_bit_and_samples(installed):
    whole = ldmkit(installed, "train", SKIES, "--runs", "whole")
    assert whole.returncode == 0, whole.stderr
    killing = ("-s", "train.callbacks=[{name: barometer, storm: 10, later: 20}]")
    for _ in range(2):  # once in the diffusion stage, once in the adapter's training
        killed = ldmkit(installed, "train", SKIES, "--runs", "broken", *killing)
        assert killed.returncode == -signal.SIGKILL, killed.stdout + killed.stderr
        killing = ("-s", "train.callbacks=[{name: barometer, later: 20}]")
    done = ldmkit(installed, "train", SKIES, "--runs", "broken")
    assert done.returncode == 0, done.stderr
    assert "storm: going on after step 15" in done.stdout
    weights, again = trained(installed, "whole"), trained(installed, "broken")
    assert {name.split(":")[0] for name in weights} == {
        "compression.safetensors", "diffusion.safetensors", "diffusion.raw.safetensors", "storm.safetensors",
    }  # fmt: skip
    assert weights == again
    (seen,) = (installed / "whole").glob("skies/storm-*/barometer.txt")
    assert seen.read_text().splitlines()[0].startswith("10 ['gradient', 'loss'")
    sampled = ldmkit(installed, "sample", SKIES, "--runs", "broken", "--out", "pictures")
    assert sampled.returncode == 0, sampled.stderr
    assert (installed / "pictures" / "grid.png").is_file()


PLAIN = """\
recipe: 1
name: plain
compression: {name: vq-autoencoder, factor: 4, width: 32, multipliers: [1, 1, 1], blocks: 1}
denoiser: {name: winds, width: 24}
sampler: {name: ddim, steps: 2}
sample: {size: [32, 32]}
"""
PUBLISHED = """
import warnings
warnings.simplefilter("ignore")
import sys, torch, ldmkit, yaml
from pathlib import Path
from click.testing import CliRunner
from ldmkit.cli import main
from ldmkit.interchange import export_model
ours = ldmkit.build("plain.yaml")
export_model(ours, Path("published"), "compvis")
state = torch.load("published/model.ckpt", weights_only=True)["state_dict"]
assert state["model.diffusion_model.input.weight"].shape == (24, 3, 3, 3)
assert state["model.diffusion_model.emb.weight"].shape == (24, 1, 1, 1)
section = yaml.safe_load(open("published/config.yaml"))["model"]["params"]["unet_config"]
assert section == {"target": "weather.models.WindNet", "params": {"model_channels": 24}}, section
done = CliRunner().invoke(
    main, ["import", "published/model.ckpt", "imported", "--config", "published/config.yaml"]
)
assert done.exit_code == 0, done.output
theirs = ldmkit.build("imported/recipe.yaml")
options = {"seed": 1, "sampler": "ddim", "steps": 2, "size": (32, 32)}
assert ours.sample(**options)[0].tobytes() == theirs.sample(**options)[0].tobytes()
"""


def test_its_key_map_holds_its_denoiser_in_the_papers_single_file(installed):
    (installed / "plain.yaml").write_text(PLAIN)
    done = python(installed, PUBLISHED)
    assert done.returncode == 0, done.stderr


def test_its_training_parts_keep_the_contracts(installed):
    code = """
import torch
from ldmkit.testing.pictures import check_data
from ldmkit.testing.training import check_optimizer
from weather_training import Nudge, Skies
check_data(Skies())
check_optimizer(Nudge())
"""
    done = python(installed, code)
    assert done.returncode == 0, done.stderr


def test_without_it_its_recipe_is_refused_and_others_are_not(installed):
    refused = ldmkit(installed, "--without", "weather-for-ldmkit", "check", "weather.yaml")
    assert refused.returncode == 2
    assert (
        "weather.yaml:5:19: conditioners.weather: no plugin provides conditioner 'temperature'"
        in refused.stderr
    )
    assert "weather.yaml:7:17: sampler: no plugin provides sampler 'breeze'" in refused.stderr
    others = ("-s", "sampler.name=ddim", "-s", "conditioners={}", "-s", "guidance=[]")
    assert "unknown key 'gust'" in ldmkit(installed, "check", "weather.yaml", *others).stderr
