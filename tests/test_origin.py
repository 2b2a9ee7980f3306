"""What weights were made from stays with them: nothing that has changed since is used without a word."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch
import training_toy
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from training_toy import toy

from ldmkit.checkpoint.origin import named_changes, write_contents
from ldmkit.checkpoint.sums import Sums, sha256
from ldmkit.engine.opening import give_weights, refuse
from ldmkit.engine.reuse import use_weights
from ldmkit.errors import UserError
from ldmkit.training import train_stage

SHORT = ["train.compression.steps=4", "train.diffusion.steps=4", "train.compression.adversary=null"]
STAGES = ("compression", "diffusion")


def train(runs, *overrides, stages=STAGES, contents=0, **how):
    """Trains toy stages on pictures whose content `contents` stands for; what was said."""
    said = []
    system = toy(*SHORT, *overrides)
    system.dataset()._contents = contents
    for stage in stages:
        train_stage(system, stage, Path(runs), say=said.append, **how)
    return " ".join(said)


@pytest.fixture(autouse=True)
def _contents(monkeypatch):
    """The toy's pictures get contents besides their number, of which the digest tells."""
    own = training_toy.Pictures.digest.fget
    monkeypatch.setattr(training_toy.Pictures, "_contents", 0, raising=False)
    digest = property(lambda self: own(self) + str(self._contents))
    monkeypatch.setattr(training_toy.Pictures, "digest", digest)


def weights(runs, stage) -> Path:
    (found,) = Path(runs).glob(f"toy/{stage}-*/{stage}.safetensors")
    return found


def test_the_run_folder_and_the_weights_say_what_they_were_made_from(tmp_path):
    train(tmp_path)
    compression, diffusion = (weights(tmp_path, stage) for stage in STAGES)
    made = json.loads((diffusion.parent / "made_from.json").read_text())
    assert made["compression"] == sha256(compression)
    assert made["weights"] == sha256(diffusion)
    assert (made["data"], made["pictures"]) == (toy().dataset().digest, 23)
    with safe_open(diffusion, "pt") as file:
        about = file.metadata()
    assert (about["data"], about["compression"]) == (made["data"], sha256(compression))


def interrupted(tmp_path, stage="compression"):
    """A training of the stage that has done its steps, and whose weights have not been written."""
    train(tmp_path)
    weights(tmp_path, stage).unlink()


def weights_folder(runs, stage) -> Path:
    (found,) = Path(runs).glob(f"toy/{stage}-*/")
    return found


def test_a_resume_on_other_data_stops_and_says_how_to_go_on(tmp_path):
    interrupted(tmp_path)
    with pytest.raises(UserError, match="23 pictures as then, but other contents") as caught:
        train(tmp_path, stages=["compression"], contents=7)
    assert "--accept-changed-data" in str(caught.value)
    assert "--restart" in str(caught.value)
    assert "goes on with changed data" in train(tmp_path, stages=["compression"], contents=7, accept=True)
    made = json.loads((weights_folder(tmp_path, "compression") / "made_from.json").read_text())
    assert (made["data"][-1], [before[-1] for before in made["before"]]) == ("7", ["0"])


def test_a_finished_stage_of_other_data_is_told_before_it_is_reused(tmp_path):
    train(tmp_path)
    assert "have changed" not in train(tmp_path)
    told = train(tmp_path, contents=1)
    assert told.count("its data have changed since it was trained (23 pictures as then") == 2
    assert "--retrain" in told
    accepted = train(tmp_path, contents=1, accept=True)
    assert "changed" not in accepted
    assert f"diffusion: finished already, {weights(tmp_path, 'diffusion')}" in accepted


def test_a_diffusion_stage_of_other_compression_weights_is_refused(tmp_path):
    train(tmp_path)
    train(tmp_path, stages=["compression"], restart=True, contents=1)
    path = weights(tmp_path, "compression")
    path.write_bytes(path.read_bytes()[:-1] + b"x")  # other weights, as another training leaves them
    made = json.loads((path.parent / "made_from.json").read_text())
    (path.parent / "made_from.json").write_text(json.dumps({**made, "weights": sha256(path)}))
    with pytest.raises(UserError, match="other compression weights"):
        train(tmp_path, contents=1)
    train(tmp_path, contents=1, accept=True)


def test_damaged_weights_are_refused(tmp_path):
    train(tmp_path)
    path = weights(tmp_path, "compression")
    os.utime(path)
    load(tmp_path)  # another time, the same content
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(UserError, match="not the file that its training wrote"):
        load(tmp_path)


def load(runs):
    system = toy(*SHORT)
    give_weights(system, Path(runs), without=refuse, say=lambda _: None)
    return system


