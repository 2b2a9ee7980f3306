"""What a script asks wrongly of `System.sample` and `build` is said in words, and nothing is passed over."""

from __future__ import annotations

import numpy as np
import pytest
import small_recipes
import torch
from training_toy import toy

import ldmkit
from ldmkit.errors import UserError
from ldmkit.verbs.check import inspect


@pytest.fixture(scope="module")
def system():
    return toy()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"count": "3"}, "count '3': expects a whole number of at least 1"),
        ({"count": 2.5}, "count 2.5: expects"),
        ({"count": 10**12}, "at most 100,000 are drawn"),
        ({"steps": 0}, "steps 0: expects a whole number of at least 1"),
        ({"steps": 2.0}, "steps 2.0: expects"),
        ({"batch": 0}, "batch 0: expects a whole number of at least 1"),
        ({"seed": "a"}, "seed 'a': expects a whole number of at least 0"),
        ({"seeds": []}, "seeds: an empty list"),
        ({"size": 32}, r"size 32: expects \(height, width\)"),
        ({"size": (32, 32, 3)}, "expects .height, width"),
        ({"sampler": 3}, "sampler: expects a name or a mapping, not 3"),
        ({"sampler": {"steps": 3}}, "sampler: expects a mapping with a name"),
        ({"guidance": [{"scale": 3}]}, "guidance: expects a mapping with a name"),
        ({"strength": "a"}, "strength a: expects a number"),
        ({"strength": 0.5}, r"strength: .* give some \(init\)"),
        ({"negative": "b"}, "a negative prompt needs guidance"),
        ({"fields": ["a"]}, "fields: expects a mapping"),
        ({"seeds": "a"}, "seed 'a': expects a whole number"),
        ({"guidance": "3"}, "guidance: expects a number or a list of components, not '3'"),
        ({"guidance": {"name": "clamp"}}, "guidance: expects a number or a list"),
        ({"fields": {"caption": "b"}}, "given as prompts and in fields"),
    ],
)
def test_sample_says_what_it_expects(system, options, said):
    with pytest.raises(UserError, match=said):
        system.sample(["a thing"], **{"size": (16, 16), **options})


@pytest.mark.parametrize("prompts", [[""], " ", ["a thing", "\n"]])
def test_an_empty_prompt_is_refused_and_left_to_conditions(system, prompts):
    for asked in ({"prompts": prompts}, {"fields": {"caption": prompts}}):
        with pytest.raises(UserError, match="caption: is empty; say what to draw, or leave caption out"):
            system.sample(**asked, size=(16, 16))
    assert system.condition({"caption": [""]})


def test_a_compression_model_alone_is_told_as_that():
    alone = {**small_recipes.LATENTS, "name": "alone"}
    del alone["denoiser"]
    with pytest.warns(UserWarning, match="no weights"):
        system = ldmkit.build(alone)
    for options in ({}, {"size": (16, 16)}, {"init": torch.zeros(1, 3, 16, 16)}):
        with pytest.raises(UserError, match="recipe 'alone' has no denoiser: it is a compression model"):
            system.sample(**options)


@pytest.fixture(scope="module")
def classes():
    return ldmkit.build(
        {
            "recipe": 1,
            "name": "classes",
            "compression": {"name": "identity"},
            "conditioners": {"label": {"name": "class-embedding", "classes": 3, "width": 16}},
            "denoiser": small_recipes.UNET,
            "sampler": {"name": "ddim", "steps": 2},
            "sample": {"size": [8, 8]},
        }
    )


NUMBERS = [np.int64(1), np.uint16(1), np.array(1), np.array([1], np.uint16), torch.tensor(1), range(1, 2)]


@pytest.mark.parametrize("label", NUMBERS, ids=repr)
def test_a_number_of_numpy_or_torch_is_that_number(classes, label):
    plain, given = (classes.sample(fields={"label": x}, seed=3)[0] for x in (1, label))
    assert np.asarray(given).tolist() == np.asarray(plain).tolist()


def test_options_of_numpy_and_torch_are_those_numbers(classes):
    plain = classes.sample(fields={"label": 1}, seed=3, size=(16, 8), steps=3)[0]
    options = {"size": (np.int64(16), 8), "steps": np.int32(3)}
    for seed in ({"seed": np.int64(3)}, {"seeds": 3}, {"seeds": np.array([3])}, {"seeds": torch.tensor([3])}):
        given = classes.sample(fields={"label": 1}, **seed, **options)[0]
        assert np.asarray(given).tolist() == np.asarray(plain).tolist()


def test_null_conditions_are_encoded_where_guidance_reads_them_alone(classes, monkeypatch):
    label, asked = classes.conditioners["label"], []
    null = label.null
    monkeypatch.setattr(label, "null", lambda like: asked.append(like) or null(like))
    conditions = classes.condition({"label": [1]})
    for guidance, times in (([], 0), ([{"name": "classifier-free", "scale": 2}], 1)):
        for draw in (
            lambda g: classes.sample(fields={"label": 1}, guidance=g),
            lambda g: classes.sample_latent(conditions, guidance=g),
        ):
            draw(guidance)
            assert len(asked) == times
            asked.clear()


@pytest.mark.parametrize("label", [np.float32(1), np.bool_(True), 1 + 0j, object, b"1"], ids=repr)
def test_what_is_no_label_is_refused_by_its_conditioner(classes, label):
    with pytest.raises(UserError, match="condition 'label': label: expects class ids from 0 to 2"):
        classes.sample(fields={"label": label})


@pytest.mark.parametrize(
    ("prompts", "said"), [([], "caption: an empty list"), (["a \ud800"], "caption: .* no readable text")]
)
def test_prompts_that_are_none(system, prompts, said):
    with pytest.raises(UserError, match=said):
        system.sample(prompts, size=(16, 16))


@pytest.mark.parametrize(
    ("source", "overrides", "said"),
    [
        (None, (), "recipe: expects a name, the path of a file, or a mapping of its values, not NoneType"),
        ([], (), "not list"),
        ("unconditional", "sampler.steps=3", r"overrides: expects a list, as \['sampler.steps=3'\]"),
    ],
)
def test_build_says_what_it_expects(source, overrides, said):
    with pytest.raises(UserError, match=said):
        ldmkit.build(source, overrides)


def test_a_trial_of_large_pictures_takes_no_memory():
    import training_toy

    inspect(toy("sample.size=[1000000, 1000000]").recipe, training_toy.registry())
