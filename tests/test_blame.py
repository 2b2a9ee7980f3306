"""Where a plugin's code fails, the command line names the plugin and the line."""

from __future__ import annotations

import sys
from textwrap import dedent

import pytest
from click.testing import CliRunner

from ldmkit.cli import main
from ldmkit.cli.failures import described
from ldmkit.host.plugin_files import used
from ldmkit.host.plugins import host

PLUGIN = """
    from ldmkit.hookspecs import hookimpl

    LDMKIT_API = 2


    @hookimpl
    def ldmkit_register(registry):
        registry.add("schedule", "sulking", "sulky:Sulking", "Refuses its work.")


    class Sulking:
        timesteps = None
        zero_snr = False

        def level(self, t, size=None):
            return {}[t]

        invert = level

        def draw(self, n, generator, size=None):
            return {}[n]
"""


@pytest.fixture(autouse=True)
def _sulky(tmp_path, monkeypatch):
    (tmp_path / "sulky.py").write_text(dedent(PLUGIN))
    monkeypatch.delitem(sys.modules, "sulky", raising=False)
    yield
    sys.modules.pop("sulky", None)


def test_a_plugin_that_fails_is_named_with_its_line(tmp_path):
    with used([tmp_path]):
        host.cache_clear()
        try:
            host().registry.get("schedule", "sulking").load()().level(1)
        except KeyError as error:
            said, code = described(error)
        finally:
            host.cache_clear()
    assert code == 1
    assert said.startswith(
        f"a plugin failed: {tmp_path / 'sulky.py'} (a file), in sulky:Sulking.level, line 17"
    )
    assert "KeyError: 1" in said


def test_check_names_the_component_and_its_place(tmp_path):
    recipe = tmp_path / "r.yaml"
    recipe.write_text("recipe: 1\nname: r\nschedule: sulking\ncompression: identity\ndenoiser: unet\n")
    result = CliRunner().invoke(main, ["--plugins-dir", str(tmp_path), "check", str(recipe)])
    assert result.exit_code == 2
    assert (
        f"{recipe}:3:11: schedule (sulking): does not do what ldmkit.interfaces says: KeyError"
        in result.stderr
    )
