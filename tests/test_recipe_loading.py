# ruff: noqa: E501 - tables of whole messages
from __future__ import annotations

from pathlib import Path

import pytest

import ldmkit.recipe
from ldmkit.errors import UserError
from ldmkit.host.registry import Entry, Registry
from ldmkit.recipe import Hub, Recipe, dump, load

RECIPE = """\
recipe: 1
name: toy
compression: {name: kl, factor: 8}
conditioners:
  caption: {name: text, dropout: 0.1}
denoiser: unet
schedule: linear
objective: epsilon
train:
  diffusion: {steps: 10, batch: 2, lr: 5e-4}
sampler: {name: ddim, spacing: leading, steps: 25}
guidance:
  - {name: cfg, scale: 4}
"""


@pytest.fixture
def registry():
    made = Registry()
    for kind, name in (
        ("compression", "kl"),
        ("conditioner", "text"),
        ("denoiser", "unet"),
        ("schedule", "linear"),
        ("objective", "epsilon"),
        ("sampler", "ddim"),
        ("sampler", "ddpm"),
        ("spacing", "leading"),
        ("guidance", "cfg"),
        ("loss", "pixel"),
        ("data", "emoji"),
    ):
        default = name in ("linear", "epsilon", "ddim", "leading")
        made.add(Entry(kind, name, "nowhere:Nothing", "A toy.", "toys", "1.0", default=default))
    return made


@pytest.fixture
def loaded(tmp_path, registry):
    def from_text(text: str, *overrides: str) -> Recipe:
        path = tmp_path / "my.yaml"
        path.write_text(text, encoding="utf-8")
        return load(path, overrides, registry)

    return from_text


@pytest.fixture
def refused(loaded, tmp_path):
    def lines(text: str, *overrides: str) -> list[str]:
        with pytest.raises(UserError) as caught:
            loaded(text, *overrides)
        return str(caught.value).replace(f"{tmp_path}/", "").splitlines()

    return lines


def test_a_recipe_loads_into_frozen_parts(loaded, tmp_path):
    recipe = loaded(RECIPE)
    assert recipe.compression.parameters == {"factor": 8}
    assert recipe.denoiser.name == "unet"
    assert recipe.conditioners["caption"].dropout == 0.1
    assert recipe.train.diffusion.lr == 5e-4
    assert (recipe.sampler.steps, recipe.sampler.spacing.name) == (25, "leading")
    assert recipe.origin == tmp_path / "my.yaml"
    with pytest.raises(ValueError, match="frozen"):
        recipe.name = "other"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("name: toy", "nmae: toy", ["my.yaml:1:1: 'name' is missing", "my.yaml:2:1: unknown key 'nmae'; did you mean 'name'?"]),
        ("steps: 10", "stepz: 10", [
            "my.yaml:10:14: train.diffusion: 'steps' is missing",
            "my.yaml:10:15: train.diffusion: unknown key 'stepz'; did you mean 'steps'?",
        ]),
        ("lr: 5e-4", "lr: fast", ["my.yaml:10:40: train.diffusion.lr: should be a valid number, not 'fast'"]),
        ("batch: 2", "batch: '2'", ["my.yaml:10:33: train.diffusion.batch: should be a valid integer, not '2'"]),
        ("batch: 2", "batch: yes", ["my.yaml:10:33: train.diffusion.batch: should be a valid integer, not 'yes'"]),
        ("batch: 2", "batch: true", ["my.yaml:10:33: train.diffusion.batch: should be a valid integer, not True"]),
        ("batch: 2", "batch: 2.0", ["my.yaml:10:33: train.diffusion.batch: should be a valid integer, not 2.0"]),
        ("lr: 5e-4", "lr: .inf", ["my.yaml:10:40: train.diffusion.lr: should be a finite number, not inf"]),
        ("name: ddim", "name: dppm", [
            "my.yaml:11:17: sampler: no plugin provides sampler 'dppm'; installed: ddim, ddpm; did you mean 'ddpm'?"
        ]),
        ("leading", "leeding", [
            "my.yaml:11:32: sampler.spacing: no plugin provides spacing 'leeding'; installed: leading; did you mean 'leading'?"
        ]),
        ("denoiser: unet", "denoiser: os.system", [
            "my.yaml:6:11: denoiser: no plugin provides denoiser 'os.system'; installed: unet"
        ]),
        ("denoiser: unet", "denoiser: {target: os.system}", ["my.yaml:6:11: denoiser: 'name' is missing"]),
        ("{name: cfg, scale: 4}", "{name: cfg, parameters: {scale: 4}}", [
            "my.yaml:13:17: guidance.0 (cfg): unknown key 'parameters'; a component's parameters stand beside its name"
        ]),
        ("{name: text, dropout: 0.1}", "texd", [
            "my.yaml:5:12: conditioners.caption: no plugin provides conditioner 'texd'; installed: text; did you mean 'text'?"
        ]),
        ("dropout: 0.1", "dropout: 2", [
            "my.yaml:5:34: conditioners.caption.dropout: should be less than or equal to 1, not 2"
        ]),
        ("recipe: 1", "recipe: 2", ["my.yaml:1:9: recipe: should be 1, not 2"]),
        ("objective: epsilon", "weights: {hub: a/b, revision: main}", [
            "my.yaml:8:31: weights.revision: should be 40 digits from 0 to f (of a commit: a branch could change), not 'main'"
        ]),
        ("objective: epsilon", "weights: 5", [
            "my.yaml:8:10: weights: should be a folder, or a mapping of hub and revision, not 5"
        ]),
        ("objective: epsilon", "name: again", ["my.yaml:8:1: duplicate key 'name', first at my.yaml:2:1"]),
        ("objective: epsilon", "objective: [epsilon", ["my.yaml:9:6: not readable as YAML: expected ',' or ']', but got ':'"]),
        ("objective: epsilon", "\tobjective: x", [
            "my.yaml:8:1: not readable as YAML: found character '\\t' that cannot start any token"
        ]),
        ("objective: epsilon", "8: x", ["my.yaml:8:1: a key must be text; quote it"]),
        ("objective: epsilon", "objective: !!python/name:os.system", [
            "my.yaml:8:12: tag 'tag:yaml.org,2002:python/name:os.system' is not allowed; a recipe is plain data"
        ]),
    ],
)  # fmt: skip
def test_each_mistake_is_one_line_with_its_place(refused, old, new, said):
    assert refused(RECIPE.replace(old, new, 1)) == said