def test_a_file_whose_size_and_time_are_known_is_not_read(tmp_path, monkeypatch):
    (tmp_path / "x").write_bytes(b"content")
    sums = Sums(tmp_path)
    known = sums.of(tmp_path / "x")
    assert known == "ed7002b439e9ac845f22357d822bac1444730fbdb6016d3ec9432297b9ec9f73"
    monkeypatch.setattr("ldmkit.checkpoint.sums.sha256", None)
    assert Sums(tmp_path).of(tmp_path / "x") == known
    (tmp_path / "sums.json").write_text("[]")
    with pytest.raises(TypeError):
        Sums(tmp_path).of(tmp_path / "x")


def test_weights_of_a_folder_without_a_training_need_no_origin(tmp_path):
    train(tmp_path)
    system = toy(*SHORT)
    copy = tmp_path / "copy" / "compression.safetensors"
    copy.parent.mkdir()
    copy.write_bytes(weights(tmp_path, "compression").read_bytes())
    use_weights(system, "compression", copy, tmp_path, say=print, data=True, accept=False)
    assert system.weights["compression"] == sha256(copy)


def test_damaged_caches_are_made_again(tmp_path):
    train(tmp_path)
    caches = list(tmp_path.glob("cache/**/*.safetensors"))
    assert {f.parent.name.partition("-")[0] for f in caches} == {"latents", "states"}
    before = {f: {name: x.clone() for name, x in load_file(f).items()} for f in caches}
    for file in caches:
        whole = file.read_bytes()
        file.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    train(tmp_path, "train.diffusion.lr=0.02")
    for file in caches:
        after = load_file(file)
        assert after.keys() == before[file].keys()
        assert all(torch.equal(after[name], x) for name, x in before[file].items())


def test_a_model_of_the_hub_that_is_out_of_reach_is_one_line(tmp_path, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    hub = f"weights={{hub: nobody/nothing, revision: '{'0' * 40}'}}"
    with pytest.raises(UserError, match="nobody/nothing at 000000000000 is not on this machine") as caught:
        train(tmp_path, hub)
    assert "\n" not in str(caught.value)


def test_what_changed_in_the_data_is_named(tmp_path):
    before = dict.fromkeys(("a", "b", "c", "d", "e"), "1")
    write_contents(tmp_path, before)
    now = {"a": "2", "b": "2", "c": "2", "d": "2", "f": "1"}
    said = named_changes(tmp_path, now)
    assert said == "4 changed (a, b, c, ...), 1 new (f), 1 gone (e)"
    assert named_changes(tmp_path, before) is None
    assert named_changes(tmp_path, None) is None
    (tmp_path / "made_from_data.json").write_text("[" * 10_000)
    assert named_changes(tmp_path, now) is None


def test_a_training_names_the_files_that_changed(tmp_path, monkeypatch):
    contents = property(lambda self: {"one.png": "x", "two.png": str(self._contents)})
    monkeypatch.setattr(training_toy.Pictures, "contents", contents, raising=False)
    train(tmp_path, stages=["compression"])
    told = train(tmp_path, stages=["compression"], contents=1)
    assert "its data have changed since it was trained (1 changed (two.png))" in told
    system = toy(*SHORT)
    system.dataset()._contents = 1
    said = []
    give_weights(
        system, tmp_path, without=refuse, say=said.append, stages=["compression"], data=True
    )  # as `sample`, `evaluate` and `encode` open a recipe
    assert any("1 changed (two.png)" in line for line in said)


def test_weights_that_a_training_started_from_are_told_where_they_have_changed(tmp_path):
    train(tmp_path / "base")
    start = tmp_path / "start"
    start.mkdir()
    for stage in STAGES:
        (start / f"{stage}.safetensors").write_bytes(weights(tmp_path / "base", stage).read_bytes())
    named, runs = f"weights={start}", tmp_path / "runs"
    train(runs, named)
    made = json.loads((weights(runs, "diffusion").parent / "made_from.json").read_text())
    assert made["start"] == sha256(start / "diffusion.safetensors")
    assert "started from have changed" not in train(runs, named)
    tensors = {name: tensor * 1.5 for name, tensor in load_file(start / "diffusion.safetensors").items()}
    save_file(tensors, start / "diffusion.safetensors")
    told = train(runs, named)
    assert told.count("diffusion: the weights that it started from have changed since it was trained") == 1
    assert "compression: the weights" not in told
    assert "diffusion: finished already" in told
    assert "started from have changed" not in train(runs, named, accept=True)
    weights(runs, "diffusion").unlink()  # as if it had been interrupted
    with pytest.raises(
        UserError, match=r"the weights that it started from have changed since: put them back"
    ):
        train(runs, named)
    assert "going on after step 4" in train(runs, named, accept=True)
