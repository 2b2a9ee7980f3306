"""`ldmkit evaluate` on a tiny system: what is written, what is shared, what a user is told."""

from __future__ import annotations

import inspect
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from ldmkit.checkpoint.files import write_tensors
from ldmkit.cli import main
from ldmkit.engine.stage_state import stage_state
from ldmkit.engine.system import assemble
from ldmkit.errors import UserError
from ldmkit.evaluation import Evaluation
from ldmkit.host.plugins import host
from ldmkit.interfaces import MetricInput
from ldmkit.pictures import to_tensor
from ldmkit.pictures.sheet import Row, Section, contact_sheet
from ldmkit.recipe import Component, load, resolve
from ldmkit.testing.metric import check_metric
from ldmkit.verbs.evaluate import evaluate

COLOURS = ["red", "green", "blue", "black", "orange", "purple", "brown", "gray"]


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    """A recipe on a folder of one-coloured pictures, with random weights."""
    folder = tmp_path_factory.mktemp("evaluation")
    (folder / "pictures").mkdir()
    for i, colour in enumerate(COLOURS * 3):
        Image.new("RGB", (32, 32), colour).save(folder / "pictures" / f"{i}.png")
        (folder / "pictures" / f"{i}.txt").write_text(f"{colour}")
    values = {
        "recipe": 1,
        "name": "tiny",
        "data": {"name": "image-folder", "path": str(folder / "pictures"), "size": 32},
        "compression": {"name": "kl-autoencoder", "factor": 8, "patch": 8, "width": 32, "multipliers": [1]},
        "conditioners": {
            "caption": {"name": "text-transformer", "width": 32, "layers": 1, "heads": 1, "length": 8}
        },
        "denoiser": {
            "name": "unet",
            "width": 32,
            "multipliers": [1],
            "scale_shift": True,
            "blocks": 1,
            "attention": [1],
        },
        "sampler": {"name": "ddim", "steps": 2},
        "guidance": [{"name": "classifier-free", "scale": 5000}],  # random weights read captions faintly
        "weights": str(folder),
        "evaluate": {
            "metrics": [
                {"name": "reconstruction"},
                {"name": "caption-accuracy", "features": "efficientnet-lite1", "captions": 4, "shown": 2},
            ]
        },
    }
    torch.manual_seed(0)
    made = assemble(resolve(load(values), host().registry), host().registry)
    for parameter in made.parameters():  # zero-initialized outputs would show nothing of their input
        torch.nn.init.normal_(parameter, std=0.1)
    for stage in ("compression", "diffusion"):
        write_tensors(folder / f"{stage}.safetensors", stage_state(made, stage))
    return values


@pytest.fixture(scope="module")
def system(recipe):
    import ldmkit

    return ldmkit.build(recipe)


def evaluation(system) -> Evaluation:
    return Evaluation(system, Component(name="caption-accuracy"))


def test_an_evaluation_offers_what_a_metric_may_ask(system):
    offered = evaluation(system)
    members = {name for name in vars(MetricInput) if not name.startswith("_")}
    assert {"data", "sample", "sections"} <= members
    for name in members:
        assert hasattr(offered, name)
        if inspect.isfunction(asked := getattr(MetricInput, name)):
            assert inspect.signature(getattr(Evaluation, name)) == inspect.signature(asked), name


def test_the_contract_holds_a_metric_to_what_an_evaluation_offers(system):
    check_metric(lambda asked: {"length": len(asked.data("validation"))}, evaluation(system))
    with pytest.raises(AssertionError, match="'held', which MetricInput has not"):
        check_metric(lambda asked: {"held": len(asked.held)}, evaluation(system))


