"""Every write, rename and sync of a training fails in turn: one line, whole steps, the same weights after."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

import PIL.Image
import pytest
from safetensors.numpy import load_file
from training_toy import toy, train

from ldmkit.checkpoint import RunStore, files
from ldmkit.disk import ASIDE, check_room, check_writable
from ldmkit.engine.opening import give_weights, refuse
from ldmkit.errors import UserError
from ldmkit.verbs.arguments import PictureArguments
from ldmkit.verbs.run import make_pictures, recorded_inputs

SHORT = [
    f"train.{stage}.{key}"
    for stage in ("compression", "diffusion")
    for key in ("steps=2", "checkpoint_every=1", "picture_every=2", "validate_every=2")
]
OPERATIONS = [
    (os, "replace"),
    (os, "fsync"),
    (Path, "open"),
    (Path, "write_text"),
    (shutil, "rmtree"),
    (files, "save_file"),
    (PIL.Image.Image, "save"),
]


class Disk:
    """Counts what is done to files below a folder; the n-th time it fails, half done."""

    def __init__(self, patch: pytest.MonkeyPatch, fails_at: int | None, number: int = errno.ENOSPC) -> None:
        self.done, self.fails_at, self.number = [], fails_at, number
        self.path = self.failed = ""
        patch.setattr(os, "fsync", lambda descriptor: None)  # a disk that is quick; no power fails here
        for owner, name in OPERATIONS:
            patch.setattr(owner, name, self._counted(f"{owner.__name__}.{name}", getattr(owner, name)))

    def _counted(self, name, function):
        def counted(*arguments, **options):
            reads = name == "Path.open" and (arguments[1:] or ("r",))[0].startswith("r")
            if not reads:
                self.done.append(name)
                if name != "os.fsync":  # which follows the write of the same file
                    self.path = str(arguments[_place_of_path(name)])
                if len(self.done) - 1 == self.fails_at:
                    self.failed = self.path
                    self._leave_half(name, arguments)
                    raise OSError(self.number, os.strerror(self.number))
            return function(*arguments, **options)

        return counted

    @staticmethod
    def _leave_half(name, arguments):
        if name.endswith((".write_text", ".save_file", ".save")):
            with open(arguments[_place_of_path(name)], "wb") as file:
                file.write(b"half")


def _place_of_path(name: str) -> int:
    """Which argument of an operation is the file that it makes."""
    return 1 if name.endswith((".replace", ".save_file", ".save")) else 0


def weights(runs: Path) -> dict[str, bytes]:
    found = {f.name: load_file(f) for f in runs.glob("toy/*/*.safetensors") if f.parent.name != "cache"}
    return {f"{f}:{n}": x.tobytes() for f, named in found.items() for n, x in named.items()}


def silent(line: str) -> None:
    pass


def refusal(runs: Path, overrides: list[str]) -> str | None:
    """What a training of the toy says that stops; None where it does not."""
    try:
        train(runs, *overrides, say=silent)
    except UserError as error:
        return str(error)
    return None


@pytest.fixture(scope="module")
def operations(tmp_path_factory):
    """What an undisturbed training does to files, and the weights that it leaves."""
    runs = tmp_path_factory.mktemp("undisturbed")
    with pytest.MonkeyPatch.context() as patch:
        disk = Disk(patch, None)
        train(runs, *SHORT, say=silent)
    return disk.done, weights(runs)


@pytest.mark.parametrize("part", range(4))
def test_whatever_fails_the_training_stops_in_one_line_and_resumes_bit_for_bit(operations, tmp_path, part):
    assert {"Path.write_text", "os.replace", "os.fsync", "Image.save"} <= set(operations[0])
    fail_in_turn(operations, range(part, len(operations[0]), 4), tmp_path, SHORT)


STYLE = "adapters={style: {name: toy, train: {steps: 2, batch: 4, lr: 0.5, checkpoint_every: 1}}}"


def test_whatever_fails_the_training_of_an_adapter_stops_in_one_line_and_resumes_bit_for_bit(tmp_path):
    base, whole = tmp_path / "base", tmp_path / "whole"
    train(base, *SHORT, say=silent)
    shutil.copytree(base, whole)
    with pytest.MonkeyPatch.context() as patch:
        disk = Disk(patch, None)
        train(whole, *SHORT, STYLE, say=silent)
    assert any("style.safetensors" in name for name in weights(whole))
    # The stages' store is an adapter's too: here every third operation, all of them where one asks for it.
    turns = range(0, len(disk.done), 1 if "LDMKIT_FUZZ" in os.environ else 3)
    fail_in_turn((disk.done, weights(whole)), turns, tmp_path, [*SHORT, STYLE], base)


def fail_in_turn(
    operations: tuple[list[str], dict[str, bytes]],
    turns: range,
    place: Path,
    overrides: list[str],
    base: Path | None = None,
) -> None:
    """Trains once for each turn, from what `base` holds; the operation of that number fails."""
    names, expected = operations
    for fails_at in turns:
        runs = place / str(fails_at)
        if base is not None:
            shutil.copytree(base, runs)
        number = (errno.ENOSPC, errno.EIO, errno.EROFS)[fails_at % 3]
        with pytest.MonkeyPatch.context() as patch:
            disk = Disk(patch, fails_at, number)
            said = refusal(runs, overrides)
        assert disk.done[: fails_at + 1] == names[: fails_at + 1]
        if said is None:  # memories of digests are not needed
            assert disk.failed.endswith(("sums.json", "verified.json")), (names[fails_at], disk.failed)
        else:
            assert len(said.splitlines()) == 1, said
            assert str(runs) in said, said
        if names[fails_at] != "shutil.rmtree":  # what cannot be removed stays
            assert not list(runs.rglob(f"{ASIDE}*")), names[fails_at]
        for folder in runs.glob("toy/*-*/"):
            store = RunStore(folder, folder.name.partition("-")[0])
            assert all(files.damage(store.folder / f"step-{step:08d}") is None for step in store.steps())
        with pytest.MonkeyPatch.context() as patch:
            Disk(patch, None)
            train(runs, *overrides, say=silent)
        assert weights(runs) == expected, names[fails_at]
        shutil.rmtree(runs)


def test_places_that_cannot_be_written_are_told_before_any_work(tmp_path):
    (tmp_path / "file").write_text("")
    check_writable(tmp_path / "new" / "folder", "--out")
    assert not (tmp_path / "new").exists()
    with pytest.raises(UserError, match=r"--out .*: a file stands where a folder should be"):
        check_writable(tmp_path / "file" / "inside", "--out")
    with pytest.raises(UserError, match="the name is too long"):
        check_writable(tmp_path / ("x" * 300), "--runs")
    with pytest.raises(UserError, match=r"takes about 1e\+03 TB of disk; .* are free|takes about 1000 TB"):
        check_room(tmp_path / "new", 10**15, "a checkpoint")


def test_whatever_fails_while_samples_are_written_the_next_run_makes_them_whole(tmp_path):
    train(tmp_path, *SHORT, say=silent)
    system = toy(*SHORT)
    give_weights(system, tmp_path, without=refuse, say=silent)
    request = recorded_inputs(system, PictureArguments())
    with pytest.MonkeyPatch.context() as patch:
        disk = Disk(patch, None)
        make_pictures(system, request, tmp_path / "whole", silent)
    expected = pictures(tmp_path / "whole")
    assert len(expected) == 3  # two prompts and the grid
    for fails_at in range(len(disk.done)):
        out = tmp_path / str(fails_at)
        with pytest.MonkeyPatch.context() as patch:
            Disk(patch, fails_at)
            with pytest.raises(UserError) as refused:
                make_pictures(system, request, out, silent)
        assert str(refused.value).startswith(str(out))
        assert len(str(refused.value).splitlines()) == 1
        assert pictures(out).items() <= expected.items()  # whole, or not there
        assert not list(out.rglob(f"{ASIDE}*"))
        make_pictures(system, request, out, silent)
        assert pictures(out) == expected


def pictures(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.glob("*.png")}
