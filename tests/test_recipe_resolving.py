# ruff: noqa: E501 - tables of whole messages
from __future__ import annotations

import json
from pathlib import Path

import pytest

from ldmkit.errors import UserError
from ldmkit.host.plugins import host
from ldmkit.host.registry import KINDS
from ldmkit.recipe import digest, dump, load, resolve
from ldmkit.recipe.schema import UNNAMED, recipe_schema

RECIPE = """\
recipe: 1
name: small
data: {name: fluent-emoji, size: 64}
compression: {name: kl-autoencoder, factor: 8, channels: 4, width: 32}
conditioners:
  caption: {name: text-transformer, width: 32, dropout: 0.1}
denoiser: {name: unet, width: 32, multipliers: [1, 2]}
train:
  compression: {steps: 1, batch: 2, lr: 1e-3, loss: [pixel, {name: perceptual, features: efficientnet-lite0}]}
  diffusion: {steps: 1, batch: 2, lr: 1e-3}
guidance: [{name: classifier-free, scale: 3}]
"""


@pytest.fixture
def written(tmp_path) -> Path:
    path = tmp_path / "my.yaml"
    path.write_text(RECIPE)
    return path


@pytest.fixture
def resolved(written):
    return lambda *overrides: resolve(load(written, overrides), host().registry)


def test_every_parameter_is_there_after_resolving(resolved):
    recipe = resolved()
    assert recipe.compression.parameters["channels"] == 4
    assert recipe.compression.parameters["blocks"] == 2
    assert recipe.schedule.parameters["steps"] == 1000
    perceptual = recipe.train.compression.loss[1].parameters
    assert perceptual["features"]["name"] == "efficientnet-lite0"
    assert "path" in perceptual["features"]


def test_a_resolved_recipe_dumps_and_resolves_to_itself(resolved, tmp_path):
    recipe = resolved()
    path = tmp_path / "resolved.yaml"
    path.write_text(dump(recipe), encoding="utf-8")
    assert load(path) == recipe
    assert resolve(load(path), host().registry) == recipe


def test_parameters_of_all_components_are_told_at_once_with_their_places(written, resolved):
    text = RECIPE.replace("channels: 4", "chanels: 4").replace("scale: 3", "scale: high")
    written.write_text(text.replace("features: efficientnet-lite0", "features: {name: os.system}"))
    with pytest.raises(UserError) as caught:
        resolved("schedule.start='0.1'")
    lines = str(caught.value).replace(f"{written.parent}/", "").splitlines()
    features = ", ".join(host().registry.names("features"))
    assert lines == [
        "my.yaml:4:48: compression (kl-autoencoder): unknown key 'chanels'; did you mean 'channels'?",
        "command line: -s schedule.start='0.1': schedule.start (scaled-linear): should be a valid number, not '0.1'",
        "my.yaml:9:90: train.compression.loss.1.features: no plugin provides features 'os.system'; "
        f"installed: {features}",
        "my.yaml:11:43: guidance.0.scale (classifier-free): should be a valid number, not 'high'",
    ]


def test_a_default_whose_plugin_is_missing_is_refused(resolved, monkeypatch):
    monkeypatch.setenv("LDMKIT_WITHOUT", "ldmkit-diffusion")
    host.cache_clear()
    try:
        with pytest.raises(UserError, match=r"guidance.0: no plugin provides guidance 'classifier-free'"):
            resolved()
        with pytest.raises(
            UserError, match="schedule: no plugin declares a default schedule; name one of: none"
        ):
            resolved("guidance=[]")
    finally:
        monkeypatch.undo()
        host.cache_clear()


def stages(recipe) -> list[str]:
    return [digest(recipe, stage) for stage in ("compression", "diffusion", "samples")]


@pytest.mark.parametrize(
    ("override", "changed"),
    [
        ("name=other", []),
        ("sample.seed=9", []),
        ("evaluate.metrics=[]", []),
        ("train.compression.checkpoint_every=7", []),
        ("train.diffusion.picture_every=7", []),
        ("compression.blocks=2", []),
        ("denoiser.blocks=2", []),
        ("compression.channels=8", [0, 1, 2]),
        ("data.size=32", [0, 1, 2]),
        ("train.compression.steps=2", [0, 1, 2]),
        ("train.compression.loss.1.features.name=efficientnet-lite1", [0, 1, 2]),
        ("denoiser.width=64", [1, 2]),
        ("conditioners.caption.dropout=0.2", [1, 2]),
        ("schedule.end=0.01", [1, 2]),
        ("train.diffusion.lr=1e-4", [1, 2]),
        ("sampler.steps=7", [2]),
        ("guidance.0.scale=7", [2]),
        ("sample.size=[32, 32]", [2]),
    ],
)
def test_a_stages_digest_changes_with_what_determines_it_and_with_nothing_else(resolved, override, changed):
    before, after = stages(resolved()), stages(resolved(override))
    assert [i for i in range(3) if before[i] != after[i]] == changed


def references(schema) -> set[str]:
    if isinstance(schema, dict):
        own = {schema["$ref"]} if "$ref" in schema else set()
        return own.union(*(references(v) for v in schema.values()))
    return set().union(*(references(v) for v in schema)) if isinstance(schema, list) else set()


def found(schema, reference: str):
    for part in reference.removeprefix("#/").split("/"):
        schema = schema[part.replace("~1", "/").replace("~0", "~")]
    return schema


def test_the_schema_holds_every_component_and_all_its_references_lead_somewhere():
    schema = recipe_schema(host().registry)
    json.dumps(schema)
    for reference in references(schema):
        found(schema, reference)
    named = [e for e in host().registry if e.kind not in UNNAMED]
    assert named
    for entry in named:
        assert entry.summary in schema["$defs"][f"{entry.kind}:{entry.name}"]["description"]
    assert set(KINDS) - set(schema["$defs"]) == set(UNNAMED)


def test_the_schema_knows_a_components_keys_its_slots_keys_and_nested_kinds():
    schema = recipe_schema(host().registry)
    perceptual = schema["$defs"]["loss:perceptual"]
    assert perceptual["properties"]["features"]["$ref"] == "#/$defs/features"
    assert perceptual["additionalProperties"] is False
    assert perceptual["required"][:1] == ["name"]
    ddim = schema["$defs"]["sampler:ddim"]["properties"]
    assert {"name", "spacing", "steps", "eta"} <= set(ddim)
    assert ddim["spacing"]["$ref"] == "#/$defs/spacing"
    assert ddim["eta"]["description"]
    assert schema["properties"]["schedule"] == {
        "$ref": "#/$defs/schedule",
        "default": {"name": "scaled-linear"},
    }
    sampler = schema["properties"]["sampler"]["default"]
    assert sampler == {"name": "ddim", "spacing": {"name": "leading"}, "steps": 50, "reuse": 1}
