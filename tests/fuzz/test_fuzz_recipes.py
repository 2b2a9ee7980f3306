"""Generated recipes and overrides: refused in few words or taken, never a traceback."""

from __future__ import annotations

import json

import pytest
import yaml
from fuzzing import LONGEST, changed, fuzzed, numbers, paths, texts, tried, values
from hypothesis import given
from hypothesis import strategies as st
from small_recipes import AUTOENCODER, LATENTS, UNET

from ldmkit.errors import UserError
from ldmkit.host.plugins import host
from ldmkit.recipe import load, resolve
from ldmkit.verbs.check import inspect, try_out

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
