# ruff: noqa: E501 - tables of whole messages
"""Hostile recipes are refused within bounds of time and memory, measured in a process of their own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

PEAK = """
import json, resource, sys
def peak():  # ru_maxrss is that of the process that forked, where it is the larger
    line = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024
"""
CHECK = """
try:
    from ldmkit.cli import main
    main(["check", *sys.argv[1:]])
except SystemExit as end:
    code = end.code
used = resource.getrusage(resource.RUSAGE_SELF)
print(json.dumps({
    "code": code, "torch": "torch" in sys.modules, "seconds": used.ru_utime + used.ru_stime,
    "megabytes": peak(), "marker": "antigravity" in sys.modules,
}))
"""
TORCH = """
import torch
used = resource.getrusage(resource.RUSAGE_SELF)
print(json.dumps({"seconds": used.ru_utime + used.ru_stime, "megabytes": peak()}))
"""
START = "recipe: 1\nname: hostile\ncompression: {name: kl-autoencoder}\n"
BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 9)
)


def run(code: str, *arguments: str) -> tuple[dict, str]:
    done = subprocess.run(
        [sys.executable, "-c", PEAK + code, *arguments], capture_output=True, text=True, timeout=300
    )
    return json.loads(done.stdout.splitlines()[-1]), done.stderr


@pytest.fixture(scope="module")
def torch_alone() -> dict:
    return run(TORCH)[0]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (START + BOMB, "its aliases stand for more than 10000 values"),
        (START + "sample: {prompts: &a [*a]}\n", "its aliases stand for more than 10000 values"),
        (START + "denoiser: {name: os.system}\n", "no plugin provides denoiser 'os.system'"),
        (START + "denoiser: {target: os.system}\n", "denoiser: 'name' is missing"),
        (START + "target: os.system\n", "unknown key 'target'"),
        (START + "denoiser: !!python/object/apply:os.system [touch MARKER]\n", "is not allowed; a recipe is plain data"),
        (START + "denoiser: !!python/module:antigravity {}\n", "is not allowed; a recipe is plain data"),
        (START + "sample: " + "[" * 100_000, "nested deeper than 32"),
        (START + "sample: " + "{a: " * 20_000, "nested deeper than 32"),
        (START + "- ? " * 50_000, "error: "),
        (START + "".join(f"k{i}: 0\n" for i in range(4_500)), "more lines"),
        (START + "conditioners: {" + "".join(f"k{i}: os.system{i}, " for i in range(4_500)) + "}\n", "hostile.yaml:4:2"),
        (START + "sample: {seed: " + "9" * 100_000 + "}\n", "cannot be read as int"),
        (START + "sample: {seed: " + "9e" * 50_000 + "}\n", "sample.seed: should be a valid integer"),
        (START + "".join(f"- &x{i} 0\n" for i in range(30_000)), "error: "),
        ("#" * 2_000_000, "larger than 128 KiB"),
        ("\x00\x01" * 1000, "not readable as YAML"),
        ("&a *a", "error: "),
    ],
    ids=range(18),
)  # fmt: skip
def test_refused_without_torch_in_a_second_and_200_megabytes(tmp_path, text, said):
    path, marker = tmp_path / "hostile.yaml", tmp_path / "marker"
    path.write_text(text.replace("MARKER", str(marker)))
    found, errors = run(CHECK, str(path))
    assert said in errors
    assert "Traceback" not in errors
    assert found["code"] == 2
    assert not found["torch"]
    assert not found["marker"]
    assert not marker.exists()
    assert found["seconds"] < 3  # of processor time, which a busy machine stretches; alone it takes 0.4
    assert found["megabytes"] < 200


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (START.replace("}", ", target: os.system}"), "hostile.yaml:3:37: compression (kl-autoencoder): unknown key 'target'"),
        (START.replace("}", ", chanels: 4}"), "hostile.yaml:3:37: compression (kl-autoencoder): unknown key 'chanels'; did you mean 'channels'?"),
        (START.replace("}", ", width: {name: os.system}}"), "compression.width (kl-autoencoder): should be a valid integer"),
        (
            START + "train: {compression: {steps: 1, batch: 1, lr: 1, loss: [{name: perceptual, features: os.system}]}}\n",
            "loss.0.features: no plugin provides features 'os.system'",
        ),
    ],
)  # fmt: skip
def test_what_needs_parameters_is_refused_two_seconds_after_torch(tmp_path, torch_alone, text, said):
    path = tmp_path / "hostile.yaml"
    path.write_text(text)
    found, errors = run(CHECK, str(path))
    assert said in errors
    assert "Traceback" not in errors
    assert found["code"] == 2
    assert found["seconds"] < torch_alone["seconds"] + 2
    assert found["megabytes"] < torch_alone["megabytes"] + 200


def test_the_shipped_recipes_pass():
    recipes = Path(__file__).parents[1] / "recipes"
    from ldmkit.recipe import load

    for path in recipes.rglob("*.yaml"):
        load(path)
