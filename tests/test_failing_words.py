"""What a command says that fails: few words, also where the user's own are many."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from ldmkit.cli import main


@pytest.mark.parametrize(
    "words",
    [
        ["check", "y" * 5000 + ".yaml"],
        ["check", "text2img", "-s", "sample.seed=" + "9" * 20_000],
        ["check", "text2img", "-s", "x" * 20_000 + "=1"],
        ["check", "text2img", *[part for i in range(300) for part in ("-s", f"sampler.key{i}=1")]],
        ["import", "y" * 5000, "out"],
        ["encode", "text2img", "y" * 5000, "out"],
    ],
    ids=["a long name", "a long number", "a long key", "many mistakes", "a long source", "a long folder"],
)
def test_no_message_has_more_than_1500_characters(words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 2
    assert result.stderr.startswith("error: ")
    assert len(result.stderr) <= 1500 + 100  # "error: " before each line
    assert "Traceback" not in result.stderr
