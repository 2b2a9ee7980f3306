"""Pipes, sockets and devices in the place of files are refused in one line; nothing waits for them."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from small_recipes import PIXELS

from ldmkit.artifacts import read_folder
from ldmkit.checkpoint import RunStore
from ldmkit.cli import main
from ldmkit.errors import UserError


@pytest.fixture(autouse=True)
def no_waiting() -> Iterator[None]:
    """A read that waits for ever fails instead."""

    def fail(*_: object) -> None:
        raise AssertionError("waits for a pipe")

    signal.signal(signal.SIGALRM, fail)
    signal.alarm(60)
    yield
    signal.alarm(0)


@pytest.fixture
def recipe(tmp_path: Path) -> str:
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump({**PIXELS, "name": "mine", "sample": {"size": [8, 8]}}))
    return str(path)


@pytest.fixture
def pipe(tmp_path: Path) -> str:
    os.mkfifo(tmp_path / "pipe")
    return str(tmp_path / "pipe")


def refused(*arguments: str) -> str:
    result = CliRunner().invoke(main, list(arguments))
    assert result.exit_code == 2, result.output
    assert result.output.count("error: ") == 1
    return result.output


@pytest.mark.parametrize("option", ["--prompts-file", "--again"])
def test_an_option_that_names_a_pipe(option: str, recipe: str, pipe: str, tmp_path: Path) -> None:
    output = refused("sample", recipe, option, pipe, "--runs", str(tmp_path / "runs"))
    assert f"{pipe}" in output
    assert "it is no file: a pipe, a socket or a device" in output


def test_sockets_and_devices_hold_no_prompts(recipe: str, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(tmp_path / "socket"))
        assert "it is no file" in refused("sample", recipe, "--prompts-file", str(tmp_path / "socket"))
    assert "it is no file" in refused("sample", recipe, "--prompts-file", "/dev/zero")


def test_a_recipe_and_what_it_extends_are_no_pipes(pipe: str, tmp_path: Path) -> None:
    assert f"{pipe}: it is no file" in refused("check", pipe)
    (tmp_path / "own.yaml").write_text("extends: pipe\nname: own\n")
    assert "pipe: it is no file" in refused("check", str(tmp_path / "own.yaml"))


def test_a_shard_of_weights_is_no_pipe(tmp_path: Path) -> None:
    name = "model-00001-of-00001.safetensors"
    (tmp_path / "model.safetensors.index.json").write_text(f'{{"weight_map": {{"x": "{name}"}}}}')
    os.mkfifo(tmp_path / name)
    with pytest.raises(UserError, match=f"{name}: .*it is no file"):
        read_folder(tmp_path, "model")


def test_a_pipe_in_a_folder_of_recipes_is_listed_as_unreadable(pipe: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "other.yaml")
    result = CliRunner().invoke(main, ["recipes", str(tmp_path)])
    assert result.exit_code == 0
    assert "(unreadable)" in result.output


@pytest.mark.parametrize("name", ["metrics.jsonl", "latest", "versions.json", "recipe.yaml"])
def test_a_pipe_in_a_run_s_folder_keeps_nothing_waiting(name: str, recipe: str, tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "mine" / "diffusion-0123456789ab"
    folder.mkdir(parents=True)
    (folder / "step-00000002").mkdir()
    os.mkfifo(folder / name)
    for verb in (
        ["runs", "--runs", str(tmp_path / "runs")],
        ["report", str(folder.parent), "-o", str(tmp_path / "page.html")],
    ):
        result = CliRunner().invoke(main, verb)
        assert result.exit_code in (0, 2), result.output
        assert "Traceback" not in result.output
    store = RunStore(folder, "diffusion")
    assert store.announced() == [2]
    if name == "metrics.jsonl":
        with pytest.raises(UserError, match=r"metrics\.jsonl: cannot be read: it is no file"):
            store.rewind(2)


TEXT = {"caption": {"name": "pretrained-text", "path": "clip"}}
REFUSED = "it is no file: a pipe, a socket or a device"


@pytest.mark.parametrize("name", ["config.json", "tokenizer/vocab.json", "model.safetensors", "device"])
def test_a_pipe_among_the_files_of_a_text_encoder(name: str, recipe: str, tmp_path: Path) -> None:
    path = tmp_path / "clip" / name
    path.parent.mkdir(parents=True)
    path.symlink_to("/dev/zero") if name == "device" else os.mkfifo(path)
    Path(recipe).write_text(
        yaml.safe_dump({**yaml.safe_load(Path(recipe).read_text()), "conditioners": TEXT})
    )
    for verb in ("check", "sample"):
        assert f"conditioner (pretrained-text): path {path}: {REFUSED}" in refused(verb, recipe)


def test_data_and_networks_that_are_pipes(recipe: str, pipe: str) -> None:
    data = f"data={{name: image-folder, path: {pipe}, size: 8}}"
    assert REFUSED in refused("check", "--data", recipe, "-s", data)
    guidance = f"guidance=[{{name: clip, network: {{path: {pipe}, architecture: ViT-B-32}}}}]"
    assert REFUSED in refused("sample", recipe, "-s", guidance, "--prompt", "a")


def test_a_pipe_beside_the_weights_that_are_named(recipe: str, tmp_path: Path) -> None:
    (tmp_path / "clip.safetensors").write_bytes(b"")
    os.mkfifo(tmp_path / "vocab.json")
    guidance = "guidance=[{name: clip, network: {path: clip.safetensors, architecture: ViT-B-32}}]"
    told = refused("sample", recipe, "-s", guidance, "--prompt", "a")
    assert f"{tmp_path / 'vocab.json'}: {REFUSED}" in told
