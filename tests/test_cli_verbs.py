# ruff: noqa: E501 - whole messages
from __future__ import annotations

import errno
import json
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from ldmkit.cli import VERBS, main
from ldmkit.errors import UserError
from ldmkit.host.plugins import Broken, Host, host
from ldmkit.host.registry import Registry

RECIPE = """\
# A small one.
recipe: 1
name: small
compression: {name: kl-autoencoder, factor: 8, channels: 4, width: 32, multipliers: [1, 1, 1, 1], blocks: 1}
conditioners:
  label: {name: class-embedding, classes: 10, width: 16}
denoiser: {name: unet, width: 32, multipliers: [1], scale_shift: true, blocks: 1, attention: [1]}
sample: {size: [64, 64]}
"""


@pytest.fixture
def ldmkit(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("recipes").mkdir()
    Path("recipes/small.yaml").write_text(RECIPE)
    return lambda *arguments: CliRunner().invoke(main, arguments)


def test_help_answers_at_once_without_torch():
    code = "import sys; from ldmkit.cli import main; main(['--help'], standalone_mode=False); sys.exit(not {'torch', 'gradio', 'rich'}.isdisjoint(sys.modules))"
    seconds = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        assert done.returncode == 0
    assert all(verb in done.stdout and line in done.stdout for verb, line in VERBS.items())
    assert min(seconds) < 0.5  # of the processor: other work on the machine does not count


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_its_help(verb):
    done = CliRunner().invoke(main, [verb, "--help"])
    assert done.exit_code == 0
    assert done.output.startswith(f"Usage: main {verb}")


def test_an_unknown_verb_or_option_ends_with_2(ldmkit):
    assert ldmkit("chek", "x.yaml").exit_code == 2
    assert ldmkit("check", "--nope").exit_code == 2


def test_a_working_directory_that_is_gone_is_told(tmp_path, monkeypatch):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    result = CliRunner().invoke(main, ["check", "../x.yaml"])
    assert result.exit_code == 2
    assert result.output == "error: the working directory is no longer there: change to another one first\n"


def test_an_error_is_one_line_and_debug_shows_where(monkeypatch):
    def failing(error: BaseException) -> click.Command:
        def callback() -> None:
            raise error

        return click.Command("check", callback=callback)

    monkeypatch.setattr(type(main), "get_command", lambda *_: failing(UserError("first\nsecond")))
    done = CliRunner().invoke(main, ["check"])
    assert (done.exit_code, done.stderr) == (2, "error: first\nerror: second\n")
    monkeypatch.setattr(type(main), "get_command", lambda *_: failing(KeyError("bug")))
    done = CliRunner().invoke(main, ["check"])
    assert (done.exit_code, done.stderr.count("\n")) == (1, 1)
    assert done.stderr.startswith("error: internal error: KeyError: 'bug'; run `ldmkit --debug ...`")
    done = CliRunner().invoke(main, ["--debug", "check"])
    assert done.exit_code == 1
    assert "Traceback" in done.stderr
    full = OSError(errno.ENOSPC, "No space left on device", "x.png")
    monkeypatch.setattr(type(main), "get_command", lambda *_: failing(full))
    done = CliRunner().invoke(main, ["check"])
    assert (done.exit_code, done.stderr) == (2, "error: x.png: the disk is full\n")
    monkeypatch.setattr(type(main), "get_command", lambda *_: failing(MemoryError()))
    done = CliRunner().invoke(main, ["check"])
    assert (done.exit_code, done.stderr) == (
        2,
        "error: not enough memory: use a smaller batch, size or model (MemoryError)\n",
    )
    monkeypatch.setattr(type(main), "get_command", lambda *_: failing(UserError("x" * 59_000)))
    done = CliRunner().invoke(main, ["check"])
    assert len(done.stderr) < 1500
    monkeypatch.setattr(type(main), "get_command", lambda *_: failing(KeyboardInterrupt()))
    done = CliRunner().invoke(main, ["check"])
    assert (done.exit_code, done.stderr) == (130, "interrupted\n")


def test_the_module_is_the_command():
    done = subprocess.run([sys.executable, "-m", "ldmkit", "--version"], capture_output=True, text=True)
    assert done.returncode == 0
    assert done.stdout.startswith("ldmkit, version ")


def test_check_prints_the_resolved_recipe_the_latent_and_the_parameters(ldmkit, tmp_path):
    done = ldmkit("check", "recipes/small.yaml", "-s", "sampler.steps=7")
    assert done.exit_code == 0, done.output
    lines = done.output.splitlines()
    assert "# latent: 4 x H/8 x W/8" in lines
    assert "#   conditioners.label (class-embedding): 160" in lines
    assert "schedule: {name: scaled-linear" in done.output
    Path("resolved.yaml").write_text(done.output)
    again = ldmkit("check", "resolved.yaml")
    assert again.output == done.output


def test_check_refuses_what_makes_no_sense_together(ldmkit):
    done = ldmkit("check", "recipes/small.yaml", "-s", "schedule.zero_snr=true")
    assert done.exit_code == 2
    assert done.stderr.startswith("error: objective (epsilon): ")
    done = ldmkit("check", "recipes/small.yaml", "-s", "sampler.steps=5000")
    assert done.exit_code == 2
    assert done.stderr.startswith("error: sampler.spacing (leading): ")
    done = ldmkit("check", "recipes/small.yaml", "-s", "sample.size=[60, 64]")
    assert done.exit_code == 2
    assert "multiple of 8" in done.stderr


@pytest.mark.parametrize("verb", ["sample", "run"])
def test_more_steps_than_the_schedule_has_are_refused_before_weights_are_looked_for(ldmkit, verb):
    given = ["recipes/small.yaml", "--input", "label=1"]
    assert "no weights" in ldmkit("sample", *given, "--steps", "1000").stderr
    done = ldmkit(verb, *given, "--steps", "1001")
    assert done.exit_code == 2
    assert done.stderr == (
        "error: sampler.spacing (leading): 1001 steps: must be at least 1 and at most 1000\n"
    )


def test_check_refuses_a_model_larger_than_memory_unless_told(ldmkit):
    large = ("check", "recipes/small.yaml", "-s", "denoiser.width=16384")
    done = ldmkit(*large)
    assert done.exit_code == 2
    assert "sampling: about" in done.stderr
    assert "this machine has" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    done = ldmkit(*large, "--any-size")
    assert done.exit_code == 0, done.output
    count = next(line for line in done.output.splitlines() if "denoiser (unet)" in line)
    assert int(count.rpartition(": ")[2].replace(",", "")) > 10**10


def test_check_misspelt_key_is_the_line_that_the_house_promises(ldmkit):
    text = RECIPE.replace("channels: 4", "chanels: 4")
    Path("my.yaml").write_text(text)
    done = ldmkit("check", "my.yaml")
    assert done.exit_code == 2
    assert done.stdout == ""
    assert done.stderr == (
        "error: my.yaml:4:48: compression (kl-autoencoder): unknown key 'chanels'; did you mean 'channels'?\n"
    )


def test_plugins_lists_components_and_their_parameters(ldmkit):
    rows = [line.split("\t") for line in ldmkit("plugins").output.splitlines()]
    assert all(len(row) == 5 for row in rows)
    assert ["sampler", "ddim", "ldmkit-diffusion"] in [row[:3] for row in rows]
    assert {row.split("\t")[0] for row in ldmkit("plugins", "sampler").output.splitlines()} == {"sampler"}
    shown = ldmkit("plugins", "sampler", "ddim").output.splitlines()
    (eta,) = [line.split("\t") for line in shown if line.startswith("eta")]
    assert (eta[1].startswith("float"), eta[2], bool(eta[3])) == (True, "0.0", True)


def test_plugins_refuses_what_is_not_there(ldmkit):
    assert "did you mean 'sampler'?" in ldmkit("plugins", "samplr").stderr
    done = ldmkit("plugins", "sampler", "ddimm")
    assert (done.exit_code, "did you mean 'ddim'?" in done.stderr) == (2, True)


def test_recipes_lists_what_is_in_the_folder(ldmkit):
    Path("recipes/broken.yaml").write_text("a: [")
    assert ldmkit("recipes").output.splitlines() == [
        "(unreadable)  recipes/broken.yaml",
        "small         recipes/small.yaml   A small one.",
    ]
    done = ldmkit("recipes", "elsewhere")
    assert (done.exit_code, "elsewhere: no recipes" in done.stderr) == (2, True)


def test_recipes_lists_those_that_come_with_ldmkit_where_there_is_no_folder(ldmkit):
    shutil.rmtree("recipes")
    lines = ldmkit("recipes").output.splitlines()
    name, path = next(line.split()[:2] for line in lines if line.startswith("text2img "))
    assert Path(path).is_file()
    assert ldmkit("check", name).exit_code == 0
    assert len(lines) >= len(list((Path(__file__).parents[1] / "recipes").rglob("*.yaml")))


def test_schema_is_written_to_a_file_or_shown(ldmkit):
    assert ldmkit("schema", "-o", "schema.json").exit_code == 0
    written = json.loads(Path("schema.json").read_text())
    assert written == json.loads(ldmkit("schema").output)
    assert "sampler:ddim" in written["$defs"]


def test_plugins_names_the_broken_ones(ldmkit, monkeypatch):
    loaded = Host(Registry(), (Broken("bad-plugin", "1.5", "ImportError: no driver"),))
    monkeypatch.setattr("ldmkit.cli.plugins.host", lambda: loaded)
    assert ldmkit("plugins").output == "broken: bad-plugin 1.5: ImportError: no driver\n"


def test_without_turns_a_distribution_off(ldmkit, monkeypatch):
    monkeypatch.setenv("LDMKIT_WITHOUT", "ldmkit-text")
    try:
        done = ldmkit("--without", "ldmkit-unet", "plugins")
    finally:
        monkeypatch.undo()
        host.cache_clear()
    owners = {line.split("\t")[2] for line in done.output.splitlines()}
    assert owners.isdisjoint({"ldmkit-unet", "ldmkit-text"})
    assert "ldmkit-diffusion" in owners


def test_check_says_what_a_recipe_takes(ldmkit):
    train = "train={compression: {steps: 1, batch: %d, lr: 1, ema: 0.9, loss: [pixel]}}"
    given = ("check", "recipes/small.yaml", "-s", "data={name: fluent-emoji, size: 32}", "-s")
    done = ldmkit(*given, train % 2)

    def figure(what):
        line = next(x for x in done.output.splitlines() if what in x)
        return int(line.rpartition(" ")[2].replace(",", ""))

    total, part = figure("together"), figure("compression (")
    (line,) = [x for x in done.output.splitlines() if x.startswith("#   train.compression: ")]
    assert f"weights {4 * total / 1e6:.3g}" in line
    assert f"gradients {4 * part / 1e6:.3g}" in line
    assert f"optimizer {8 * part / 1e6:.3g}" in line
    assert f"average {4 * part / 1e6:.3g}" in line
    assert "activations of 2 pictures" in line
    done = ldmkit(*given, train % 10**5)
    assert done.exit_code == 2
    assert "activations of 100000 pictures" in done.stderr


def test_an_out_that_cannot_be_written_is_told_before_any_work(ldmkit):
    Path("file").write_text("")
    for verb in ("run", "sample", "evaluate"):
        done = ldmkit(verb, "recipes/small.yaml", "--out", "file/inside")
        assert (done.exit_code, done.stderr) == (
            2,
            "error: --out file/inside: cannot be written: a file stands where a folder should be\n",
        )


def test_a_misspelt_key_of_a_slot_is_found_among_the_components_parameters(ldmkit):
    done = ldmkit("check", "recipes/small.yaml", "-s", "sampler.stepz=5")
    assert (
        done.stderr
        == "error: command line: -s sampler.stepz=5: sampler (ddim): unknown key 'stepz'; did you mean 'steps'?\n"
    )


def test_a_former_name_in_a_recipe_is_noted_on_one_line(tmp_path):
    path = tmp_path / "old.yaml"
    path.write_text(
        "recipe: 1\nname: old\ncompression: identity\ndenoiser: {name: unet, width: 32}\nschedule: linear-beta\n"
    )
    done = CliRunner().invoke(main, ["check", str(path)])
    assert done.exit_code == 0
    line = f"note: {path}:5:11: schedule: 'linear-beta' is now called 'scaled-linear'"
    assert done.stderr.splitlines().count(line) == 1
