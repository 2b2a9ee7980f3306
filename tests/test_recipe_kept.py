"""A recipe on `weights` leaves out `compression`: the recipe beside the weights says it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
import yaml
from click.testing import CliRunner
from small_recipes import AUTOENCODER

import ldmkit
from ldmkit.artifacts import write_tensors
from ldmkit.cli import main
from ldmkit.disk import write_text
from ldmkit.engine.stage_state import stage_state
from ldmkit.engine.system import System
from ldmkit.errors import UserError
from ldmkit.host.plugins import host
from ldmkit.host.registry import Entry, Registry
from ldmkit.recipe import complete, dump, load, resolve

FIRST = {**AUTOENCODER, "factor": 2, "channels": 2, "multipliers": [1, 1]}
MODEL = {"recipe": 1, "name": "on-weights", "weights": "first"}


def write_weights(folder: Path, compression: dict[str, object]) -> System:
    """A folder as a training leaves it: the first stage's weights and the recipe that describes it."""
    with pytest.warns(UserWarning, match="no weights for its compression stage"):
        system = ldmkit.build({"recipe": 1, "name": "first", "compression": compression})
    folder.mkdir(parents=True)
    write_tensors(folder / "compression.safetensors", dict(stage_state(system, "compression")))
    write_text(folder / "recipe.yaml", dump(system.recipe))
    return system


def write_recipe(folder: Path, **changes: object) -> Path:
    write_text(folder / "own.yaml", yaml.safe_dump({**MODEL, **changes}))
    return folder / "own.yaml"


def test_the_section_is_that_of_the_weights_and_they_fit(tmp_path: Path) -> None:
    first = write_weights(tmp_path / "first", FIRST)
    system = ldmkit.build(write_recipe(tmp_path))
    assert system.recipe.compression == first.recipe.compression
    ours, theirs = system.compression.state_dict(), first.compression.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_of_a_folder_of_trainings_the_newest_finished_one_counts(tmp_path: Path) -> None:
    for age, (name, width) in enumerate({"new": 64, "old": 32}.items()):
        write_weights(tmp_path / f"first/compression-{name}", {**FIRST, "width": width})
        os.utime(tmp_path / f"first/compression-{name}/compression.safetensors", (1000 - age, 1000 - age))
    assert load(write_recipe(tmp_path)).compression.parameters["width"] == 64


def test_a_second_stage_alone_says_it_too(tmp_path: Path) -> None:
    write_weights(tmp_path / "first", FIRST)
    (tmp_path / "first/compression.safetensors").rename(tmp_path / "first/diffusion.safetensors")
    assert load(write_recipe(tmp_path)).compression.name == "kl-autoencoder"


def test_weights_that_a_plugin_ships_say_it_too() -> None:
    recipe = complete({**MODEL, "weights": {"recipe": "text2img"}})
    assert recipe.compression == complete("text2img").compression
    # These are shipped without the first stage that they stand on: their recipe holds it all the same.
    assert (
        complete({**MODEL, "weights": {"recipe": "inpaint"}}).compression == complete("inpaint").compression
    )


def test_a_part_of_it_is_changed_on_the_command_line_and_the_weights_too(tmp_path: Path) -> None:
    write_weights(tmp_path / "second", FIRST)
    changes = ["compression.dropout=0.5", "weights=second"]
    recipe = load(write_recipe(tmp_path), changes)
    assert recipe.compression.parameters["dropout"] == 0.5
    assert recipe.compression.parameters["width"] == 32


def test_explain_tells_where_it_stands(tmp_path: Path) -> None:
    write_weights(tmp_path / "first", FIRST)
    result = CliRunner().invoke(main, ["check", "--explain", str(write_recipe(tmp_path))])
    assert result.exit_code == 0, result.output
    (line,) = (x for x in result.output.splitlines() if x.startswith("compression.factor:"))
    assert f"2  # {tmp_path / 'first/recipe.yaml'}:5:11" in line


def test_a_section_that_the_weights_do_not_fit_is_refused(tmp_path: Path) -> None:
    write_weights(tmp_path / "first", FIRST)
    with pytest.raises(
        UserError,
        match="the weights do not fit this recipe: of another shape",
    ):
        ldmkit.build(write_recipe(tmp_path, compression={**FIRST, "width": 64}))


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ("nowhere", "weights: no folder {place}/nowhere"),
        ("first", "weights: no recipe.yaml beside them says the `compression`: write that section"),
        (
            {"hub": "a/b", "revision": "0" * 40},
            "weights: no recipe.yaml of a/b at 000000000000 is on this machine",
        ),
        ({"recipe": "text2imgs"}, "weights: no plugin provides weights 'text2imgs'"),
    ],
)
def test_weights_without_a_recipe_are_told(tmp_path: Path, weights: object, message: str) -> None:
    write_weights(tmp_path / "first", FIRST)
    (tmp_path / "first/recipe.yaml").unlink()
    with pytest.raises(UserError) as error:
        load(write_recipe(tmp_path, weights=weights))
    (line,) = str(error.value).splitlines()
    assert line.startswith(f"{tmp_path}/own.yaml:")
    assert message.format(place=tmp_path) in line


def test_what_stands_there_is_checked_as_a_recipe_is(tmp_path: Path) -> None:
    write_weights(tmp_path / "first", FIRST)
    write_text(tmp_path / "first/recipe.yaml", "compression: {name: kl-autoencoder, widht: 3}\n")
    with pytest.raises(UserError, match=r"first/recipe\.yaml:1:37: compression .*did you mean 'width'"):
        complete(write_recipe(tmp_path))


class Located(torch.nn.Module):
    """A first stage with a file of its own."""

    def __init__(self, *, file: Path) -> None:
        super().__init__()


def test_paths_in_the_section_of_a_package_start_at_the_package(tmp_path: Path) -> None:
    registry = Registry()
    for entry in host().registry:
        registry.add(entry)
    registry.add(Entry("compression", "located", f"{__name__}:Located", "With a file.", "toys", "1.0"))
    write_weights(tmp_path / "first", FIRST)
    section = {"name": "located", "file": "files/compression-file/x"}
    for weights, where in ((".", "first/files/compression-file/x"), (None, "files/compression-file/x")):
        kept = {"recipe": 1, "name": "first", "compression": section, "weights": weights}
        write_text(tmp_path / "first/recipe.yaml", yaml.safe_dump(kept))
        recipe = resolve(load(write_recipe(tmp_path), registry=registry), registry)
        assert recipe.compression.parameters["file"] == where
