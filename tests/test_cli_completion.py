"""What Tab offers in a shell."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from click.shell_completion import BashComplete
from click.testing import CliRunner

from ldmkit.cli import main
from ldmkit.host.catalogue import WITHOUT_PARAMETERS
from ldmkit.host.declared import declared_parameters
from ldmkit.host.parameters import parameters_of
from ldmkit.host.plugins import host
from ldmkit.host.registry import KINDS

ROOT = Path(__file__).parents[1]


def offered(*words: str) -> list[str]:
    """What Tab offers after these words, the last of them half typed."""
    found = BashComplete(main, {}, "ldmkit", "_LDMKIT_COMPLETE").get_completions(list(words[:-1]), words[-1])
    return [item.value for item in found]


def test_tab_offers_recipes_by_name(monkeypatch):
    monkeypatch.chdir(ROOT)
    assert {"text2img", "text2img-fast"} <= set(offered("run", "text2"))


def test_tab_offers_the_paths_of_the_recipe_that_is_named(monkeypatch):
    monkeypatch.chdir(ROOT)
    assert "denoiser.multipliers.0=" in offered("run", "text2img", "-s", "denoiser.m")
    assert "train.diffusion.steps=" in offered("train", "recipes/inpaint.yaml", "--set", "train.diffusion.s")
    assert "sample.precision=" in offered("run", "no-such-recipe", "-s", "sample.p")


def test_tab_offers_the_stages_and_adapters_of_the_recipe_that_is_named(monkeypatch):
    monkeypatch.chdir(ROOT)
    assert offered("train", "recipes/lora.yaml", "--stage", "") == ["compression", "diffusion", "cyanotype"]
    assert offered("train", "recipes/first-stage.yaml", "--stage", "") == ["compression"]


def test_tab_offers_the_parameters_of_components_that_the_recipe_does_not_set(monkeypatch):
    monkeypatch.chdir(ROOT)
    assert offered("run", "text2img", "-s", "denoiser.head_c") == ["denoiser.head_channels="]
    assert offered("run", "text2img", "-s", "sampler.re") == ["sampler.reuse="]
    assert "schedule.zero_snr=" in offered("check", "recipes/unconditional.yaml", "-s", "schedule.")
    assert "schedule.parameters=" not in offered("check", "recipes/unconditional.yaml", "-s", "schedule.")


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in WITHOUT_PARAMETERS])
def test_the_names_read_off_a_source_are_those_that_a_recipe_may_set(kind):
    for entry in [one for one in host().registry if one.kind == kind]:
        assert sorted(declared_parameters(entry)) == sorted(parameters_of(entry).model.model_fields), (
            entry.name
        )


def in_bash(line: str) -> list[str]:
    """What bash itself is given when Tab is pressed at the end of a line; it splits words at "=" and ":"."""
    words = [w for w in re.split(r"\s|([=:])", line) if w is not None]
    words = [w for i, w in enumerate(words) if w or i == len(words) - 1]
    program = Path(sys.executable).with_name("ldmkit")
    code = f"""eval "$({program} completion bash)"
    compopt() {{ :; }}  # readline's, which is not there
    COMP_WORDS=({" ".join(shlex.quote(w) for w in words)}) COMP_CWORD={len(words) - 1}
    COMP_LINE={shlex.quote(line)} COMP_POINT={len(line)}
    _ldmkit_completion {program}
    printf '%s\\n' "${{COMPREPLY[@]}}" """
    done = subprocess.run(["bash", "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.stderr == ""
    return done.stdout.splitlines()


def test_bash_completes_words_that_it_splits():
    assert in_bash("ldmkit run text2img -s denoiser.head_c") == ["denoiser.head_channels="]
    assert in_bash("ldmkit run text2img -s sampler=dd") == ["ddim", "ddpm"]
    assert in_bash("ldmkit run text2img --set=sampler=dd") == ["ddim", "ddpm"]
    assert {"ddim", "plms"} <= set(in_bash("ldmkit run text2img -s sampler="))
    assert in_bash("ldmkit comp") == ["completion"]


def test_bash_offers_names_of_recipes_beside_files():
    assert {"recipes", "requirements.txt"} <= set(in_bash("ldmkit check re"))
    assert {"text2img", "text2img-fast", "tests"} <= set(in_bash("ldmkit check te"))


def test_tab_offers_components(monkeypatch):
    assert {"unet", "dit"} <= set(offered("plugins", "denoiser", ""))
    assert "denoiser" in offered("plugins", "den")
    assert "sampler=ddim" in offered("run", "text2img", "-s", "sampler=dd")
    assert "denoiser.name=dit" in offered("run", "text2img", "-s", "denoiser.name=d")
    assert "train.compression.loss.0=pixel" in offered(
        "run", "first-stage", "-s", "train.compression.loss.0="
    )
    assert "install" in offered("plugins", "in")
    assert "ldmkit-serve" in offered("plugins", "uninstall", "ldmkit-s")


def test_tab_offers_verbs_of_plugins_without_importing_any():
    code = "import sys; from ldmkit.cli import main; from click import Context\n"
    code += "print(*[i.value for i in main.shell_complete(Context(main), '')])\n"
    code += (
        "sys.exit(any(name.startswith(('ldmkit_serve.command', 'ldmkit.cli.run')) for name in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0
    assert {"run", "serve"} <= set(done.stdout.split())


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
    if shell == "zsh":
        assert "-S '' -- ${(M)completions:#*=}" in done.output  # no space after PATH=
