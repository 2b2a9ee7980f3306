"""Every example of the pages of components builds; where it needs a file, it lacks that alone."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import yaml

pytest.importorskip("mkdocs")

from ldmkit.engine.components import build
from ldmkit.errors import UserError
from ldmkit.host.catalogue import WITHOUT_PARAMETERS
from ldmkit.host.plugins import host
from ldmkit.host.registry import KINDS
from ldmkit.recipe import load, resolve
from ldmkit.verbs.check import inspect, try_out

ROOT = Path(__file__).parents[1]
BASE = {
    "recipe": 1,
    "name": "example",
    "compression": {
        "name": "kl-autoencoder", "factor": 4, "channels": 4, "width": 32, "multipliers": [1, 1, 1],
        "blocks": 1,
    },
    "denoiser": {"name": "unet", "width": 64, "multipliers": [1, 2], "blocks": 1, "attention": [2]},
    "train": {
        "compression": {"steps": 1, "batch": 1, "lr": 0.001, "loss": [{"name": "pixel"}]},
        "diffusion": {"steps": 1, "batch": 1, "lr": 0.001},
    },
    "sample": {"size": [64, 64]},
}  # fmt: skip
FILES = {
    "denoiser exported": "no such file: model.pt2",
    "conditioner paired-text": "no folder stable-diffusion-xl/text_encoder",
    "conditioner pretrained-text": "text-encoder",
    "data hf-dataset": "pictures.parquet",
    "data webdataset": "shards/000.tar",
    "features inception-v3": "inception.safetensors",
    "loss lpips": "vgg16.safetensors",
}
"""The examples that need a file, and how the error names what is not there."""


def _hooks():
    spec = importlib.util.spec_from_file_location("docs_hooks", ROOT / "docs/hooks.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _examples():
    """(kind and name, example) as the pages show them."""
    hooks = _hooks()
    for kind in KINDS:
        if kind not in WITHOUT_PARAMETERS:
            for section in re.split(r"^## ", hooks.component_page(kind), flags=re.MULTILINE)[1:]:
                blocks = re.findall(r"```yaml\n(.*?)```", section, re.DOTALL)
                yield f"{kind} {section.splitlines()[0]}", blocks


EXAMPLES = dict(_examples())
NAMED = {name: block for name, blocks in EXAMPLES.items() for block in blocks}


def _merged(base, more):
    """`more` over `base`: a component replaces another one, a section is completed."""

    def joined(key, value):
        whole = not isinstance(base.get(key), dict) or not isinstance(value, dict) or "name" in value
        return value if whole else _merged(base[key], value)

    return {**base, **{key: joined(key, value) for key, value in more.items()}}


def _parts(recipe):
    """(kind, component) of what `inspect` and `try_out` do not build."""
    compression = recipe.train.compression
    yield from (("metric", one) for one in recipe.evaluate.metrics)
    yield from (("loss", one) for one in compression.loss)
    yield from [("data", recipe.data)] if recipe.data else []


def _builds(text):
    registry = host().registry
    recipe = resolve(load(_merged(BASE, yaml.safe_load(text)), (), registry), registry)
    try_out(inspect(recipe, registry), any_size=False)
    for kind, component in _parts(recipe):
        build(registry, kind, component)


@pytest.fixture
def pictures(tmp_path, monkeypatch):
    """The working directory, with a folder of pictures."""
    (tmp_path / "pictures").mkdir()
    for i in range(12):
        pixels = np.random.default_rng(i).integers(0, 255, (128, 128, 3), dtype=np.uint8)
        PIL.Image.fromarray(pixels).save(tmp_path / f"pictures/{i}.png")
    monkeypatch.chdir(tmp_path)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", sorted(set(NAMED) - set(FILES)))
def test_an_example_builds(name, pictures):
    _builds(NAMED[name])


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", sorted(FILES))
def test_an_example_that_needs_a_file_lacks_that_alone(name, pictures):
    with pytest.raises(UserError, match=re.escape(FILES[name])):
        _builds(NAMED[name])


def _programs(kind):
    return re.findall(r"```python\n(.*?)```", _hooks().component_page(kind), re.DOTALL)


@pytest.mark.filterwarnings("ignore:recipe .* no weights")
@pytest.mark.parametrize("kind", ["format", "keymap"])
def test_the_program_of_a_kind_that_no_recipe_names_runs(kind, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (program,) = _programs(kind)
    exec(compile(program, kind, "exec"), {"__name__": "page"})  # our own page, run as a reader would run it


def test_every_component_has_one_example_or_its_kind_has_a_program():
    wrong = {
        name: len(blocks)
        for name, blocks in EXAMPLES.items()
        if len(blocks) + len(_programs(name.split()[0])) != 1
    }
    assert wrong == {}


def test_an_example_leaves_nothing_to_guess():
    assert [name for name, block in NAMED.items() if "..." in block.replace("000..009", "")] == []