def test_the_command_writes_figures_and_a_contact_sheet_and_shows_them(recipe, tmp_path):
    (tmp_path / "tiny.yaml").write_text(json.dumps(recipe))
    shown = CliRunner().invoke(
        main, ["evaluate", str(tmp_path / "tiny.yaml"), "--out", str(tmp_path / "out")]
    )
    assert shown.exit_code == 0, shown.output
    assert "psnr" in shown.output
    assert "within_5" in shown.output
    report = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert report["recipe"] == "tiny"
    assert report["digests"].keys() == {"compression", "diffusion", "samples"}
    assert report["weights"].keys() == {"compression", "diffusion"}
    first, second = report["metrics"]
    assert first["figures"]["validation"]["pictures"] >= 1
    assert second["parameters"]["features"]["name"] == second["figures"]["judge"] == "efficientnet-lite1"
    assert second["figures"]["train"]["captions"] == 4
    with Image.open(tmp_path / "out" / "contact.png") as sheet:
        assert sheet.width > 3 * 128


def test_the_digests_name_the_weights_that_were_measured(recipe, tmp_path):
    import ldmkit

    system = ldmkit.build(recipe, ["evaluate.metrics=[reconstruction]"])
    before = evaluate(system, tmp_path)
    with torch.no_grad():
        next(system.compression.parameters()).add_(0.5)
    after = evaluate(system, tmp_path)
    assert before["digests"] == after["digests"]
    assert before["weights"]["compression"] != after["weights"]["compression"]
    assert before["weights"]["diffusion"] == after["weights"]["diffusion"]
    assert before["metrics"][0]["figures"] != after["metrics"][0]["figures"]


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("evaluate.metrics=[]", "names no metrics: set evaluate.metrics, to some of attribute-accuracy"),
        ("data=null", "has no data to evaluate on"),
        ("evaluate.metrics=[{name: reconstruction, splits: [test]}]", "test"),
        ("evaluate.metrics=[{name: caption-accuracy}]", "features"),
        (
            "evaluate.metrics=[{name: caption-accuracy, features: efficientnet-lite1, language: ko}]",
            "language",
        ),
    ],
)
def test_what_cannot_be_measured_is_one_clear_line(recipe, tmp_path, override, said):
    (tmp_path / "tiny.yaml").write_text(json.dumps(recipe))
    arguments = ["evaluate", str(tmp_path / "tiny.yaml"), "--out", str(tmp_path), "-s", override]
    shown = CliRunner().invoke(main, arguments)
    assert shown.exit_code == 2, shown.output
    assert said in shown.output
    assert not (tmp_path / "metrics.json").exists()


def test_samples_are_those_of_the_system_whatever_the_batch(system):
    captions = ["red", "green", "blue"]
    drawn = evaluation(system).sample({"caption": captions}, [5, 6, 7])
    own = torch.stack([to_tensor(p) for p in system.sample(captions, seed=5, batch=2)])
    assert (drawn.int() - own.int()).abs().max() <= 1


def test_a_picture_is_sampled_once_for_a_caption_and_seed(system, monkeypatch):
    shared, calls = evaluation(system), []
    draw = Evaluation.draw
    monkeypatch.setattr(Evaluation, "draw", lambda self, f, s: calls.append(f["caption"]) or draw(self, f, s))
    first = shared.sample({"caption": ["red", "blue", "red"]}, [0, 1, 0])
    other = replace(shared, component=Component(name="frechet"))
    again = other.sample({"caption": ["blue", "green"]}, [1, 2])
    assert calls == [["red", "blue"], ["green"]]
    assert torch.equal(first[0], first[2])
    assert torch.equal(first[1], again[0])


def test_unconditional_samples_know_no_caption_and_no_guidance(system):
    strong = system.recipe.model_copy(update={"guidance": (Component(name="classifier-free", scale=50.0),)})
    shared = evaluation(system)
    blind = shared.sample_unconditional([3])
    assert not torch.equal(blind, shared.sample({"caption": ["red"]}, [3]))
    before = system.recipe
    try:
        system.recipe = strong
        assert torch.equal(evaluation(system).sample_unconditional([3]), blind)
    finally:
        system.recipe = before