def test_all_mistakes_come_at_once(refused):
    text = RECIPE.replace("kl", "kll").replace("steps: 25", "steps: -1").replace("guidance", "guidence")
    assert refused(text) == [
        "my.yaml:11:48: sampler.steps: should be greater than 0, not -1",
        "my.yaml:12:1: unknown key 'guidence'; did you mean 'guidance'?",
        "my.yaml:3:21: compression: no plugin provides compression 'kll'; installed: kl; did you mean 'kl'?",
    ]


def test_thousands_of_mistakes_are_cut_short(refused):
    lines = refused(RECIPE + "".join(f"key{i}: {i}\n" for i in range(4000)))
    assert len(lines) < 50
    assert sum(map(len, lines)) < 1500
    assert "more" in lines[-1]


@pytest.mark.parametrize("text", ["", "just words", "[1, 2]", "null", "--- {}\n--- {}\n"])
def test_what_is_no_mapping_is_refused(refused, text):
    assert len(refused(text)) <= 3


def test_files_that_cannot_be_read_are_named(tmp_path, registry, refused):
    (tmp_path / "text2img.yaml").write_text(RECIPE)
    with pytest.raises(UserError, match=r"text2im.yaml: no such recipe file; did you mean 'text2img.yaml'\?"):
        load(tmp_path / "text2im.yaml", (), registry)
    with pytest.raises(UserError, match="is a folder"):
        load(tmp_path, (), registry)
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(UserError, match="not UTF-8 text"):
        load(tmp_path / "binary.yaml", (), registry)
    (tmp_path / "large.yaml").write_bytes(b"# " + b"x" * 300_000)
    with pytest.raises(UserError, match="larger than 128 KiB"):
        load(tmp_path / "large.yaml", (), registry)


def test_overrides_come_before_the_one_validation(loaded):
    recipe = loaded(
        RECIPE.replace("steps: 25", "steps: 0"),
        "sampler.steps=20",
        "guidance.0.scale=3",
        "denoiser.width=96",
        "train.compression={steps: 1, batch: 2, lr: 1e-3, loss: [pixel]}",
        "data.name=emoji",
        "weights=",
    )
    assert recipe.sampler.steps == 20
    assert recipe.guidance[0].parameters == {"scale": 3}
    assert recipe.denoiser.flat() == {"name": "unet", "width": 96}
    assert recipe.train.compression.lr == 1e-3
    assert recipe.train.diffusion.steps == 10
    assert (recipe.data.name, recipe.weights) == ("emoji", None)


