"""One training a folder: a second one says who has it, or waits; a dead process's lock is free."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time

import pytest
from forks import Fork
from safetensors.numpy import load_file

from ldmkit.checkpoint import RunStore, files
from ldmkit.checkpoint.lock import locked
from ldmkit.errors import UserError

SHORT = ["train.compression.steps=4", "train.diffusion.steps=4"]
AT_ONCE = """
import os, sys
import ldmkit.training
from ldmkit.errors import UserError
from training_toy import train

def child(runs, *overrides):
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            train(runs, *overrides, say=lambda line: None)
            code = 0
        except UserError as error:
            os.write(2, f"{error}\\n".encode())
            code = 2
        finally:
            os._exit(code)
    return pid

os.waitpid(child(f"{sys.argv[1]}/alone", *sys.argv[2:]), 0)
for i in range(3):
    both = [child(f"{sys.argv[1]}/{i}", *sys.argv[2:]) for _ in range(2)]
    print(*[os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in both], flush=True)
"""


def silent(line):
    pass


@pytest.fixture
def store(tmp_path):
    made = RunStore(tmp_path / "runs" / "toy" / "diffusion-1", "diffusion")
    made.open("recipe: 1\n", {})
    made.log({"step": 40})
    return made


def test_a_second_training_says_who_has_the_folder_and_how_far_it_is(store):
    with locked(store, False, print):
        with pytest.raises(UserError) as caught, locked(store, False, print):
            pass
        assert f"process {os.getpid()} on " in str(caught.value)
        assert "after step 40" in str(caught.value)
        assert "--wait" in str(caught.value)
    with locked(store, False, print):
        store.clear()  # the lock lies beside the folder
    assert [p.name for p in store.folder.parent.iterdir() if p.suffix != ".lock"] == []


def test_with_wait_it_goes_on_when_the_other_is_done(store, monkeypatch):
    monkeypatch.setattr("ldmkit.checkpoint.lock.WAITED", 0.01)
    said, order, held = [], [], threading.Event()

    def first():
        with locked(store, False, print):
            held.set()
            while not said:
                time.sleep(0.01)
            order.append("first")

    thread = threading.Thread(target=first)
    thread.start()
    held.wait()
    with locked(store, True, said.append):
        order.append("second")
    thread.join()
    assert order == ["first", "second"]
    assert "waiting for it" in said[0]


def test_the_lock_of_a_dead_process_is_free(store):
    code = (
        "import os, sys; from pathlib import Path; from ldmkit.checkpoint import RunStore;"
        "from ldmkit.checkpoint.lock import locked; s = RunStore(Path(sys.argv[1]), 'diffusion');"
        "held = locked(s, False, print); held.__enter__(); os._exit(9)"
    )
    assert subprocess.run([sys.executable, "-c", code, str(store.folder)]).returncode == 9
    assert store.folder.with_name("diffusion-1.owner").exists()
    with locked(store, False, print):
        pass


def test_two_at_once_three_times_do_no_damage(tmp_path):
    # Alone too in a process of one thread: with more of them sums may differ in their last bit.
    done = Fork(AT_ONCE, str(tmp_path), *SHORT).done()
    codes = [sorted(map(int, line.split())) for line in done.stdout.splitlines() if line[:1].isdigit()]
    assert len(codes) == 3, done.stderr
    assert all(low == 0 for low, _ in codes), done.stderr
    refused = [high for _, high in codes if high != 0]
    assert refused == [2] * len(refused)
    assert [("is being trained by" in line) for line in done.stderr.splitlines()] == [True] * len(refused)
    for i in range(3):
        assert list((tmp_path / "alone").glob("toy/diffusion-*/diffusion.safetensors"))
        for path in (tmp_path / "alone").glob("toy/*/*.safetensors"):
            other = tmp_path / str(i) / path.relative_to(tmp_path / "alone")
            alone, twice = load_file(path), load_file(other)
            assert all(alone[name].tobytes() == twice[name].tobytes() for name in alone)
        steps = list((tmp_path / str(i)).glob("toy/*/step-*"))
        assert steps
        assert all(files.damage(step) is None for step in steps)