def test_a_picture_is_embedded_once_by_a_network_and_again_by_another(system):
    seen = []

    class Mean(torch.nn.Module):
        def embed(self, image):
            seen.append(len(image))
            return image.mean((2, 3))

    component = Component(name="metric", parameters={"a": {"name": "x"}, "b": {"name": "x", "resize": 64}})
    shared = Evaluation(system, component)
    pixels = torch.randint(0, 256, (3, 3, 8, 8), dtype=torch.uint8)
    one = shared.embed(shared.network("a", Mean()), pixels)
    same = shared.embed(shared.network("a", Mean()), pixels[[2, 0]])
    assert seen == [3]
    assert torch.equal(same, one[[2, 0]])
    shared.embed(shared.network("b", Mean()), pixels)
    assert seen == [3, 3]


def test_infinite_figures_are_null(system, tmp_path, monkeypatch):
    def measure(self, evaluation):
        return {"deep": {"psnr": float("inf"), "ssim": float("nan"), "count": 3}}

    from ldmkit_metrics.reconstruction import Reconstruction

    monkeypatch.setattr(Reconstruction, "__call__", measure)
    only = system.recipe.evaluate.model_copy(update={"metrics": system.recipe.evaluate.metrics[:1]})
    monkeypatch.setattr(system, "recipe", system.recipe.model_copy(update={"evaluate": only}))
    evaluate(system, tmp_path)
    (result,) = json.loads((tmp_path / "metrics.json").read_text())["metrics"]
    assert result["figures"] == {"deep": {"psnr": None, "ssim": None, "count": 3}}
    assert not (tmp_path / "contact.png").exists()


def test_a_contact_sheet_shows_every_picture_beside_its_label():
    red, blue = (Image.new("RGB", (4, 4), colour) for colour in ("red", "blue"))
    rows = tuple(Row(f"a label {i}", "a note", (red, blue)) for i in range(3))
    sections = [Section("first", ("one", "two"), rows), Section("second", ("one", "two"), rows[:1])]
    pixels = np.asarray(contact_sheet(sections))
    for colour in ((255, 0, 0), (0, 0, 255)):
        assert (pixels == colour).all(-1).sum() == 4 * 128 * 128
    left = pixels[60:190, :190]
    assert (left < 128).any(), "the label is drawn"


def test_evaluating_without_trained_weights_is_refused(recipe, tmp_path):
    values = {key: value for key, value in recipe.items() if key != "weights"}
    (tmp_path / "tiny.yaml").write_text(json.dumps(values))
    arguments = ["evaluate", str(tmp_path / "tiny.yaml"), "--runs", str(tmp_path / "runs")]
    shown = CliRunner().invoke(main, arguments)
    assert shown.exit_code == 2
    assert "no weights for its compression stage" in shown.output


def test_an_evaluation_without_data_says_so(system, monkeypatch):
    monkeypatch.setattr(system, "recipe", system.recipe.model_copy(update={"data": None}))
    with pytest.raises(UserError, match="add a `data` section"):
        evaluation(system).data("train")


def test_pictures_without_what_a_metric_reads_are_left_out_and_told(recipe, tmp_path):
    """The recipe reads no captions, one metric does: of 24 pictures one lacks its caption, then three."""
    folder = tmp_path / "pictures"
    shutil.copytree(recipe["data"]["path"], folder)
    (folder / "5.txt").unlink()
    values = {**recipe, "conditioners": {}, "guidance": [], "data": {**recipe["data"], "path": str(folder)}}
    told: list[str] = []
    system = assemble(resolve(load({**values, "weights": None}), host().registry), host().registry)
    report = evaluate(system, tmp_path / "out", say=told.append)
    assert told == [f"data: left out {folder / '5.png'}: its caption 5.txt is missing"]
    assert report["metrics"][1]["figures"]["train"]["captions"] == 4
    everything = evaluation(system)
    assert sum(len(everything.data(split)) for split in ("train", "validation")) == 24
    (folder / "6.txt").unlink()
    (folder / "7.txt").unlink()
    with pytest.raises(UserError, match=r"3 of 24 pictures in .*its caption 5\.txt is missing"):
        evaluate(system, tmp_path / "out")