def test_overrides_of_a_component_that_is_not_given_keep_its_default_name(loaded):
    text = RECIPE.replace("schedule: linear\n", "").replace(
        "sampler: {name: ddim, spacing: leading, steps: 25}\n", ""
    )
    recipe = loaded(text, "schedule.name=linear", "sampler.steps=7", "sampler.spacing.rho=3")
    assert recipe.sampler.flat() == {
        "name": "ddim",
        "spacing": {"name": "leading", "rho": 3},
        "steps": 7,
        "reuse": 1,
    }


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("sampler.steps=many", "sampler.steps: should be a valid integer, not 'many'"),
        ("sampler.name=dppm", "sampler: no plugin provides sampler 'dppm'; installed: ddim, ddpm; did you mean 'ddpm'?"),
        ("sampel.seed=3", "unknown key 'sampel'; did you mean 'sample'?"),
        ("train.diffusion.stepz=3", "train.diffusion: unknown key 'stepz'; did you mean 'steps'?"),
        ("guidance=3", "guidance: should be a list, not 3"),
        ("sample.size=64", "sample.size: should be a list, not 64"),
        ("sample.seed=-1", "sample.seed: should be greater than or equal to 0, not -1"),
        ("train=3", "train: should be a mapping of keys to values, not 3"),
        ("guidance.1.scale=3", "guidance is a list of 1: it has no '1'"),
        ("evaluate.0.name=3", "evaluate has no item 0: give the whole list, as [...]"),
        ("sampler.steps=", "sampler.steps: should be a valid integer, not None"),
        ("guidance.x.scale=3", "guidance is a list of 1: it has no 'x'"),
        ("train.diffusion.steps.x=3", "train.diffusion.steps is 10: it has no 'x'"),
        ("sampler.steps", "should be path=value, as sampler.steps=20"),
        ("=3", "should be path=value, as sampler.steps=20"),
        ("sampler={a: ", "not readable as YAML: expected the node content, but found '<stream end>'"),
        ("sampler=!!python/name:os.system x", "tag 'tag:yaml.org,2002:python/name:os.system' is not allowed; a recipe is plain data"),
    ],
)  # fmt: skip
def test_a_wrong_override_is_located_on_the_command_line(refused, override, said):
    assert refused(RECIPE, override) == [f"command line: -s {override}: {said}"]


def test_mappings_and_recipes_load_too(registry):
    given = {
        "recipe": 1,
        "name": "toy",
        "compression": {"name": "kl", "sizes": [1, 2]},
        "weights": {"hub": "a/b", "revision": "0" * 40},
        "sample": {"prompts": ["a"], "size": [64, 64]},
        "schedule": "linear",
        "train": None or {},
    }
    recipe = load(given, (), registry)
    assert recipe.compression.parameters == {"sizes": (1, 2)}
    assert recipe.weights == Hub(hub="a/b", revision="0" * 40)
    assert recipe.origin is None
    again = load(recipe, ["sample.seed=3"], registry)
    assert again.sample.seed == 3
    assert load(again, ["sample.seed=0"], registry) == recipe
    with pytest.raises(UserError, match=r"^recipe: name: should be letters from A to Z, digits"):
        load({**given, "name": "../up"}, (), registry)
    with pytest.raises(UserError, match=r"recipe: compression.made: a set is not plain data"):
        load({**given, "compression": {"name": "kl", "made": {1}}}, (), registry)


def test_what_is_dumped_loads_back_equal(registry, tmp_path):
    prompts = [
        "5e-4",
        "no",
        "1_000",
        "빨간 사과",
        "a: b # c",
        "",
        "null",
        "0x1f",
        "2020-01-01",
        "'",
        "\n x\n",
        "*x",
        "- a",
        "é\x07",
    ]
    recipe = load(
        {"recipe": 1, "name": "toy", "compression": {"name": "kl", "rate": 1e-7, "deep": {"a": [[1], []]}}, "sample": {"prompts": prompts}, "schedule": "linear"},
        ["sampler={name: ddpm, eta: 1e22}", "guidance=[cfg]", "train.diffusion={steps: 1, batch: 1, lr: 1e-5}"],
        registry,
    )  # fmt: skip
    path = tmp_path / "dumped.yaml"
    path.write_text(dump(recipe), encoding="utf-8")
    again = load(path, (), registry)
    assert again == recipe
    assert again.sample.prompts == tuple(prompts)


def test_relative_places_in_errors_follow_the_path_as_given(registry, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("my.yaml").write_text("recipe: 1\nname: a b\ncompression: kl\n")
    with pytest.raises(UserError, match=r"^my\.yaml:2:7: name: "):
        load("my.yaml", (), registry)


@pytest.mark.parametrize(
    ("former", "now"),
    [("Stage", "TrainingSettings"), ("Sampling", "SamplerSlot"), ("Conditioning", "ConditionerSlot")],
)
def test_a_former_name_of_the_module_still_serves_and_says_so(former, now):
    with pytest.warns(DeprecationWarning, match=f"ldmkit.recipe.{former} is now called {now}"):
        assert getattr(ldmkit.recipe, former) is getattr(ldmkit.recipe, now)
