from __future__ import annotations

import csv
import json
import os
import sqlite3
import struct
import subprocess
import sys

import pytest
from ldmkit_training.csv_file import Csv
from ldmkit_training.tensorboard import TensorBoard
from ldmkit_training.trackio_run import Trackio
from ldmkit_training.wandb_run import Wandb

from ldmkit.testing.training import check_callback


def test_csv_goes_on_where_the_training_goes_on(tmp_path):
    check_callback(Csv, tmp_path)
    with (tmp_path / "figures.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["step", "figure", "value"]
    assert [(int(step), figure) for step, figure, _ in rows[1:]] == [
        (10, "loss"), (10, "lr"), (20, "loss"), (20, "lr"), (30, "loss"), (30, "lr"), (30, "validation_loss"),
    ]  # fmt: skip
    assert float(rows[1][2]) == 1 / 10


def test_csv_writes_nowhere_but_in_the_runs_folder():
    with pytest.raises(ValueError, match="without folders"):
        Csv(file="../figures.csv")


def test_tensorboard_reads_back_figures_and_pictures(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    check_callback(TensorBoard, tmp_path)
    found = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert [(e.step, e.value) for e in found.Scalars("loss")] == [
        (10, pytest.approx(1 / 10)), (20, pytest.approx(1 / 20)), (30, pytest.approx(1 / 30)),
    ]  # fmt: skip
    assert found.Scalars("validation_loss")[-1].step == 30
    (last,) = [e for e in found.Images("samples") if e.step == 30]
    assert (last.width, last.height) == (12, 8)
    assert "name: toy" in found.Tensors("recipe/text_summary")[0].tensor_proto.string_val[0].decode()


def test_trackio_keeps_figures_and_pictures_on_this_machine(tmp_path):
    pytest.importorskip("trackio")
    code = f"""
from pathlib import Path
from ldmkit_training.trackio_run import Trackio
from ldmkit.testing.training import check_callback
check_callback(lambda: Trackio(project="toys"), Path({str(tmp_path)!r}))
"""
    env = {**os.environ, "TRACKIO_DIR": str(tmp_path / "trackio")}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (database,) = (tmp_path / "trackio").glob("toys*.db")
    with sqlite3.connect(database) as connection:
        rows = connection.execute("select step, metrics from metrics order by id").fetchall()
    losses = [
        (step, json.loads(bytes(metrics))["loss"]) for step, metrics in rows if b'"loss"' in bytes(metrics)
    ]
    assert losses == [(10, 1 / 10), (20, 1 / 20), (20, 1 / 20), (30, 1 / 30)]
    assert [p.suffix for p in (tmp_path / "trackio").rglob("*.png")] == [".png"] * 2


def test_wandb_keeps_figures_and_pictures_in_the_runs_folder(tmp_path):
    """Read from its files: a leveldb log, each record after seven bytes with its length."""
    pytest.importorskip("wandb")
    code = f"""
from pathlib import Path
from ldmkit_training.wandb_run import Wandb
from ldmkit.testing.training import check_callback
check_callback(Wandb, Path({str(tmp_path)!r}))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    losses = {}
    for path in sorted(tmp_path.glob("wandb/offline-run-*/*.wandb")):
        for record in wandb_records(path):
            row = {item.key or "/".join(item.nested_key): item.value_json for item in record.history.item}
            if "loss" in row:
                losses[int(row["_step"])] = float(row["loss"])
    assert losses == {10: 1 / 10, 20: 1 / 20, 30: 1 / 30}
    assert {p.suffix for p in tmp_path.rglob("media/images/*")} == {".png"}


def wandb_records(path):
    from wandb.proto.wandb_internal_pb2 import Record

    content, place = path.read_bytes(), 7
    while place + 7 <= len(content):
        _, length, _ = struct.unpack("<IHB", content[place : place + 7])
        yield Record.FromString(content[place + 7 : place + 7 + length])
        place += 7 + length


@pytest.mark.parametrize(
    ("module", "make", "extra"),
    [
        ("torch.utils.tensorboard", TensorBoard, "tensorboard"),
        ("trackio", Trackio, "trackio"),
        ("wandb", Wandb, "wandb"),
    ],
)
def test_a_missing_extra_is_named(monkeypatch, module, make, extra):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ValueError, match=rf"pip install 'ldmkit-training\[{extra}\]'"):
        make()
