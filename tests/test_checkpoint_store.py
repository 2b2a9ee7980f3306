"""The run store: steps whole or not there, the newest two kept, a damaged one passed over."""

from __future__ import annotations

import json
import shutil

import pytest
import torch

from ldmkit.checkpoint import RunStore
from ldmkit.checkpoint.files import read_safetensors, write_tensors
from ldmkit.errors import UserError


@pytest.fixture
def store(tmp_path):
    made = RunStore(tmp_path / "run", "diffusion")
    made.open("recipe: 1\n", {"torch": "x"})
    for step in (10, 20, 30):
        save(made, step)
    return made


def save(store, step):
    shared = torch.full((4,), float(step))
    store.save(step, {"model": {"a": shared, "tied": shared, "view": shared[1:3]}}, {"seconds": step})


def test_the_newest_two_steps_are_kept_and_read_back(store):
    assert store.steps() == [20, 30]
    snapshot = store.load(print)
    assert (snapshot.step, snapshot.state["seconds"]) == (30, 30)
    assert snapshot.tensors["model"]["tied"].tolist() == [30.0] * 4
    assert snapshot.tensors["model"]["view"].tolist() == [30.0] * 2


def flip_a_byte(file):
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)


@pytest.mark.parametrize(
    "harm",
    [
        lambda folder: flip_a_byte(folder / "model.safetensors"),
        lambda folder: (folder / "model.safetensors").write_bytes(b""),
        lambda folder: (folder / "state.json").unlink(),
        lambda folder: (folder / "manifest.json").write_text("[]"),
        lambda folder: (folder / "manifest.json").unlink(),
    ],
)
def test_a_damaged_newest_step_falls_back_one_and_says_so(store, harm):
    harm(store.folder / "step-00000030")
    said = []
    assert store.load(said.append).step == 20
    assert "step-00000030" in said[0]
    assert "damaged" in said[0]
    store.rewind(20)
    assert store.steps() == [20]
    save(store, 30)
    assert store.load(print).step == 30


def test_a_step_that_was_never_announced_does_not_count(store):
    """A kill between the rename and `latest` leaves a whole folder that the resumed training makes again."""
    (store.folder / "latest").write_text("step-00000020\n")
    assert store.load(print).step == 20
    store.rewind(20)
    save(store, 30)
    assert store.steps() == [20, 30]


def test_what_a_kill_left_half_written_is_cleared(store):
    (store.folder / ".tmp-step-00000040").mkdir()
    (store.folder / ".tmp-step-00000040" / "model.safetensors").write_bytes(b"half")
    (store.folder / ".tmp-diffusion.safetensors").write_bytes(b"half")
    again = RunStore(store.folder, "diffusion")
    again.open("recipe: 1\n", {})
    assert not list(store.folder.glob(".tmp*"))
    assert not again.finished
    assert again.load(print).step == 30


def test_metrics_after_the_resumed_step_are_forgotten(store):
    for step in (10, 20, 30):
        store.log({"step": step, "loss": 1.0})
    with store.metrics.open("a") as file:
        file.write('{"step": 2')
    store.rewind(20)
    assert [json.loads(line)["step"] for line in store.metrics.read_text().splitlines()] == [10, 20]


def test_finished_weights_come_last(store):
    assert not store.finished
    store.finish({"w": torch.ones(2)}, {"w": torch.zeros(2)})
    assert store.finished
    assert store.weights.name == "diffusion.safetensors"
    assert store.raw_weights.exists()
    store.clear()
    assert not store.folder.exists()


def test_weights_are_as_readable_for_others_as_any_file_of_the_user(tmp_path):
    write_tensors(tmp_path / "weights.safetensors", {"x": torch.ones(2)})
    (tmp_path / "plain").touch()
    assert (tmp_path / "weights.safetensors").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_a_file_that_is_no_safetensors_is_a_plain_error(tmp_path):
    (tmp_path / "x.safetensors").write_bytes(b"\x80\x04K\x01.")
    with pytest.raises(UserError, match=r"x\.safetensors"):
        read_safetensors(tmp_path / "x.safetensors")


def test_when_every_step_is_damaged_it_stops_and_says_how_to_begin_anew(store):
    for step in (20, 30):
        flip_a_byte(store.folder / f"step-{step:08d}" / "model.safetensors")
    with pytest.raises(UserError, match=r"every step is damaged .*--restart.*--retrain"):
        store.load(lambda _: None)
    assert store.steps() == [20, 30]


def test_an_empty_manifest_is_damage_and_so_is_a_file_that_it_does_not_list(store):
    (store.folder / "step-00000030" / "manifest.json").write_text("{}")
    assert store.load(lambda _: None).step == 20
    (store.folder / "step-00000020" / "foreign").write_text("")
    with pytest.raises(UserError, match="every step is damaged"):
        store.load(lambda _: None)


def test_latest_may_name_a_step_that_is_gone(store):
    (store.folder / "latest").write_text("step-00000015\n")
    said = []
    assert store.load(said.append).step == 30
    assert "names step 15, which is not there" in said[0]


def test_a_file_in_a_steps_place_and_folders_of_other_names_are_no_steps(store):
    (store.folder / "step-00000020.bak").mkdir()
    (store.folder / "step-xyz").mkdir()
    (store.folder / "step-00000040").write_text("")
    assert store.steps() == [20, 30, 40]
    assert store.load(lambda _: None).step == 30
    store.rewind(30)
    save(store, 40)
    assert store.load(lambda _: None).step == 40


def test_copies_of_a_step_that_appear_meanwhile_neither_count_nor_cost_one(store):
    for name in ("step-99999998", "step-99999999"):
        shutil.copytree(store.folder / "step-00000030", store.folder / name)
    save(store, 40)
    assert store.load(print).step == 40
    assert store.announced() == [30, 40]
    (store.folder / "latest").unlink()
    said = []
    assert store.load(said.append).step == 40
    assert [line.endswith("(it is a copy of step 30)") for line in said] == [True, True]


def test_metrics_that_are_no_utf8_lose_those_lines_alone(store):
    store.metrics.write_bytes(b'{"step": 10}\n\xff\xfe\x00\n{"step": 20}\n[1]\n{"step": 30}\n')
    assert store.logged_step() == 30
    store.rewind(20)
    assert store.metrics.read_text().splitlines() == ['{"step": 10}', '{"step": 20}']
