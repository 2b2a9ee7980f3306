"""What Tab offers in a shell."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.shell_completion import BashComplete
from click.testing import CliRunner

from ldmkit.cli import main

ROOT = Path(__file__).parents[1]


def offered(*words: str) -> list[str]:
    """What Tab offers after these words, the last of them half typed."""
    found = BashComplete(main, {}, "ldmkit", "_LDMKIT_COMPLETE").get_completions(list(words[:-1]), words[-1])
    return [item.value for item in found]


def test_tab_offers_recipes_by_name(monkeypatch):
    monkeypatch.chdir(ROOT)
    assert {"text2img", "text2img-128"} <= set(offered("run", "text2"))


def test_tab_offers_the_paths_of_the_recipe_that_is_named(monkeypatch):
    monkeypatch.chdir(ROOT)
    assert "denoiser.multipliers.0=" in offered("run", "text2img", "-s", "denoiser.m")
    assert "train.diffusion.steps=" in offered("train", "recipes/inpaint.yaml", "--set", "train.diffusion.s")
    assert "sample.precision=" in offered("run", "no-such-recipe", "-s", "sample.p")


def test_tab_offers_components(monkeypatch):
    assert {"unet", "dit"} <= set(offered("plugins", "denoiser", ""))
    assert "denoiser" in offered("plugins", "den")
    assert "sampler=ddim" in offered("run", "text2img", "-s", "sampler=dd")


def test_completion_imports_no_torch():
    code = "import sys; from ldmkit.cli import main; assert 'torch' not in sys.modules\n"
    code += (
        "from click.shell_completion import BashComplete as B\n"
        "assert B(main, {}, 'l', 'X').get_completions(['run', 'text2img', '-s'], 'denoiser.')\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT, env=dict(os.environ))


@pytest.mark.parametrize(("shell", "begins"), [("bash", "_ldmkit_completion"), ("zsh", "#compdef ldmkit")])
def test_the_script_is_for_the_shell(shell, begins):
    done = CliRunner().invoke(main, ["completion", shell])
    assert done.exit_code == 0
    assert begins in done.output
    assert "_LDMKIT_COMPLETE" in done.output
